"""Texts in every encoding, and the kinds of text that are made readable first."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from mmsearch.errors import MediaError
from mmsearch.media.detect import sniff
from mmsearch.media.formats.encodings import decode
from mmsearch.media.formats.text import read

GERMAN = "Grüße aus Köln: über die Brücke führt eine schöne, große Straße.\nZweite Zeile.\n"
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация.\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"
CHINESE = "广州市房地产中介协会分析，今年的市场比去年稳定得多。我们明天再讨论这个问题。\n"
LIMIT = 2**20


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"), (GERMAN, "utf-8-sig"), (GERMAN, "latin-1"), (GERMAN, "cp1252"),
        (GERMAN, "utf-16"), (GERMAN, "utf-16-le"), (GERMAN, "utf-16-be"), (GERMAN, "utf-32"),
        (RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (RUSSIAN, "utf-16"),
        (JAPANESE, "shift_jis"), (JAPANESE, "euc_jp"), (JAPANESE, "utf-8"), (JAPANESE, "utf-16"),
        (CHINESE, "gb18030"), (CHINESE, "utf-8"), ("plain ASCII, no more.", "ascii"),
    ],
)  # fmt: skip
def test_every_encoding(text: str, encoding: str) -> None:
    for repeated in (text, text * 40):
        content = repeated.encode(encoding)
        assert sniff(content) == "text/plain"
        found, metadata = read(content, "text/plain", LIMIT)
        assert found == repeated, metadata


def test_binary_junk_is_no_text() -> None:
    numbers = random.Random(0)
    for length in (1, 2, 3, 16, 100, 5000, 70_000):
        junk = bytes([0, 1, 2]) + numbers.randbytes(length)
        assert decode(junk) is None, length
        with pytest.raises(MediaError) as caught:
            sniff(junk)
        assert caught.value.code == "unsupported"


def test_a_head_that_ends_inside_a_character(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("x" + "é" * 40_000, "utf-8")
    assert sniff(path) == "text/plain"


def test_offsets_hold_after_normalisation() -> None:
    """NUL and unpaired surrogates would be refused by databases: one space for each."""
    text, _ = read(b"one\r\ntwo\rthree\0four", "text/plain", LIMIT)
    assert text == "one\ntwo\nthree four"
    assert read(b"one\r\ntwo\rthree\0four", "text/plain", LIMIT)[0] == text


@pytest.mark.parametrize(
    ("name", "content", "mime"),
    [
        ("a.md", b"# Title", "text/markdown"),
        ("a.csv", b"a,b\n1,2", "text/csv"),
        ("a.json", b'{"a": 1}', "application/json"),
        ("a.jsonl", b'{"a": 1}\n{"a": 2}', "application/x-ndjson"),
        ("a.rst", b"Title\n=====\n", "text/x-rst"),
        ("a.py", b"import os\n", "text/x-source"),
        ("a.html", b"<p>Hello", "text/html"),
        ("page", b"<!DOCTYPE html><p>Hello", "text/html"),
        ("photo.jpg", b"It says photo.", "text/plain"),
        ("song.mp3", b"", "empty"),
        ("a.md", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("a.txt", b"%PDF-1.4", "application/pdf"),
        (
            "a.txt",
            b"PK\x03\x04[Content_Types].xml word/document.xml",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported"),
        ("a.txt", b"BM is the beginning of a word", "text/plain"),
        ("a.txt", b"P1 means priority one", "text/plain"),
        ("a.txt", b"MZ, ID and GIF are abbreviations", "text/plain"),
    ],
)
def test_content_decides_and_the_name_only_between_texts(
    name: str, content: bytes, mime: str
) -> None:
    try:
        found = sniff(content, name)
    except MediaError as error:
        found = error.code
    assert found == mime


def test_a_table_leaves_the_csv_limit_of_the_process_as_large() -> None:
    before = csv.field_size_limit()
    assert read(b"a,b\n1,2", "text/csv", LIMIT)[0]
    assert csv.field_size_limit() >= before


def test_html_is_what_a_reader_sees() -> None:
    page = """<!doctype html><html lang="en"><head><title>A &amp; B</title><style>p {}</style>
    <meta name="description" content="About A."></head><body><script>var x = "<p>no</p>";</script>
    <h1>Heading</h1><p>One <b>bold</b>
    word.</p><ul><li>first<li>second</ul><p hidden>secret</p><div style="display: none">gone
    <div>too</div></div><pre>a
      b</pre><img alt="A cat" src=x></body></html>"""
    text, metadata = read(page.encode(), "text/html", LIMIT)
    assert text == "Heading\n\nOne bold word.\n\nfirst\nsecond\n\na\nb\n\nA cat"
    assert metadata == {
        "encoding": "utf-8", "title": "A & B", "language": "en", "description": "About A.",
    }  # fmt: skip


def test_html_says_its_own_encoding() -> None:
    page = '<meta charset="windows-1251"><p>Привет'.encode("cp1251")
    assert read(page, "text/html", LIMIT)[0] == "Привет"


def test_tables_and_records_become_readable() -> None:
    table, _ = read("name;größe\nÄpfel;3\nBirnen;\n".encode("latin-1"), "text/csv", LIMIT)
    assert table == "name: Äpfel; größe: 3\n\nname: Birnen"
    assert read(b"1,2\n3,4\n", "text/csv", LIMIT)[0] == "1; 2\n\n3; 4"
    records = b'{"title": "A", "tags": ["x", "y"]}\n{"title": "B", "by": {"name": "C"}}\n'
    expected = "title: A\ntags: x, y\n\ntitle: B\nby.name: C"
    assert read(records, "application/x-ndjson", LIMIT)[0] == expected
    listed = json.dumps([json.loads(row) for row in records.splitlines()]).encode()
    assert read(listed, "application/json", LIMIT)[0] == expected


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{broken", b'{"a": "\\ud800"}'])
def test_broken_json_is_still_text(content: bytes) -> None:
    assert read(content, "application/json", LIMIT)[0].encode()


@pytest.mark.parametrize(
    ("content", "code"),
    [(b" \n\t\n", "empty"), (b"x" * (LIMIT + 1), "too_large"), (b"\0\1\2\3\4\5", "corrupt")],
)
def test_refused(content: bytes, code: str) -> None:
    with pytest.raises(MediaError) as caught:
        read(content, "text/plain", LIMIT)
    assert caught.value.code == code


def test_real_documents(data: Path) -> None:
    page = data / "documents/test_blog.html"
    text, metadata = read(page.read_bytes(), sniff(page), LIMIT)
    assert metadata["title"].startswith("Does Model and Inference Parameter Matter")
    assert "Large language models" in text or "LLM" in text
    assert "function(" not in text
    poem = data / "documents/sonnet_001.txt"
    assert read(poem.read_bytes(), sniff(poem), LIMIT)[0] == poem.read_text("utf-8")
