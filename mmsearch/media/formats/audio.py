"""Recordings: any container and codec of FFmpeg (PyAV), as mono 16 kHz float32 stretches.

Memory is bounded by one stretch, whatever the length of the recording. A damaged tail keeps
what came before it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import av
import av.container
import av.error
import numpy as np

from mmsearch.errors import MediaError
from mmsearch.media.formats.clock import timed
from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.mixing import mixable
from mmsearch.media.formats.origin import origin_of
from mmsearch.media.formats.truncation import missing_bytes
from mmsearch.media.opened import Content, reader
from mmsearch.media.parts import SAMPLE_RATE
from mmsearch.types import SOUND_RATE, Samples

# Where a long recording is cut: at the quietest fifth of a second of a stretch's last part.
_SEARCH_SECONDS = 60.0
_QUIET_SECONDS = 0.2
_HOP = SAMPLE_RATE // 50
# Errors in a row after which the rest is given up: a hostile file may be all errors.
_MAX_ERRORS = 1000
_TRIAL_FRAMES = 20
_SILENT_SECONDS = 10.0
"""Of inserted silence at a time."""
# Containers that count their samples at the beginning, and what may be missing at the end.
_COUNTED = ("flac", "aiff", "caf", "w64", "wv", "tta", "ape")
_CUT_SECONDS = 0.2
SOUND_SECONDS = 60.0
"""Length of the stretches at SOUND_RATE; nothing is looked for at their ends."""
_TAGS = {
    "title": "title", "artist": "artist", "album": "album", "genre": "genre", "date": "date",
    "year": "date", "comment": "description", "description": "description",
}  # fmt: skip
_QUICKTIME = "com.apple.quicktime."
# Pictures inside recordings (covers), whether or not the file marks them as such.
_COVER_CODECS = ("mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpegls")


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the container says, before anything was decoded."""

    has_audio: bool
    has_video: bool
    """A moving picture; a cover is none."""
    metadata: dict[str, Any]
    """JSON values: codec, sample_rate, channels, container, duration (claimed), tags."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stretch of a recording."""

    start: float
    """Seconds."""
    samples: Samples
    last: bool
    metadata: dict[str, Any] = field(default_factory=dict)
    """Of the whole recording; with the last one "duration" as decoded and perhaps "warning"."""
    rate: int = SAMPLE_RATE
    """Hz: SAMPLE_RATE, or SOUND_RATE for the stretches that `sounds` asked for."""


def probe(source: Content) -> AudioInfo:
    """The streams and tags of a file. Raises MediaError corrupt, unreadable, missing, memory."""
    with opened(source) as container:
        return info_of(container)


def plays(source: Content) -> bool:
    """Whether there is sound in a file that says nothing about itself: the beginning decodes
    without an error."""
    try:
        with opened(source) as container:
            if not info_of(container).has_audio:
                return False
            decoder = _Decoder(container, math.inf)
            frames = list(itertools.islice(decoder.frames(), _TRIAL_FRAMES))
    except MediaError:
        return False
    return decoder.errors == 0 and frames.count(None) < len(frames)


