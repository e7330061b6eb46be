"""A picture book: drawn scenes with captions, questions, notes and memos, made from a seed."""

from __future__ import annotations

from mmsearch.picturebook.words import words

__all__ = ["words"]
