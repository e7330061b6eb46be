"""PDF documents by PDFium: each page's text with where it stands, and the page as a picture.

Page by page, so that a book of thousands of pages costs the memory of one. Reading order is
PDFium's. What a PDF can run (JavaScript) is not in the library that is used; what it points
to is not fetched.
"""

from __future__ import annotations

import ctypes
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
from PIL import Image
from pypdfium2 import raw

from mmsearch.errors import MediaError
from mmsearch.media.formats import right_to_left
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.pdf_annotations import written_texts
from mmsearch.media.opened import Content, reader
from mmsearch.media.parts import TextLine
from mmsearch.types import Box

READ_PIXELS = 2200
"""Longer side of a page that is drawn to read its words: about 190 dots per inch of A4."""

_GRID = 10_000  # boxes are rounded to one part in this
_MAX_LINES = 5000
_MAX_CHARACTERS = 2_000_000
"""Of one page; more are drawn, but not read."""
# Fewer characters of its own than this, and a page that shows something is read by OCR: page
# numbers and scanners' stamps are not its text.
_FEW, _SPARSE = 12, 200
_MOSTLY_PICTURE = 0.5
# Shares of characters that fonts do not map to Unicode: above the first one the page is read by
# OCR as well, above the second one only so.
_UNMAPPED, _CIPHER = 0.02, 0.5
_LIGATURES = {
    "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl",
    "\ufb05": "st", "\ufb06": "st",
}  # fmt: skip
# PDFium marks a hyphen at a line's end, whose word goes on: the word is put together.
_HYPHENS = (0x02, 0xFFFE)
_LINE_ENDS = (10, 13)
_CLEANED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff\u00ad\ufb00-\ufb06]")
_TWICE_COMPRESSED = re.compile(rb"/Filter\s*\[\s*/(?:FlateDecode|Fl)\s*/(?:FlateDecode|Fl)\b")
_STREAM = re.compile(rb"stream\r?\n")
_MAX_TWICE_COMPRESSED = 1000
_FAR = 16 * 2**20
_CHUNK, _OVERLAP = 2**20, 200
_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?")
_UNTITLED = ("untitled", "anonymous", "unspecified", "unknown")  # what programs put there
_TAGS = {"Title": "title", "Author": "author", "Subject": "description", "Keywords": "keywords"}


@dataclass(frozen=True, slots=True)
class Page:
    """One page, closed again: plain values."""

    number: int
    text: str
    lines: tuple[TextLine, ...]
    image: Image.Image | None
    """RGB, its longer side `draw` pixels; None unless asked for."""
    unread: npt.NDArray[np.uint8] | None
    """(height, width, 3) RGB at READ_PIXELS where the page has no text but shows something."""


def pages(
    source: Content, *, max_pages: int, draw: int | None, read: bool
) -> Iterator[tuple[dict[str, Any], Page]]:
    """(metadata of the document, page) for each page up to `max_pages`.

    `draw`: the longer side in pixels of the page's picture; `read`: give `unread` too.
    Raises MediaError: encrypted, corrupt, empty, missing, unreadable.
    """
    with _opened(source) as document:
        count = len(document)
        if count < 1:
            raise MediaError("empty", "The document has no pages.")
        metadata = _metadata(document, count, max_pages)
        with suppress(pdfium.PdfiumError):
            document.init_forms()  # so that filled-in fields are drawn
        damaged = 0
        for index in range(min(count, max_pages)):
            page = _page(document, index, draw, read=read)
            damaged += page is None
            if page is not None:
                yield metadata, page
        if damaged == min(count, max_pages):
            raise MediaError("corrupt", "The document is damaged: no page can be opened.")