def chunks(
    source: Content,
    chunk_seconds: float,
    max_seconds: float = math.inf,
    *,
    sounds: bool = False,
) -> Iterator[Chunk]:
    """A recording in stretches of at most `chunk_seconds`, cut where it is quietest.

    With `sounds`, the same recording comes in between at SOUND_RATE, in stretches of
    SOUND_SECONDS, from the one pass over the file.

    Raises MediaError: unsupported (no sound in it), empty (no samples), corrupt (nothing could
    be decoded), too_large (more than `max_seconds`, after the stretches before that).
    """
    with opened(source) as container:
        info = info_of(container)
        if not info.has_audio:
            raise MediaError("unsupported", "The file has no sound that can be decoded.")
        decoder = _Decoder(container, max_seconds, sounds=sounds)
        heard = _Stretches(info.metadata) if sounds else None
        held = np.empty(math.ceil(chunk_seconds * SAMPLE_RATE), np.float32)
        filled, start = 0, 0
        for rate, block in decoder.blocks():
            if rate == SOUND_RATE:
                assert heard is not None
                yield from heard.add(block)
                continue
            while filled + len(block) > len(held):
                space = len(held) - filled
                held[filled:] = block[:space]
                block = block[space:]
                cut = _quietest(_bounded(held))
                yield Chunk(start / SAMPLE_RATE, held[:cut].copy(), False, info.metadata)
                start += cut
                filled = len(held) - cut
                held[:filled] = held[cut:].copy()
            held[filled : filled + len(block)] = block
            filled += len(block)
        total = start + filled
        if total == 0:
            if decoder.errors:
                raise MediaError("corrupt", "The recording is damaged: nothing can be decoded.")
            raise MediaError("empty", "The recording has no samples.")
        seconds = total / SAMPLE_RATE
        metadata = info.metadata | {"duration": round(seconds, 3)}
        if _is_cut_off(source, info.metadata, seconds):
            metadata["warning"] = (
                f"The recording is damaged: it is cut off; {seconds:.1f} seconds could be decoded."
            )
        elif decoder.errors:
            metadata["warning"] = (
                f"The recording is damaged ({decoder.errors} errors); "
                f"{seconds:.1f} seconds could be decoded."
            )
        if heard is not None:
            yield heard.rest()
        yield Chunk(start / SAMPLE_RATE, _bounded(held[:filled]).copy(), True, metadata)


def decode(source: Content, max_seconds: float = math.inf) -> Chunk:
    """A whole recording at once. Raises as `chunks`."""
    pieces = list(chunks(source, 600.0, max_seconds))
    return replace(pieces[-1], start=0.0, samples=np.concatenate([p.samples for p in pieces]))


def _is_cut_off(source: Content, metadata: dict[str, Any], seconds: float) -> bool:
    claimed = metadata.get("duration", 0.0)
    counted = metadata["container"] in _COUNTED and claimed > seconds + _CUT_SECONDS
    return counted or missing_bytes(source) > 0


class _Stretches:
    """Blocks at SOUND_RATE, gathered into stretches of SOUND_SECONDS."""

    def __init__(self, metadata: dict[str, Any]) -> None:
        self._metadata = metadata
        self._held = np.empty(int(SOUND_SECONDS * SOUND_RATE), np.float32)
        self._filled = 0
        self._start = 0

    def add(self, block: Samples) -> Iterator[Chunk]:
        while len(block):
            # One that is full waits until it is known not to be the last.
            if self._filled == len(self._held):
                yield self._taken(last=False)
            space = min(len(block), len(self._held) - self._filled)
            self._held[self._filled : self._filled + space] = block[:space]
            self._filled += space
            block = block[space:]

    def rest(self) -> Chunk:
        """The last stretch."""
        return self._taken(last=True)

    def _taken(self, *, last: bool) -> Chunk:
        samples = _bounded(self._held[: self._filled]).copy()
        chunk = Chunk(self._start / SOUND_RATE, samples, last, self._metadata, SOUND_RATE)
        self._start += self._filled
        self._filled = 0
        return chunk


def _bounded(samples: Samples) -> Samples:
    """`samples` itself, made finite and within -1..1: float recordings hold anything."""
    np.nan_to_num(samples, copy=False, posinf=0.0, neginf=0.0)
    return np.clip(samples, -1.0, 1.0, out=samples)


