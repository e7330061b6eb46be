"""Every seam of mmsearch: what an adapter must offer to be plugged in by `mmsearch.build`.

All implementations are safe to call from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, Unpack, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.errors import MMSearchError
from mmsearch.query import Query, SearchOptions, SearchResult
from mmsearch.types import (
    Channel,
    HalfVectors,
    Ids,
    IndexStats,
    LexicalAnswer,
    Modality,
    Preprocess,
    RerankCandidate,
    RerankScores,
    Role,
    Samples,
    SearchParams,
    Space,
    Transcript,
    Turn,
    Vectors,
    WordLine,
    WordUnit,
)

T = TypeVar("T")
R = TypeVar("R")


@runtime_checkable
class TextEmbedder(Protocol):
    """Texts to unit vectors of one space."""

    @property
    def space(self) -> Space:
        """Loads the model on first use."""

    @property
    def max_tokens(self) -> int:
        """Longest text, in tokens with special tokens, that is encoded in one piece."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, with special tokens, without truncation."""

    def can_read(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which texts the model has a meaningful vector for, shape (len(texts),).

        False for texts without content (white space, punctuation) and for texts in words that
        the model does not know: all of these have the same vector. Such a segment gets no vector
        in this space, and a query in such words does not search it.
        """

    def encode_texts(self, texts: Sequence[str], role: Role) -> Vectors:
        """Shape (len(texts), dimension), float32, unit rows. A text that looks like a path or
        an address is encoded as text."""

    def release(self) -> None:
        """Free the weights; the next call loads them again."""


@runtime_checkable
class ImageTextEmbedder(TextEmbedder, Protocol):
    """Images and texts to unit vectors of one shared space (CLIP and similar models)."""

    @property
    def preprocess(self) -> Preprocess: ...

    def encode_pixels(self, pixels: npt.NDArray[np.uint8]) -> Vectors:
        """(n, height, width, 3) uint8 RGB, preprocessed by `preprocess`, to (n, dimension)."""

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Images of any size, mode and orientation, to (n, dimension)."""


@runtime_checkable
class SoundTextEmbedder(TextEmbedder, Protocol):
    """Sounds and texts to unit vectors of one shared space (CLAP and similar models)."""

    @property
    def window_seconds(self) -> float:
        """Longest sound of one vector; loads nothing."""

    def encode_sounds(self, sounds: Sequence[Samples]) -> Vectors:
        """Sounds at SOUND_RATE, of at most `window_seconds`, to (len(sounds), dimension),
        float32, unit rows. Deterministic."""


@runtime_checkable
class Transcriber(Protocol):
    """Speech to text."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that changes a transcript. May load the model."""

    @property
    def weights(self) -> str | None:
        """Identifies the content of the model's files; "" if it has none, None if they are not on
        this machine. Loads and downloads nothing."""

    def transcribe(
        self, samples: npt.NDArray[np.float32], *, language: str | None = None
    ) -> Transcript:
        """`samples`: mono, 16 kHz, -1..1, at most about 20 minutes."""

    def release(self) -> None: ...


class SpeakerTracker(Protocol):
    """Finds who speaks when in one recording, one stretch after another. Used by one thread."""

    def turns(self, samples: Samples) -> tuple[Turn, ...]:
        """Turns of the next stretch (`samples`: mono, 16 kHz), ascending and without overlaps.

        A voice of an earlier stretch keeps its number. Silence has no turns.
        """


@runtime_checkable
class Diariser(Protocol):
    """Speaker diarisation."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that changes a turn."""

    @property
    def weights(self) -> str | None:
        """Identifies the content of the model's files; "" if it has none, None if they are not on
        this machine. Loads and downloads nothing."""

    def begin(self) -> SpeakerTracker:
        """A tracker for one recording."""

    def release(self) -> None: ...


@runtime_checkable
class Ocr(Protocol):
    """Optical character recognition."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that changes the lines of a picture."""

    @property
    def weights(self) -> str | None:
        """Identifies the content of the model's files; "" if it has none, None if they are not on
        this machine. Loads and downloads nothing."""

    def read(self, picture: npt.NDArray[np.uint8]) -> list[WordLine]:
        """Lines of a picture (height, width, 3; RGB, upright) in reading order. ModelError."""

    def release(self) -> None: ...


@runtime_checkable
class VectorIndex(Protocol):
    """Nearest neighbours by inner product of unit vectors, under int64 ids of the caller.

    Searches may run while others add or remove; each sees the state before or after.
    An index of a remote store raises StorageError where the store cannot be reached.
    """

    @property
    def dimension(self) -> int: ...

    def __len__(self) -> int:
        """Live vectors: added and not removed."""

    def contains(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Which of these ids are live, shape (len(ids),)."""

    def sample(self, n: int, seed: int) -> Ids:
        """At most `n` live ids, each once, in random order.

        Equal live ids and an equal seed give an equal sample. Indexes that hold their ids in
        this process all draw the same one (`mmsearch.vectors.checks.sample_ids`).
        """

    def add(self, ids: Ids, vectors: Vectors | HalfVectors) -> None:
        """Add vectors of shape (n, dimension). A live id gets the new vector.

        Raises DimensionError for a wrong shape or a vector without direction.
        """

    def remove(self, ids: Ids) -> int:
        """Exclude these ids from the next search on; returns how many were live."""

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        params: SearchParams | None = None,
    ) -> tuple[npt.NDArray[np.float32], Ids]:
        """Best k by inner product: scores (q, k) descending and ids (q, k).

        With fewer than k, rows end in id -1 and score -inf. `allowed` restricts the
        search to these ids; then min(k, number of allowed live ids) hits come back,
        with exact scores. Raises DimensionError, LimitError.
        """

    def stats(self) -> IndexStats: ...

    def close(self) -> None:
        """Wait for background work, if there is any; the index is not used afterwards."""


@dataclass(frozen=True, slots=True)
class OpenedIndex:
    """A saved index of a channel."""

    index: VectorIndex
    high_water_mark: int
    """Id of the last change-log row that the index is sure to contain. Later rows are replayed;
    replaying a row that the index contains already changes nothing."""


@runtime_checkable
class VectorBackend(Protocol):
    """Stores the vector indexes of a library: snapshot files, memory, or a vector database.

    SQL is the truth and a backend is a cache of it: every index can be rebuilt with `build`.
    """

    @property
    def persistent(self) -> bool:
        """Whether saved indexes outlive this process."""

    def open(self, channel: Channel) -> OpenedIndex | None:
        """The saved index of a channel; None if there is none.

        Raises SnapshotError if it is damaged, or belongs to another library, space or channel.
        The caller then builds it anew; a refused index is never searched.
        """

    def build(self, channel: Channel, batches: Iterable[tuple[Ids, HalfVectors]]) -> VectorIndex:
        """A new index of these vectors: ascending ids (n,) and vectors (n, dimension).

        Until it is saved, `open` gives the index that was saved before.
        """

    def save(self, channel: Channel, index: VectorIndex, high_water_mark: int) -> None:
        """Save an index that this backend opened or built, in place of the saved one.

        `high_water_mark` was read before the index was last changed. Raises StorageError;
        the index saved before then stays.
        """

    def delete(self, channel: Channel) -> None:
        """Delete the saved index of a channel, if there is one. Does not raise if it cannot."""

    def close(self) -> None:
        """Close connections. The indexes were closed before."""


@runtime_checkable
class Reranker(Protocol):
    """Scores how well each of a few candidates answers the query."""

    @property
    def name(self) -> str:
        """The display name; loads nothing."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that changes a score: model, prompt, picture size. May load it."""

    @property
    def batch_size(self) -> int:
        """Candidates in one call of `score`."""

    @property
    def concurrency(self) -> int:
        """Number of useful concurrent calls of `score`."""

    @property
    def gives_reasons(self) -> bool: ...

    def accepts(self, modality: Modality) -> bool:
        """Whether it scores candidates of this modality."""

    def score(
        self,
        query: str,
        candidates: Sequence[RerankCandidate],
        *,
        seconds: float,
        reasons: bool = False,
    ) -> RerankScores:
        """One score per candidate, in their order. The query is plain text.

        `seconds` is the rest of the time budget; adapters that can stop in time do so.
        Raises MMSearchError if it cannot score any candidate (RerankError, ModelError...).
        """

    def release(self) -> None: ...


@runtime_checkable
class Captioner(Protocol):
    """Describes pictures in words."""

    @property
    def name(self) -> str:
        """The display name; loads nothing."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that changes a caption. May load the model."""

    @property
    def weights(self) -> str | None:
        """Identifies the content of the model's files; "" if it has none, None if they are not on
        this machine. Loads and downloads nothing."""

    def caption(self, pictures: Sequence[bytes]) -> list[str | None]:
        """JPEGs to one or two plain sentences each; None if there is no usable caption.
        Raises ModelError if it cannot describe any picture (CaptionError)."""

    def release(self) -> None: ...


@runtime_checkable
class ImageExplainer(Protocol):
    """An `ImageTextEmbedder` that can locate a text in a picture."""

    @property
    def heat_preprocess(self) -> Preprocess:
        """The preprocessing for `heat_map`: the whole picture, squashed."""

    def heat_map(self, pixels: npt.NDArray[np.uint8], text: str) -> npt.NDArray[np.float32]:
        """`pixels` (height, width, 3), preprocessed by `heat_preprocess`, to a coarser map (h, w)
        in 0..1; 1 is where the text matches best in this picture."""


class LexicalIndex(Protocol):
    """Full text over the words of segments and the names of their sources, one per database.

    It is part of the database: what a transaction wrote or deleted is found or gone with it.
    """

    def search(
        self,
        collection_id: int,
        units: Sequence[WordUnit],
        k: int,
        *,
        allowed: Mapping[Modality, Ids] | None = None,
    ) -> LexicalAnswer:
        """The best k segments of each modality that hold any of `units`.

        `allowed` restricts the search to these modalities and ids. Units that most segments
        hold only help to order those found by rarer ones.
        """

    def holding(self, collection_id: int, unit: WordUnit) -> Ids:
        """All segments that hold it, ascending."""


class Searcher(Protocol):
    """Answers queries: an engine over a library, a client of a service, or a fake.

    `mmsearch.library.LibrarySearcher` is the one whose library is open in this process.
    """

    def search(
        self,
        query: str | Query | None = None,
        *,
        image: str | Path | bytes | None = None,
        audio: str | Path | bytes | None = None,
        like: int | None = None,
        modality: str | Sequence[str] | None = None,
        **options: Unpack[SearchOptions],
    ) -> SearchResult:
        """The hits of words, a picture, a recording, a segment, a mix, or a whole `Query`, best
        first. Raises MMSearchError."""

    def search_many(self, queries: Sequence[Query]) -> list[SearchResult | MMSearchError]:
        """One result per query, in their order. The error of a query stands in its place."""

    def heat_map(self, segment_id: int, text: str) -> npt.NDArray[np.float32]:
        """Where in a segment's picture the text matches: (h, w), 0 to 1, over the whole picture.

        Raises QueryError (not a picture, no text), NotFoundError.
        """

    def close(self) -> None: ...


class Ingestor(Protocol):
    """Indexes files in the background (the service's uploads)."""

    def submit(self, files: Sequence[Path], collection: str | None) -> int:
        """Queue a job that indexes these files; returns its id at once."""

    def submit_urls(self, urls: Sequence[str], collection: str | None) -> int:
        """The same for http(s) addresses, which are fetched within the settings' limits."""


class Runner(Protocol):
    """Where the work of an indexing run is done: on threads here, or on other machines."""

    def map(
        self, function: Callable[[T], Iterable[R]], items: Iterable[T]
    ) -> Generator[R, None, None]:
        """What `function` yields for each of `items`, in the order in which it is ready.

        The caller's thread reads the items, a bounded number ahead; a bounded number of results
        waits. An error of `function` or of `items` is raised to the caller. Closing the
        generator ends the work.
        """
