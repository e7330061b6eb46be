"""Which channels are turned over before a recording is mixed to mono.

A cable with crossed wires or a wrong switch at a mixer turns over the wave of one channel. The
sum of both channels is then silence, although each of them is loud.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import numpy.typing as npt

_BLOCK_FRAMES, _MEASURED_EVERY = 32, 8
_SOUND_BLOCKS = 4
_STEP = 3
_SILENT = 1e-8
"""Mean square of a channel, of 1."""
_CANCELLED, _RESTORED = 0.3, 0.7
"""Energy of the sum of all channels by the sum of their energies: 1 for unrelated channels."""
_OPPOSITE = -0.5
"""Correlation to the loudest channel."""


def mixable(frames: Iterator[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    """The frames of `clock.timed`, with channels turned over where they would cancel each other.

    Decided for a block of frames at a time: by its end it is known what it sounds like. Once
    some blocks were sound, frames pass without waiting, and only one of each block is looked at.
    """
    turned: tuple[int, ...] = ()
    block: list[tuple[float, Any]] = []
    sound = 0
    for placed in frames:
        last = placed[1] is None
        if not last and sound >= _SOUND_BLOCKS:
            if not _choose([placed], ()):
                yield placed
                yield from itertools.islice(frames, _BLOCK_FRAMES)
                continue
            sound = 0
        if not last:
            block.append(placed)
        if last or len(block) == _BLOCK_FRAMES:
            choice = _choose(block[::_MEASURED_EVERY], turned)
            if choice is not None:
                turned = choice
                sound = 0 if turned else sound + 1
            yield from _turned_over(block, turned)
            block = []
        if last:
            yield placed


def _choose(block: list[tuple[float, Any]], before: tuple[int, ...]) -> tuple[int, ...] | None:
    """The channels to turn over; `before` are those so far. None: nothing can be heard."""
    products: npt.NDArray[np.float32] | None = None
    count = 0
    for _, frame in block:
        samples = _samples(frame)
        product: npt.NDArray[np.float32] = samples @ samples.T
        if products is not None and products.shape != product.shape:
            continue  # joined recordings of another kind
        products = product if products is None else products + product
        count += samples.shape[1]
    if products is None or not np.isfinite(products).all():
        return None
    energies = products.diagonal()
    if energies.max() < _SILENT * count:
        return None
    unity = float(products.sum() / energies.sum())
    if unity >= (_RESTORED if before else _CANCELLED):
        return ()
    loudest = int(energies.argmax())
    scale = np.sqrt(energies * energies[loudest]) + 1e-30
    return tuple(np.flatnonzero(products[loudest] < _OPPOSITE * scale).tolist())


def _samples(frame: Any) -> npt.NDArray[np.float32]:
    """(channels, samples) of -1..1; some samples are enough to compare channels."""
    array = frame.to_ndarray()
    channels = frame.layout.nb_channels
    if not frame.format.is_planar:
        array = array.reshape(-1, channels).T
    level: npt.NDArray[np.float32] = array[:, ::_STEP].astype(np.float32)
    if array.dtype.kind != "f":
        level *= np.float32(0.5 ** (8 * array.dtype.itemsize - 1))
        if array.dtype.kind == "u":
            level -= np.float32(1)
    return level


def _turned_over(
    block: list[tuple[float, Any]], channels: tuple[int, ...]
) -> Iterator[tuple[float, Any]]:
    for begin, frame in block:
        yield begin, _with_turned(frame, channels) if channels else frame


def _with_turned(frame: Any, channels: tuple[int, ...]) -> Any:
    array = frame.to_ndarray()
    view = array if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels).T
    for channel in channels[: len(view)]:
        # All bits turned over are -x - 1: also the smallest value has an opposite.
        view[channel] = -view[channel] if array.dtype.kind == "f" else ~view[channel]
    turned = av.AudioFrame.from_ndarray(array, format=frame.format.name, layout=frame.layout.name)
    turned.sample_rate = frame.sample_rate
    return turned
