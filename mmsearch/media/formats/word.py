"""Word documents (WordprocessingML, ECMA-376 part 1): all that Word shows, in reading order.

Headers stand first and footers last; notes and comments behind the paragraph that refers to them.
Of tracked changes the newest version counts. Pages are those that Word noted when it last laid
the document out, where it did, else those that the author set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmsearch.media.formats.archive import open_archive
from mmsearch.media.formats.drawing import M, children, formula, related_texts
from mmsearch.media.formats.encodings import decode
from mmsearch.media.formats.html import visible_text
from mmsearch.media.formats.package import Package, R
from mmsearch.media.formats.sections import Section
from mmsearch.media.formats.tables import table_text
from mmsearch.media.opened import Content

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"

_HEADING = re.compile(r"heading (\d)|(title)$", re.IGNORECASE)
_DELETED = frozenset((f"{W}del", f"{W}moveFrom", f"{W}rt", f"{W}instrText", f"{W}delText",
                      f"{W}rPr", f"{W}pPr", f"{W}sdtPr", f"{W}txbxContent"))  # fmt: skip
"""What is no text of the paragraph that it stands in."""
_SIGNS = {
    f"{W}tab": "\t", f"{W}br": "\n", f"{W}cr": "\n", f"{W}noBreakHyphen": "-", f"{W}ptab": "\t",
}  # fmt: skip
_NOTES = {
    f"{W}footnoteReference": "footnotes", f"{W}endnoteReference": "endnotes",
    f"{W}commentReference": "comments",
}  # fmt: skip
_PARTS = ("footnotes", "endnotes", "comments")


def docx(source: Content, max_bytes: int) -> tuple[dict[str, Any], Iterator[Section]]:
    """(metadata, sections) of a Word document: pages if they are known, else one section.

    Raises MediaError as `open_archive`.
    """
    with open_archive(source, max_bytes) as archive:
        package = Package(archive)
        document = _Document(package, package.main("word/document.xml"))
        pages = document.pages()
        metadata = package.metadata()
    if package.damaged:
        metadata["warning"] = "The document is damaged; not all of its parts could be read."
    if len(pages) == 1:
        return metadata, iter([Section("\n\n".join(pages[0]))])
    metadata |= {"pages": len(pages), "page_kind": "page"}
    return metadata, (Section("\n\n".join(page), n) for n, page in enumerate(pages, 1))


class _Document:
    def __init__(self, package: Package, part: str) -> None:
        self._package = package
        self._part = part
        self._body = package.tree(part).find(f"{W}body")
        self._relations = package.relations(part)
        self._styles = self._style_names()
        self._notes: dict[str, Mapping[str, Any]] = {
            kind: self._note_elements(kind) for kind in _PARTS
        }

    def pages(self) -> list[list[str]]:
        if self._body is None:
            return [[]]
        noted = next(self._body.iter(f"{W}lastRenderedPageBreak"), None) is not None
        pages: list[list[str]] = [list(self._margins("header"))]
        for block in _blocks(self._body):
            # The page that a paragraph begins on: a break before its first word counts.
            before, after = _breaks(block, noted=noted)
            pages += [[] for _ in range(before)]
            pages[-1] += filter(None, (text.strip() for text in self._texts(block)))
            pages += [[] for _ in range(after)]
        pages[-1] += self._margins("footer")
        return pages

    def _texts(self, block: Any) -> Iterator[str]:
        """A paragraph or table, then what belongs to it: boxes, diagrams, notes."""
        if block.tag == f"{W}altChunk":
            yield self._chunk(block.get(f"{R}id") or "")
            return
        if block.tag == f"{W}tbl":
            yield _table(block)
        else:
            text = _paragraph(block)
            style = _HEADING.match(self._styles.get(_style_of(block), "")) if text else None
            boxes = dict.fromkeys(filter(None, map(str.strip, _boxes(block))))
            text = "\n".join(filter(None, [text, *boxes]))
            yield f"{'#' * min(6, int(style[1] or 1))} {text}" if style else text
        yield from related_texts(self._package, self._part, block)
        for reference in block.iter(*_NOTES):
            notes = self._notes[_NOTES[reference.tag]]
            note = notes.get(reference.get(f"{W}id") or "")
            if note is not None and not _is_deleted(reference, block):
                yield _note(note)

    def _margins(self, kind: str) -> Iterator[str]:
        """Each different header (footer); not those that only count pages."""
        seen: set[str] = set()
        for _, relation, target in self._relations:
            root = self._package.optional_tree(target) if relation == kind else None
            if root is None:
                continue
            text = "\n".join(filter(None, map(str.strip, _flow(root))))
            if text not in seen and any(map(str.isalpha, text)):
                seen.add(text)
                yield text

    def _note_elements(self, kind: str) -> dict[str, Any]:
        notes: dict[str, Any] = {}
        for _, relation, target in self._relations:
            root = self._package.optional_tree(target) if relation == kind else None
            for note in root if root is not None else ():
                # Separators have a type.
                if note.get(f"{W}type") in (None, "normal"):
                    notes[note.get(f"{W}id") or ""] = note
        return notes

    def _style_names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for _, relation, target in self._relations:
            root = self._package.optional_tree(target) if relation == "styles" else None
            for style in root.iter(f"{W}style") if root is not None else ():
                name = style.find(f"{W}name")
                if name is not None:
                    names[style.get(f"{W}styleId") or ""] = name.get(f"{W}val") or ""
        return names

    def _chunk(self, identifier: str) -> str:
        """A document of another format inside of this one (HTML or text)."""
        for relation, _, target in self._relations:
            if relation == identifier:
                decoded = decode(self._package.content(target) or b" ")
                if decoded is not None and "<" in decoded.text[:1000]:
                    return visible_text(decoded.text)[0]
                return decoded.text if decoded is not None else ""
        return ""


# ------------------------------------------------------------------ blocks


def _blocks(parent: Any) -> Iterator[Any]:
    """Paragraphs, tables and chunks, whatever they are wrapped in (controls, changes)."""
    for child in children(parent):
        if child.tag in (f"{W}p", f"{W}tbl", f"{W}altChunk"):
            yield child
        elif child.tag == f"{W}sdt" and _is_placeholder(child):
            continue
        elif child.tag not in _DELETED:
            yield from _blocks(child)


def _flow(parent: Any) -> Iterator[str]:
    """The texts of the paragraphs and tables in a note, a header, a box, a cell."""
    for block in _blocks(parent):
        if block.tag == f"{W}tbl":
            yield _table(block)
        elif block.tag == f"{W}p":
            boxes = dict.fromkeys(filter(None, map(str.strip, _boxes(block))))
            yield "\n".join(filter(None, [_paragraph(block), *boxes]))


def _paragraph(paragraph: Any) -> str:
    parts: list[str] = []
    _collect(paragraph, parts)
    return "".join(parts).strip()


def _collect(element: Any, parts: list[str]) -> None:
    for child in children(element):
        tag = child.tag
        if tag in (f"{W}t", f"{M}t"):
            parts.append(child.text or "")
        elif tag in _SIGNS:
            if not (tag == f"{W}br" and child.get(f"{W}type") in ("page", "column")):
                parts.append(_SIGNS[tag])
        elif tag in (f"{M}oMath", f"{M}oMathPara"):
            parts.append(formula(child))
        elif tag == f"{W}ffData":
            parts.append(_chosen_item(child))
        elif tag not in _DELETED and not (tag == f"{W}sdt" and _is_placeholder(child)):
            _collect(child, parts)


def _boxes(block: Any) -> Iterator[str]:
    """What stands in the text boxes of a paragraph. The same box comes in several forms."""
    for box in block.iter(f"{W}txbxContent"):
        # A box in a box is given by the outer one.
        outer = next(box.iterancestors(f"{W}txbxContent"), None)
        if outer is None or outer not in set(block.iterdescendants(f"{W}txbxContent")):
            yield "\n".join(filter(None, _flow(box)))


def _chosen_item(data: Any) -> str:
    """The chosen item of a list, or the mark of a ticked box, of an old form."""
    items = [item.get(f"{W}val") or "" for item in data.iter(f"{W}listEntry")]
    if items:
        result = next(data.iter(f"{W}result"), None)
        index = (result.get(f"{W}val") if result is not None else None) or "0"
        return items[int(index)] if index.isdecimal() and int(index) < len(items) else items[0]
    box = next(data.iter(f"{W}checkBox"), None)
    if box is None:
        return ""
    state = next(box.iter(f"{W}checked"), None)
    if state is None:
        state = next(box.iter(f"{W}default"), None)
    checked = state is not None and state.get(f"{W}val") not in ("0", "false")
    return "☒ " if checked else "☐ "


def _is_placeholder(control: Any) -> bool:
    """Whether a control shows only what to write there."""
    return control.find(f"{W}sdtPr/{W}showingPlcHdr") is not None


def _is_deleted(element: Any, block: Any) -> bool:
    return any(
        ancestor.tag in (f"{W}del", f"{W}moveFrom")
        for ancestor in element.iterancestors()
        if ancestor is not block
    )


def _style_of(paragraph: Any) -> str:
    style = paragraph.find(f"{W}pPr/{W}pStyle")
    return (style.get(f"{W}val") or "") if style is not None else ""


def _note(note: Any) -> str:
    text = "\n".join(filter(None, map(str.strip, _flow(note))))
    author = note.get(f"{W}author") if note.tag == f"{W}comment" else None
    return f"{author}: {text}" if author and text else text


# ------------------------------------------------------------------ tables


def _table(table: Any) -> str:
    rows: list[list[str]] = []
    header = None
    for number, row in enumerate(_rows(table)):
        if number == 0 and row.find(f"{W}trPr/{W}tblHeader") is not None:
            header = True
        rows.append(_cells(row, rows[-1] if rows else []))
    return table_text(rows, header=header)


def _rows(parent: Any) -> Iterator[Any]:
    for child in children(parent):
        if child.tag == f"{W}tr":
            if child.find(f"{W}trPr/{W}del") is None:
                yield child
        elif child.tag not in _DELETED:
            yield from _rows(child)


def _cells(row: Any, above: list[str]) -> list[str]:
    """A text for each column; "" where a cell covers further ones, and the text from above where
    a cell covers several rows."""
    cells: list[str] = [""] * _number(row.find(f"{W}trPr/{W}gridBefore"), 0)
    for cell in _cell_elements(row):
        merge = cell.find(f"{W}tcPr/{W}vMerge")
        if merge is not None and merge.get(f"{W}val") != "restart" and len(cells) < len(above):
            text = above[len(cells)]
        else:
            text = "\n".join(filter(None, _flow(cell)))
        cells.append(text)
        cells += [""] * (_number(cell.find(f"{W}tcPr/{W}gridSpan"), 1) - 1)
    return cells


def _cell_elements(parent: Any) -> Iterator[Any]:
    for child in children(parent):
        if child.tag == f"{W}tc":
            if child.find(f"{W}tcPr/{W}cellDel") is None:
                yield child
        elif child.tag not in _DELETED:
            yield from _cell_elements(child)


def _number(element: Any, default: int) -> int:
    text = (element.get(f"{W}val") or "") if element is not None else ""
    return min(int(text), 1000) if text.isdecimal() and len(text) < 6 else default


def _breaks(block: Any, *, noted: bool) -> tuple[int, int]:
    """Page breaks (before the first word, after it) of a paragraph or table: those that Word
    noted, or, where it noted none, those that the author set."""
    before = after = 0
    seen_text = False
    for element in block.iter(f"{W}t", f"{W}lastRenderedPageBreak", f"{W}br"):
        if element.tag == f"{W}t":
            seen_text = seen_text or bool((element.text or "").strip())
        elif element.tag == f"{W}lastRenderedPageBreak" or (
            not noted and element.get(f"{W}type") == "page"
        ):
            before, after = (before, after + 1) if seen_text else (before + 1, after)
    return before, after
