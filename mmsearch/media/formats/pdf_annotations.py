"""What was written onto a PDF page (ISO 32000, 12.5 and 12.7): values of form fields, notes,
comments."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pypdfium2 as pdfium
from pypdfium2 import raw

Rectangle: TypeAlias = tuple[float, float, float, float]
"""left, top, right, bottom in the page's own coordinates."""

_MAX_ANNOTATIONS = 5000
_MAX_CHARACTERS = 2**16
_MAX_OPTIONS = 1000
_SILENT = frozenset((raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP))
"""A link repeats what it stands on, a popup the note that it belongs to."""


def written_texts(
    document: pdfium.PdfDocument, page: pdfium.PdfPage
) -> Iterator[tuple[str, Rectangle]]:
    """(text, where it stands) of each filled field, note and comment of a page."""
    form = document.formenv.raw if document.formenv is not None else None
    count = raw.FPDFPage_GetAnnotCount(page)
    seen: set[str] = set()
    for index in range(min(max(0, count), _MAX_ANNOTATIONS)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        try:
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            if kind == raw.FPDF_ANNOT_WIDGET:
                text = _field(form, annotation) if form else ""
            else:
                text = "" if kind in _SILENT else _note(annotation)
            if text and text not in seen:
                seen.add(text)
                yield text, _rectangle(annotation)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)


def _note(annotation: Any) -> str:
    text = _string(annotation, b"Contents")
    author = _string(annotation, b"T")
    if not text:
        rich = _string(annotation, b"RC")
        if rich:
            from mmsearch.media.formats.html import visible_text

            text = visible_text(rich)[0]
    return f"{author}: {text}" if author and text else text


def _field(form: Any, annotation: Any) -> str:
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    label = _wide(lambda *place: raw.FPDFAnnot_GetFormFieldAlternateName(form, annotation, *place))
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        checked = raw.FPDFAnnot_IsChecked(form, annotation)
        return f"☒ {label}" if checked and label else ""
    value = ""
    if kind in (raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX):
        value = ", ".join(filter(None, _chosen(form, annotation)))
    if kind in (raw.FPDF_FORMFIELD_PUSHBUTTON, raw.FPDF_FORMFIELD_SIGNATURE):
        return ""
    value = value or _wide(lambda *place: raw.FPDFAnnot_GetFormFieldValue(form, annotation, *place))
    return f"{label}: {value}" if label and value else value


def _chosen(form: Any, annotation: Any) -> Iterator[str]:
    """The labels of the chosen items of a list, which need not be its values."""
    count = raw.FPDFAnnot_GetOptionCount(form, annotation)
    for index in range(min(max(0, count), _MAX_OPTIONS)):
        if raw.FPDFAnnot_IsOptionSelected(form, annotation, index):
            yield _wide(
                lambda *place, at=index: raw.FPDFAnnot_GetOptionLabel(form, annotation, at, *place)
            )


def _string(annotation: Any, key: bytes) -> str:
    return _wide(lambda *place: raw.FPDFAnnot_GetStringValue(annotation, key, *place))


def _wide(read: Callable[..., int]) -> str:
    """A string of PDFium's: UTF-16, its length in bytes is asked for first."""
    length = read(None, 0)
    if not 2 < length <= 2 * _MAX_CHARACTERS:
        return ""
    buffer = (raw.FPDF_WCHAR * (length // 2))()
    read(buffer, length)
    text = ctypes.string_at(buffer, length).decode("utf-16-le", "replace")
    return text.rstrip("\0").replace("\r\n", "\n").replace("\r", "\n").strip()


def _rectangle(annotation: Any) -> Rectangle:
    rectangle = raw.FS_RECTF()
    if not raw.FPDFAnnot_GetRect(annotation, rectangle):
        return 0.0, 0.0, 0.0, 0.0
    return rectangle.left, rectangle.top, rectangle.right, rectangle.bottom
