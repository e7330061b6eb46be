"""What readers of office documents give: stretches of text, perhaps numbered and titled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """A slide, a sheet, a chapter, a page; or, without a number, the whole document."""

    text: str
    number: int | None = None
    """1-based."""
    title: str | None = None


def table_text(rows: Iterable[Iterable[str]]) -> str:
    """Rows as paragraphs: "column: value; column: value" where the first row names columns.

    As `media.text` shows CSV: a passage of it can be understood by itself.
    """
    from mmsearch.media.formats.text import readable_rows

    tidy: list[list[str]] = []
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            tidy.append(cells)
    return readable_rows(tidy)
