"""Markdown, notebooks, calendars, contacts and e-books; what is no text in them."""

from __future__ import annotations

import base64
import io
import json
import random
import zipfile

import pytest

from mmsearch.media.detect import sniff
from mmsearch.media.formats import fictionbook
from mmsearch.media.formats.html import visible_text
from mmsearch.media.formats.text import read
from mmsearch.media.parts import DecodeRequest, PagePart
from mmsearch.media.sandbox.pool import Sandbox
from tests.support.documents import an_epub, zipped

LIMIT = 2**24
PICTURE = base64.b64encode(random.Random(1).randbytes(30_000)).decode()


def markdown(text: str) -> tuple[str, dict[str, object]]:
    found, metadata = read(text.encode(), "text/markdown", LIMIT)
    metadata.pop("encoding")
    return found, metadata


# ------------------------------------------------------------------ what mentions HTML


@pytest.mark.parametrize(
    ("name", "text", "mime"),
    [
        ("template.py", 'HEAD = "<html><head><style>"\nRATE = 0.19\n', "text/x-source"),
        ("notes.md", "The `<head>` element.\n\nRemember the pelican.\n", "text/markdown"),
        ("rows.csv", "id,body\n1,<html><head>pelican\n", "text/csv"),
        ("data.json", '{"body": "<html><body>"}', "application/json"),
        ("lines.jsonl", '{"body": "<html><body>"}\n', "application/x-ndjson"),
        ("minutes.txt", "We put it into <head> of every page.\nThen we left.\n", "text/plain"),
        ("first.txt", "<head> is where it goes, they said.\n", "text/plain"),
        ("first.txt", "<html> is a tag, they said.\n", "text/plain"),
        ("server.log", "GET / returned <html>\n", "text/plain"),
        ("Icon.vue", "<template><svg viewBox='0 0 1 1'/></template>\n", "text/x-source"),
        ("page.php", "<!doctype html><body><?php echo 1 ?></body>", "text/x-source"),
        ("index.php", "<!doctype html><title>x</title><body>Made by a program", "text/html"),
        ("fragment.html", "<div><svg><path/></svg><p>Hours</p></div>", "text/html"),
        ("saved.txt", "<!-- saved -->\n<!DOCTYPE html><html><body>x</body></html>", "text/html"),
        ("page", "<?xml version='1.0'?><html xmlns='x'><head/><body>x</body></html>", "text/html"),
        ("drawing", "<?xml version='1.0'?><!-- a --><svg/>", "unsupported"),
        ("letter.txt", "Use <svg> for icons.", "text/plain"),
        ("cal", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "text/calendar"),
        ("card", "BEGIN:VCARD\nEND:VCARD\n", "text/vcard"),
    ],
)
def test_a_mention_of_html_makes_no_page(name: str, text: str, mime: str) -> None:
    if mime == "unsupported":
        with pytest.raises(Exception, match="SVG"):
            sniff(text.encode(), name)
    else:
        assert sniff(text.encode(), name) == mime


def test_tags_that_authors_leave_out_or_open() -> None:
    """HTML lets head and body be left out; what is never closed hides nothing but itself."""
    assert visible_text("<head><title>T</title><meta charset=utf-8><p>Hours: nine")[0] == (
        "Hours: nine"
    )
    assert visible_text("<p>a < b and c > d")[0] == "a < b and c > d"
    assert visible_text("<select><option>one</select>after")[0] == "after"
    assert "rest" in visible_text("<select><option>one <p>rest")[0]
    assert visible_text("<head><title/><script src='x'/></head><body>Words")[0] == "Words"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["<a ", "<", "<!--", "<a href='", "<div>", "<![", "<p hidden>",
                                   "<table>", "</", "<ruby><rt>", "&"])  # fmt: skip
def test_pages_cost_one_pass(piece: str) -> None:
    """A tokenizer that looks back at every tag would need hours."""
    assert visible_text("Words first. " + piece * 200_000)[0].startswith("Words first.")


@pytest.mark.parametrize(
    ("ruby", "base"),
    [
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp>字<rt>じ</rt></ruby>を", "漢字を"),
        ("<ruby><rb>東</rb><rb>京</rb><rt>とう</rt><rt>きょう</rt></ruby>の", "東京の"),
        ("<ruby>東<rt>とう<rb>京<rt>きょう</ruby>の", "東京の"),
        ("<ruby>図書館<rtc><rt>としょかん</rt></rtc></ruby>で", "図書館で"),
    ],
)
def test_readings_are_no_part_of_the_words(ruby: str, base: str) -> None:
    assert visible_text(f"<p>{ruby}</p>")[0] == base


def test_hints_for_line_breaking_in_pages() -> None:
    assert visible_text("Donau&shy;dampfer, super<wbr>cali")[0] == "Donaudampfer, supercali"


