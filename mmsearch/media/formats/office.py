"""Office Open XML by python-docx, python-pptx and openpyxl; Rich Text by striprtf.

Slides and sheets are numbered; a Word document's pages are those that Word noted when it last
laid the document out, where it did.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.archive import open_archive, xml_tree
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.sections import Section, table_text
from mmsearch.media.opened import Content, reader

_HEADING = re.compile(r"heading (\d)|(title)$", re.IGNORECASE)
_MAX_DEPTH = 20
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"


def docx(source: Content, max_bytes: int) -> tuple[dict[str, Any], Iterator[Section]]:
    """(metadata, sections) of a Word document: pages if they are known, else one section.

    Raises MediaError as `open_archive`.
    """
    import docx as python_docx

    content = _checked(source, max_bytes)
    try:
        document = python_docx.Document(content)
        metadata = _core(document.core_properties)
        blocks = list(_word_blocks(document))
        body = document.element.body
    except MediaError:
        raise
    except Exception:  # noqa: BLE001  # the library raises anything on a damaged part
        # The text is in one part: the others may be damaged.
        with open_archive(source, max_bytes) as archive:
            body = xml_tree(archive.read("word/document.xml"))
        metadata = {"warning": "The document is damaged; only its plain text could be read."}
        blocks = [
            (paragraph, "".join(node.text or "" for node in paragraph.iter(f"{_W}t")).strip())
            for paragraph in body.iter(f"{_W}p")
        ]
    pages: list[list[str]] = [[]]
    noted = next(body.iter(f"{_W}lastRenderedPageBreak"), None) is not None
    for block, text in blocks:
        # The page that a paragraph begins on: a break before its first word counts.
        before, after = _breaks(block, noted=noted)
        pages += [[] for _ in range(before)]
        if text:
            pages[-1].append(text)
        pages += [[] for _ in range(after)]
    if len(pages) == 1:
        return metadata, iter([Section("\n\n".join(pages[0]))])
    metadata |= {"pages": len(pages), "page_kind": "page"}
    return metadata, (Section("\n\n".join(page), n) for n, page in enumerate(pages, 1))


def _word_blocks(document: Any) -> Iterator[tuple[Any, str]]:
    """(XML element, text) of each paragraph and table, in order."""
    from docx.table import Table

    for block in document.iter_inner_content():
        if isinstance(block, Table):
            yield block._element, table_text(_word_rows(block))  # noqa: SLF001  # there is no other way to the breaks
            continue
        text = block.text.strip()
        # What stands in a drawing's text box.
        boxed = (
            "".join(node.text or "" for node in paragraph.iter(f"{_W}t"))
            for box in block._element.iter(f"{_W}txbxContent")  # noqa: SLF001
            for paragraph in box.iter(f"{_W}p")
        )
        text = "\n".join([text, *dict.fromkeys(filter(None, map(str.strip, boxed)))]).strip()
        style = _HEADING.match(_style_name(block)) if text else None
        if style:
            text = f"{'#' * min(6, int(style[1] or 1))} {text}"
        yield block._element, text  # noqa: SLF001


def _style_name(paragraph: Any) -> str:
    with suppress(KeyError, AttributeError, ValueError):
        return str(paragraph.style.name or "")
    return ""


def _word_rows(table: Any) -> Iterator[list[str]]:
    for row in table.rows:
        # A merged cell is given once for each column it covers.
        cells: list[str] = []
        last = None
        for cell in row.cells:
            cells.append("" if cell._tc is last else cell.text)  # noqa: SLF001
            last = cell._tc  # noqa: SLF001
        yield cells


def _breaks(block: Any, *, noted: bool) -> tuple[int, int]:
    """Page breaks (before the first word, after it) of a paragraph or table: those that Word
    noted, or, where it noted none, those that the author set."""
    before = after = 0
    seen_text = False
    for element in block.iter(f"{_W}t", f"{_W}lastRenderedPageBreak", f"{_W}br"):
        if element.tag == f"{_W}t":
            seen_text = seen_text or bool((element.text or "").strip())
        elif element.tag == f"{_W}lastRenderedPageBreak" or (
            not noted and element.get(f"{_W}type") == "page"
        ):
            before, after = (before, after + 1) if seen_text else (before + 1, after)
    return before, after


def pptx(source: Content, max_bytes: int) -> tuple[dict[str, Any], Iterator[Section]]:
    """(metadata, slides) of a presentation: text, tables, pictures' descriptions, notes."""
    import pptx as python_pptx

    presentation = python_pptx.Presentation(_checked(source, max_bytes))
    slides = presentation.slides
    metadata = _core(presentation.core_properties)
    metadata |= {"pages": len(slides), "page_kind": "slide"}

    def sections() -> Iterator[Section]:
        for number, slide in enumerate(slides, 1):
            texts = list(_shape_texts(slide.shapes, 0))
            if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
                texts.append(slide.notes_slide.notes_text_frame.text)
            shape = slide.shapes.title
            title = clean(shape.text_frame.text) if shape is not None else ""
            yield Section("\n\n".join(filter(None, map(_plain, texts))), number, title or None)

    return metadata, sections()


