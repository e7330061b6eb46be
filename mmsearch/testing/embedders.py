"""Embedders without weights: colours, words and pitch become vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.testing.vectors import (
    COLOUR_AXES,
    COLOURS,
    WORD,
    directions,
    space_of,
    sum_of_words,
    unit,
    unit_rows,
    with_colour,
)
from mmsearch.types import SOUND_RATE, Preprocess, Role, Samples, Space, Vectors

_GRID = 4


class FakeImageTextEmbedder:
    """An `ImageTextEmbedder` of colours and hashed words. Another `revision` is another space."""

    def __init__(self, dimension: int = 64, *, revision: str = "1", max_tokens: int = 77) -> None:
        if dimension < 2 * COLOUR_AXES:
            raise ValueError(f"dimension {dimension}: at least {2 * COLOUR_AXES}")
        self._dimension = dimension
        self._max_tokens = max_tokens
        self._space = space_of("clip", "fake-clip", revision, dimension)
        self._rotation = directions(f"clip-details-{revision}", _GRID * _GRID * 3, dimension)
        self.calls = 0
        """Calls of any `encode_` method."""
        self.encoded = 0
        """Images and texts encoded in all calls."""

    @property
    def space(self) -> Space:
        return self._space

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess(size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(WORD.findall(text)) + 2 for text in texts]

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        return np.array([WORD.search(text) is not None for text in texts], np.bool_)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:  # noqa: ARG002
        self._count(len(texts))
        return unit_rows([self._text(text) for text in texts], self._dimension)

    def encode_pixels(self, pixels: npt.NDArray[np.uint8]) -> Vectors:
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (32, 32, 3):
            raise ValueError(f"pixels: {pixels.dtype} {pixels.shape}, not uint8 (n, 32, 32, 3)")
        self._count(len(pixels))
        return unit_rows([self._picture(picture) for picture in pixels], self._dimension)

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        small = [image.convert("RGB").resize((32, 32), Image.Resampling.BOX) for image in images]
        pixels = np.array([np.asarray(image) for image in small], np.uint8)
        return self.encode_pixels(pixels.reshape(len(images), 32, 32, 3))

    @property
    def heat_preprocess(self) -> Preprocess:
        return replace(self.preprocess, resize_mode="squash")

    def heat_map(self, pixels: npt.NDArray[np.uint8], text: str) -> npt.NDArray[np.float32]:
        """(8, 8): how near each cell of 4 x 4 pixels is to a colour that the text names."""
        named = [COLOURS[w] for w in WORD.findall(text.lower()) if w in COLOURS]
        cells = pixels.reshape(8, 4, 8, 4, 3).astype(np.float64).mean(axis=(1, 3))
        if not named:
            return np.zeros((8, 8), np.float32)
        distance = ((cells[:, :, None] - np.array(named, np.float64)) ** 2).sum(axis=3).min(axis=2)
        near = np.exp(-distance / 6000)
        return np.asarray(near / max(float(near.max()), 1e-12), np.float32)

    def release(self) -> None:
        """There is nothing to free."""

    def _count(self, items: int) -> None:
        self.calls += 1
        self.encoded += items

    def _picture(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        colours = pixels.reshape(-1, 3).astype(np.float64)
        cells = colours.reshape(_GRID, 32 // _GRID, _GRID, 32 // _GRID, 3).mean(axis=(1, 3))
        details = (cells.reshape(-1) / 255 - 0.5) @ self._rotation
        details[:COLOUR_AXES] = 0
        return with_colour(colours, unit(details), self._dimension)

    def _text(self, text: str) -> npt.NDArray[np.float64]:
        words = [word.lower() for word in WORD.findall(text)]
        named = np.array([COLOURS[word] for word in words if word in COLOURS], np.float64)
        details = sum_of_words([word for word in words if word not in COLOURS], self._dimension)
        details[:COLOUR_AXES] = 0
        if len(named) == 0:
            return details
        return with_colour(named, unit(details), self._dimension)


class FakeTextEmbedder:
    """A `TextEmbedder` of hashed words: texts that share words have similar vectors."""

    def __init__(
        self,
        dimension: int = 48,
        *,
        revision: str = "1",
        max_tokens: int = 256,
        ascii_only: bool = False,
    ) -> None:
        """`ascii_only`: it reads only texts without other letters."""
        self._ascii_only = ascii_only
        self._dimension = dimension
        self._max_tokens = max_tokens
        self._space = space_of("text", "fake-text", revision, dimension)
        self.calls = 0
        """Calls of any `encode_` method."""
        self.encoded = 0
        """Texts encoded in all calls."""

    @property
    def space(self) -> Space:
        return self._space

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(WORD.findall(text)) + 2 for text in texts]

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        readable = [
            WORD.search(text) is not None and (text.isascii() or not self._ascii_only)
            for text in texts
        ]
        return np.array(readable, np.bool_)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:  # noqa: ARG002
        self.calls += 1
        self.encoded += len(texts)
        words = [[word.lower() for word in WORD.findall(text)] for text in texts]
        return unit_rows(
            [sum_of_words(text_words, self._dimension) for text_words in words], self._dimension
        )

    def release(self) -> None:
        """There is nothing to free."""


class FakeSoundEmbedder:
    """A `SoundTextEmbedder` of pitch: "low", "middle" or "high".

    A sound is similar to the word for the band with most of its energy (below 400 Hz, up to
    3000 Hz, above). All other words are hashed.
    """

    BANDS: Mapping[str, tuple[float, float]] = MappingProxyType(
        {"low": (0, 400), "middle": (400, 3000), "high": (3000, SOUND_RATE / 2)}
    )

    def __init__(self, dimension: int = 24, *, revision: str = "1") -> None:
        self._dimension = dimension
        self._space = space_of("sound", "fake-sound", revision, dimension)
        self.calls = 0
        """Calls of any `encode_` method."""
        self.encoded = 0
        """Sounds and texts encoded in all calls."""

    @property
    def space(self) -> Space:
        return self._space

    @property
    def window_seconds(self) -> float:
        return 10.0

    @property
    def max_tokens(self) -> int:
        return 77

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(WORD.findall(text)) + 2 for text in texts]

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        return np.array([WORD.search(text) is not None for text in texts], np.bool_)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:  # noqa: ARG002
        self.calls += 1
        self.encoded += len(texts)
        return unit_rows([self._text(text) for text in texts], self._dimension)

    def encode_sounds(self, sounds: Sequence[Samples]) -> Vectors:
        longest = self.window_seconds * SOUND_RATE
        for samples in sounds:
            if samples.ndim != 1 or not 0 < len(samples) <= longest:
                raise ValueError(f"a sound of shape {samples.shape}")
        self.calls += 1
        self.encoded += len(sounds)
        return unit_rows([self._sound(samples) for samples in sounds], self._dimension)

    def release(self) -> None:
        """There is nothing to free."""

    def _sound(self, samples: Samples) -> npt.NDArray[np.float64]:
        energy = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
        hertz = np.fft.rfftfreq(len(samples), 1 / SOUND_RATE)
        vector = np.zeros(self._dimension)
        for axis, (low, high) in enumerate(self.BANDS.values()):
            vector[axis] = energy[(hertz >= low) & (hertz < high)].sum()
        return vector

    def _text(self, text: str) -> npt.NDArray[np.float64]:
        words = [word.lower() for word in WORD.findall(text)]
        vector = 0.1 * sum_of_words(
            [word for word in words if word not in self.BANDS], self._dimension
        )
        for axis, name in enumerate(self.BANDS):
            vector[axis] += 10.0 * (name in words)
        return vector