def _quietest(samples: Samples) -> int:
    """Where to cut: the middle of the quietest moment in the last part of `samples`."""
    first = max(len(samples) // 2, len(samples) - int(_SEARCH_SECONDS * SAMPLE_RATE))
    tail = samples[first:]
    count = len(tail) // _HOP
    width = int(_QUIET_SECONDS * SAMPLE_RATE / _HOP)
    if count <= width:
        return len(samples)
    energy = np.square(tail[: count * _HOP]).reshape(count, _HOP).mean(axis=1)
    moving = np.convolve(energy, np.ones(width) / width, mode="valid")
    # The last of equals: in digital silence the stretch stays as long as it may.
    quietest = len(moving) - 1 - int(np.argmin(moving[::-1]))
    return first + (quietest + width // 2) * _HOP


# ------------------------------------------------------------------ PyAV


Opened: TypeAlias = av.container.InputContainer


@contextmanager
def opened(source: Content) -> Iterator[Opened]:
    """A recording or film, opened so that nothing but its bytes is read. Raises MediaError."""
    with ExitStack() as opened:
        try:
            # Opened by us, so that FFmpeg sees neither the name (protocols, patterns of
            # pictures) nor undecodable characters in it.
            file = reader(source)
            opened.enter_context(file)
            # "file" alone: a playlist must not reach for the network or for other files.
            container: av.container.InputContainer = opened.enter_context(
                av.open(
                    file,
                    "r",
                    metadata_errors="replace",
                    container_options={"protocol_whitelist": "file"},
                )
            )
        except FileNotFoundError:
            raise MediaError("missing", "There is no such file.") from None
        except PermissionError:
            raise MediaError("unreadable", "The file cannot be read: no permission.") from None
        except MemoryError:
            raise MediaError("memory", "Opening the recording needs too much memory.") from None
        except (av.error.FFmpegError, OSError, ValueError) as error:
            detail = getattr(error, "strerror", None) or type(error).__name__
            raise MediaError("corrupt", f"The recording or film is damaged: {detail}.") from None
        yield container


def info_of(container: Opened) -> AudioInfo:
    """The streams and tags of an opened file."""
    moving = _moving(container)
    metadata: dict[str, Any] = {"container": container.format.name.split(",")[0]}
    for tags in (container.metadata, *(s.metadata for s in container.streams.audio[:1])):
        for name, value in tags.items():
            key, text = _TAGS.get(name.lower().removeprefix(_QUICKTIME)), clean(value)
            if key and text:
                metadata.setdefault(key, text)
    metadata |= origin_of([container.metadata, *(s.metadata for s in container.streams)])
    stream = next((s for s in container.streams.audio if _decodable(s)), None)
    if stream is not None:
        metadata |= {
            "codec": stream.codec_context.name,
            "sample_rate": stream.codec_context.sample_rate,
            "channels": stream.codec_context.channels,
        }
    if container.duration is not None and container.duration > 0:
        metadata["duration"] = round(container.duration / 1_000_000, 3)
    # A container with nothing but one picture is a film of one picture.
    films = moving or (stream is None and any(map(_decodable, container.streams.video)))
    return AudioInfo(stream is not None, bool(films), metadata)


def _moving(container: Opened) -> list[Any]:
    return [stream for stream in container.streams.video if not is_cover(stream)]


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a still picture that goes with a recording."""
    with suppress(AttributeError, ValueError, av.error.FFmpegError):
        if "attached_pic" in str(stream.disposition).lower():
            return True
        if stream.codec_context is None:
            return False
        return stream.codec_context.name in _COVER_CODECS and stream.frames <= 1
    return False


def _decodable(stream: Any) -> bool:
    return stream.codec_context is not None


class _Decoder:
    """One audio stream to blocks of mono samples at SAMPLE_RATE, and perhaps at SOUND_RATE."""

    def __init__(
        self,
        container: av.container.InputContainer,
        max_seconds: float,
        *,
        sounds: bool = False,
    ) -> None:
        self._container = container
        self._stream = next(s for s in container.streams.audio if _decodable(s))
        self._stream.codec_context.thread_count = 1
        self._max_samples = max_seconds * SAMPLE_RATE
        self._setup: tuple[str, str, int] | None = None
        self._rates = (SOUND_RATE, SAMPLE_RATE) if sounds else (SAMPLE_RATE,)
        self._resamplers: dict[int, av.AudioResampler] = {}
        self._reached = dict.fromkeys(self._rates, 0)
        """Samples so far, by Hz."""
        self.errors = 0

    def blocks(self) -> Iterator[tuple[int, Samples]]:
        """(Hz, samples) in the order of time."""
        placed = timed(self.frames(), origin=self._origin(), length=self._length())
        if self._stream.codec_context.channels > 1:
            placed = mixable(placed)
        for begin, frame in placed:
            blocks = self._resample(frame)
            if begin >= 0:
                blocks = itertools.chain(self._silence_until(begin), blocks)
            for rate, block in blocks:
                self._reached[rate] += len(block)
                if self._reached[SAMPLE_RATE] > self._max_samples:
                    raise MediaError(
                        "too_large",
                        f"The recording is longer than the {self._max_samples / SAMPLE_RATE:g} "
                        "seconds allowed.",
                    )
                yield rate, block

    def _origin(self) -> float | None:
        """The time stamp of second 0; None: that of the first frame.

        A film says by itself when its sound begins (`video.sound_delay`). In other containers
        than these, time stamps begin anywhere.
        """
        names = self._container.format.name.split(",")
        if not {"mov", "matroska"} & set(names) or _moving(self._container):
            return None
        return 0.0 if (self._stream.start_time or 0) > 0 else None

    def _length(self) -> float:
        """What the container claims, in seconds; the rest of what is allowed if it says nothing."""
        allowed = self._max_samples / SAMPLE_RATE - 1
        claimed = self._container.duration or 0
        if claimed <= 0:
            return allowed
        # Counted from the first stamp in some containers, and from 0 in others.
        return min(allowed, (claimed + max(0, self._container.start_time or 0)) / 1_000_000)

    def _silence_until(self, begin: float) -> Iterator[tuple[int, Samples]]:
        """What fills a gap in the recording that ends at second `begin`."""
        yield from self._convert(None)
        self._setup = None
        self._resamplers = {}
        while any(self._missing(rate, begin) for rate in self._rates):
            for rate in self._rates:
                count = min(self._missing(rate, begin), int(_SILENT_SECONDS * rate))
                if count:
                    yield rate, np.zeros(count, np.float32)

    def _missing(self, rate: int, begin: float) -> int:
        return max(0, round(begin * rate) - self._reached[rate])

    def frames(self) -> Iterator[av.AudioFrame | None]:
        """Decoded frames, then None to flush the resampler. Errors are counted and skipped."""
        in_a_row = 0
        packets = self._container.demux(self._stream)
        while in_a_row < _MAX_ERRORS:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                # The container itself is cut off.
                self.errors += 1
                break
            if packet is None:
                break
            try:
                frames = packet.decode()
            except av.error.EOFError:
                break
            except MemoryError:
                raise
            except (av.error.FFmpegError, ValueError):
                self.errors += 1
                in_a_row += 1
                continue
            if frames:
                in_a_row = 0
            for frame in frames:
                if isinstance(frame, av.AudioFrame) and frame.samples > 0:
                    yield frame
        yield None

    def _resample(self, frame: av.AudioFrame | None) -> Iterator[tuple[int, Samples]]:
        if frame is not None:
            setup = (frame.format.name, frame.layout.name, frame.sample_rate)
            if setup != self._setup:
                # Joined recordings change their format on the way.
                yield from self._convert(None)
                self._setup = setup
                self._resamplers = {
                    rate: av.AudioResampler("flt", "mono", rate) for rate in self._rates
                }
        yield from self._convert(frame)

    def _convert(self, frame: av.AudioFrame | None) -> Iterator[tuple[int, Samples]]:
        if frame is not None:
            # `clock` knows better than the resampler which gaps are true.
            frame.pts = None
        for rate, resampler in self._resamplers.items():
            try:
                converted = resampler.resample(frame)
            except (av.error.FFmpegError, ValueError):
                self.errors += rate == SAMPLE_RATE
                continue
            for piece in converted:
                yield rate, piece.to_ndarray().reshape(-1).astype(np.float32, copy=False)