def _shape_texts(shapes: Any, depth: int) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            if depth < _MAX_DEPTH:
                yield from _shape_texts(shape.shapes, depth + 1)
        elif getattr(shape, "has_table", False):
            yield table_text([cell.text for cell in row.cells] for row in shape.table.rows)
        elif getattr(shape, "has_chart", False):
            yield from _chart_texts(shape.chart)
        elif shape.has_text_frame:
            yield shape.text_frame.text
        else:
            described = shape._element.find(f".//{_P}cNvPr")  # noqa: SLF001
            if described is not None:
                yield described.get("descr", "")


def _chart_texts(chart: Any) -> Iterator[str]:
    if chart.has_title and chart.chart_title.has_text_frame:
        yield chart.chart_title.text_frame.text
    with suppress(ValueError, KeyError, NotImplementedError, AttributeError):
        for plot in chart.plots:
            names = [str(name) for name in plot.categories]
            yield "\n".join([", ".join(names), *(str(s.name) for s in plot.series)])


def _plain(text: str) -> str:
    # A vertical tab is a line break within a paragraph.
    return text.replace("\v", "\n").strip()


def xlsx(
    source: Content, max_bytes: int, max_text: int
) -> tuple[dict[str, Any], Iterator[Section]]:
    """(metadata, sheets) of a workbook, each cell as the value it showed last."""
    import openpyxl

    book = openpyxl.load_workbook(_checked(source, max_bytes), read_only=True, data_only=True)
    sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    metadata = _core(book.properties)
    metadata |= {"pages": len(sheets), "page_kind": "sheet"}

    def rows(sheet: Any) -> Iterator[list[str]]:
        # What a sheet says of its size is often wrong, and may be a bomb.
        sheet.reset_dimensions()
        length = 0
        for row in sheet.iter_rows(values_only=True):
            cells = ["" if value is None else _cell(value) for value in row]
            length += sum(map(len, cells))
            if length > max_text:
                raise MediaError("too_large", f"A sheet has more than {max_text} characters.")
            yield cells

    def sections() -> Iterator[Section]:
        for number, sheet in enumerate(sheets, 1):
            yield Section(table_text(rows(sheet)), number, sheet.title)

    return metadata, sections()


def _cell(value: Any) -> str:
    text = str(value)
    # A date is kept as a moment.
    return text.removesuffix(" 00:00:00")


def rtf(content: bytes, encoding: str = "cp1252") -> str:
    """The text of a Rich Text document. Raises MediaError corrupt."""
    from striprtf.striprtf import rtf_to_text

    # Rich Text is ASCII; what is not stands in escapes, in the code page that it names.
    source = content.decode("latin-1")
    named = re.search(r"\\ansicpg(\d{3,5})", source[:2000])
    try:
        text = rtf_to_text(
            source, encoding=f"cp{named[1]}" if named else encoding, errors="replace"
        )
    except (ValueError, IndexError, LookupError, RecursionError):
        raise MediaError("corrupt", "The document is damaged: it is no Rich Text.") from None
    return str(text).strip()


def _checked(source: Content, max_bytes: int) -> io.BytesIO:
    """The file in memory, once its archive is known to be within limits."""
    with open_archive(source, max_bytes):
        pass
    with reader(source) as file:
        return io.BytesIO(file.read())


def _core(properties: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for key, names in (
        ("title", ("title",)), ("author", ("author", "creator")),
        ("description", ("subject", "description")), ("language", ("language",)),
    ):  # fmt: skip
        for name in names:
            with suppress(AttributeError, ValueError, KeyError):
                text = clean(getattr(properties, name))
                if text:
                    metadata.setdefault(key, text)
    with suppress(AttributeError, ValueError, KeyError):
        if properties.created is not None:
            metadata["created_at"] = properties.created.date().isoformat()
    return metadata
