"""PDF: what was written onto a page, lines from right to left, fonts without a Unicode map."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest

from mmsearch.errors import MediaError
from mmsearch.media.formats.pdf import Page, pages
from mmsearch.media.formats.right_to_left import Glyph, logical_line
from tests.support.documents import pdf_of

PRINTED = "Application form with words enough to count as text"


def a_page(content: bytes, font: str = "", page: str = "", further: Sequence[str] = ()) -> bytes:
    """A PDF of one page; object 4 is its font, 6 and on are `further`, `page` adds to the page."""
    font = font or "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    return pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [6 0 R 7 0 R 8 0 R] >> >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {page} /Contents 5 0 R "
            "/Resources << /Font << /F1 4 0 R >> >> >>".encode(),
            font.encode(),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
            *(each.encode("latin-1") for each in further),
        ]
    )


def read(content: bytes) -> Page:
    ((_, page),) = pages(content, max_pages=5, draw=None, read=True)
    return page


def shown(text: str) -> bytes:
    return f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode("latin-1")


def test_filled_fields() -> None:
    """Texts and choices as they are shown, ticked boxes by their names; empty ones not at all."""
    place = "/Type /Annot /Subtype /Widget /Rect [100 600 300 620] /P 3 0 R"
    fields = (
        f"<< {place} /FT /Tx /T (f1) /TU (Surname) /V (Quirrelmann) >>",
        f"<< {place} /FT /Ch /Ff 131072 /T (f2) /Opt [[(s) (South)] [(n) (North)]] /V (s) >>",
        f"<< {place} /FT /Tx /T (f3) /V () >>",
    )
    page = read(a_page(shown(PRINTED), page="/Annots [6 0 R 7 0 R 8 0 R]", further=fields))
    assert page.text == f"{PRINTED}\n\nSurname: Quirrelmann\n\nSouth"
    assert page.unread is None
    line = next(line for line in page.lines if "Quirrelmann" in page.text[line.start : line.end])
    left, top, right, bottom = line.box
    assert left == pytest.approx(100 / 612, abs=0.01)
    assert right == pytest.approx(300 / 612, abs=0.01)
    assert top < bottom < 0.3


@pytest.mark.parametrize("kind", ["Text", "FreeText", "Highlight", "Underline", "StrikeOut",
                                  "Stamp", "Caret", "Square", "Ink"])  # fmt: skip
def test_notes_and_comments(kind: str) -> None:
    note = (
        f"<< /Type /Annot /Subtype /{kind} /Rect [100 600 300 620] /T (Ann) "
        "/Contents (ask Wolpertinger) /QuadPoints [100 620 300 620 100 600 300 600] >>"
    )
    link = "<< /Type /Annot /Subtype /Link /Rect [1 1 9 9] /Contents (somewhere) >>"
    popup = "<< /Type /Annot /Subtype /Popup /Rect [1 1 9 9] /Contents (ask Wolpertinger) >>"
    annotations = "/Annots [6 0 R 7 0 R 8 0 R]"
    page = read(a_page(shown(PRINTED), page=annotations, further=(note, link, popup)))
    assert page.text == f"{PRINTED}\n\nAnn: ask Wolpertinger"


def test_a_font_without_a_unicode_map_is_read_by_ocr() -> None:
    """Numbers of glyphs are no text, however many letters they look like."""
    font = (
        "<< /Type /Font /Subtype /Type0 /BaseFont /Unknown /Encoding /Identity-H "
        "/DescendantFonts [<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Unknown "
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>] >>"
    )
    codes = b"".join(b"%04x" % code for code in range(0x30, 0x70))
    page = read(a_page(b"BT /F1 12 Tf 72 700 Td <%s> Tj ET 72 500 99 99 re f" % codes, font))
    assert page.text == ""
    assert page.unread is not None


def test_characters_for_private_use_are_read_by_ocr() -> None:
    """They mean nothing outside of their font."""
    lines = "\n".join(f"<{65 + n:02x}> <{0xE000 + n:04x}>" for n in range(20))
    cmap = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def "
        f"1 begincodespacerange <00> <ff> endcodespacerange 20 beginbfchar\n{lines}\nendbfchar "
        "endcmap end end"
    )
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>"
    stream = f"<< /Length {len(cmap)} >>\nstream\n{cmap}\nendstream"
    page = read(a_page(shown("ABCDEFGHIJKLMNOPQRST"), font, further=(stream,)))
    assert page.text == ""
    assert page.unread is not None


# ------------------------------------------------------------------ right to left


def glyphs(visual: str, *, spaces: bool = True) -> list[Glyph]:
    """Letters of 6 points from left to right."""
    return [
        Glyph(char, 6.0 * at, 6.0 * at + 6, 12.0)
        for at, char in enumerate(visual)
        if spaces or char != " "
    ]


@pytest.mark.parametrize(
    ("visual", "logical"),
    [
        ("השיגפה", "הפגישה"),
        ("12 םלואב שולש", "שלוש באולם 12"),
        ("3.4.2024 םוימ", "מיום 3.4.2024"),
        ("Microsoft Office לש (2024) חוד", "דוח (2024) של Microsoft Office"),
        ("the word םולש means peace", "the word שלום means peace"),
        ("two words הבוט הנש for it", "two words שנה טובה for it"),
        ("ةعمجلا موي", "يوم الجمعة"),
        ("!םולש", "שלום!"),
    ],
)
@pytest.mark.parametrize("order", ["visual", "logical", "mixed"])
def test_lines_in_reading_order(visual: str, logical: str, order: str) -> None:
    """Whatever order the letters come in: their places tell."""
    line = glyphs(visual)
    if order == "logical":
        line = line[::-1]
    elif order == "mixed":
        line = line[::2] + line[1::2]
    assert logical_line(line) == logical


def test_spaces_from_gaps() -> None:
    """Some producers write no spaces but move on."""
    assert logical_line(glyphs("12 םלואב שולש", spaces=False)) == "שלוש באולם 12"


def test_marks_ligatures_and_presentation_forms() -> None:
    """A mark belongs to the letter under it; forms of Arabic letters are the letters."""
    vowel = Glyph("\u05b8", 8.0, 10.0, 12.0)  # under the second letter from the left
    assert logical_line([*glyphs("םלש"), vowel]) == "של\u05b8ם"
    assert logical_line(glyphs("\ufefb\ufee1")) == "\u0645\u0644\u0627"  # meem, lam with alef
    ligature = [Glyph("ا", 0, 6, 12.0), Glyph("ل", 0, 6, 12.0)]
    assert logical_line([*ligature, Glyph("س", 6, 12, 12.0)]) == "سلا"


# ------------------------------------------------------------------ bounds


def test_a_stream_that_is_compressed_twice() -> None:
    """A kilobyte of it would keep PDFium busy for minutes."""
    packed = zlib.compress(zlib.compress(b"BT (x) Tj ET\n" * 3_000_000, 9), 9)
    body = b"<< /Filter [/FlateDecode /FlateDecode] /Length %d >>\nstream\n%s\nendstream" % (
        len(packed), packed,
    )  # fmt: skip
    content = a_page(shown(PRINTED)) + b"\n99 0 obj\n" + body + b"\nendobj\n"
    with pytest.raises(MediaError) as caught:
        read(content)
    assert caught.value.code == "too_large"
