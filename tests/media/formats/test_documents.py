"""Documents through the sandbox: their words, pages and places; broken ones with a reason."""

from __future__ import annotations

import io
import zipfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import docx
import numpy as np
import openpyxl
import pptx
import pytest
from PIL import Image

from mmsearch.errors import MediaError
from mmsearch.media.parts import DecodeRequest, PagePart, Part, TextPart
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.types import Preprocess
from tests.support.documents import a_pdf, a_scan, an_epub, an_opendocument, zipped


def parts_of(sandbox: Sandbox, content: bytes | Path, **wanted: Any) -> list[Part]:
    place: dict[str, Any] = (
        {"path": str(content)} if isinstance(content, Path) else {"content": content}
    )
    return list(sandbox.decode(DecodeRequest(**place, **wanted)))


def pages_of(sandbox: Sandbox, content: bytes | Path, **wanted: Any) -> list[PagePart]:
    parts = parts_of(sandbox, content, **wanted)
    assert all(isinstance(part, PagePart) for part in parts)
    return [part for part in parts if isinstance(part, PagePart)]


def failure(sandbox: Sandbox, content: bytes | Path, **wanted: Any) -> MediaError:
    with pytest.raises(MediaError) as caught:
        parts_of(sandbox, content, **wanted)
    assert caught.value.reason.endswith(".")
    return caught.value


def saved(document: Any) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


# ------------------------------------------------------------------ PDF


def test_the_pages_of_a_pdf_with_their_words_and_places(sandbox: Sandbox, spec: Preprocess) -> None:
    """Every line knows where it stands on the page as it is seen; the page is a picture too."""
    first, second = pages_of(
        sandbox, a_pdf(["Grapes and figs\nof the south", "A second page"]),
        preprocess=spec, thumbnail=100,
    )  # fmt: skip
    assert (first.number, second.number) == (1, 2)
    assert first.metadata["pages"] == 2
    assert [first.text[line.start : line.end] for line in first.lines] == [
        "Grapes and figs",
        "of the south",
    ]
    left, top, right, bottom = first.lines[0].box
    assert 0.1 < left < 0.13  # 72 of 612 points
    assert right < 0.5
    assert 0.09 < top < bottom < 0.14
    assert first.lines[1].box[1] > bottom
    assert first.pixels is not None
    assert first.pixels.shape == (224, 224, 3)
    assert first.pixels.min() < 100 < first.pixels.max()  # ink on paper
    assert first.thumbnail is not None


def test_one_page_as_a_picture(sandbox: Sandbox) -> None:
    """As large as it is asked for, and the one that was asked for."""
    content = a_pdf(["first", "second\nwith more\nlines"])
    small = [part.thumbnail for part in pages_of(sandbox, content, thumbnail=150)]
    found = sandbox.picture(DecodeRequest(content=content, page=2, thumbnail=1100))
    assert found is not None
    assert found.thumbnail is not None
    with Image.open(io.BytesIO(found.thumbnail)) as image:
        assert max(image.size) == 1100
        shown = np.asarray(image.convert("L").resize((232, 300)), np.float32)
    away = []
    for thumbnail in small:
        with Image.open(io.BytesIO(thumbnail or b"")) as image:
            away.append(np.abs(np.asarray(image.convert("L").resize((232, 300))) - shown).mean())
    assert away[1] < away[0] / 2
    with pytest.raises(MediaError, match="no page 3"):
        sandbox.picture(DecodeRequest(content=content, page=3, thumbnail=100))


def test_a_turned_page_has_its_words_where_they_are_seen(sandbox: Sandbox) -> None:
    (page,) = pages_of(sandbox, a_pdf(["Sideways"], extra="/Rotate 90 "))
    left, top, right, bottom = page.lines[0].box
    assert right - left < bottom - top, "a line that runs downwards"
    assert left > 0.8


def test_a_word_that_a_line_cuts_in_two_is_one(sandbox: Sandbox, data: Path) -> None:
    pages = pages_of(sandbox, data / "documents/tracemonkey.pdf")
    assert len(pages) == 14
    assert "difficult to compile than statically typed" in pages[0].text.replace("\n", " ")


def test_a_page_without_words_comes_to_be_read(sandbox: Sandbox) -> None:
    scan = a_scan(["A letter to the landlord"])
    (page,) = pages_of(sandbox, scan, ocr="likely")
    assert page.text == ""
    assert page.picture is not None
    assert max(page.picture.shape) == 2200
    (unasked,) = pages_of(sandbox, scan)
    assert unasked.picture is None
    blank = pages_of(sandbox, a_pdf([""]), ocr="likely")[0]
    assert blank.picture is None, "nothing is shown, so nothing is read"
    written = pages_of(sandbox, a_pdf(["Words enough of its own"]), ocr="likely")[0]
    assert written.picture is None


