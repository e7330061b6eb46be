"""A picture book: drawn scenes with captions, questions, notes and memos, made from a seed."""

from __future__ import annotations

from mmsearch.picturebook.captions import captions
from mmsearch.picturebook.draw import draw
from mmsearch.picturebook.library import LibraryEntry, write_library
from mmsearch.picturebook.questions import Question, questions
from mmsearch.picturebook.scene import Scene, sample_scenes
from mmsearch.picturebook.stories import Story, stories
from mmsearch.picturebook.words import words

__all__ = [
    "LibraryEntry",
    "Question",
    "Scene",
    "Story",
    "captions",
    "draw",
    "questions",
    "sample_scenes",
    "stories",
    "words",
    "write_library",
]
