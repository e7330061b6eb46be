"""Letters (RFC 5322, MIME) by the standard library.

The text is the letter as it is read: who, to whom, when, what about, and the body. Attachments
are named; letters and texts among them stand below the body.
"""

from __future__ import annotations

import base64
import email
import email.policy
import quopri
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import PurePath
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats import calendars, mailbox
from mmsearch.media.formats.encodings import decode
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.html import visible_text
from mmsearch.media.formats.rtf import rtf
from mmsearch.media.formats.sections import Section
from mmsearch.media.formats.tables import readable_csv
from mmsearch.media.opened import Content

_SHOWN = ("Subject", "From", "To", "Cc", "Date")
_MAX_PARTS = 1000
_MAX_DEPTH = 20
_MAX_ATTACHED_TEXT = 2**20
_PARSER_ERRORS = (
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    RecursionError,
    AssertionError,
)
"""What the standard library raises on hostile headers and parts."""
# What programs call these, and what they write (WHATWG Encoding standard).
_SUPERSETS = {
    "iso-8859-1": "cp1252", "latin1": "cp1252", "iso8859-1": "cp1252", "gb2312": "gb18030",
    "gbk": "gb18030", "euc-kr": "cp949", "ks_c_5601-1987": "cp949",
    "shift_jis": "cp932", "big5": "big5hkscs", "iso-8859-9": "cp1254",
}  # fmt: skip
TEXT_NAMES = {
    ".txt": "text/plain", ".md": "text/markdown", ".log": "text/plain", ".csv": "text/csv",
    ".html": "text/html", ".htm": "text/html", ".ics": "text/calendar", ".vcf": "text/vcard",
    ".rtf": "text/rtf", ".json": "application/json", ".xml": "text/xml",
}  # fmt: skip
_TEXT_KINDS = {
    "application/ics": "text/calendar", "application/rtf": "text/rtf",
    "application/json": "application/json", "application/xml": "text/xml",
    "application/xhtml+xml": "text/html", "text/x-vcard": "text/vcard",
    "text/directory": "text/vcard", "text/richtext": "text/enriched",
}  # fmt: skip
_ENRICHED_TAG = re.compile(r"<param>.{0,1000}?</param>|<(?!<)/?[A-Za-z-]{1,60}>", re.DOTALL)


@dataclass(slots=True)
class _Contents:
    """What the parts of a letter hold."""

    body: list[str] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    parts: int = 0


def eml(content: bytes) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of a mail. Raises MediaError corrupt, empty."""
    first, _, rest = content[:100].partition(b"\n")
    if first.strip().isdigit() and rest:  # Apple Mail (.emlx)
        content = content[len(first) + 1 :][: int(first[:12])]
    try:
        message = email.message_from_bytes(content, policy=email.policy.default)
        headers = _headers(message)
        contents = _Contents()
        _read_part(message, contents, 0)
    except _PARSER_ERRORS:
        raise MediaError("corrupt", "The mail is damaged: its parts cannot be read.") from None
    metadata: dict[str, Any] = {}
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        metadata["sent_at"] = parsedate_to_datetime(headers["Date"]).isoformat()
    return letter(
        headers, "\n\n".join(contents.body), contents.attachments, contents.below, metadata
    )


def mbox(source: Content, max_text: int) -> tuple[dict[str, Any], Iterator[Section]]:
    """(metadata, letters) of a mailbox; where there is only one, it is the whole document.

    Letters behind the first `max_text` characters are left out, with a warning.
    Raises MediaError empty, unreadable.
    """
    metadata: dict[str, Any] = {"page_kind": "message"}
    sections = _sections(source, max_text, metadata)
    first, second = next(sections, None), next(sections, None)
    if first is None:
        raise MediaError("empty", "The mailbox holds no letters.")
    if second is None:
        about = {"title": first.title} if first.title else {}
        return dict(first.about) | about, iter([Section(first.text)])
    return metadata, chain((first, second), sections)


def _sections(source: Content, max_text: int, metadata: dict[str, Any]) -> Iterator[Section]:
    """One letter late, so that the last one may carry a warning."""
    waiting: Section | None = None
    left = max_text
    damaged = 0
    number = 0
    try:
        for content in mailbox.letters(source, max_text):
            try:
                text, about = eml(content)
            except MediaError:
                damaged += 1
                continue
            left -= len(text)
            if left < 0:
                metadata["warning"] = f"Only the first {number} letters were read."
                break
            if waiting is not None:
                yield waiting
            number += 1
            title = about.pop("title", None)
            waiting = Section(text, number, title, about)
    except OSError as error:
        raise MediaError("unreadable", f"The file cannot be read: {error.strerror}.") from None
    if damaged:
        metadata.setdefault("warning", f"{damaged} of the letters are damaged or empty.")
    if waiting is not None:
        yield waiting


def letter(
    headers: dict[str, str],
    body: str,
    attached: list[str],
    below: list[str],
    metadata: dict[str, Any],
) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of what was read. Raises MediaError empty."""
    named = "Attachments: " + ", ".join(attached) if attached else ""
    text = "\n\n".join(filter(None, (head_of(headers), body.strip(), named, *below)))
    if not text.strip():
        raise MediaError("empty", "The letter holds no text.")
    for name, key in (("Subject", "title"), ("From", "author"), ("To", "to"), ("Cc", "cc")):
        if headers.get(name):
            metadata[key] = headers[name]
    if attached:
        metadata["attachments"] = attached
    return text, metadata