def test_only_so_many_pages_are_read(sandbox: Sandbox) -> None:
    pages = pages_of(sandbox, a_pdf(["one", "two", "three"]), max_pages=2)
    assert [page.number for page in pages] == [1, 2]
    assert pages[0].metadata["warning"] == "Only the first 2 of 3 pages were read."


def test_huge_pages_are_drawn_small(sandbox: Sandbox, spec: Preprocess) -> None:
    (page,) = pages_of(
        sandbox, a_pdf(["tiny"], size=(14400, 14400)), preprocess=spec, thumbnail=320
    )
    assert page.thumbnail is not None
    assert page.pixels is not None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pypdf_libreoffice-writer-password.pdf", "encrypted"),
        ("made_truncated_half.pdf", "corrupt"),
        ("made_empty.pdf", "empty"),
        ("corkami_adobe-tiny.pdf", "corrupt"),
    ],
)
def test_pdfs_that_cannot_be_read(sandbox: Sandbox, data: Path, name: str, code: str) -> None:
    assert failure(sandbox, data / "hostile" / name).code == code


def test_a_tolerant_reader(sandbox: Sandbox, data: Path) -> None:
    """A kilobyte of rubbish before the document; a document by another name."""
    assert pages_of(sandbox, data / "hostile/corkami_1016garbage.pdf")
    assert pages_of(sandbox, data / "hostile/made_wrong_paper.docx")[0].mime == "application/pdf"


# ------------------------------------------------------------------ office


def test_a_word_document(sandbox: Sandbox) -> None:
    """Headings, paragraphs and tables in their order; pages where the author broke them."""
    document = docx.Document()
    document.core_properties.title = "The survey"
    document.add_heading("Results", level=1)
    document.add_paragraph("The otters have come back.")
    document.add_page_break()
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        [cell for row in table.rows for cell in row.cells],
        ["river", "otters", "Wye", "14"],
        strict=True,
    ):
        cell.text = text
    first, second = pages_of(sandbox, saved(document))
    assert first.text == "# Results\n\nThe otters have come back."
    assert second.text == "river: Wye; otters: 14"
    assert first.metadata["title"] == "The survey"
    assert first.metadata["page_kind"] == "page"


def test_a_word_document_without_breaks_is_one_text(sandbox: Sandbox) -> None:
    document = docx.Document()
    document.add_paragraph("Only this.")
    (part,) = parts_of(sandbox, saved(document))
    assert isinstance(part, TextPart)
    assert part.text == "Only this."


def test_slides(sandbox: Sandbox) -> None:
    deck = pptx.Presentation()
    for title, notes in (("Harvest", "Mention the rain."), ("Outlook", "")):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = title
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    first, second = pages_of(sandbox, saved(deck))
    assert (first.title, first.text) == ("Harvest", "Harvest\n\nMention the rain.")
    assert (second.number, second.title) == (2, "Outlook")
    assert first.metadata["page_kind"] == "slide"


def test_sheets(sandbox: Sandbox) -> None:
    """A row tells its columns' names; a sheet that claims a million columns is read as it is."""
    book = openpyxl.Workbook()
    book.active.title = "Stock"
    for row in (["item", "price"], ["kettle", 49.9], ["teapot", 31]):
        book.active.append(row)
    book.create_sheet("Far").cell(row=3, column=2000, value="out here")
    first, second = pages_of(sandbox, saved(book))
    assert first.text == "item: kettle; price: 49.9\n\nitem: teapot; price: 31"
    assert (first.title, second.title, second.text) == ("Stock", "Far", "out here")


def test_an_opendocument_text(sandbox: Sandbox) -> None:
    body = (
        '<text:h text:outline-level="2">Bees</text:h>'
        "<text:p>They <text:s/>sleep<text:line-break/>at <text:span>night</text:span>.</text:p>"
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<table:table table:name="t"><table:table-row><table:table-cell><text:p>hive</text:p>'
        "</table:table-cell><table:table-cell><text:p>frames</text:p></table:table-cell>"
        "</table:table-row><table:table-row><table:table-cell><text:p>north</text:p>"
        "</table:table-cell><table:table-cell><text:p>nine</text:p></table:table-cell>"
        "</table:table-row></table:table>"
    )
    (part,) = parts_of(sandbox, an_opendocument("text", body))
    assert isinstance(part, TextPart)
    assert part.text == "## Bees\n\nThey  sleep\nat night.\n\nhive: north; frames: nine"


