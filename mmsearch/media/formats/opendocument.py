"""OpenDocument texts, spreadsheets and presentations (ODF 1.3, OASIS): `content.xml` as text.

A text is one text; a spreadsheet's sheets and a presentation's slides are numbered. Read by
itself: the format is one XML file, and no library for it is kept well.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.archive import UNREADABLE, open_archive, xml_tree
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.sections import Section, table_text
from mmsearch.media.opened import Content

_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_PRESENTATION = "{urn:oasis:names:tc:opendocument:xmlns:presentation:1.0}"
_META = {
    "{http://purl.org/dc/elements/1.1/}title": "title",
    "{http://purl.org/dc/elements/1.1/}creator": "author",
    "{http://purl.org/dc/elements/1.1/}description": "description",
    "{http://purl.org/dc/elements/1.1/}language": "language",
}
# A cell or row may stand for a million empty ones.
_MAX_REPEAT = 100


def read(source: Content, max_bytes: int) -> tuple[dict[str, Any], Iterator[Section]]:
    """(metadata, sections) of an .odt, .ods or .odp; a text is one section without number.

    Raises MediaError as `open_archive`.
    """
    with open_archive(source, max_bytes) as archive:
        if _is_encrypted(archive):
            raise MediaError("encrypted", "The document is protected by a password.")
        metadata = _metadata(archive)
        root = xml_tree(archive.read("content.xml"))
    body = root.find(f"{_OFFICE}body")
    content = next(iter(body), None) if body is not None else None
    if content is None:
        raise MediaError("empty", "The document has no content.")
    kind = content.tag
    if kind == f"{_OFFICE}spreadsheet":
        sheets = content.findall(f"{_TABLE}table")
        metadata |= {"pages": len(sheets), "page_kind": "sheet"}
        return metadata, (
            Section(table_text(_rows(sheet)), number, sheet.get(f"{_TABLE}name"))
            for number, sheet in enumerate(sheets, 1)
        )
    if kind == f"{_OFFICE}presentation":
        slides = content.findall(f"{_DRAW}page")
        metadata |= {"pages": len(slides), "page_kind": "slide"}
        return metadata, (
            Section("\n\n".join(_blocks(slide)), number, slide.get(f"{_DRAW}name"))
            for number, slide in enumerate(slides, 1)
        )
    return metadata, iter([Section("\n\n".join(_blocks(content)))])


def _is_encrypted(archive: zipfile.ZipFile) -> bool:
    with suppress(*UNREADABLE):
        return b"encryption-data" in archive.read("META-INF/manifest.xml")
    return False


def _metadata(archive: zipfile.ZipFile) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    with suppress(MediaError, *UNREADABLE):
        for element in xml_tree(archive.read("meta.xml")).iter():
            key, text = _META.get(str(element.tag)), clean(element.text)
            if key and text:
                metadata.setdefault(key, text)
    return metadata


def _blocks(parent: Any) -> Iterator[str]:
    """Paragraphs, headings (as in Markdown) and tables, in order; without recursion."""
    stack = [parent]
    while stack:
        element = stack.pop()
        if element.tag == f"{_TEXT}p":
            text = _line(element)
            if text:
                yield text
        elif element.tag == f"{_TEXT}h":
            text = _line(element)
            level = element.get(f"{_TEXT}outline-level", "1")
            if text:
                marks = "#" * min(6, int(level) if level.isdecimal() and level != "0" else 1)
                yield f"{marks} {text}"
        elif element.tag == f"{_TABLE}table":
            text = table_text(_rows(element))
            if text:
                yield text
        elif element.tag != f"{_TEXT}tracked-changes":  # what was deleted
            stack.extend(reversed(element))


def _line(element: Any) -> str:
    """The text of a paragraph, notes in it included."""
    parts: list[str] = []
    for step in _walk(element):
        tag, opening, node = step
        if not opening:
            if node is not element and node.tail:
                parts.append(node.tail)
            continue
        if tag == f"{_TEXT}s":
            parts.append(" ")
        elif tag == f"{_TEXT}tab":
            parts.append("\t")
        elif tag == f"{_TEXT}line-break":
            parts.append("\n")
        elif tag == f"{_TEXT}p":
            parts.append(" ")
        if isinstance(tag, str) and node.text:
            parts.append(node.text)
    return "".join(parts).strip()


def _walk(element: Any) -> Iterator[tuple[Any, bool, Any]]:
    """(tag, whether it opens, element), depth first."""
    stack: list[tuple[Any, bool]] = [(element, True)]
    while stack:
        node, opening = stack.pop()
        yield node.tag, opening, node
        if opening:
            stack.append((node, False))
            stack.extend((child, True) for child in reversed(node))


def _rows(table: Any) -> Iterator[list[str]]:
    for row in table.iter(f"{_TABLE}table-row"):
        cells: list[str] = []
        for cell in row:
            if cell.tag not in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                continue
            text = " ".join(filter(None, (_line(p) for p in cell.iter(f"{_TEXT}p"))))
            repeat = cell.get(f"{_TABLE}number-columns-repeated", "1")
            count = int(repeat) if repeat.isdecimal() and len(repeat) < 8 else 1
            cells += [text] * min(count, _MAX_REPEAT)
        yield cells
