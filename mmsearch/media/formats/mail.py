"""Letters: RFC 5322 mail (.eml) by the standard library, Outlook's .msg by olefile.

The text is the letter as it is read: who, to whom, when, what about, and the body (plain where
there is a choice). Attachments are named; those that are text stand below the body.
"""

from __future__ import annotations

import email
import email.policy
from contextlib import suppress
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats import text as texts
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.html import visible_text
from mmsearch.media.opened import Content, reader

_SHOWN = ("Subject", "From", "To", "Cc", "Date")
_MAX_PARTS = 1000
_TEXT_ATTACHMENT = 2**20


def eml(content: bytes) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of a mail. Raises MediaError corrupt, empty."""
    try:
        message = email.message_from_bytes(content, policy=email.policy.default)
        headers = {name: _header(message, name) for name in _SHOWN}
        body, attached, below = _parts(message)
    except (ValueError, LookupError, AttributeError, IndexError, TypeError, RecursionError):
        # The standard library's parser raises many things on hostile headers.
        raise MediaError("corrupt", "The mail is damaged: its parts cannot be told.") from None
    metadata: dict[str, Any] = {}
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        metadata["sent_at"] = parsedate_to_datetime(headers["Date"]).isoformat()
    return _letter(headers, body, attached, below, metadata)


def _header(message: Any, name: str) -> str:
    with suppress(ValueError, LookupError, AttributeError, IndexError, TypeError):
        return clean(str(message.get(name, "")))
    return ""


def _parts(message: Any) -> tuple[str, list[str], list[str]]:
    """(body, names of attachments, texts of those that are text)."""
    plain: list[str] = []
    markup: list[str] = []
    attached: list[str] = []
    below: list[str] = []
    for number, part in enumerate(message.walk()):
        if number >= _MAX_PARTS:
            break
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        name = clean(part.get_filename() or "")
        if part.get_content_disposition() == "attachment" or name:
            attached.append(name or kind)
            if kind.startswith("text/"):
                below.append(_content(part)[:_TEXT_ATTACHMENT])
        elif kind == "text/plain":
            plain.append(_content(part))
        elif kind == "text/html":
            markup.append(_content(part))
    body = "\n\n".join(filter(None, map(str.strip, plain)))
    if not body:
        body = "\n\n".join(visible_text(page)[0] for page in markup)
    return body, attached, below


def _content(part: Any) -> str:
    assert isinstance(part, EmailMessage)
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    charset = part.get_content_charset()
    if charset:
        with suppress(LookupError, UnicodeDecodeError, ValueError):
            return payload.decode(charset).replace("\r\n", "\n")
    decoded = texts.decode(payload)
    return decoded.text if decoded is not None else ""


def msg(source: Content) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of an Outlook letter ([MS-OXMSG]). Raises MediaError corrupt, empty."""
    import olefile

    try:
        with reader(source) as opened, olefile.OleFileIO(opened) as ole:
            headers = {
                "Subject": _property(ole, "0037"),
                "From": _property(ole, "0C1A") or _property(ole, "0042"),
                "To": _property(ole, "0E04"),
                "Cc": _property(ole, "0E03"),
                "Date": "",
            }
            sender = _property(ole, "0C1F")
            if sender and "@" in sender and sender not in headers["From"]:
                headers["From"] = f"{headers['From']} <{sender}>".strip()
            body = _property(ole, "1000")
            if not body:
                markup = _stream(ole, "__substg1.0_10130102")
                decoded = texts.decode(markup) if markup else None
                body = visible_text(decoded.text)[0] if decoded else ""
            folders = {e[0] for e in ole.listdir() if e[0].startswith("__attach_version1.0_")}
            attached = [
                name
                for folder in sorted(folders)[:_MAX_PARTS]
                if (name := _property(ole, "3707", folder) or _property(ole, "3704", folder))
            ]
    except (OSError, ValueError, IndexError, TypeError, olefile.OleFileError):
        raise MediaError("corrupt", "The letter is damaged: it cannot be opened.") from None
    return _letter(headers, body, attached, [], {})


def _property(ole: Any, tag: str, folder: str = "") -> str:
    """A string property: UTF-16, else in some 8-bit encoding."""
    prefix = f"{folder}/" if folder else ""
    wide = _stream(ole, f"{prefix}__substg1.0_{tag}001F")
    if wide is not None:
        return wide.decode("utf-16-le", "replace").strip("\0 \r\n").replace("\r\n", "\n")
    narrow = _stream(ole, f"{prefix}__substg1.0_{tag}001E")
    decoded = texts.decode(narrow.strip(b"\0")) if narrow else None
    return decoded.text.strip() if decoded is not None else ""


def _stream(ole: Any, name: str) -> bytes | None:
    if not ole.exists(name):
        return None
    content: bytes = ole.openstream(name).read()
    return content


def _letter(
    headers: dict[str, str],
    body: str,
    attached: list[str],
    below: list[str],
    metadata: dict[str, Any],
) -> tuple[str, dict[str, Any]]:
    head = "\n".join(f"{name}: {value}" for name, value in headers.items() if value)
    named = "Attachments: " + ", ".join(attached) if attached else ""
    text = "\n\n".join(filter(None, (head, body.strip(), named, *below)))
    if not text.strip():
        raise MediaError("empty", "The letter holds no text.")
    for name, key in (("Subject", "title"), ("From", "author"), ("To", "to"), ("Cc", "cc")):
        if headers.get(name):
            metadata[key] = headers[name]
    if attached:
        metadata["attachments"] = attached
    return text, metadata
