"""Films: shots by change of content, each with the frame that stands for it (PyAV, FFmpeg).

One pass, frame by frame, in the memory of a few frames, whatever the length. Short films are
looked at twice a second; long ones at their key frames only, which encoders set at cuts and at
least every few seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.errors import MediaError
from mmsearch.media.formats.audio import Opened, info_of, is_cover, opened
from mmsearch.media.formats.truncation import missing_bytes
from mmsearch.media.opened import Content

# How films are looked at.
_STEP_SECONDS = 0.5
_KEYFRAMES_BEYOND = 20 * 60.0
_KEYFRAMES_AT_LEAST_EVERY = 6.0
_KEYFRAMES_SLACK = 15.0
_PROBED_SECONDS, _PROBED_PACKETS = 120.0, 20_000

# What a cut is. Differences are mean absolute ones of 0..255, of tiny pictures.
_TINY = (32, 18)
_CUT, _DRIFT = 26.0, 40.0
"""From one look to the next; from the middle of the shot so far."""
_ABOVE_USUAL = 3.0
_SHORTEST, _SHORTEST_DRIFT, _LONGEST = 1.0, 3.0, 20.0
_MAX_ERRORS = 1000
_STEP_WALL_SECONDS = 15.0
"""A shot is ended after this long on the clock: whoever waits must see progress."""

Tiny = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shot:
    """A stretch of a film without a cut."""

    start: float
    """Seconds from the film's beginning, as players count."""
    end: float
    moment: float
    """When the frame is shown."""
    frame: Image.Image
    """RGB, upright, with square pixels: typical for the shot."""


def shots(
    source: Content, *, max_seconds: float, max_shots: int, max_pixels: int
) -> Iterator[tuple[dict[str, Any], Shot]]:
    """(metadata, shot) in the order of time; metadata is complete with the last one.

    Raises MediaError: corrupt (no picture can be decoded), encrypted, too_large (pixels, or
    longer than `max_seconds`, after the shots before that).
    """
    keyframes = _keyframes_do(source)
    with opened(source) as container:
        stream = _stream(container)
        context = stream.codec_context
        if context.width * context.height > max_pixels:
            raise MediaError(
                "too_large",
                f"The film's pictures have {context.width} x {context.height} pixels; "
                f"{max_pixels} in all are allowed.",
            )
        context.thread_count = 1
        context.skip_frame = "NONKEY" if keyframes else "NONREF"
        metadata = _metadata(container, stream)
        looks = _Looks(container, stream)
        claimed = float(metadata.get("duration", 0.0))
        director = _Director(max(_SHORTEST, claimed / max_shots), max_shots, _pixel_shape(stream))
        last, turned = None, False
        for when, frame in looks.frames():
            if when > max_seconds:
                raise MediaError(
                    "too_large", f"The film is longer than the {max_seconds:g} seconds allowed."
                )
            if _turn(frame) in (90, 270) and not turned:
                turned = True
                metadata |= {"width": metadata["height"], "height": metadata["width"]}
            for shot in director.see(when, frame):
                if last is not None:
                    yield metadata, last
                last = shot
        # What a container claims beyond that was cut off, or is what follows the last key frame.
        slack = _KEYFRAMES_SLACK if keyframes else 1.0
        whole = looks.last < claimed < looks.last + slack
        for shot in director.end(claimed if whole else looks.last):
            if last is not None:
                yield metadata, last
            last = shot
        if last is None:
            raise MediaError("corrupt", "The film is damaged: no picture of it can be decoded.")
        metadata["duration"] = last.end
        if missing_bytes(source):
            metadata["warning"] = (
                f"The film is damaged: it is cut off; {last.end:.1f} seconds could be decoded."
            )
        elif looks.errors:
            metadata["warning"] = (
                f"The film is damaged ({looks.errors} errors); what could be decoded is there."
            )
        yield metadata, last


