"""Subtitles: SubRip (.srt), WebVTT (W3C) and SubStation Alpha (.ass, .ssa) files, and the text
streams of films, as tracks of cues."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import av.error

from mmsearch.media.companions import SubtitleLabel, label_of, notes_of
from mmsearch.media.formats.encodings import decode
from mmsearch.media.formats.exif import clean
from mmsearch.media.languages import language_code
from mmsearch.media.opened import OpenFile
from mmsearch.media.parts import Cue

_MAX_BYTES = 16 * 2**20
_MAX_CUES = 50_000
_STREAM_CODECS = frozenset(("mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"))
# What a track covers that stands for the soundtrack: share of the time, longest stretch without.
# Of a short film more, since hearing it costs nothing, and a single sign is much of it.
_SHORT_SECONDS, _LEAST_SPOKEN_SHORT, _LEAST_SPOKEN = 120.0, 0.4, 0.1
_HOLE, _HOLE_SECONDS = 0.4, 30.0

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_SPAN = re.compile(rf"{_TIME}[ \t]*-->[ \t]*{_TIME}")
# Shapes that are drawn, between "{\\p1}" and "{\\p0}"; line breaks; both of Advanced SubStation.
_DRAWING = re.compile(
    r"\{[^{}\n]{0,200}\\p[1-9][^{}\n]{0,200}\}[^{}]*(?:\{[^{}\n]*\\p0[^{}\n]*\})?"
)
_ASS_COMMENT = re.compile(r"\{[^{}]*\}")
_ASS_BREAK = re.compile(r"\\+[Nnh]")
_ASS_TIME = re.compile(r"\s*(\d{1,3}):(\d{1,2}):(\d{1,2})[.,:](\d{1,3})\s*")
_ASS_COLUMNS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect")
_MARKUP = re.compile(r"<[^>\n]{0,200}>|\{\\[^}\n]{0,200}\}")


@dataclass(frozen=True, slots=True)
class Track:
    """The subtitles of one language."""

    name: str
    """Of the file, or "embedded"."""
    label: SubtitleLabel
    cues: tuple[Cue, ...]
    """In the order of time; at least one."""


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


def parse_ass(text: str) -> list[Cue]:
    """The cues of an Advanced SubStation Alpha (.ass) or SubStation Alpha (.ssa) file."""
    cues: list[Cue] = []
    columns = [*_ASS_COLUMNS, "text"]
    events = False
    for line in text.split("\n"):
        name, _, value = line.strip().partition(":")
        if line.lstrip().startswith("["):
            events = name.strip().lower() == "[events]"
        elif events and name.lower() == "format":
            columns = [column.strip().lower() for column in value.split(",")]
        elif events and name.lower() == "dialogue" and len(cues) < _MAX_CUES:
            values = dict(zip(columns, value.split(",", len(columns) - 1), strict=False))
            start = _ASS_TIME.fullmatch(values.get("start", ""))
            end = _ASS_TIME.fullmatch(values.get("end", ""))
            plain = _plain(_ASS_COMMENT.sub("", _DRAWING.sub("", values.get("text", ""))))
            if start and end and plain and _seconds(end.groups()) > _seconds(start.groups()):
                cues.append(Cue(_seconds(start.groups()), _seconds(end.groups()), plain))
    return sorted(cues, key=lambda cue: cue.start)


def tracks_beside(files: Iterable[OpenFile], film: str) -> list[Track]:
    """The tracks of a film's subtitle files; `film` is its name."""
    tracks: list[Track] = []
    for subtitle in files:
        with suppress(OSError):
            with subtitle.open("rb") as file:
                decoded = decode(file.read(_MAX_BYTES))
            is_ass = subtitle.name.lower().endswith((".ass", ".ssa"))
            read = parse_ass if is_ass else parse
            cues = read(decoded.text) if decoded is not None else []
            if cues:
                label = label_of(notes_of(subtitle.name, film))
                tracks.append(Track(subtitle.name, label, tuple(cues)))
    return tracks


