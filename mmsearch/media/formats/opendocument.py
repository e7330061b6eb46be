"""OpenDocument texts, spreadsheets and presentations (ODF 1.3, OASIS): `content.xml` as text.

A text is one text; a spreadsheet's sheets and a presentation's slides are numbered. Read by
itself: the format is one XML file, and no library for it is kept well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.archive import UNREADABLE, Archive, open_archive, xml_tree
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.sections import Section
from mmsearch.media.formats.tables import table_text
from mmsearch.media.opened import Content

_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_PRESENTATION = "{urn:oasis:names:tc:opendocument:xmlns:presentation:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_FORM = "{urn:oasis:names:tc:opendocument:xmlns:form:1.0}"
_MATH = "{http://www.w3.org/1998/Math/MathML}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_CREATOR = "{http://purl.org/dc/elements/1.1/}creator"
_NOTE, _COMMENT = f"{_TEXT}note", f"{_OFFICE}annotation"
_APART = frozenset((_NOTE, _COMMENT, f"{_DRAW}text-box", f"{_DRAW}custom-shape", f"{_DRAW}object"))
"""What stands inside of a paragraph and is no part of its sentences."""
_UNSHOWN = frozenset((f"{_TEXT}ruby-text", f"{_TEXT}tracked-changes", f"{_TEXT}note-citation"))
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
        formulas = _formulas(archive)
        headers, footers = _margins(archive)
    body = root.find(f"{_OFFICE}body")
    content = next(iter(body), None) if body is not None else None
    if content is None:
        raise MediaError("empty", "The document has no content.")
    kind = content.tag
    if kind == f"{_OFFICE}spreadsheet":
        sheets = content.findall(f"{_TABLE}table")
        metadata |= {"pages": len(sheets), "page_kind": "sheet"}
        return metadata, (
            Section(_sheet(sheet, formulas), number, sheet.get(f"{_TABLE}name"))
            for number, sheet in enumerate(sheets, 1)
        )
    if kind == f"{_OFFICE}presentation":
        slides = content.findall(f"{_DRAW}page")
        metadata |= {"pages": len(slides), "page_kind": "slide"}
        return metadata, (
            Section("\n\n".join(_blocks(slide, formulas)), number, slide.get(f"{_DRAW}name"))
            for number, slide in enumerate(slides, 1)
        )
    text = "\n\n".join((*headers, *_blocks(content, formulas), *footers))
    return metadata, iter([Section(text)])


def _is_encrypted(archive: Archive) -> bool:
    with suppress(*UNREADABLE):
        return b"encryption-data" in archive.read("META-INF/manifest.xml")
    return False


def _metadata(archive: Archive) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    with suppress(MediaError, *UNREADABLE):
        for element in xml_tree(archive.read("meta.xml")).iter():
            key, text = _META.get(str(element.tag)), clean(element.text)
            if key and text:
                metadata.setdefault(key, text)
    return metadata


def _margins(archive: Archive) -> tuple[list[str], list[str]]:
    """The different headers and footers; not those that only count pages."""
    margins: tuple[list[str], list[str]] = ([], [])
    with suppress(MediaError, *UNREADABLE):
        root = xml_tree(archive.read("styles.xml"))
        for texts, name in zip(margins, ("header", "footer"), strict=True):
            for margin in root.iter(
                *(f"{_STYLE}{name}{which}" for which in ("", "-first", "-left"))
            ):
                text = "\n".join(_blocks(margin, {}))
                if text not in texts and any(map(str.isalpha, text)):
                    texts.append(text)
    return margins


def _formulas(archive: Archive) -> dict[str, str]:
    """The formulas among the embedded objects, by the names of their folders."""
    formulas: dict[str, str] = {}
    for name in sorted(archive.names):
        folder, _, file = name.partition("/")
        if file == "content.xml":
            with suppress(MediaError, *UNREADABLE):
                root = xml_tree(archive.read(name))
                if root.tag == f"{_MATH}math":
                    leaves = root.iter(f"{_MATH}mi", f"{_MATH}mn", f"{_MATH}mo", f"{_MATH}mtext")
                    formulas[folder] = "".join(leaf.text or "" for leaf in leaves)
    return formulas


def _blocks(parent: Any, formulas: dict[str, str]) -> Iterator[str]:
    """Paragraphs, headings (as in Markdown) and tables, in order; without recursion."""
    stack = [parent]
    while stack:
        element = stack.pop()
        tag = element.tag
        if tag in (f"{_TEXT}p", f"{_TEXT}h"):
            text = _line(element)
            if text and tag == f"{_TEXT}h":
                level = element.get(f"{_TEXT}outline-level", "1")
                marks = "#" * min(6, int(level) if level.isdecimal() and level != "0" else 1)
                text = f"{marks} {text}"
            if text:
                yield text
            # Notes, comments and boxes stand behind the paragraph.
            stack.extend(reversed(_apart(element)))
        elif tag == f"{_TABLE}table":
            text = table_text(_rows(element), header=_names_columns(element))
            if text:
                yield text
            stack.extend(reversed([part for cell in _cells(element) for part in _apart(cell)]))
        elif tag == _COMMENT:
            text = " ".join(_line(p) for p in element.iter(f"{_TEXT}p"))
            author = clean(element.findtext(_CREATOR))
            yield f"{author}: {text}" if author else text
        elif tag == f"{_DRAW}object":
            folder = (element.get(_HREF) or "").removeprefix("./").strip("/")
            if folder in formulas:
                yield formulas[folder]
        elif isinstance(tag, str) and tag.startswith(_FORM):
            value = element.get(f"{_FORM}current-value")
            if value:
                yield value
            stack.extend(reversed(element))
        elif tag not in _UNSHOWN:
            stack.extend(reversed(element))


def _apart(element: Any) -> list[Any]:
    """What stands inside of a paragraph or cell apart from its text, outermost first."""
    parts: list[Any] = []
    stack = list(reversed(element))
    while stack:
        node = stack.pop()
        if node.tag in _APART:
            parts.append(node)
        else:
            stack.extend(reversed(node))
    return parts


def _line(element: Any) -> str:
    """The text of a paragraph, without what stands apart from it."""
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
        elif tag == f"{_TEXT}p" and node is not element:
            parts.append(" ")
        if isinstance(tag, str) and node.text and not _is_apart(tag):
            parts.append(node.text)
    return "".join(parts).strip()


def _is_apart(tag: str) -> bool:
    return tag in _APART or tag in _UNSHOWN


def _walk(element: Any) -> Iterator[tuple[Any, bool, Any]]:
    """(tag, whether it opens, element), depth first; of what stands apart no content."""
    stack: list[tuple[Any, bool]] = [(element, True)]
    while stack:
        node, opening = stack.pop()
        yield node.tag, opening, node
        if opening:
            stack.append((node, False))
            if not _is_apart(node.tag):
                stack.extend((child, True) for child in reversed(node))


def _sheet(table: Any, formulas: dict[str, str]) -> str:
    parts = [part for cell in _cells(table) for part in _apart(cell)]
    beside = (text for part in parts for text in _blocks(part, formulas))
    shapes = (text for part in table.findall(f"{_TABLE}shapes") for text in _blocks(part, formulas))
    rows = table_text(_rows(table), header=_names_columns(table))
    return "\n\n".join(filter(None, (rows, *beside, *shapes)))


def _names_columns(table: Any) -> bool | None:
    return True if table.find(f"{_TABLE}table-header-rows") is not None else None


def _cells(table: Any) -> Iterator[Any]:
    return table.iter(f"{_TABLE}table-cell")  # type: ignore[no-any-return]


def _rows(table: Any) -> Iterator[list[str]]:
    for row in table.iter(f"{_TABLE}table-row"):
        cells: list[str] = []
        for cell in row:
            if cell.tag not in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                continue
            text = " ".join(filter(None, map(_line, _paragraphs(cell))))
            repeat = cell.get(f"{_TABLE}number-columns-repeated", "1")
            count = int(repeat) if repeat.isdecimal() and len(repeat) < 8 else 1
            cells += [text] * min(count, _MAX_REPEAT)
        yield cells


def _paragraphs(cell: Any) -> Iterator[Any]:
    stack = list(reversed(cell))
    while stack:
        node = stack.pop()
        if node.tag in (f"{_TEXT}p", f"{_TEXT}h"):
            yield node
        elif node.tag not in _APART:
            stack.extend(reversed(node))
