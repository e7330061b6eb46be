"""The values that pass between the stages, all frozen. The words are those of docs/design.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Vectors: TypeAlias = npt.NDArray[np.float32]
"""Shape (n, dimension), rows of unit length."""

HalfVectors: TypeAlias = npt.NDArray[np.float16]
"""Shape (n, dimension): the precision of the vectors in SQL."""

Ids: TypeAlias = npt.NDArray[np.int64]
"""Shape (n,): SQL primary keys, never positions."""

Metadata: TypeAlias = Mapping[str, Any]
"""JSON values only. A list of strings is a multi-valued field (tags)."""

Role: TypeAlias = Literal["query", "document"]

Samples: TypeAlias = npt.NDArray[np.float32]
"""Mono, shape (n,), -1..1."""

SOUND_RATE = 48_000
"""Hz of what a `SoundTextEmbedder` hears: birds and breaking glass lie above what speech needs."""


class Modality(StrEnum):
    """What a segment is."""

    IMAGE = "image"
    TEXT = "text"
    SPEECH = "speech"
    SOUND = "sound"
    VIDEO = "video"
    PAGE = "page"


VISUAL = frozenset({Modality.IMAGE, Modality.VIDEO, Modality.PAGE})
"""Modalities of segments that can be looked at."""

VERBAL = frozenset({Modality.TEXT, Modality.SPEECH})
"""Modalities of segments that consist of words."""


@dataclass(frozen=True, slots=True)
class Space:
    """One vector space. Vectors of two spaces are never compared.

    `fingerprint` names everything that moves a vector: weights, preprocessing, pooling.
    Two spaces are the same if and only if their fingerprints are equal.
    """

    name: str
    """The role it plays: "clip", "text" or "sound"."""
    model: str
    revision: str
    fingerprint: str
    dimension: int
    metric: Literal["cosine"] = "cosine"


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How an image becomes a model's input, in the terms of open_clip's `PreprocessCfg`.

    It is plain data so that a decoding worker process, which knows no model, can apply it.
    `mean` and `std` are applied with the model, after the pixels have travelled as uint8.
    """

    size: tuple[int, int]
    """(height, width) in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a segment lies in its source; what does not apply is None."""

    start: float | None = None
    """Seconds from the beginning."""
    end: float | None = None
    page: int | None = None
    """1-based."""
    char_start: int | None = None
    """Characters (not bytes) into the decoded text."""
    char_end: int | None = None
    box: tuple[float, float, float, float] | None = None
    """(left, top, right, bottom), each 0..1 of the picture or page."""

    def __str__(self) -> str:
        """For people: "page 3", "1:05 to 1:12", "characters 0 to 80"; "" for the whole source."""
        parts = []
        if self.page is not None:
            parts.append(f"page {self.page}")
        if self.start is not None:
            end = "" if self.end is None else f" to {_clock(self.end)}"
            parts.append(_clock(self.start) + end)
        if not parts and self.char_start is not None:
            parts.append(f"characters {self.char_start} to {self.char_end}")
        return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(frozen=True, slots=True)
class SegmentDraft:
    """A segment before SQL has given it an id."""

    modality: Modality
    place: Place = Place()
    text: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as SQL holds it: the smallest thing that a search can return."""

    id: int
    source_id: int
    modality: Modality
    place: Place
    text: str | None
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as the walk found it: nothing has been read yet."""

    uri: str
    path: str
    size: int
    mtime_ns: int
    ctime_ns: int = 0
    """When the system last changed the file or its record (`st_ctime_ns`); 0 if unknown."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file that came in, or failed to."""

    id: int
    collection_id: int
    uri: str
    path: str
    sha256: str
    size: int
    mtime_ns: int
    mime: str
    status: Literal["indexed", "failed"]
    failure: Failure | None
    metadata: Metadata
    indexed_at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one file could not be taken in (see `errors.MediaError` for the codes)."""

    path: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of sources, all embedded with one profile of models."""

    id: int
    name: str
    profile: str
    models: tuple[tuple[str, str], ...] = ()
    """Models in place of the profile's own, as named when it was made or switched:
    (setting, name), in order."""
    weights: tuple[tuple[str, float], ...] = ()
    """Of channels, where they differ from the library's: (channel, weight), in order."""


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word; seconds, and the recogniser's probability 0..1."""

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of recognised speech; seconds are relative to the audio handed in."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    compression_ratio: float = 1.0
    """Bytes of the text per compressed byte: high where it repeats itself."""
    language: str | None = None
    """What is spoken (ISO 639-1), where it was heard for this stretch by itself."""
    language_probability: float = 0.0
    translated: bool = False
    """Whether `text` is an English translation of what was said."""
    speaker: int | None = None
    """1 for who speaks first in the recording, 2 for the next one..."""