# ------------------------------------------------------------------ Markdown


def test_front_matter_is_metadata() -> None:
    text, metadata = markdown(
        '---\ntitle: "Up the Watzmann"\ntags: [hills, trips]\ndate: 2024-05-04\nauthor: Ann\n'
        "aliases:\n  - Tour\n---\n\n```bash\n# install boots\n```\n\nWe left early.\n"
    )
    assert metadata == {
        "title": "Up the Watzmann", "tags": ["hills", "trips"], "date": "2024-05-04",
        "author": "Ann", "aliases": ["Tour"],
    }  # fmt: skip
    assert "aliases: Tour" in text
    assert text.endswith("We left early.\n")
    assert "---" not in text


@pytest.mark.parametrize(
    ("front", "tags"),
    [
        ("---\ntags: hills, trips\n---\n", ["hills", "trips"]),
        ("---\ntags: '#hills #trips'\n---\n", ["hills", "trips"]),
        ("---\r\ntags:\r\n- hills\r\n- trips\r\n---\r\n", ["hills", "trips"]),
        ("---\nkeywords: [hills, trips]\n...\n", ["hills", "trips"]),
        ('+++\ntags = ["hills", "trips"]\n+++\n', ["hills", "trips"]),
        ("---\ntitle: Tour: the hills\ntags: hills, trips\n---\n", ["hills", "trips"]),
    ],
)
def test_tags_as_people_write_them(front: str, tags: list[str]) -> None:
    assert markdown(f"{front}Body.")[1]["tags"] == tags


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("```\n# no\n```\n# Yes\n", "Yes"), ("~~~~\n# no\n~~~\n# no\n~~~~\n# Yes\n", "Yes"),
        ("Yes\n===\n\nbody", "Yes"), ("# Yes #\n", "Yes"), ("words\n\n---\n\nmore", None),
        ("word\nsum 12\n=====\n", None), ("#hashtag\n", None), ("```\n# no\n", None),
    ],
)  # fmt: skip
def test_titles(text: str, title: str | None) -> None:
    assert markdown(text)[1].get("title") == title


def test_a_bomb_of_aliases() -> None:
    """YAML's references to earlier values are not followed."""
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    text, _ = markdown("---\n" + "\n".join(lines) + "\n---\nBody.")
    assert len(text) < 5000
    assert "Body." in text


# ------------------------------------------------------------------ files inside of texts


@pytest.mark.parametrize(
    ("mime", "text"),
    [
        ("text/plain", f"before {PICTURE} after"),
        ("text/markdown", f"before ![x](data:image/png;base64,{PICTURE}) after"),
        ("text/x-source", f'x = "before"  # {PICTURE}\ny = "after"'),
        ("application/json", json.dumps({"a": "before", "b": f"data:image/png;base64,{PICTURE}",
                                         "c": "after"})),
        ("text/plain", f"before\n{base64.encodebytes(PICTURE.encode()).decode()}\nafter"),
        ("text/plain", "before " + "ab12" * 300 + " after"),
        ("text/html", f"<p>before<img src='data:image/png;base64,{PICTURE}'>after"),
    ],
)  # fmt: skip
def test_files_in_letters_are_no_text(mime: str, text: str) -> None:
    found, _ = read(text.encode(), mime, LIMIT)
    assert "before" in found
    assert "after" in found
    assert len(found) < 200


def test_long_words_stay() -> None:
    """Addresses, German and Chinese have long ones."""
    text = f"Donaudampfschifffahrtsgesellschaftskapitän https://example.org/{'a/b-c.d' * 20} " + (
        "会议将于星期五下午三点开始" * 40
    )
    assert read(text.encode(), "text/plain", LIMIT)[0] == text


@pytest.mark.parametrize("version", [3, 4])
def test_a_notebook(version: int) -> None:
    """What is written in its cells, and what they printed; no pictures."""
    cells = [
        {"cell_type": "markdown", "source": ["# Otters\n", "We count."]},
        {"cell_type": "code", "source" if version == 4 else "input": "plot(otters)",
         "outputs": [
             {"output_type": "stream", "text": ["14 otters\n"]},
             {"output_type": "display_data", "data": {"image/png": PICTURE, "text/plain": "<Fig>"}},
             {"output_type": "error", "ename": "ValueError", "evalue": "no otter"},
         ]},
    ]  # fmt: skip
    book = {"nbformat": version} | (
        {"cells": cells} if version == 4 else {"worksheets": [{"cells": cells}]}
    )
    text, _ = read(json.dumps(book).encode(), "application/json", LIMIT)
    assert text == (
        "# Otters\nWe count.\n\nplot(otters)\n\n14 otters\n\n<Fig>\n\nValueError: no otter"
    )