def frame_at(source: Content, moment: float, *, max_pixels: int) -> Image.Image:
    """The frame that is shown at second `moment`, as `shots` gives frames.

    Raises MediaError as `shots` does; missing if the film has ended by then.
    """
    with opened(source) as container:
        stream = _stream(container)
        if stream.codec_context.width * stream.codec_context.height > max_pixels:
            raise MediaError("too_large", "The film's pictures have too many pixels.")
        stream.codec_context.thread_count = 1
        begin = beginning(container)
        # To the key frame before it. What cannot be sought is read from the beginning.
        with suppress(av.error.FFmpegError, OSError):
            container.seek(max(0, int((begin + moment - 0.001) * 1_000_000)))
        frame = None
        try:
            for each in container.decode(stream):
                late = each.time is not None and float(each.time) - begin > moment + 0.002
                if frame is None or not late:
                    frame = each
                if late:
                    break
        except (av.error.FFmpegError, OSError):
            pass  # the last one that could be decoded is the nearest there is
        image = None if frame is None else _picture(frame, _pixel_shape(stream))
    if image is None:
        raise MediaError("missing", f"The film has no picture at second {moment:g}.")
    return image


def _stream(container: Opened) -> Any:
    decodable = [stream for stream in container.streams.video if stream.codec_context is not None]
    # A film may be one still picture.
    for stream in sorted(decodable, key=is_cover):
        if stream.codec_context.codec_tag in ("encv", "drmi"):
            raise MediaError("encrypted", "The film is protected against being copied.")
        return stream
    raise MediaError("unsupported", "The film's pictures are in a format that cannot be decoded.")


def _metadata(container: Opened, stream: Any) -> dict[str, Any]:
    info = info_of(container)
    metadata = dict(info.metadata)
    for name in ("sample_rate", "channels"):
        metadata.pop(name, None)
    if "codec" in metadata:
        metadata["audio_codec"] = metadata.pop("codec")
    metadata["video_codec"] = stream.codec_context.name
    # As it is seen but for its turn, which only a frame knows.
    width = max(1, round(stream.codec_context.width * _pixel_shape(stream)))
    metadata |= {"width": width, "height": stream.codec_context.height}
    with suppress(ZeroDivisionError, TypeError, ValueError):
        rate = float(stream.average_rate or 0)
        if 0 < rate < 1000:
            metadata["frame_rate"] = round(rate, 3)
    return metadata


def _keyframes_do(source: Content) -> bool:
    """Whether a film is long, and has key frames often enough to be looked at by them alone."""
    with opened(source) as container:
        stream = _stream(container)
        length = (container.duration or 0) / 1_000_000
        if length < _KEYFRAMES_BEYOND:
            return False
        count, first, last = 0, None, 0.0
        with suppress(av.error.FFmpegError, OSError):
            for number, packet in enumerate(container.demux(stream)):
                if packet.pts is None or packet.time_base is None:
                    continue
                last = float(packet.pts * packet.time_base)
                first = last if first is None else first
                count += packet.is_keyframe
                if last - first > _PROBED_SECONDS or number > _PROBED_PACKETS:
                    break
    return first is not None and count * _KEYFRAMES_AT_LEAST_EVERY > last - first


class _Looks:
    """The frames that are looked at, with the second at which each is shown."""

    def __init__(self, container: Opened, stream: Any) -> None:
        self._container = container
        self._stream = stream
        self._begin = beginning(container)
        self.errors = 0
        self.last = 0.0
        """When the last decoded frame ends."""

    def frames(self) -> Iterator[tuple[float, Any]]:
        rate = float(self._stream.average_rate or 0) or 25.0
        following, shown, in_a_row = 0.0, 0, 0
        packets = self._container.demux(self._stream)
        while in_a_row < _MAX_ERRORS:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                self.errors += 1  # the container itself is cut off
                return
            if packet is None:
                return
            try:
                decoded = packet.decode()
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, ValueError):
                self.errors += 1
                in_a_row += 1
                continue
            for frame in decoded:
                in_a_row = 0
                shown += 1
                when = self._when(frame, self.last if frame.time is None else None)
                # Time does not run backwards, whatever a damaged file says.
                when = max(when, self.last - 1 / rate)
                self.last = when + 1 / rate
                if when + 1e-6 >= following or shown == 1:
                    following = when + _STEP_SECONDS
                    yield when, frame

    def _when(self, frame: Any, instead: float | None) -> float:
        if instead is not None:
            return instead
        return max(0.0, float(frame.time) - self._begin)


def beginning(container: Opened) -> float:
    """When the film begins on the clock of its frames, in seconds: players count from there."""
    start = container.start_time
    return start / 1_000_000 if start is not None and abs(start) < 10**12 else 0.0


