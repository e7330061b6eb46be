"""Compound files and archives: locked ones are encrypted, damaged ones corrupt, others refused."""

from __future__ import annotations

import io
import struct
import zipfile

import docx
import pytest

from mmsearch.errors import MediaError
from mmsearch.media.detect import sniff
from mmsearch.media.parts import DecodeRequest
from mmsearch.media.sandbox.pool import Sandbox
from tests.support.documents import an_epub, an_opendocument, zipped

_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def a_compound_file(names: list[str]) -> bytes:
    """Version 3 of [MS-CFB]: a header, a sector of the FAT, the directory; streams are empty."""
    entries = [_entry("Root Entry", 5, child=1)]
    # A list to the right is a tree, too.
    for number, name in enumerate(names, 1):
        entries.append(_entry(name, 2, right=number + 1 if number < len(names) else _FREE))
    while len(entries) % 4:
        entries.append(b"\0" * 128)
    sectors = len(entries) // 4
    chain = [_FAT, *range(2, sectors + 1), _END]
    fat = struct.pack("<128I", *chain, *[_FREE] * (128 - len(chain)))
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6,
        0, 1, 1, 0, 4096, _END, 0, _END, 0, 0,
    )  # fmt: skip
    header += struct.pack("<108I", *[_FREE] * 108)
    return header + fat + b"".join(entries)


def _entry(name: str, kind: int, *, right: int = _FREE, child: int = _FREE) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    return struct.pack(
        "<64sHBBIII16xIQQIQ", text, len(text), kind, 1, _FREE, right, child, 0, 0, 0, _END, 0
    )


def code_of(content: bytes, name: str = "") -> str:
    """The media type, or the code of the failure."""
    try:
        return sniff(content, name)
    except MediaError as error:
        return error.code if "module" not in error.reason else error.reason


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["EncryptedPackage", "EncryptionInfo"], "encrypted"),
        (["EncryptionInfo"], "encrypted"),
        (["\x06DataSpaces", "EncryptedPackage"], "encrypted"),
        (["WordDocument", "1Table"], "unsupported"),
        (["Workbook"], "unsupported"),
        (["Catalog", "256_abc"], "unsupported"),
        (["__properties_version1.0"], "application/vnd.ms-outlook"),
    ],
)
def test_what_a_compound_file_holds(names: list[str], code: str) -> None:
    assert code_of(a_compound_file(names), "locked.docx") == code


@pytest.mark.parametrize("name", ["cut.doc", "cut.msg", "locked.xlsx", "Thumbs.db"])
@pytest.mark.parametrize("length", [8, 60, 300, 511, 512, 600, 1100])
def test_a_compound_file_that_is_cut_off(sandbox: Sandbox, name: str, length: int) -> None:
    whole = a_compound_file(["EncryptedPackage", *(f"s{n}" for n in range(20))])
    with pytest.raises(MediaError) as caught:
        list(sandbox.decode(DecodeRequest(content=whole[:length], name=name)))
    assert caught.value.code == "corrupt"
    assert "module" not in caught.value.reason


def test_a_damaged_letter_of_outlook(sandbox: Sandbox) -> None:
    """Its directory may be whole and what it points to missing."""
    content = bytearray(a_compound_file(["__properties_version1.0", "__substg1.0_1000001F"]))
    entry = content.index("__substg1.0_1000001F".encode("utf-16-le"))
    struct.pack_into("<IQ", content, entry + 116, 0x7FFFFFF0, 5000)
    with pytest.raises(MediaError) as caught:
        list(sandbox.decode(DecodeRequest(content=bytes(content), name="x.msg")))
    assert caught.value.code in ("corrupt", "empty")


def a_word_document() -> bytes:
    document = docx.Document()
    document.add_paragraph("words " * 5000)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def a_late_list() -> bytes:
    """As some programs write it: what is in the package comes last."""
    return zipped(
        {"word/numbering.xml": "<x/>" * 2000, "word/document.xml": "<w/>" * 2000,
         "[Content_Types].xml": "<Types/>"}
    )  # fmt: skip


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (a_word_document, "report.docx"),
        (a_late_list, "report.docx"),
        (a_late_list, "upload"),
        (lambda: an_opendocument("text", "<text:p>" + "a b c " * 5000 + "</text:p>"), "x.odt"),
        (lambda: an_epub([("One", "<p>" + "words " * 3000 + "</p>")]), "x.epub"),
    ],
)
def test_a_document_that_is_cut_off(sandbox: Sandbox, make, name: str, share: float) -> None:  # type: ignore[no-untyped-def]
    whole = make()
    with pytest.raises(MediaError) as caught:
        list(sandbox.decode(DecodeRequest(content=whole[: int(len(whole) * share)], name=name)))
    assert caught.value.code == "corrupt"


def test_an_archive_that_is_cut_off_is_no_document() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("photos/a.bin", bytes(5000))
    assert code_of(buffer.getvalue()[:3000], "photos.zip") == "unsupported"


@pytest.mark.parametrize("damage", [b"\xff" * 6, b"\x00" * 6, b"\x03\x00"])
def test_a_damaged_mimetype_does_not_hide_the_archive(damage: bytes) -> None:
    """The first member says which kind of document it is; where it cannot be unpacked, the names
    of the members decide."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("word/document.xml", "<w:document/>")
    content = bytearray(file.getvalue())
    start = 30 + len("mimetype")
    content[start : start + len(damage)] = damage
    assert sniff(bytes(content), "letter.docx").endswith("wordprocessingml.document")
