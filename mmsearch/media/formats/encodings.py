"""Bytes to text, in any encoding.

A byte order mark, then UTF-8, then UTF-16, then encodings of seven bits with escapes, then what
HTML or XML says about itself, then a guess (see `codepages`).
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, replace

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: it begins with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 2**15
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\x80-\x84\x86-\x9f\ufffd\ufffe\uffff]")
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([A-Za-z0-9_.:-]{2,40})""")
_ESCAPED = (
    (re.compile(rb"\x1b\$[@B]|\x1b\(J|\x1b\$\(D"), "iso2022_jp_2"),
    (re.compile(rb"\x1b\$\)C"), "iso2022_kr"),
    (re.compile(rb"~\{(?:[!-w][!-~])+~\}"), "hz"),
)
_USUAL_SIGNS = "“”„‘’–—«»€…"
_UTF7 = re.compile(rb"\+([A-Za-z0-9/]+)-")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Hints for line breaking and marks of direction, which no reader sees. They are no part of a word.
_INVISIBLE = re.compile("[\u00ad\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text and how it was written."""

    text: str
    encoding: str
    damaged: bool = False
    """Some bytes fit no encoding; they are U+FFFD."""
    sure: bool = True
    """The bytes have the shape of UTF-8, which no accident has."""


def without_invisible(text: str) -> str:
    """`text` as it is stored: without soft hyphens and marks of direction; a space for NUL and
    unpaired surrogates, which databases refuse."""
    return _INVISIBLE.sub("", _UNSTORABLE.sub(" ", text))


def decode(content: bytes, *, partial: bool = False) -> Decoded | None:
    """The text, or None if these bytes are none in any encoding.

    `partial`: `content` is only the beginning, and may end inside a character.
    """
    decoded = _decode(content, partial=partial)
    if decoded is None or not _is_text(decoded):
        return None
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
    return replace(decoded, text=without_invisible(text))


def _decode(content: bytes, *, partial: bool) -> Decoded | None:
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            decoded = _strict(content, encoding, partial=partial) or _lenient(content, encoding)
            return replace(decoded, sure=encoding == "utf-8-sig")
    utf8 = _strict(content, "utf-8", partial=partial)
    # Valid UTF-8 with many NULs is UTF-16 of a western language.
    if utf8 is not None and content.count(0) <= len(content) // 4:
        return _escaped(content) or utf8
    wide = _utf16(content, partial=partial)
    if wide is not None:
        return wide
    if b"\0" in content and content.count(0) > 1 + len(content) // 100:
        return utf8
    mostly = _mostly_utf8(content)
    return mostly or _declared(content, partial=partial) or _guessed(content)


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
            decoded = _strict(content, encoding, partial=partial)
            return decoded and replace(decoded, sure=False)
    if len(content) % 2 == 0 or partial:
        for encoding in ("utf-16-le", "utf-16-be"):
            decoded = _strict(sample, encoding, partial=True)
            if decoded is not None and _is_east_asian(decoded.text):
                decoded = _strict(content, encoding, partial=partial)
                return decoded and replace(decoded, sure=False)
    return None


def _is_east_asian(text: str) -> bool:
    """Whether text that was decoded as UTF-16 is Japanese, Korean or Chinese: random bytes give
    ideographs, but no kana, syllables or punctuation among them."""
    usual = sum(
        "\u3000" <= char <= "\u30ff" or "\uac00" <= char <= "\ud7a3" or "\uff00" <= char <= "\uffef"
        for char in text
    )
    known = usual + sum("\u4e00" <= char <= "\u9fff" or " " <= char <= "~" or char in "\r\n\t"
                        for char in text)  # fmt: skip
    return len(text) >= 4 and usual * 20 > len(text) and known * 20 >= len(text) * 19


def _escaped(content: bytes) -> Decoded | None:
    """Encodings whose bytes are all ASCII: ISO-2022, HZ and UTF-7 (RFC 1468, 1557, 1843, 2152)."""
    sample = content[:_SAMPLE]
    for pattern, encoding in _ESCAPED:
        if pattern.search(sample):
            decoded = _strict(content, encoding, partial=False)
            foreign = sum(char > "\x7f" for char in decoded.text) if decoded is not None else 0
            # Tildes and braces are common; without an escape character it takes more to be sure.
            if decoded is not None and foreign >= (4 if encoding == "hz" else 1):
                return replace(decoded, sure=False)
    shifted = _UTF7.findall(sample)
    # What C++ and sums write is no UTF-7: all shifts must give letters.
    if shifted and sample.count(b"+") == len(shifted) + sample.count(b"+-"):
        decoded = _strict(content, "utf-7", partial=False)
        if (
            decoded is not None
            and all(
                char.isalpha() or char in "“”„‘’–—«»€…" for char in decoded.text if char > "\x7f"
            )
            and not decoded.text.isascii()
        ):
            return replace(decoded, sure=False)
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
            decoded = _strict(content, name.name, partial=partial)
            return decoded and replace(decoded, sure=False)
    return None


def _guessed(content: bytes) -> Decoded:
    from mmsearch.media.formats import codepages

    encoding = codepages.guess(content[:_SAMPLE])
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