def sound_delay(container: Opened) -> float:
    """Seconds of the film before its soundtrack begins."""
    for stream in container.streams.audio:
        if stream.codec_context is None:
            continue
        if stream.start_time is None or stream.time_base is None:
            return 0.0
        late = float(stream.start_time * stream.time_base) - beginning(container)
        return round(late, 3) if 0 < late < 3600 else 0.0
    return 0.0


class _Director:
    """Tells shots apart, one look after the other."""

    def __init__(self, shortest: float, max_shots: int, pixel_shape: float) -> None:
        self._shortest = shortest
        self._pixel_shape = pixel_shape
        self._left = max_shots
        self._usual = 4.0
        """How much two looks in a row differ within shots, a running mean."""
        self._before: Tiny | None = None
        self._start = 0.0
        self._since = time.monotonic()
        self._mean: Tiny | None = None
        self._count = 0
        self._best: tuple[float, float, Any] | None = None
        """(distance from the mean so far, second, frame)."""

    def see(self, when: float, frame: Any) -> Iterator[Shot]:
        """A shot, if this look ends it."""
        tiny = _tiny(frame)
        if tiny is None:
            return
        if self._before is not None and self._mean is not None:
            step = float(np.abs(tiny - self._before).mean())
            away = float(np.abs(tiny - self._mean).mean())
            if self._left > 1 and self._is_cut(when - self._start, step, away):
                yield from self._taken(when)
            else:
                self._usual += 0.1 * (min(step, _CUT) - self._usual)
        self._before = tiny
        self._count += 1
        if self._mean is None:
            self._mean = tiny.copy()
        else:
            self._mean += (tiny - self._mean) / self._count
        distance = float(np.abs(tiny - self._mean).mean()) - _detail(tiny)
        # The first look may still be half of what was before.
        if self._best is None or distance < self._best[0] or self._count == 2:
            self._best = (distance, when, frame)

    def end(self, when: float) -> Iterator[Shot]:
        """The last shot."""
        yield from self._taken(max(when, self._start))

    def _is_cut(self, length: float, step: float, away: float) -> bool:
        if length < self._shortest:
            return False
        return (
            step > max(_CUT, _ABOVE_USUAL * self._usual)
            or (away > _DRIFT and length > max(_SHORTEST_DRIFT, self._shortest))
            or length > max(_LONGEST, self._shortest)
            or time.monotonic() - self._since > _STEP_WALL_SECONDS
        )

    def _taken(self, when: float) -> Iterator[Shot]:
        if self._best is not None:
            _, moment, shown = self._best
            frame = _picture(shown, self._pixel_shape)
            if frame is not None:
                yield Shot(round(self._start, 3), round(when, 3), round(moment, 3), frame)
                self._left -= 1
        self._start, self._since = when, time.monotonic()
        self._mean, self._count, self._best = None, 0, None


def _tiny(frame: Any) -> Tiny | None:
    """(height, width, 3) float32 of a few pixels."""
    try:
        small = frame.reformat(*_TINY, format="rgb24", interpolation="AREA")
        return np.asarray(small.to_ndarray(), np.float32)
    except (av.error.FFmpegError, ValueError):
        return None


def _detail(tiny: Tiny) -> float:
    """How much there is to see: an empty frame shall not stand for a shot."""
    return 0.2 * float(tiny.std())


def _picture(frame: Any, pixel_shape: float) -> Image.Image | None:
    """A frame as it is meant to be seen: upright, with square pixels."""
    try:
        image: Image.Image = frame.to_image()
    except (av.error.FFmpegError, ValueError):
        return None
    if pixel_shape != 1.0:
        image = image.resize((max(1, round(image.width * pixel_shape)), image.height))
    turn = _turn(frame)
    if turn in (90, 180, 270):
        turned = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180,
                  270: Image.Transpose.ROTATE_270}  # fmt: skip
        image = image.transpose(turned[turn])
    return image


def _turn(frame: Any) -> int:
    """Degrees against the clock by which a frame is turned to be upright, 0 to 359."""
    return int(getattr(frame, "rotation", 0) or 0) % 360


def _pixel_shape(stream: Any) -> float:
    """Width of a pixel for a height of 1."""
    with suppress(AttributeError, TypeError, ZeroDivisionError, ValueError):
        shape = float(stream.sample_aspect_ratio)
        if math.isfinite(shape) and 0.2 < shape < 5 and abs(shape - 1) > 0.01:
            return shape
    return 1.0
