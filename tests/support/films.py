"""Small films, made from scratch with PyAV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from PIL import Image

RATE = 10


def a_film(
    scenes: Sequence[tuple[str | Image.Image, float]],
    *,
    size: tuple[int, int] = (160, 96),
    tone: Sequence[tuple[float, float]] = (),
    kind: str = "matroska",
    codec: str = "mpeg4",
    key_every: int = 250,
) -> bytes:
    """Scenes of (colour or picture, seconds), with a tone of 440 Hz in the given stretches."""
    buffer = io.BytesIO()
    length = sum(seconds for _, seconds in scenes)
    with av.open(buffer, "w", format=kind) as container:
        video: Any = container.add_stream(codec, rate=RATE)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.gop_size = key_every
        audio: Any = container.add_stream("pcm_s16le", rate=16_000, layout="mono") if tone else None
        _pictures(container, video, scenes, size)
        if audio is not None:
            _sound(container, audio, length, tone)
    return buffer.getvalue()


def _pictures(
    container: Any,
    stream: Any,
    scenes: Sequence[tuple[str | Image.Image, float]],
    size: tuple[int, int],
) -> None:
    shown = 0
    for scene, seconds in scenes:
        if isinstance(scene, str):
            picture = Image.new("RGB", size, scene)
        else:
            picture = scene.convert("RGB").resize(size)
        for _ in range(round(seconds * RATE)):
            frame: Any = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            frame.pts = shown
            frame.time_base = Fraction(1, RATE)
            shown += 1
            container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _sound(container: Any, stream: Any, length: float, tone: Sequence[tuple[float, float]]) -> None:
    at = np.arange(round(length * 16_000)) / 16_000
    loud = np.zeros(len(at), bool)
    for start, end in tone:
        loud |= (at >= start) & (at < end)
    samples = (np.sin(2 * np.pi * 440 * at) * 12_000 * loud).astype(np.int16)
    for first in range(0, len(samples), 1600):
        block = samples[None, first : first + 1600]
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate = 16_000
        frame.pts = first
        frame.time_base = Fraction(1, 16_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