def head_of(headers: dict[str, str]) -> str:
    """The lines above a letter."""
    return "\n".join(f"{name}: {value}" for name, value in headers.items() if value)


def _headers(message: Any) -> dict[str, str]:
    raw: dict[str, str] = {}
    with suppress(*_PARSER_ERRORS):
        for name, value in message.raw_items():
            raw.setdefault(name.lower(), str(value))
    return {name: _header(message, name, raw.get(name.lower(), "")) for name in _SHOWN}


def _header(message: Any, name: str, raw: str) -> str:
    if not raw.isascii():
        # Bytes of some encoding, where only encoded words are allowed.
        with suppress(*_PARSER_ERRORS):
            decoded = decode(raw.encode("ascii", "surrogateescape"))
            if decoded is not None:
                return clean(" ".join(decoded.text.split()))
    with suppress(*_PARSER_ERRORS):
        return clean(str(message.get(name, "")))
    return ""


# ------------------------------------------------------------------ parts


def _read_part(part: Any, into: _Contents, depth: int) -> None:
    into.parts += 1
    if into.parts > _MAX_PARTS or depth > _MAX_DEPTH:
        return
    kind = part.get_content_type()
    name = _file_name(part)
    if kind == "message/rfc822":
        if name:
            into.attachments.append(name)
        for message in _attached_letters(part):
            into.below.append(_attached_text(message, into, depth))
    elif kind == "message/delivery-status":
        blocks = (str(block).strip() for block in _children(part))
        into.below.append("\n\n".join(filter(None, blocks)))
    elif kind == "multipart/alternative":
        _read_alternatives(part, into, depth)
    elif part.is_multipart():
        for child in _children(part):
            _read_part(child, into, depth + 1)
    elif part.get_content_disposition() == "attachment" or name:
        into.attachments.append(name or kind)
        kind = _text_kind(kind, name)
        if kind:
            into.below.append(_readable(part, kind)[:_MAX_ATTACHED_TEXT].strip())
    elif kind == "text/rfc822-headers":
        into.below.append(_payload_text(part).strip())
    else:
        kind = _text_kind(kind, name)
        if kind:
            into.body.append(_readable(part, kind).strip())


