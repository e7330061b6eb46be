"""Deterministic stand-ins for the models, for tests of everything around them.

They load nothing, need neither torch nor weights, and answer in microseconds, yet a search
with them finds things: the fake of CLIP knows colours ("a red boat" is near to reddish
pictures) and the fake of a text model knows which words two texts share.

    embedder = FakeImageTextEmbedder()
    vectors = embedder.encode_images([Image.new("RGB", (64, 64), "red")])
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.types import (
    SOUND_RATE,
    Modality,
    Preprocess,
    RerankCandidate,
    RerankScore,
    RerankScores,
    Role,
    Samples,
    Space,
    Transcript,
    Utterance,
    Vectors,
    Word,
    WordLine,
)

COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (255, 0, 0),
        "green": (0, 160, 0),
        "blue": (0, 0, 255),
        "yellow": (255, 255, 0),
        "orange": (255, 140, 0),
        "purple": (128, 0, 128),
        "pink": (255, 150, 190),
        "cyan": (0, 255, 255),
        "brown": (120, 70, 20),
        "white": (255, 255, 255),
        "black": (0, 0, 0),
        "gray": (128, 128, 128),
        "grey": (128, 128, 128),
    }
)
"""The words that FakeImageTextEmbedder sees in pictures."""

_WORD = re.compile(r"\w+", re.UNICODE)
_GRID = 4
_COLOUR_PARTS = 16
"""Leading components of a fake CLIP vector that tell colour; the others tell details."""


class FakeImageTextEmbedder:
    """An `ImageTextEmbedder` that sees colours and hashes words; `revision` makes another space."""

    def __init__(self, dimension: int = 64, *, revision: str = "1", max_tokens: int = 77) -> None:
        if dimension < 2 * _COLOUR_PARTS:
            raise ValueError(f"dimension {dimension}: at least {2 * _COLOUR_PARTS}")
        self._dimension = dimension
        self._max_tokens = max_tokens
        self._space = _space("clip", "fake-clip", revision, dimension)
        self._rotation = _directions(f"clip-details-{revision}", _GRID * _GRID * 3, dimension)
        self.calls = 0
        """How many times anything was encoded."""
        self.encoded = 0
        """How many images and texts were encoded in all."""

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
        return [len(_WORD.findall(text)) + 2 for text in texts]

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        return np.array([_WORD.search(text) is not None for text in texts], np.bool_)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:  # noqa: ARG002
        self._count(len(texts))
        return _rows([self._text(text) for text in texts], self._dimension)

    def encode_pixels(self, pixels: npt.NDArray[np.uint8]) -> Vectors:
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (32, 32, 3):
            raise ValueError(f"pixels: {pixels.dtype} {pixels.shape}, not uint8 (n, 32, 32, 3)")
        self._count(len(pixels))
        return _rows([self._picture(picture) for picture in pixels], self._dimension)

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        small = [image.convert("RGB").resize((32, 32), Image.Resampling.BOX) for image in images]
        pixels = np.array([np.asarray(image) for image in small], np.uint8)
        return self.encode_pixels(pixels.reshape(len(images), 32, 32, 3))

    @property
    def heat_preprocess(self) -> Preprocess:
        return replace(self.preprocess, resize_mode="squash")

    def heat_map(self, pixels: npt.NDArray[np.uint8], text: str) -> npt.NDArray[np.float32]:
        """Cells of 4 x 4 pixels that have one of the colours that the text names."""
        named = [COLOURS[w] for w in _WORD.findall(text.lower()) if w in COLOURS]
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
        details[:_COLOUR_PARTS] = 0
        return _with_colour(colours, _unit(details), self._dimension)

    def _text(self, text: str) -> npt.NDArray[np.float64]:
        words = [word.lower() for word in _WORD.findall(text)]
        named = np.array([COLOURS[word] for word in words if word in COLOURS], np.float64)
        details = _bag([word for word in words if word not in COLOURS], self._dimension)
        details[:_COLOUR_PARTS] = 0
        if len(named) == 0:
            return details
        return _with_colour(named, _unit(details), self._dimension)


class FakeTextEmbedder:
    """A `TextEmbedder` of hashed words: texts that share words are near to each other.

    `ascii_only`: it reads only texts without other letters.
    """

    def __init__(
        self,
        dimension: int = 48,
        *,
        revision: str = "1",
        max_tokens: int = 256,
        ascii_only: bool = False,
    ) -> None:
        self._ascii_only = ascii_only
        self._dimension = dimension
        self._max_tokens = max_tokens
        self._space = _space("text", "fake-text", revision, dimension)
        self.calls = 0
        """How many times anything was encoded."""
        self.encoded = 0
        """How many texts were encoded in all."""

    @property
    def space(self) -> Space:
        return self._space

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_WORD.findall(text)) + 2 for text in texts]

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        readable = [
            _WORD.search(text) is not None and (text.isascii() or not self._ascii_only)
            for text in texts
        ]
        return np.array(readable, np.bool_)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:  # noqa: ARG002
        self.calls += 1
        self.encoded += len(texts)
        words = [[word.lower() for word in _WORD.findall(text)] for text in texts]
        return _rows([_bag(some, self._dimension) for some in words], self._dimension)

    def release(self) -> None:
        """There is nothing to free."""


class FakeCaptioner:
    """A `Captioner` that says what colour a picture has: "A red picture."."""

    def __init__(self) -> None:
        self.seen = 0
        """How many pictures were shown to it."""

    @property
    def name(self) -> str:
        return "fake-captioner"

    @property
    def fingerprint(self) -> str:
        return "fake-captions"

    @property
    def weights(self) -> str:
        return ""

    def caption(self, pictures: Sequence[bytes]) -> list[str | None]:
        self.seen += len(pictures)
        return [self._described(content) for content in pictures]

    def release(self) -> None:
        """There is nothing to free."""

    @staticmethod
    def _described(content: bytes) -> str:
        with Image.open(io.BytesIO(content)) as image:
            mean = np.asarray(image.convert("RGB"), np.float64).mean(axis=(0, 1))
        distance = {name: np.abs(mean - np.array(rgb)).sum() for name, rgb in COLOURS.items()}
        return f"A {min(distance, key=lambda name: float(distance[name]))} picture."


class FakeSoundEmbedder:
    """A `SoundTextEmbedder` that hears how high a sound is: "low", "middle" or "high".

    A sound is near to the word for the band that holds most of its energy (below 400 Hz, up to
    3000 Hz, above); all other words are hashed.
    """

    BANDS: Mapping[str, tuple[float, float]] = MappingProxyType(
        {"low": (0, 400), "middle": (400, 3000), "high": (3000, SOUND_RATE / 2)}
    )

    def __init__(self, dimension: int = 24, *, revision: str = "1") -> None:
        self._dimension = dimension
        self._space = _space("sound", "fake-sound", revision, dimension)
        self.calls = 0
        """How many times anything was encoded."""
        self.encoded = 0
        """How many sounds and texts were encoded in all."""

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
        return [len(_WORD.findall(text)) + 2 for text in texts]

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        return np.array([_WORD.search(text) is not None for text in texts], np.bool_)

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:  # noqa: ARG002
        self.calls += 1
        self.encoded += len(texts)
        return _rows([self._text(text) for text in texts], self._dimension)

    def encode_sounds(self, sounds: Sequence[Samples]) -> Vectors:
        longest = self.window_seconds * SOUND_RATE
        for samples in sounds:
            if samples.ndim != 1 or not 0 < len(samples) <= longest:
                raise ValueError(f"a sound of shape {samples.shape}")
        self.calls += 1
        self.encoded += len(sounds)
        return _rows([self._sound(samples) for samples in sounds], self._dimension)

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
        words = [word.lower() for word in _WORD.findall(text)]
        vector = 0.1 * _bag([word for word in words if word not in self.BANDS], self._dimension)
        for axis, name in enumerate(self.BANDS):
            vector[axis] += 10.0 * (name in words)
        return vector


class FakeTranscriber:
    """A `Transcriber` that hears `script` in the loud stretches, one line for each in turn.

    A stretch is loud where half-second windows rise above a hundredth of full scale; lines
    are taken again from the start when they run out. Silence holds nothing.
    """

    def __init__(
        self, script: Sequence[str] = ("hello from the recording",), *, language: str = "en"
    ) -> None:
        self._script = tuple(script)
        self._language = language
        self.calls = 0
        """How many recordings were heard."""

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256("\n".join(self._script).encode()).hexdigest()
        return f"fake-{digest[:12]}"

    @property
    def weights(self) -> str:
        return ""

    def transcribe(
        self, samples: npt.NDArray[np.float32], *, language: str | None = None
    ) -> Transcript:
        self.calls += 1
        window = 8000
        count = -(-len(samples) // window)
        padded = np.zeros(count * window, np.float32)
        padded[: len(samples)] = samples
        loud = np.abs(padded).reshape(count, window).max(axis=1, initial=0) > 0.01
        edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]])))
        spans = edges.reshape(-1, 2) * window / 16_000
        utterances = tuple(
            _utterance(
                self._script[i % len(self._script)],
                float(start),
                float(min(end, len(samples) / 16_000)),
            )
            for i, (start, end) in enumerate(spans)
        )
        if not utterances:
            return Transcript(language=None, language_probability=0.0, utterances=())
        return Transcript(
            language=language or self._language, language_probability=1.0, utterances=utterances
        )

    def release(self) -> None:
        """There is nothing to free."""


def _space(name: str, model: str, revision: str, dimension: int) -> Space:
    parts = f"{model}/{revision}/{dimension}"
    return Space(
        name=name,
        model=model,
        revision=revision,
        fingerprint="fake-" + hashlib.sha256(parts.encode()).hexdigest()[:16],
        dimension=dimension,
    )


def _directions(seed: str, rows: int, dimension: int) -> npt.NDArray[np.float64]:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    return np.random.default_rng(number).standard_normal((rows, dimension))


def _bag(words: Sequence[str], dimension: int) -> npt.NDArray[np.float64]:
    """The sum of one fixed direction for each different word."""
    total = np.zeros(dimension)
    for word in dict.fromkeys(words):
        total += _directions(f"word-{word}", 1, dimension)[0]
    return total


def _with_colour(
    colours: npt.NDArray[np.float64], details: npt.NDArray[np.float64], dimension: int
) -> npt.NDArray[np.float64]:
    """Mostly the mean colour, as soft membership in the named ones, and some details."""
    named = np.array([COLOURS[name] for name in COLOURS if name != "grey"], np.float64)
    distance = ((colours[:, None, :] - named[None]) ** 2).sum(axis=2)
    member = np.exp(-distance / 6000)
    member /= np.maximum(member.sum(axis=1, keepdims=True), 1e-12)
    vector = np.zeros(dimension)
    vector[: len(named)] = member.mean(axis=0)
    return _unit(vector) + 0.3 * details


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-12 else vector


def _rows(vectors: list[npt.NDArray[np.float64]], dimension: int) -> Vectors:
    """Unit rows; one without any direction becomes the first axis from the end."""
    rows = np.zeros((len(vectors), dimension), np.float32)
    for row, vector in zip(rows, vectors, strict=True):
        row[:] = _unit(vector)
        if not row.any():
            row[-1] = 1.0
    return rows


def _utterance(text: str, start: float, end: float) -> Utterance:
    words = text.split()
    step = (end - start) / max(1, len(words))
    return Utterance(
        start=start,
        end=end,
        text=text,
        words=tuple(
            Word(word, start + i * step, start + (i + 1) * step, 1.0)
            for i, word in enumerate(words)
        ),
        avg_logprob=-0.1,
        no_speech_prob=0.01,
    )


class FakeOcr:
    """An `Ocr` that reads `script`, one line below the other, in whatever is not of one colour."""

    def __init__(self, script: Sequence[str] = ("words in a picture",)) -> None:
        self._script = tuple(script)
        self.calls = 0
        """How many pictures were read."""

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256("\n".join(self._script).encode()).hexdigest()
        return f"fake-{digest[:12]}"

    @property
    def weights(self) -> str:
        return ""

    def read(self, picture: npt.NDArray[np.uint8]) -> list[WordLine]:
        self.calls += 1
        if int(picture.max()) - int(picture.min()) < 32:
            return []
        height = 1 / max(1, len(self._script))
        return [
            WordLine(line, (0.1, n * height, 0.9, (n + 0.8) * height), 0.99)
            for n, line in enumerate(self._script)
        ]

    def release(self) -> None:
        """There is nothing to free."""


class FakeReranker:
    """A `Reranker` that thinks of a candidate what `opinion(query, candidate)` returns: a score
    or None; what it raises is raised. It remembers what it was asked."""

    gives_reasons = True

    def __init__(
        self,
        opinion: Callable[[str, RerankCandidate], float | None],
        *,
        modalities: Sequence[Modality] = tuple(Modality),
        revision: str = "1",
        batch_size: int = 4,
        concurrency: int = 1,
    ) -> None:
        self._opinion = opinion
        self._modalities = frozenset(modalities)
        self._revision = revision
        self._batch_size = batch_size
        self._concurrency = concurrency
        self.asked: list[tuple[str, int]] = []
        """(query, segment) of everything that was scored."""

    @property
    def name(self) -> str:
        return "fake-reranker"

    @property
    def fingerprint(self) -> str:
        return f"fake-reranker-{self._revision}"

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def concurrency(self) -> int:
        return self._concurrency

    def accepts(self, modality: Modality) -> bool:
        return modality in self._modalities

    def score(
        self,
        query: str,
        candidates: Sequence[RerankCandidate],
        *,
        seconds: float,  # noqa: ARG002  # it takes none
        reasons: bool = False,
    ) -> RerankScores:
        self.asked += [(query, candidate.segment) for candidate in candidates]
        scores = [self._opinion(query, candidate) for candidate in candidates]
        why = "because I say so" if reasons else None
        return RerankScores(
            tuple(None if score is None else RerankScore(score, why) for score in scores),
            ("it did not know",) if None in scores else (),
        )

    def release(self) -> None:
        """There is nothing to free."""