# ------------------------------------------------------------------ calendars and contacts


def test_a_calendar() -> None:
    """Folded lines and escapes as they are meant; an alarm is no event."""
    text, metadata = read(
        b"BEGIN:VCALENDAR\r\nX-WR-CALNAME:Family\r\nBEGIN:VEVENT\r\nSUMMARY:Long \r\n mee\r\n"
        b" ting\\, with all\r\nDTSTART;TZID=Europe/Berlin:20240304T140000\r\n"
        b'DTEND:20240304T150000Z\r\nORGANIZER;CN="Berg, Anna":mailto:anna@example.org\r\n'
        b"BEGIN:VALARM\r\nDESCRIPTION:Alarm\r\nEND:VALARM\r\nDESCRIPTION:One\\nTwo\r\n"
        b"END:VEVENT\r\nBEGIN:VTODO\r\nSUMMARY:Buy bread\r\nDUE;VALUE=DATE:20240305\r\n"
        b"END:VTODO\r\nEND:VCALENDAR\r\n",
        "text/calendar",
        LIMIT,
    )
    assert text == (
        "Event: Long meeting, with all\nStart: 2024-03-04 14:00 Europe/Berlin\n"
        "End: 2024-03-04 15:00 UTC\nOrganizer: Berg, Anna <anna@example.org>\n"
        "Description: One\nTwo\n\nEvent: Buy bread\nDue: 2024-03-05"
    )
    assert metadata["title"] == "Family"


@pytest.mark.parametrize(
    "card",
    [
        "BEGIN:VCARD\nVERSION:3.0\nN:Müller;Jörg;;;\nFN:Jörg Müller\nORG:Berg\\, Co;Sales\n"
        "item1.EMAIL;TYPE=work:j@example.org\nADR;TYPE=home:;;Main Road 5;Ulm;;89073;\n"
        "PHOTO;ENCODING=b:" + PICTURE + "\nEND:VCARD\n",
        "BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=B6=\n"
        "rg;;;\nORG:Berg\\, Co;Sales\nEMAIL;INTERNET:j@example.org\n"
        "ADR;HOME:;;Main Road 5;Ulm;;89073;\nPHOTO;ENCODING=BASE64;JPEG:\n "
        + PICTURE[:3000] + "\n\nEND:VCARD\n",
        ("BEGIN:VCARD\nVERSION:4.0\nFN:Jörg Müller\nORG:Berg\\, Co;Sales\n"
        "EMAIL;PREF=1:mailto:j@example.org\nADR;LABEL=\"a:b\":;;Main Road 5;Ulm;;89073;\n"
        "END:VCARD\n"),
    ],
    ids=["3.0", "2.1", "4.0"],
)  # fmt: skip
def test_contacts(card: str) -> None:
    text, metadata = read(card.encode(), "text/vcard", LIMIT)
    assert text == (
        "Name: Jörg Müller\nOrganization: Berg, Co, Sales\nEmail: j@example.org\n"
        "Address: Main Road 5, Ulm, 89073"
    )
    assert metadata["title"] == "Jörg Müller"


# ------------------------------------------------------------------ e-books


def test_a_fiction_book() -> None:
    """Chapters and what the book says of itself; its pictures are no text."""
    content = (
        '<?xml version="1.0" encoding="windows-1251"?><FictionBook xmlns="x"><description>'
        "<title-info><book-title>Птицы</book-title><author><first-name>Анна</first-name>"
        "<last-name>Берг</last-name></author></title-info></description><body><section><title>"
        "<p>Цапля</p></title><p>Она серая.</p></section><section><p>Ибис.</p></section></body>"
        f'<binary id="a">{PICTURE}</binary></FictionBook>'
    ).encode("cp1251")
    assert sniff(content, "book.fb2") == "application/x-fictionbook+xml"
    metadata, chapters = fictionbook.read(content)
    assert (metadata["title"], metadata["author"]) == ("Птицы", "Анна Берг")
    assert [(chapter.title, chapter.text) for chapter in chapters] == [
        ("Цапля", "Цапля\n\nОна серая."), (None, "Ибис."),
    ]  # fmt: skip


def test_an_e_book_that_names_one_chapter_for_ever(sandbox: Sandbox) -> None:
    """A chapter is read once, however often the book's list names it."""
    content = an_epub([("One", "<p>" + "words " * 500 + "</p>")])
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="c" href="text/c0.xhtml" '
        'media-type="application/xhtml+xml"/></manifest><spine>'
        + '<itemref idref="c"/>' * 100_000
        + "</spine></package>"
    )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    parts = list(sandbox.decode(DecodeRequest(content=zipped(members | {"OPS/book.opf": package}))))
    assert len(parts) == 1
    assert isinstance(parts[0], PagePart)
