"""Written files: bytes to one readable text, in any encoding.

The text that comes out is what offsets (`char_start`, `char_end`) count in. It depends on the
bytes and the media type alone: decoded, newlines made "\\n", NUL and unpaired surrogates made
spaces (one for one), and then

- plain, Markdown, reStructuredText, XML, source code: as it stands;
- HTML: what a reader sees, blocks on lines of their own, empty lines between paragraphs;
- JSON, JSON Lines: one "name: value" a line, an empty line between records;
- CSV, TSV: one row a paragraph, "column: value; column: value" where there is a header.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.html import visible_text

KINDS = (
    "text/plain", "text/markdown", "text/x-rst", "text/xml", "text/x-source", "text/html",
    "text/csv", "text/tab-separated-values", "application/json", "application/x-ndjson",
)  # fmt: skip
"""The media types that `read` knows."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: it begins with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What 8-bit and older multi-byte texts are tried as. An open list makes exotic code pages win
# on short texts.
_LEGACY = [
    "cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp874",
    "cp932", "euc_jp", "iso2022_jp", "gb18030", "big5", "cp949", "euc_kr",
]  # fmt: skip
_SAMPLE = 2**15
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\x80-\x84\x86-\x9f\ufffd\ufffe\uffff]")
_REPLACED = re.compile(r"[\x00\ud800-\udfff]")
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([A-Za-z0-9_.:-]{2,40})""")


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text and how it was written."""

    text: str
    encoding: str
    damaged: bool = False
    """Some bytes fit no encoding; they are U+FFFD."""
    sure: bool = True
    """The bytes have the shape of UTF-8, which no accident has."""


