"""Small recordings, made from scratch with PyAV."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

RATE = 48_000
_SAMPLES = {"flt": (np.float32, 1), "s16": (np.int16, 2**15 - 1), "s32": (np.int32, 2**31 - 1)}


def bursts(*spans: tuple[float, float], seconds: float) -> npt.NDArray[np.float64]:
    """(samples,) of a tone of 440 Hz in the given stretches, at RATE."""
    at = np.arange(round(seconds * RATE)) / RATE
    loud = np.zeros(len(at), bool)
    for start, end in spans:
        loud |= (at >= start) & (at < end)
    return 0.4 * np.sin(2 * np.pi * 440 * at) * loud


def a_recording(
    samples: npt.NDArray[np.float64],
    kind: str = "matroska",
    codec: str = "pcm_s16le",
    *,
    stamp: Callable[[float], float] = lambda second: second,
    tags: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    pictures: float = 0.0,
) -> bytes:
    """(channels, n) or (n,) at RATE, as a file. `stamp` gives the time stamp of a packet by its
    second; `pictures` are the seconds of a film beside it."""
    channels = np.atleast_2d(samples)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    with tempfile.NamedTemporaryFile() as file:
        _write(file.name, channels, layout, kind, codec, stamp, tags or {}, options or {}, pictures)
        return file.read()


def _write(
    path: str,
    channels: npt.NDArray[np.float64],
    layout: str,
    kind: str,
    codec: str,
    stamp: Callable[[float], float],
    tags: dict[str, str],
    options: dict[str, str],
    pictures: float,
) -> None:
    with av.open(path, "w", format=kind, options=options) as container:
        container.metadata.update(tags)
        video: Any = container.add_stream("mpeg4", rate=5) if pictures else None
        audio: Any = container.add_stream(codec, rate=RATE, layout=layout)
        audio.bit_rate = 96_000
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        packets = list(_packets(audio, channels, layout))
        if video is not None:
            packets += _pictures(video, pictures)
        for packet in packets:
            if packet.stream is audio and packet.pts is not None:
                base = packet.time_base
                packet.pts = packet.dts = round(stamp(float(packet.pts * base)) / base)
        for packet in sorted(packets, key=lambda each: float((each.dts or 0) * each.time_base)):
            container.mux(packet)


def _packets(stream: Any, channels: npt.NDArray[np.float64], layout: str) -> Sequence[Any]:
    packets: list[Any] = []
    sample_format = stream.codec_context.format
    planar, name = sample_format.is_planar, sample_format.name
    kind, scale = _SAMPLES[name.rstrip("p")]
    size = 960
    for first in range(0, channels.shape[1], size):
        block = channels[:, first : first + size]
        block = block if planar else block.T.reshape(1, -1)
        block = np.clip(block, -1, 1) * scale
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block.astype(kind)),
            format=stream.codec_context.format.name,
            layout=layout,
        )
        frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)]


def _pictures(stream: Any, seconds: float) -> Sequence[Any]:
    packets: list[Any] = []
    for number in range(round(seconds * 5)):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 5)
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)]
