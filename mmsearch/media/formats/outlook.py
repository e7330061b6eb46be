"""Outlook's letters (.msg, [MS-OXMSG]) by olefile."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

from mmsearch.errors import MediaError
from mmsearch.media.formats.encodings import decode
from mmsearch.media.formats.html import visible_text
from mmsearch.media.formats.mail import TEXT_NAMES, chosen_body, head_of, letter, readable_text
from mmsearch.media.formats.rtf import rtf
from mmsearch.media.opened import Content, reader

_MAX_ATTACHMENTS = 1000
_MAX_DEPTH = 10
_MAX_ATTACHED_TEXT = 2**20
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_SENT, _DELIVERED = 0x00390040, 0x0E060040


def msg(source: Content) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of an Outlook letter. Raises MediaError corrupt, empty."""
    import olefile

    try:
        with reader(source) as opened, olefile.OleFileIO(opened) as ole:
            sent = _sent_at(ole, "", 32)
            headers = _headers(ole, "")
            body = _body(ole, "")
            attached, below = _attachments(ole, "", 0)
    except MediaError:
        raise
    except Exception:  # noqa: BLE001  # the library raises anything on a damaged file
        raise MediaError("corrupt", "The letter is damaged: it cannot be opened.") from None
    return letter(headers, body, attached, below, {"sent_at": sent} if sent else {})


def _headers(ole: Any, prefix: str) -> dict[str, str]:
    headers = {
        "Subject": _property(ole, prefix, "0037"),
        "From": _property(ole, prefix, "0C1A") or _property(ole, prefix, "0042"),
        "To": _property(ole, prefix, "0E04"),
        "Cc": _property(ole, prefix, "0E03"),
    }
    sender = _property(ole, prefix, "5D01") or _property(ole, prefix, "0C1F")
    if "@" in sender and sender not in headers["From"]:
        headers["From"] = f"{headers['From']} <{sender}>".strip()
    return headers


def _body(ole: Any, prefix: str) -> str:
    plain = _property(ole, prefix, "1000")
    markup = _stream(ole, f"{prefix}__substg1.0_10130102")
    decoded = decode(markup) if markup else None
    page = visible_text(decoded.text)[0] if decoded else _property(ole, prefix, "1013")
    body = chosen_body(plain, page)
    packed = None if body else _stream(ole, f"{prefix}__substg1.0_10090102")
    if packed:
        from compressed_rtf import decompress

        with suppress(ValueError, IndexError, struct.error, MediaError):
            return rtf(decompress(packed))
    return body


def _attachments(ole: Any, prefix: str, depth: int) -> tuple[list[str], list[str]]:
    """(names, texts of those that are letters or text)."""
    attached: list[str] = []
    below: list[str] = []
    for folder in sorted(set(_folders(ole, prefix)))[:_MAX_ATTACHMENTS]:
        place = f"{prefix}{folder}/"
        name = _property(ole, place, "3707") or _property(ole, place, "3704")
        inner = f"{place}__substg1.0_3701000D/"
        if depth < _MAX_DEPTH and ole.exists(f"{inner}__properties_version1.0"):
            attached.append(name or _property(ole, place, "3001"))
            names, texts = _attachments(ole, inner, depth + 1)
            attached += names
            below.append(
                "\n\n".join(
                    filter(None, (head_of(_headers(ole, inner)), _body(ole, inner), *texts))
                )
            )
            continue
        if name:
            attached.append(name)
        kind = TEXT_NAMES.get(PurePath(name).suffix.lower())
        content = _stream(ole, f"{place}__substg1.0_37010102") if kind else None
        decoded = decode(content) if content else None
        if decoded is not None and kind:
            below.append(readable_text(decoded.text, kind)[:_MAX_ATTACHED_TEXT].strip())
    return list(filter(None, attached)), below


def _folders(ole: Any, prefix: str) -> Iterator[str]:
    depth = prefix.count("/")
    above = prefix.rstrip("/").split("/") if prefix else []
    for entry in ole.listdir(streams=True, storages=True):
        inside = entry[:depth] == above and len(entry) > depth
        if inside and entry[depth].startswith("__attach_version1.0_"):
            yield entry[depth]


def _sent_at(ole: Any, prefix: str, header: int) -> str | None:
    """When it was sent, else when it came: entries of 16 bytes behind a header."""
    content = _stream(ole, f"{prefix}__properties_version1.0") or b""
    times: dict[int, int] = {}
    for at in range(header, len(content) - 15, 16):
        tag, _, value = struct.unpack_from("<IIQ", content, at)
        if tag in (_SENT, _DELIVERED):
            times[tag] = value
    ticks = times.get(_SENT) or times.get(_DELIVERED)
    if not ticks:
        return None
    with suppress(OverflowError):
        return (_EPOCH + timedelta(microseconds=ticks // 10)).replace(microsecond=0).isoformat()
    return None


def _property(ole: Any, prefix: str, tag: str) -> str:
    """A string property: UTF-16, else in some 8-bit encoding."""
    wide = _stream(ole, f"{prefix}__substg1.0_{tag}001F")
    if wide is not None:
        return wide.decode("utf-16-le", "replace").strip("\0 \r\n").replace("\r\n", "\n")
    narrow = _stream(ole, f"{prefix}__substg1.0_{tag}001E")
    decoded = decode(narrow.strip(b"\0")) if narrow else None
    return decoded.text.strip() if decoded is not None else ""


def _stream(ole: Any, name: str) -> bytes | None:
    if not ole.exists(name):
        return None
    content: bytes = ole.openstream(name).read()
    return content