def page_image(source: Content, number: int, longer: int) -> Image.Image:
    """Page `number` (1-based) as RGB, its longer side `longer` pixels.

    Raises MediaError as `pages` does; missing if there is no such page.
    """
    with _opened(source) as document:
        if not 1 <= number <= len(document):
            raise MediaError("missing", f"The document has no page {number}.")
        with suppress(pdfium.PdfiumError):
            document.init_forms()
        try:
            page = document[number - 1]
        except pdfium.PdfiumError:
            raise MediaError("corrupt", "The page is damaged.") from None
        try:
            image = _drawn(page, longer)
        finally:
            page.close()
    if image is None:
        raise MediaError("corrupt", "The page cannot be drawn.")
    return image


@contextmanager
def _opened(source: Content) -> Iterator[pdfium.PdfDocument]:
    with _reader(source) as file:
        _refuse_bombs(file)
        document = _document(file)
        try:
            yield document
        finally:
            document.close()


def _reader(source: Content) -> BinaryIO:
    try:
        return reader(source)
    except FileNotFoundError:
        raise MediaError("missing", "There is no such file.") from None
    except OSError as error:
        raise MediaError("unreadable", f"The file cannot be read: {error.strerror}.") from None


def _refuse_bombs(file: BinaryIO) -> None:
    """A stream that is compressed twice may unpack to a million times its size; PDFium would.

    Raises MediaError too_large, OSError.
    """
    position, tail, count = 0, b"", 0
    while block := file.read(_CHUNK):
        content = tail + block
        for match in _TWICE_COMPRESSED.finditer(content):
            count += 1
            file.seek(position - len(tail) + match.end())
            if count > _MAX_TWICE_COMPRESSED or _unpacks_far(file.read(_CHUNK)):
                raise MediaError(
                    "too_large", "The document holds a stream that unpacks beyond all bounds."
                )
        position += len(block)
        tail = content[-_OVERLAP:]
        file.seek(position)
    file.seek(0)


def _unpacks_far(content: bytes) -> bool:
    start = _STREAM.search(content, 0, 4096)
    if start is None:
        return False
    with suppress(zlib.error):
        inner = zlib.decompressobj().decompress(content[start.end() :], _FAR)
        return len(inner) == _FAR or len(zlib.decompressobj().decompress(inner, _FAR)) == _FAR
    return False


def _document(opened: Any) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(opened)
    except pdfium.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code == raw.FPDF_ERR_PASSWORD:
            raise MediaError(
                "encrypted", "The document is protected by a password; remove it to index the file."
            ) from None
        if code == raw.FPDF_ERR_SECURITY:
            raise MediaError("encrypted", "The document is encrypted in an unknown way.") from None
        raise MediaError(
            "corrupt", "The document is damaged or cut off: it cannot be opened as a PDF."
        ) from None


def _metadata(document: pdfium.PdfDocument, count: int, max_pages: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"pages": count, "page_kind": "page"}
    with suppress(pdfium.PdfiumError, ValueError):
        properties = document.get_metadata_dict()
        for name, key in _TAGS.items():
            text = clean(properties.get(name))
            if text and text.strip("()").lower() not in _UNTITLED:
                metadata[key] = text
        date = _DATE.match(properties.get("CreationDate") or "")
        if date:
            metadata["created_at"] = "-".join(part for part in date.groups() if part)
    with suppress(pdfium.PdfiumError, ValueError):
        attached = [
            name
            for index in range(min(document.count_attachments(), 100))
            if (name := clean(document.get_attachment(index).get_name()))
        ]
        if attached:
            metadata["attachments"] = attached
    if count > max_pages:
        metadata["warning"] = f"Only the first {max_pages} of {count} pages were read."
    return metadata


def _page(document: pdfium.PdfDocument, index: int, draw: int | None, *, read: bool) -> Page | None:
    try:
        page = document[index]
    except pdfium.PdfiumError:
        return None
    try:
        text, lines, unmapped = _text(page)
        lacks_text = _lacks_text(page, text) or unmapped > _UNMAPPED
        text, lines = _with_annotations(document, page, text, lines)
        image = _drawn(page, draw) if draw else None
        unread = None
        if read and lacks_text:
            picture = _drawn(page, READ_PIXELS)
            if picture is not None and _shows_something(picture):
                unread = np.asarray(picture)
        return Page(index + 1, text, lines, image, unread)
    finally:
        page.close()


