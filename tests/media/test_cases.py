"""Files like those of public bug reports: documents and texts, with the values that are right."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from mmsearch.errors import MediaError
from mmsearch.media.parts import DecodeRequest, PagePart, Part, TextPart
from mmsearch.media.sandbox.pool import Sandbox


def parts_of(sandbox: Sandbox, path: Path) -> list[Part]:
    return list(sandbox.decode(DecodeRequest(path=str(path), ocr="likely", page_images=False)))


def text_of(sandbox: Sandbox, path: Path) -> str:
    parts = parts_of(sandbox, path)
    return "\f".join(part.text for part in parts if isinstance(part, TextPart | PagePart))


WORDS: dict[str, tuple[str, ...]] = {
    "01-docx-content-controls/controls.docx": (
        "Zorbelwerk", "Plimfrost", "tabledromedar", "cellgiraffe", "insertedmarmot", "movedlemur",
        "smartotter", "fieldbison", "nestedheron",
    ),
    "02-docx-notes-headers/notes.docx": (
        "Aktenzeichen", "Handelsregister", "zirkumpolar", "Kranichfeld", "Ockermann",
    ),
    "03-xlsx-as-shown/formats.xlsx": (
        "Postcode: 01067", "Date: 15.03.2024", "Share: 19%", "Price: 1,234.50 EUR", "Zwergotter",
    ),
    "04-table-without-header/contacts-noheader.csv": ("Anna Berg; Kiel; anna@example.org",),
    "04-table-without-header/form.docx": ("Name; Petra Holm", "IBAN; DE02 1203 0000"),
    "04-table-without-header/form.pptx": ("Name; Petra Holm", "IBAN; DE02 1203 0000"),
    "05-pptx/smartart.pptx": ("Dachsbauer", "alt of diagram", "walrus"),
    "06-mbox/noext": ("herons", "für den Ibis", "storks"),
    "06-mbox/base64-first.mbox": ("Reiher kostet fünf", "sechs Euro für alle", "Plain stork"),
    "06-mbox/qp-second.mbox": ("Reiher kostet fünf", "sechs Euro für alle", "Plain stork"),
    "06-mbox/html-first-crlf.mbox": ("Der Storch", "sechs Euro für alle", "Plain stork"),
    "07-mail-parts/attached-message.eml": ("Quarterly puffin figures", "Inner text"),
    "07-mail-parts/enriched.eml": ("Kormoran",),
    "07-mail-parts/html-attached.eml": ("Kormoran",),
    "07-mail-parts/markdown-part.eml": ("Kormoran",),
    "07-mail-parts/rtf-part.eml": ("Kormoran rtf",),
    "07-mail-parts/wrong-charset.eml": ("Schöne Grüße", "Grüße aus Köln"),
    "08-mentions-html-tags/template.py": ("kingfisher_total", "pelican"),
    "08-mentions-html-tags/minutes.txt": ("logo", "Pelican budget"),
    "08-mentions-html-tags/fragment.html": ("Pelican opening hours",),
    "08-mentions-html-tags/Icon.vue": ("pelicanIcon",),
    "09-soft-hyphen/book.epub": ("Leuchtturmwärter",),
    "09-soft-hyphen/note.txt": ("Kraftfahrzeugsteuer",),
    "09-soft-hyphen/text.odt": ("Grundsteuererklärung",),
    "10-ruby/book.epub": ("東京の図書館で",),
    "11-legacy-encodings/fr-long.txt": ("Très chère amie, voilà",),
    "11-legacy-encodings/da-long.txt": ("blåbær",),
    "11-legacy-encodings/latin2.txt": ("Zażółć gęślą jaźń",),
    "11-legacy-encodings/tr-cp1254.txt": ("Işık güneşli çağ",),
    "13-csv-separators/preamble.csv": ("Name: Berg; Betrag: 12,50",),
    "13-csv-separators/sep-line.csv": ("Name: Berg; Betrag: 12,50",),
    "14-pdf-forms-annotations/annotations.pdf": ("Zwergspitz", "Wolpertinger", "Rabattstaffel"),
    "15-pdf-rtl/rtl-chromium.pdf": ("يوم الجمعة الساعة الثالثة", "הפגישה מתחילה ביום שישי"),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_the_words_that_people_looked_for(sandbox: Sandbox, cases: Path, name: str) -> None:
    text = text_of(sandbox, cases / name)
    assert [words for words in WORDS[name] if words not in text] == []
    for gone in ("deletedbadger", "<html><body>", "Petra Holm: DE02", "f=C3=BCr"):
        assert gone not in text


@pytest.mark.parametrize(
    ("name", "code"),
    [("locked.xlsx", "encrypted"), ("cut.msg", "corrupt"), ("Thumbs.db", "corrupt")],
)
def test_locked_and_damaged_files(sandbox: Sandbox, cases: Path, name: str, code: str) -> None:
    with pytest.raises(MediaError) as caught:
        parts_of(sandbox, cases / "43-encrypted-office" / name)
    assert caught.value.code == code


def test_pictures_in_texts_are_no_passages(sandbox: Sandbox, cases: Path) -> None:
    for path in sorted((cases / "12-embedded-base64").glob("*.*")):
        if path.suffix != ".md":
            assert len(text_of(sandbox, path)) < 500, path.name


def test_front_matter(sandbox: Sandbox, cases: Path) -> None:
    (part,) = parts_of(sandbox, cases / "42-front-matter/note.md")
    assert part.metadata["title"] == "Wanderung am Watzmann"
    assert part.metadata["tags"] == ["berge", "ausflug"]


def test_a_page_of_glyph_numbers_is_read_by_ocr(sandbox: Sandbox, cases: Path) -> None:
    (page,) = parts_of(sandbox, cases / "16-pdf-no-tounicode/identity-h.pdf")
    assert isinstance(page, PagePart)
    assert page.picture is not None
    (page,) = parts_of(sandbox, cases / "16-pdf-no-tounicode/orig.pdf")
    assert isinstance(page, PagePart)
    assert page.picture is None


def test_hostile_files_are_accounted_for(sandbox: Sandbox, cases: Path) -> None:
    """Each ends in parts or in a failure; nothing is expanded, fetched or executed."""
    for path in sorted((cases / "50-robustness").iterdir()):
        text = ""
        with suppress(MediaError):
            text = text_of(sandbox, path)
        assert "root:" not in text
        assert len(text) < 10**6
