"""A picture book: drawn scenes with captions, questions, notes and memos, made from a seed."""

from __future__ import annotations

from mmsearch.demo.picturebook.captions import captions
from mmsearch.demo.picturebook.draw import draw
from mmsearch.demo.picturebook.library import LibraryEntry, write_library
from mmsearch.demo.picturebook.questions import Question, questions
from mmsearch.demo.picturebook.scene import Scene, sample_scenes
from mmsearch.demo.picturebook.stories import Story, stories
from mmsearch.demo.picturebook.words import words

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
