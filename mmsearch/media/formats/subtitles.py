"""Subtitles: SubRip (.srt) and WebVTT (W3C) files, and the text streams of films, as cues."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import av.error

from mmsearch.media.formats.encodings import decode
from mmsearch.media.opened import OpenFile
from mmsearch.media.parts import Cue

_MAX_BYTES = 16 * 2**20
_MAX_CUES = 50_000
_STREAM_CODECS = frozenset(("mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"))

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_SPAN = re.compile(rf"{_TIME}[ \t]*-->[ \t]*{_TIME}")
_MARKUP = re.compile(r"<[^>\n]{0,200}>|\{\\[^}\n]{0,200}\}")


def parse(text: str) -> list[Cue]:
    """The cues of a SubRip or WebVTT file in order of time; what is no cue is left out."""
    cues: list[Cue] = []
    lines = text.split("\n")
    spans = [(n, m) for n, line in enumerate(lines) if (m := _SPAN.search(line[:200]))]
    for index, (number, match) in enumerate(spans[:_MAX_CUES]):
        following = spans[index + 1][0] if index + 1 < len(spans) else len(lines)
        said: list[str] = []
        for line in lines[number + 1 : following]:
            if not line.strip():
                break
            said.append(line)
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
        clean = _plain("\n".join(said))
        if clean and end > start:
            cues.append(Cue(start, end, clean))
    return sorted(cues, key=lambda cue: cue.start)


def of_files(files: Iterable[OpenFile]) -> tuple[list[Cue], str]:
    """(cues, file name) of the first of these subtitle files that holds any; else none."""
    for subtitle in files:
        with suppress(OSError):
            with subtitle.open("rb") as file:
                decoded = decode(file.read(_MAX_BYTES))
            cues = parse(decoded.text) if decoded is not None else []
            if cues:
                return cues, subtitle.name
    return [], ""


def of_stream(container: Any, offset: float) -> list[Cue]:
    """The cues of the first text stream that holds any; `offset` is when the film begins."""
    for stream in container.streams.subtitles:
        context = stream.codec_context
        if context is None or context.name not in _STREAM_CODECS:
            continue
        cues: list[Cue] = []
        with suppress(av.error.FFmpegError, ValueError, OSError):
            for packet in container.demux(stream):
                if packet.pts is None or packet.time_base is None or len(cues) >= _MAX_CUES:
                    continue
                start = float(packet.pts * packet.time_base) - offset
                length = float((packet.duration or 0) * packet.time_base)
                said = _plain("\n".join(_said(packet)))
                if said and length > 0 and start + length > 0:
                    cues.append(Cue(max(0.0, start), start + length, said))
        if cues:
            return sorted(cues, key=lambda cue: cue.start)
        with suppress(av.error.FFmpegError, OSError):
            container.seek(0)
    return []


def _said(packet: Any) -> Iterator[str]:
    try:
        events: Sequence[Any] = packet.decode()
    except (av.error.FFmpegError, ValueError):
        return
    for event in events:
        dialogue = getattr(event, "dialogue", None)
        if isinstance(dialogue, bytes):
            yield dialogue.decode("utf-8", "replace")


def _plain(said: str) -> str:
    text = html.unescape(_MARKUP.sub("", said)).replace("\\N", "\n")
    return " ".join(text.replace("\0", " ").split())


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    assert fraction is not None
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole + float(f"0.{fraction}")