# ------------------------------------------------------------------ text


def _text(page: pdfium.PdfPage) -> tuple[str, tuple[TextLine, ...], float]:
    """(text, lines, share of the characters whose letters are not known)."""
    try:
        textpage = page.get_textpage()
    except pdfium.PdfiumError:
        return "", (), 0.0
    try:
        units = _units(textpage)
        unmapped = _unmapped(textpage, units)
        if unmapped > _CIPHER:
            # Numbers of glyphs, taken for letters: words that no one wrote.
            return "", (), unmapped
        parts: list[str] = []
        lines: list[TextLine] = []
        length = 0
        for first, last, ending in _line_spans(units):
            line = _line(textpage, units, first, last)
            box = _box(page, textpage, first, last) if len(lines) < _MAX_LINES else None
            if box is not None and line.strip():
                lines.append(TextLine(length, length + len(line), box))
            parts += (line, ending)
            length += len(line) + len(ending)
        return "".join(parts), tuple(lines), unmapped
    finally:
        textpage.close()


def _unmapped(textpage: pdfium.PdfTextPage, units: list[int]) -> float:
    """Share of a page's characters that its fonts do not map to Unicode, 0..1."""
    wrong = shown = 0
    for index, unit in enumerate(units):
        if unit in _LINE_ENDS or unit == ord(" "):
            continue
        shown += 1
        # Characters for private use mean nothing outside of their font.
        private = 0xE000 <= unit <= 0xF8FF or unit in (0, 0xFFFD)
        wrong += private or raw.FPDFText_HasUnicodeMapError(textpage, index) == 1
    return wrong / shown if shown else 0.0


def _with_annotations(
    document: pdfium.PdfDocument, page: pdfium.PdfPage, text: str, lines: tuple[TextLine, ...]
) -> tuple[str, tuple[TextLine, ...]]:
    """The page's text, and below it what was written onto the page."""
    added = list(lines)
    for written, place in written_texts(document, page):
        clean_text = _CLEANED.sub("", written).strip()
        if not clean_text or clean_text in text:
            continue
        text = f"{text.rstrip()}\n\n" if text.strip() else ""
        left, top, right, bottom = place
        corners = (_seen(page, left, top), _seen(page, right, bottom))
        xs, ys = zip(*corners, strict=True)
        box = (min(xs), min(ys), max(xs), max(ys))
        if box[0] < box[2] and box[1] < box[3]:
            added.append(TextLine(len(text), len(text) + len(clean_text), box))
        text += clean_text
    return text, tuple(added)


def _units(textpage: pdfium.PdfTextPage) -> list[int]:
    """The page's characters as PDFium counts them (its boxes are by the same index)."""
    count = min(raw.FPDFText_CountChars(textpage), _MAX_CHARACTERS)
    get = raw.FPDFText_GetUnicode
    return [get(textpage, index) for index in range(max(0, count))]


def _line_spans(units: list[int]) -> Iterator[tuple[int, int, str]]:
    """(first, last + 1, what ends it in the text) of each line's characters."""
    start = 0
    for index, unit in enumerate((*units, 10)):
        if unit in _LINE_ENDS or unit in _HYPHENS:
            if index > start:
                yield start, index, "\n" if unit in _LINE_ENDS else ""
            start = index + 1


