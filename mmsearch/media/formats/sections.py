"""What readers of documents give: stretches of text, perhaps numbered and titled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Section:
    """A slide, a sheet, a chapter, a page, a letter; or, without a number, the whole document."""

    text: str
    number: int | None = None
    """1-based."""
    title: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    """What it says of itself: a letter's "sent_at", "author"."""