def test_an_opendocument_spreadsheet_that_repeats_for_ever(sandbox: Sandbox) -> None:
    row = (
        "<table:table-row><table:table-cell><text:p>salt</text:p></table:table-cell>"
        '<table:table-cell table:number-columns-repeated="16777216"/></table:table-row>'
    )
    body = f'<table:table table:name="Spices">{row}</table:table>'
    (page,) = pages_of(sandbox, an_opendocument("spreadsheet", body))
    assert (page.number, page.title, page.text) == (1, "Spices", "salt")


def test_an_e_book(sandbox: Sandbox) -> None:
    chapters = [("The road", "<p>It was long.</p>"), ("The inn", "<p>It was <i>full</i>.</p>")]
    first, second = pages_of(sandbox, an_epub(chapters))
    assert (first.title, first.text.strip()) == ("The road", "It was long.")
    assert (second.number, second.text.strip()) == (2, "It was full.")
    assert first.metadata["author"] == "Ada"


# ------------------------------------------------------------------ letters


def test_a_mail(sandbox: Sandbox) -> None:
    """Who, to whom and what about; the plain body; attachments by name, text ones in full."""
    mail = EmailMessage()
    mail["From"], mail["To"] = "Ada <ada@example.com>", "bob@example.com"
    mail["Subject"], mail["Date"] = "Über die Brücke", "Tue, 05 Mar 2024 10:00:00 +0100"
    mail.set_content("We cross on Friday.")
    mail.add_alternative("<p>We cross on <b>Friday</b>.</p>", subtype="html")
    mail.add_attachment(b"\x00\x01", maintype="application", subtype="pdf", filename="toll.pdf")
    mail.add_attachment("Bring rope.", filename="list.txt")
    (part,) = parts_of(sandbox, bytes(mail), name="letter.eml")
    assert isinstance(part, TextPart)
    assert part.mime == "message/rfc822"
    assert part.metadata["title"] == "Über die Brücke"
    assert part.metadata["attachments"] == ["toll.pdf", "list.txt"]
    assert part.metadata["sent_at"] == "2024-03-05T10:00:00+01:00"
    assert part.text.count("We cross on Friday.") == 1
    assert "Bring rope." in part.text


def test_a_text_that_is_no_mail(sandbox: Sandbox) -> None:
    notes = b"To: do\nFrom: here to there\nBuy bread.\n"
    (part,) = parts_of(sandbox, notes, name="notes.txt")
    assert part.mime == "text/plain"


def test_rich_text(sandbox: Sandbox) -> None:
    (part,) = parts_of(sandbox, rb"{\rtf1\ansi\ansicpg1252 Caf\'e9 at {\b noon}.\par Yes.}")
    assert isinstance(part, TextPart)
    assert part.text == "Café at noon.\nYes."


# ------------------------------------------------------------------ hostile


def test_an_archive_that_unpacks_without_end(sandbox: Sandbox, data: Path) -> None:
    bomb = failure(sandbox, data / "hostile/made_bomb_xml.docx")
    assert bomb.code == "too_large"
    small = an_opendocument("text", "<text:p>" + "a b " * 5000 + "</text:p>")
    assert failure(sandbox, small, max_archive_bytes=10_000).code == "too_large"


def test_entities_are_not_expanded(sandbox: Sandbox) -> None:
    document = zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": '<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">'
            '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
            '<o:document-content xmlns:o="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
            'xmlns:t="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><o:body><o:text>'
            "<t:p>before &secret; &b; after</t:p></o:text></o:body></o:document-content>",
        }
    )
    (part,) = parts_of(sandbox, document)
    assert isinstance(part, TextPart)
    assert "root" not in part.text
    assert "aaaa" not in part.text
    assert part.text.startswith("before")


def test_a_document_cut_in_half(sandbox: Sandbox) -> None:
    whole = an_epub([("One", "<p>" + "words " * 2000 + "</p>")])
    assert failure(sandbox, whole[: len(whole) // 2]).code == "corrupt"


def test_a_document_of_which_a_part_is_damaged(sandbox: Sandbox, data: Path) -> None:
    """What can be read is read, and what is missing is said."""
    parts = parts_of(sandbox, data / "hostile/made_bitrot.docx")
    assert "damaged" in parts[0].metadata["warning"]


def test_an_archive_of_anything_else(sandbox: Sandbox) -> None:
    assert failure(sandbox, zipped({"a.txt": "a", "b.txt": "b"})).code == "unsupported"


def test_a_locked_archive(sandbox: Sandbox) -> None:
    content = bytearray(an_opendocument("text", "<text:p>secret</text:p>"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = archive.getinfo("content.xml")
    # The bit that says so, in the archive's list and at the member itself.
    listed = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    for at in (entry.header_offset + 6, listed + 8):
        content[at] |= 1
    assert failure(sandbox, bytes(content)).code == "encrypted"
