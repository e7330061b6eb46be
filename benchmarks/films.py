"""Films and recordings made for the benchmarks: their shots and sentences are known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray
from PIL import Image

from mmsearch.media.formats import audio
from mmsearch.media.parts import SAMPLE_RATE

RATE = 48_000
"""Samples a second of all sound here: what Opus codes."""
SIZE = (480, 360)
_FRAMES_A_SECOND = 10
_FRAME = 960


def heard(path: Path) -> NDArray[np.float32]:
    """A recording as float32 [n] mono, -1 to 1, at ``RATE``."""
    samples = audio.decode(path).samples
    at = np.arange(int(len(samples) * RATE / SAMPLE_RATE)) * (SAMPLE_RATE / RATE)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def write_recording(target: Path, sound: NDArray[np.float32]) -> None:
    """``sound`` at ``RATE`` as Opus in the container that ``target``'s name says."""
    with av.open(str(target), "w") as container:
        _write_sound(container, _sound_stream(container), sound)


def write_film(
    target: Path, shots: Sequence[tuple[Image.Image, float]], sound: NDArray[np.float32]
) -> None:
    """Each picture for so many seconds, moving a little, under ``sound``."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=_FRAMES_A_SECOND)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast"}
        spoken = _sound_stream(container)  # before the first packet, which writes the header
        for picture, seconds in shots:
            large = np.asarray(picture.convert("RGB").resize((SIZE[0] + 40, SIZE[1] + 40)))
            for step in range(round(seconds * _FRAMES_A_SECOND)):
                shift = step % 40
                seen = large[shift : shift + SIZE[1], shift : shift + SIZE[0]]
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(seen), "rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        _write_sound(container, spoken, sound)


def _sound_stream(container: OutputContainer) -> AudioStream:
    return container.add_stream("libopus", rate=RATE, layout="mono")


def _write_sound(
    container: OutputContainer, stream: AudioStream, sound: NDArray[np.float32]
) -> None:
    samples = (np.clip(sound, -1, 1) * 32_767).astype(np.int16)
    for first in range(0, len(samples) - _FRAME + 1, _FRAME):
        block = samples[None, first : first + _FRAME]
        frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def repeat(path: Path, target: Path, seconds: float) -> None:
    """Copy ``path``'s packets again and again until ``target`` is ``seconds`` long."""
    with av.open(str(path)) as short:
        length = float(short.duration or 0) / av.time_base
    with av.open(str(target), "w") as long:
        for turn in range(int(seconds // length) + 1):
            with av.open(str(path)) as short:
                if not long.streams:
                    streams = {s.index: long.add_stream_from_template(s) for s in short.streams}
                for packet in short.demux():
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    shift = round(turn * length / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    long.mux(packet)
