"""Workbooks (SpreadsheetML, ECMA-376 part 1) by openpyxl: each visible sheet's rows, with the
values as they are shown, then the comments and the texts in its drawings."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.archive import open_archive
from mmsearch.media.formats.drawing import related_texts, shape_texts
from mmsearch.media.formats.numberformats import shown
from mmsearch.media.formats.package import Package
from mmsearch.media.formats.sections import Section
from mmsearch.media.formats.tables import table_text
from mmsearch.media.opened import Content, reader

_S = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_THREADED = "{http://schemas.microsoft.com/office/spreadsheetml/2018/threadedcomments}"
_MERGED = re.compile(
    rb'<(?:\w+:)?mergeCell [^>]*?ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"'
)
_MAX_MERGED_ROWS, _MAX_MERGED = 1000, 10_000
_CHUNK = 2**20


def xlsx(
    source: Content, max_bytes: int, max_text: int
) -> tuple[dict[str, Any], Iterator[Section]]:
    """(metadata, sheets) of a workbook. Raises MediaError as `open_archive`; too_large for a
    sheet of more than `max_text` characters."""
    import openpyxl

    with open_archive(source, max_bytes) as archive:
        package = Package(archive)
        metadata = package.metadata()
        beside = {
            target: _beside(package, target)
            for _, kind, target in package.relations(package.main("xl/workbook.xml"))
            if kind == "worksheet"
        }
    with reader(source) as file:
        content = io.BytesIO(file.read())
    book = openpyxl.load_workbook(content, read_only=True, data_only=True)
    sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    metadata |= {"pages": len(sheets), "page_kind": "sheet"}

    def sections() -> Iterator[Section]:
        for number, sheet in enumerate(sheets, 1):
            part = sheet._worksheet_path.lstrip("/")  # noqa: SLF001  # not to be had otherwise
            table = table_text(_rows(sheet, _merged_down(content, part), max_text))
            text = "\n\n".join(filter(None, (table, *beside.get(part, ()))))
            yield Section(text, number, sheet.title)

    return metadata, sections()


def _rows(sheet: Any, merged: dict[tuple[int, int], int], max_text: int) -> Iterator[list[str]]:
    """The cells of each row as text. `merged`: last row of each cell that reaches further down."""
    # What a sheet says of its size is often wrong, and may be a bomb.
    sheet.reset_dimensions()
    length = 0
    reaching: dict[int, tuple[int, str]] = {}
    formats: dict[int, str] = {}
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells = [_shown(cell, formats) for cell in row]
        for column, (last, text) in list(reaching.items()):
            if number > last:
                del reaching[column]
            elif column < len(cells) and not cells[column] and any(cells):
                cells[column] = text
        for column, text in enumerate(cells):
            last = merged.get((number, column), 0)
            if last and text:
                reaching[column] = (last, text)
        length += sum(map(len, cells))
        if length > max_text:
            raise MediaError("too_large", f"A sheet has more than {max_text} characters.")
        yield cells


def _shown(cell: Any, formats: dict[int, str]) -> str:
    """`formats`: number formats by style; openpyxl is slow to look them up."""
    value = cell.value
    if value is None or isinstance(value, str):
        return value or ""
    style: int = cell._style_id  # noqa: SLF001  # not to be had otherwise
    if style not in formats:
        formats[style] = cell.number_format
    return shown(value, formats[style])


def _merged_down(content: io.BytesIO, part: str) -> dict[tuple[int, int], int]:
    """(row from 1, column from 0) of each merged cell, to its last row. The list of them stands
    behind the rows."""
    merged: dict[tuple[int, int], int] = {}
    tail = b""
    with zipfile.ZipFile(content) as archive, archive.open(part) as member:
        while chunk := member.read(_CHUNK):
            tail += chunk
            for match in _MERGED.finditer(tail):
                column, first, _, last = match.groups()
                if 0 < int(last) - int(first) <= _MAX_MERGED_ROWS and len(merged) < _MAX_MERGED:
                    merged[int(first), _column(column)] = int(last)
            tail = tail[-100:]
    return merged


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _beside(package: Package, sheet: str) -> list[str]:
    """Comments, and the texts of boxes, diagrams and charts."""
    texts: list[str] = []
    threaded: list[str] = []
    for _, kind, target in package.relations(sheet):
        if kind not in ("comments", "threadedComment", "drawing"):
            continue
        root = package.optional_tree(target)
        if root is None:
            continue
        if kind == "drawing":
            texts += shape_texts(root)
            texts += related_texts(package, target, root)
            continue
        for comment in root.iter(f"{_S}comment", f"{_THREADED}threadedComment"):
            pieces = comment.iter(f"{_S}t", f"{_THREADED}text")
            text = "".join(piece.text or "" for piece in pieces).strip()
            if text:
                (texts if kind == "comments" else threaded).append(f"{comment.get('ref')}: {text}")
    # A thread stands among the old comments as well, with an explanation for old programs.
    return [text for text in texts if not (threaded and "[Threaded comment]" in text)] + threaded