def read(content: bytes, mime: str, max_bytes: int) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of a written file of one of `KINDS`.

    Metadata: encoding, and where known title, description, language, warning.
    Raises MediaError: too_large, empty, corrupt.
    """
    if len(content) > max_bytes:
        raise MediaError(
            "too_large", f"The text has {len(content)} bytes: more than the {max_bytes} allowed."
        )
    decoded = decode(content)
    if decoded is None:
        raise MediaError("corrupt", "The text cannot be decoded in any encoding.")
    metadata: dict[str, Any] = {"encoding": decoded.encoding}
    if decoded.damaged:
        metadata["warning"] = "Some bytes fit no encoding and were replaced."
    text = decoded.text
    if mime == "text/html":
        text, found = visible_text(text)
        metadata |= found
    elif mime in ("application/json", "application/x-ndjson"):
        text = _readable_json(text)
    elif mime in ("text/csv", "text/tab-separated-values"):
        text = _readable_table(text, "\t" if mime.endswith("tab-separated-values") else None)
    elif mime == "text/markdown":
        heading = re.search(r"^#[ \t]+(.+?)[ \t#]*$", text[:10_000], re.MULTILINE)
        if heading:
            metadata["title"] = heading[1][:500]
    if not text.strip():
        raise MediaError("empty", "The file holds no text.")
    return text, metadata


# ------------------------------------------------------------------ encodings


def decode(content: bytes, *, partial: bool = False) -> Decoded | None:
    """The text, or None if these bytes are none in any encoding.

    `partial`: `content` is only the beginning, and may end inside a character.
    """
    found = _decode(content, partial=partial)
    if found is None or not _is_text(found):
        return None
    text = found.text.replace("\r\n", "\n").replace("\r", "\n")
    return replace(found, text=_REPLACED.sub(" ", text))


def _decode(content: bytes, *, partial: bool) -> Decoded | None:
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            found = _strict(content, encoding, partial=partial) or _lenient(content, encoding)
            return replace(found, sure=encoding == "utf-8-sig")
    utf8 = _strict(content, "utf-8", partial=partial)
    # Valid UTF-8 with many NULs is UTF-16 of a western language.
    if utf8 is not None and content.count(0) <= len(content) // 4:
        return utf8
    wide = _utf16(content, partial=partial)
    if wide is not None:
        return wide
    if b"\0" in content and content.count(0) > 1 + len(content) // 100:
        return utf8
    mostly = _mostly_utf8(content)
    return mostly or _declared(content, partial=partial) or _legacy(content)


def _strict(content: bytes, encoding: str, *, partial: bool) -> Decoded | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return Decoded(decoder.decode(content, final=not partial), encoding.removesuffix("-sig"))
    except (UnicodeDecodeError, ValueError):
        return None


def _lenient(content: bytes, encoding: str) -> Decoded:
    return Decoded(content.decode(encoding, "replace"), encoding.removesuffix("-sig"), True)


def _utf16(content: bytes, *, partial: bool) -> Decoded | None:
    """UTF-16 without a mark: the high bytes of a text repeat far more than the low ones."""
    sample = content[: _SAMPLE & ~1]
    if len(sample) < 4:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    for encoding, high, low in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        # One character in eight, at least, is a space, digit or Latin letter.
        if high > half // 8 and low * 8 < high:
            found = _strict(content, encoding, partial=partial)
            return found and replace(found, sure=False)
    return None


def _mostly_utf8(content: bytes) -> Decoded | None:
    """UTF-8 with a few damaged bytes: other encodings hardly ever form its sequences."""
    text = content.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    right = sum(1 for char in text[:_SAMPLE] if char > "\x7f" and char != "\ufffd")
    return Decoded(text, "utf-8", True) if right > 3 * wrong else None


def _declared(content: bytes, *, partial: bool) -> Decoded | None:
    """What HTML or XML says about itself, if it holds true."""
    match = _DECLARED.search(content[:2048])
    if match is None:
        return None
    with suppress(LookupError, ValueError):
        name = codecs.lookup(match[1].decode("ascii"))
        # Codecs that are no character sets (zlib, rot13 ...) must not be run on a hostile file.
        if name._is_text_encoding and not name.name.startswith(("utf", "idna", "punycode")):  # noqa: SLF001
            found = _strict(content, name.name, partial=partial)
            return found and replace(found, sure=False)
    return None


def _japanese(content: bytes) -> Decoded | None:
    """What reads as hiragana in an encoding of Japan is Japanese."""
    for encoding in ("euc_jp", "cp932"):
        found = _strict(content[:_SAMPLE], encoding, partial=True)
        if found is None:
            continue
        foreign = [char for char in found.text if char > "\x7f"]
        kana = sum("\u3041" <= char <= "\u3096" for char in foreign)
        if kana * 6 > len(foreign):
            text = content.decode(encoding, "replace")
            return Decoded(text, encoding, "\ufffd" in text, sure=False)
    return None


def _legacy(content: bytes) -> Decoded | None:
    japanese = _japanese(content)  # often taken for Korean or Chinese otherwise
    if japanese is not None:
        return japanese
    import charset_normalizer

    best = charset_normalizer.from_bytes(
        content[:_SAMPLE], cp_isolation=_LEGACY, preemptive_behaviour=False, chunk_size=1024
    ).best()
    encoding = best.encoding if best is not None else "cp1252"
    text = content.decode(encoding, "replace")
    return Decoded(text, encoding, "\ufffd" in text, sure=False)


def _is_text(decoded: Decoded) -> bool:
    """Not binary junk: hardly any control characters."""
    sample = decoded.text[:_SAMPLE]
    wrong = len(_CONTROL.findall(sample))
    if decoded.sure:
        return wrong * 4 <= len(sample)
    # Almost any bytes decode in an 8-bit encoding or in UTF-16, so be strict.
    strange = sum(unicodedata.category(char) in ("Cn", "Co", "Cs") for char in sample)
    return wrong + strange <= len(sample) // 100 + (len(sample) >= 16)


# ------------------------------------------------------------------ records


def _readable_json(text: str) -> str:
    """ "name: value" lines; the text itself where it is not valid JSON."""
    try:
        value = json.loads(text)
        records = value if isinstance(value, list) else [value]
    except (ValueError, RecursionError):
        try:
            records = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            return text
    try:
        return "\n\n".join("\n".join(_leaves(record, "")) for record in records)
    except RecursionError:
        return text


def _leaves(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        if value and all(isinstance(item, (str, int, float)) for item in value):
            joined = ", ".join(str(item) for item in value)
            yield f"{name}: {joined}" if name else joined
        else:
            for item in value:
                yield from _leaves(item, name)
    elif value is not None and value != "":
        clean = _REPLACED.sub(" ", str(value))
        yield f"{name}: {clean}" if name else clean


def _readable_table(text: str, delimiter: str | None) -> str:
    delimiter = delimiter or _delimiter(text)
    # Fields can be as long as the file; the limit is the whole process's, so it only grows.
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        rows = [
            [" ".join(cell.split()) for cell in row]
            for row in csv.reader(io.StringIO(text), delimiter=delimiter)
        ]
    except csv.Error:
        return text
    return readable_rows([row for row in rows if any(row)])


def readable_rows(rows: list[list[str]]) -> str:
    """One row a paragraph, "column: value; column: value" where there is a header."""
    if len(rows) > 1 and _is_header(rows[0]):
        names, body = rows[0], rows[1:]
        lines = []
        for row in body:
            named = [f"{name}: {cell}" for name, cell in zip(names, row, strict=False) if cell]
            lines.append("; ".join([*named, *filter(None, row[len(names) :])]))
        return "\n\n".join(lines)
    return "\n\n".join("; ".join(filter(None, row)) for row in rows)


def _delimiter(text: str) -> str:
    first = text[: 2**14].split("\n", 1)[0]
    return max(",;\t|", key=first.count)


def _is_header(row: list[str]) -> bool:
    return (
        all(cell and len(cell) <= 64 and not _NUMBER.fullmatch(cell) for cell in row)
        and len(set(row)) == len(row)
        and len(row) > 1
    )


_NUMBER = re.compile(r"[-+0-9.,:/ %€$]+")