Box: TypeAlias = tuple[float, float, float, float]
"""(left, top, right, bottom), each 0..1 of the picture or page as it is seen."""


@dataclass(frozen=True, slots=True)
class WordLine:
    """A line of words that was read in a picture, and the reader's probability 0..1."""

    text: str
    box: Box
    probability: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recording says."""

    language: str | None
    """ISO 639-1, None when nothing was said."""
    language_probability: float
    utterances: tuple[Utterance, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker, talking from `start` to `end` (seconds of the audio handed in)."""

    start: float
    end: float
    speaker: int
    """1 for who speaks first in the recording, 2 for the next one..."""


@dataclass(frozen=True, slots=True)
class Channel:
    """The vectors of one collection and modality in one space: what one vector index holds."""

    collection_id: int
    space_id: int
    modality: Modality
    fingerprint: str
    """That of the space. A saved index with another fingerprint is refused."""
    dimension: int

    def __str__(self) -> str:
        return f"collection {self.collection_id}, space {self.space_id}, {self.modality.value}"


@dataclass(frozen=True, slots=True)
class IndexStats:
    """The state of one vector index."""

    type: str
    size: int
    generation: int
    """Counts up each time the index is saved."""
    memory_bytes: int
    device: str = "cpu"
    recall: float | None = None
    """recall@10 against exact search, measured when the compressed form was built."""


@dataclass(frozen=True, slots=True)
class SearchParams:
    """Per-call search parameters. Nothing on a shared index is changed by a query."""

    exact: bool = False
    k_factor: int | None = None
    """How many compressed candidates per requested hit are refined exactly."""


@dataclass(frozen=True, slots=True)
class WordUnit:
    """What full text searches for as one: a word, the beginning of one, or words side by side."""

    tokens: tuple[str, ...]
    """As `mmsearch.stores.lexical.analysis` cuts them."""
    prefix: bool = False
    """The last token is only the beginning of a word."""
    weight: float = 1.0
    """Negative: those that hold it are pushed down."""
    quoted: bool = False
    """It may begin in one segment and end in the next."""
    alternatives: tuple[WordUnit, ...] = ()
    """Others that count the same: one of all is enough."""

    def each(self) -> tuple[WordUnit, ...]:
        """This unit and its alternatives, each on its own."""
        return (replace(self, alternatives=()), *self.alternatives)


@dataclass(frozen=True, slots=True)
class LexicalRanking:
    """Full text's answer in one modality, best first."""

    ids: Ids
    scores: npt.NDArray[np.float32]
    """BM25, shape (n,)."""
    shares: npt.NDArray[np.float32]
    """How much of what was asked for is there, 0..1, shape (n,): rare words weigh more (idf)."""


@dataclass(frozen=True, slots=True)
class LexicalAnswer:
    """Full text's answer in all modalities."""

    rankings: Mapping[Modality, LexicalRanking]
    known: float
    """Share of the query's words, 0..1, weighted by rarity, that occur in the collection."""


# ---------------------------------------------------------------- queries and hits


@dataclass(frozen=True, slots=True)
class RerankCandidate:
    """A segment that a reranker is asked about."""

    segment: int
    modality: Modality
    content: str
    """Names what is scored: equal content, equal rerank_score."""
    text: str | None = None
    """The passage or transcript, with what stands around it."""
    load_picture: Callable[[int | None], bytes | None] | None = None
    """The picture, frame or page as an upright RGB JPEG of at most so many pixels (None: as many
    as the settings allow); decoded in the sandbox when it is asked for. None: it cannot be had."""

    def picture(self, max_pixels: int | None = None) -> bytes | None:
        """The JPEG of what is seen, if there is anything to see."""
        return self.load_picture(max_pixels) if self.load_picture is not None else None


@dataclass(frozen=True, slots=True)
class RerankScore:
    """What a reranker thinks of one candidate."""

    score: float
    """0..1: how well it answers the query."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RerankScores:
    """A reranker's answer about a batch of candidates."""

    each: tuple[RerankScore | None, ...]
    """In the candidates' order; None where it could not reranker."""
    problems: tuple[str, ...] = ()
    """Why not, and whatever else was odd about its answer, in words."""