def _read_alternatives(part: Any, into: _Contents, depth: int) -> None:
    """The same text in several forms, of which one is taken; unless they differ."""
    forms: dict[str, _Contents] = {}
    for child in _children(part)[:_MAX_PARTS]:
        # A page with its pictures is one form.
        kinds = [inner.get_content_type() for inner in child.walk()][:_MAX_PARTS]
        kind = "text/html" if "text/html" in kinds else kinds[0]
        contents = _Contents(parts=into.parts)
        _read_part(child, contents, depth + 1)
        into.parts = contents.parts
        into.attachments += contents.attachments
        into.below += contents.below
        if any(contents.body):
            forms.setdefault(kind, contents)
    texts = {kind: "\n\n".join(filter(None, contents.body)) for kind, contents in forms.items()}
    calendar = texts.pop("text/calendar", "")
    page = texts.pop("text/html", "")
    plain = texts.get("text/plain") or next(iter(texts.values()), "")
    into.body += filter(None, (chosen_body(plain, page), calendar))


def chosen_body(plain: str, page: str) -> str:
    """The plain form, if it says what the page says. Some only ask for a better program."""
    if not plain or not page:
        return plain or page
    shown, written = set(_words(page)), set(_words(plain))
    if len(shown & written) >= 0.6 * len(shown):
        return plain
    return f"{plain}\n\n{page}" if len(written) > len(shown) else page


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _attached_letters(part: Any) -> list[Any]:
    letters = _children(part)
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    if encoding in ("base64", "quoted-printable") and letters:
        # Not allowed (RFC 2046), and the parser takes the encoded lines for the letter.
        raw = letters[0].as_bytes()
        content = quopri.decodestring(raw) if encoding[0] == "q" else _unbase64(raw)
        if content:
            return [email.message_from_bytes(content, policy=email.policy.default)]
    return letters


def _unbase64(content: bytes) -> bytes:
    with suppress(ValueError):
        return base64.b64decode(content)
    return b""


def _attached_text(message: Any, into: _Contents, depth: int) -> str:
    contents = _Contents(parts=into.parts)
    _read_part(message, contents, depth + 1)
    into.parts = contents.parts
    into.attachments += contents.attachments
    return "\n\n".join(filter(None, (head_of(_headers(message)), *contents.body, *contents.below)))


def _children(part: Any) -> list[Any]:
    payload = part.get_payload()
    return payload if isinstance(payload, list) else []


def _file_name(part: Any) -> str:
    with suppress(*_PARSER_ERRORS):
        return clean(part.get_filename() or "")
    return ""


def _text_kind(kind: str, name: str) -> str | None:
    """The media type of a part that is text, by its name where the type says nothing."""
    if kind in _TEXT_KINDS:
        return _TEXT_KINDS[kind]
    by_name = TEXT_NAMES.get(PurePath(name).suffix.lower())
    if kind == "application/octet-stream" or (kind == "text/plain" and by_name):
        return by_name
    return kind if kind.startswith("text/") else None


def _readable(part: Any, kind: str) -> str:
    if kind == "text/rtf":
        with suppress(MediaError):
            return rtf(part.get_payload(decode=True) or b"")
    return readable_text(_payload_text(part), kind)


def readable_text(text: str, kind: str) -> str:
    """A text of this media type as it is read."""
    if kind == "text/html":
        return visible_text(text)[0]
    if kind in ("text/calendar", "text/vcard"):
        return calendars.read(text)[0]
    if kind == "text/enriched":
        text = re.sub(r"\n(\n*)", r" \1", text)  # single line ends are spaces (RFC 1896)
        return _ENRICHED_TAG.sub("", text).replace("<<", "<")
    if kind == "text/csv":
        return readable_csv(text, None)
    return text


def _payload_text(part: Any) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    with suppress(UnicodeDecodeError):
        # Whatever they say of themselves: no other text has the shape of UTF-8.
        text = payload.decode("utf-8")
        if not text.isascii():
            return text.replace("\r\n", "\n")
    charset = part.get_content_charset()
    if charset:
        with suppress(LookupError, ValueError):
            charset = _SUPERSETS.get(charset, charset)
            return payload.decode(charset).replace("\r\n", "\n")
    decoded = decode(payload)
    return decoded.text if decoded is not None else ""