def tracks_inside(container: Any, offset: float) -> list[Track]:
    """The text tracks of a film; `offset` is when it begins."""
    streams = [
        stream
        for stream in container.streams.subtitles
        if stream.codec_context is not None and stream.codec_context.name in _STREAM_CODECS
    ]
    cues: dict[int, list[Cue]] = {stream.index: [] for stream in streams}
    if not streams:
        return []
    with suppress(av.error.FFmpegError, ValueError, OSError):
        for packet in container.demux(*streams):
            known = cues[packet.stream.index]
            if packet.pts is None or packet.time_base is None or len(known) >= _MAX_CUES:
                continue
            start = float(packet.pts * packet.time_base) - offset
            length = float((packet.duration or 0) * packet.time_base)
            text = _plain("\n".join(_dialogue(packet)))
            if text and length > 0 and start + length > 0:
                known.append(Cue(max(0.0, start), start + length, text))
    return [
        Track("embedded", _label(stream), tuple(sorted(known, key=lambda cue: cue.start)))
        for stream in streams
        if (known := cues[stream.index])
    ]


def chosen(tracks: Sequence[Track]) -> list[Track]:
    """One track for each language, in their order: the full one rather than the one with signs
    only, and the one without sounds rather than that for the hearing impaired."""
    full = [track for track in tracks if not track.label.forced] or list(tracks)
    best: list[Track] = []
    for track in full:
        language = track.label.language
        same = [t for t in full if language is not None and t.label.language == language]
        most = max((_characters(t) for t in same), default=0)
        long = [t for t in same if 2 * _characters(t) >= most] or [track]
        pick = min(long, key=lambda each: each.label.impaired)
        if all(pick is not other and not _repeats(pick, other) for other in best):
            best.append(pick)
    return best


def covers(track: Track, seconds: float) -> bool:
    """Whether a track can stand for all that is said in a film of this length."""
    if track.label.forced:
        return False
    seconds = max(seconds, track.cues[-1].end)
    reached = spoken = hole = 0.0
    for cue in track.cues:
        hole = max(hole, cue.start - reached)
        spoken += max(0.0, cue.end - max(cue.start, reached))
        reached = max(reached, cue.end)
    hole = max(hole, seconds - reached)
    least = _LEAST_SPOKEN_SHORT if seconds < _SHORT_SECONDS else _LEAST_SPOKEN
    return spoken >= least * seconds and hole <= max(_HOLE_SECONDS, _HOLE * seconds)


def _characters(track: Track) -> int:
    return sum(len(cue.text) for cue in track.cues)


def _repeats(track: Track, other: Track) -> bool:
    """Whether most of a track is in the other: the same file in another format."""
    texts = {cue.text for cue in other.cues}
    return sum(cue.text in texts for cue in track.cues) > 0.6 * len(track.cues)


def _label(stream: Any) -> SubtitleLabel:
    title = label_of(clean(stream.metadata.get("title")))
    flags = str(stream.disposition).lower()
    return SubtitleLabel(
        language_code(clean(stream.metadata.get("language"))) or title.language,
        "forced" in flags or title.forced,
        "hearing_impaired" in flags or title.impaired,
    )


def _dialogue(packet: Any) -> Iterator[str]:
    try:
        rectangles: Sequence[Any] = packet.decode()
    except (av.error.FFmpegError, ValueError):
        return
    for rectangle in rectangles:
        dialogue = getattr(rectangle, "dialogue", None)
        if isinstance(dialogue, bytes):
            yield dialogue.decode("utf-8", "replace")


def _plain(said: str) -> str:
    text = _ASS_BREAK.sub(" ", html.unescape(_MARKUP.sub("", _DRAWING.sub("", said))))
    return " ".join(text.replace("\0", " ").split())


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    assert fraction is not None
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole + float(f"0.{fraction}")