def _line(textpage: pdfium.PdfTextPage, units: list[int], first: int, last: int) -> str:
    if not any(map(right_to_left.is_right_to_left, units[first:last])):
        return _decoded(units[first:last])
    if abs(raw.FPDFText_GetCharAngle(textpage, first)) > 0.01:
        return _decoded(units[first:last])  # turned: left and right are elsewhere
    box, x, y = raw.FS_RECTF(), ctypes.c_double(), ctypes.c_double()
    matrix = raw.FS_MATRIX()
    glyphs = []
    for index in range(first, last):
        char = _decoded(units[index : index + 1])
        if char and raw.FPDFText_GetLooseCharBox(textpage, index, box):
            left = box.left
            if raw.FPDFText_GetCharOrigin(textpage, index, x, y):
                left = min(left, x.value)
            size = raw.FPDFText_GetFontSize(textpage, index)
            if raw.FPDFText_GetMatrix(textpage, index, matrix):
                size *= math.hypot(matrix.a, matrix.b)
            glyphs.append(right_to_left.Glyph(char, left, box.right, max(size, 1.0)))
    return right_to_left.logical_line(glyphs)


def _decoded(units: list[int]) -> str:
    # PDFium gives code points outside the first plane whole or as two surrogates.
    text = "".join(map(chr, (unit for unit in units if 0 < unit < 0x110000)))
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CLEANED.sub(lambda match: _LIGATURES.get(match[0], ""), text).strip(" ")


def _box(page: pdfium.PdfPage, textpage: pdfium.PdfTextPage, first: int, last: int) -> Box | None:
    """Around some characters, as the page is seen (cropped and turned)."""
    count = raw.FPDFText_CountRects(textpage, first, last - first)
    edges: list[tuple[float, float]] = []
    values = [ctypes.c_double() for _ in range(4)]
    for index in range(max(0, min(count, 100))):
        if raw.FPDFText_GetRect(textpage, index, *values):
            left, top, right, bottom = (value.value for value in values)
            edges += [_seen(page, left, top), _seen(page, right, bottom)]
    if not edges:
        return None
    xs, ys = [x for x, _ in edges], [y for _, y in edges]
    box = (min(xs), min(ys), max(xs), max(ys))
    return box if box[0] < box[2] and box[1] < box[3] else None


def _seen(page: pdfium.PdfPage, x: float, y: float) -> tuple[float, float]:
    """A point of the page's own coordinates as 0..1 of the page as it is seen."""
    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, _GRID, _GRID, 0, x, y, across, down)
    return (
        min(1.0, max(0.0, across.value / _GRID)),
        min(1.0, max(0.0, down.value / _GRID)),
    )


# ------------------------------------------------------------------ pictures


def _drawn(page: pdfium.PdfPage, longer: int) -> Image.Image | None:
    """The page as RGB, its longer side `longer` pixels; None if it cannot be drawn."""
    width, height = page.get_size()
    if not (0 < width < 1e6 and 0 < height < 1e6):
        return None
    scale = longer / max(width, height)
    # A strip stays as thin as it is: no more pixels than asked for, at least one across.
    if min(width, height) * scale < 1:
        return None
    try:
        bitmap = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=False)
        image: Image.Image = bitmap.to_pil()
        return image.convert("RGB")
    except (pdfium.PdfiumError, ValueError):
        return None


def _lacks_text(page: pdfium.PdfPage, text: str) -> bool:
    letters = sum(map(str.isalnum, text))
    if letters < _FEW:
        return True
    return letters < _SPARSE and _picture_share(page) > _MOSTLY_PICTURE


def _picture_share(page: pdfium.PdfPage) -> float:
    """How much of the page its largest picture covers, 0..1."""
    width, height = page.get_size()
    largest = 0.0
    with suppress(pdfium.PdfiumError):
        for shown in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=2):
            with suppress(pdfium.PdfiumError):
                left, bottom, right, top = shown.get_bounds()
                largest = max(largest, (right - left) * (top - bottom))
    return float(largest / max(width * height, 1.0))


def _shows_something(picture: Image.Image) -> bool:
    """Not one even surface: a blank page has nothing to read."""
    low, high = picture.convert("L").reduce(4).getextrema()
    return bool(high - low > 40)  # type: ignore[operator]  # one band: two numbers
