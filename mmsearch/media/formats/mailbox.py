"""Mailboxes (mbox, RFC 4155): letters in one file, each behind a line that begins with "From "."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mmsearch.media.opened import Content, reader

_TIME, _YEAR = re.compile(rb"\b\d{1,2}:\d{2}"), re.compile(rb"\b(?:19|20)\d{2}\b")
_MAX_SEPARATOR = 300
_FIELD = re.compile(r"([!-9;-~]{1,60}):(?:[ \t]|$)")
_KNOWN_FIELDS = frozenset(
    ("from", "to", "subject", "date", "received", "return-path", "message-id", "mime-version",
     "delivered-to", "cc", "reply-to", "content-type", "sender")
)  # fmt: skip
_MAX_LINE = 2**20


def kind(text: str) -> str | None:
    """ "application/mbox" or "message/rfc822" if this is the beginning of letters or of one."""
    text = text.lstrip("\n")
    first, _, rest = text.partition("\n")
    if is_separator(first.encode("utf-8", "replace")):
        return "application/mbox" if _is_letter(rest, enough=2) else None
    if first.strip().isdecimal():  # Apple Mail (.emlx): the letter's length comes first
        return "message/rfc822" if _is_letter(rest) else None
    return "message/rfc822" if _is_letter(text) else None


def is_separator(line: bytes) -> bool:
    """Whether a line could stand between two letters."""
    line = line.rstrip(b"\r\n")
    if not line.startswith(b"From") or len(line) > _MAX_SEPARATOR:
        return False
    # Who sent it, and when. Some programs write nothing or "-".
    rest = line[4:].strip()
    if rest in (b"", b"-"):
        return True
    return line[4:5] == b" " and bool(_TIME.search(line) and _YEAR.search(line))


def letters(source: Content, max_bytes: int) -> Iterator[bytes]:
    """Each letter of a mailbox, without its separator; of one longer than `max_bytes`, that much.

    Raises OSError.
    """
    lines: list[bytes] = []
    length = 0
    blank = True
    separator = b""
    with reader(source) as file:
        while line := file.readline(_MAX_LINE):
            if separator:
                # A sentence may begin with "From " as well: header fields must follow.
                if _FIELD.match(line[:80].decode("latin-1").lstrip(">")):
                    if any(map(bytes.strip, lines)):
                        yield b"".join(lines)
                    lines, length = [], 0
                else:
                    lines.append(separator)
                separator = b""
            if blank and line.startswith(b"From") and is_separator(line):
                separator = line
            elif length < max_bytes:
                # What began with "From " was quoted so.
                lines.append(line[1:] if re.match(rb">+From ", line[:80]) else line)
                length += len(line)
            blank = not line.strip()
    if any(map(bytes.strip, lines)):
        yield b"".join(lines)


def _is_letter(text: str, enough: int = 3) -> bool:
    """Header fields of a mail, `enough` of the known ones, before anything else."""
    known = 0
    for number, line in enumerate(text.split("\n", 60)[:60]):
        if not line.strip():
            break
        if line[0] in " \t" and number:
            continue  # a field goes on
        field = _FIELD.match(line)
        if field is None:
            if re.match(r">?From ", line) and number == 0:
                continue
            # Fields without a space behind the colon
            field = re.match(r"([A-Za-z][A-Za-z0-9-]{0,60}):\S", line)
            if field is None:
                return False
        known += field[1].lower() in _KNOWN_FIELDS
    return known >= enough
