"""Whether a recording or film ends too early: its container says how long it should be.

Decoders say nothing about most files that a broken transfer has cut off: they play to the end of
what is there.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from mmsearch.media.opened import Content, reader

_LEAST = 16
"""Fewer missing bytes are padding that a program left out."""
_MAX_BOXES = 10_000
_TAIL = 2**16
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"moof", b"styp", b"sidx")
_ASF, _ASF_FILE = bytes.fromhex("3026b2758e66cf11"), bytes.fromhex("a1dcab8c47a9cf11")


def missing_bytes(source: Content) -> int:
    """How many bytes are missing at the end of the file at least; 0 if it is whole, or if its
    container does not say. Reads MP4, Matroska, WAV, AVI, AIFF, Ogg, ASF and MP3 with a header."""
    try:
        with reader(source) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            missing = _end(file, size) - size
            return missing if missing >= _LEAST else 0
    except (OSError, ValueError, IndexError):
        return 0


def _end(file: BinaryIO, size: int) -> int:
    """Where the content should end; 0 if that is not known."""
    head = file.read(4096)
    if head[4:8] in _BOXES:
        return _end_of_boxes(file, size)
    if head[:4] == _EBML:
        return _end_of_segment(head)
    if head[:4] in (b"RIFF", b"RIFX", b"FORM"):
        length = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
        # Whoever writes to a pipe cannot know the length. Larger AVI files follow in parts.
        return 0 if length in (0, 0xFFFFFFFF, 0x7FFFFFFF) or length > 0xFFFF0000 else 8 + length
    if head[:4] == b"OggS":
        return _end_of_pages(file, size)
    if head[:8] == _ASF:
        at = head.find(_ASF_FILE)
        return int.from_bytes(head[at + 40 : at + 48], "little") if at > 0 else 0
    return _end_of_mp3(file, head)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            # A box that has only begun, or nothing more.
            return at + 8 if header else at
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8 or not header[4:8].isalnum():
            return 0  # to the end of the file, or not a box any more
        at += length
        if at >= size:
            return at
    return 0


def _end_of_segment(head: bytes) -> int:
    at = head.find(_SEGMENT)
    if at < 0:
        return 0
    first = head[at + 4]
    width = 9 - first.bit_length()
    if width > 8:
        return 0
    length = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
    unknown = (1 << 7 * width) - 1
    return 0 if length == unknown else at + 4 + width + length


def _end_of_pages(file: BinaryIO, size: int) -> int:
    first = max(0, size - _TAIL)
    file.seek(first)
    tail = file.read(_TAIL)
    at = tail.rfind(b"OggS")
    if at < 0:
        return 0
    header = tail[at : at + 27]
    if len(header) < 27:
        return first + at + 27
    count = header[26]
    lengths = tail[at + 27 : at + 27 + count]
    return first + at + 27 + count + sum(lengths) + (count - len(lengths))


def _end_of_mp3(file: BinaryIO, head: bytes) -> int:
    begin = 0
    if head[:3] == b"ID3":
        high, middle, low, least = head[6:10]
        begin = 10 + (high << 21 | middle << 14 | low << 7 | least)
        file.seek(begin)
        head = file.read(4096)
    if head[:1] != b"\xff":
        return 0
    at = max(head.find(b"Xing", 0, 64), head.find(b"Info", 0, 64))
    flags = int.from_bytes(head[at + 4 : at + 8], "big")
    if at < 0 or not flags & 2:
        return 0
    at += 8 + 4 * (flags & 1)
    return begin + int.from_bytes(head[at : at + 4], "big")
