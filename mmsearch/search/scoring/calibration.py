"""Measures what a similarity is worth, by queries that have nothing to do with the collection.

A cosine of 0.3 is much between a text and a photo and little between two photos, and models
differ. So unrelated queries are asked of every channel once (`background.py` for words; the
channel's own vectors, each without itself, for examples). The statistics of their best matches
are saved in SQL beside the space. A similarity s of a query q then becomes *evidence*::

    (s - m_q) / d_q  +  (s - location) / (2 scale)

The first part is its z-score among the query's similarities (mean and standard deviation over a
sample of the channel); it orders best across modalities. The second part is its distance above
the best match of an unrelated query (Gumbel location and scale); it recognises a query without an
answer. Fits use median and lower quartile, so that a few answered queries do not move them.

*Certainty* asks whether the channel has an answer at all. It looks at the query minus the mean of
the background queries: one more row of the search, and no vectors of items. What it decides is in
`no_answer.py`; how it moves the scores of a channel is in `fusion.py`.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MMSearchError, StorageError
from mmsearch.library import Library
from mmsearch.protocols import VectorIndex
from mmsearch.search.compose import Composer
from mmsearch.search.scoring.background import BACKGROUND, EVERYDAY
from mmsearch.search.scoring.constants import CONSTANTS, ScoringConstants
from mmsearch.stores.database import release_read
from mmsearch.stores.rows import StoredSpace
from mmsearch.types import VERBAL, Collection, Modality, Vectors

logger = logging.getLogger(__name__)

QueryKind = Literal["words", "example"]
Numbers = npt.NDArray[np.float64]

VERSION = 4
"""Incremented when the same vectors give another calibration."""

EXAMPLES = 128
"""Vectors of the space that serve as unrelated examples."""

PROBES = 48
PROBE_WORDS = 7
"""Passages that are searched by some of their own words, and how many of them."""

EXAMPLES_FROM = {
    "clip": (Modality.IMAGE, Modality.VIDEO, Modality.PAGE, Modality.TEXT, Modality.SPEECH),
    "text": (Modality.TEXT, Modality.SPEECH, Modality.PAGE, Modality.IMAGE, Modality.VIDEO),
    "sound": (Modality.SOUND,),
}
"""The modality of the examples, by space: the first that the channel's space has any of."""

STORED_NAMES = {
    "background_evidence": "best",
    "background_mean": "centre",
    "certainty_location": "floor",
    "certainty_scale": "spread",
    "background_certainties": "certainties",
    "true_positive_rate": "power",
}
"""Fields of `Calibration` that have another name in the database."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Statistics of unrelated queries in one channel."""

    mean: float
    deviation: float
    """Of all their similarities."""
    location: float
    scale: float
    """Of the Gumbel distribution of their best similarities."""
    background_evidence: tuple[float, ...]
    """The evidence of each one's best match, in the order of the queries."""
    background_mean: tuple[float, ...] = ()
    """The mean of the unrelated queries' vectors, shape (dimension,); empty for examples."""
    certainty_location: float = 0.0
    certainty_scale: float = 1.0
    """Of the Gumbel distribution of their best similarities after `minus_background`."""
    background_certainties: tuple[float, ...] = ()
    """The certainty of each one, in the order of the queries."""
    true_positive_rate: float | None = None
    """The share of queries with an answer that are as certain as one unrelated query in eight.
    0.13 for a model that knows nothing of what it sees. None: not known."""
    version: int = VERSION

    def evidence(
        self,
        similarities: npt.ArrayLike,
        sampled: Vectors | None,
        constants: ScoringConstants = CONSTANTS,
    ) -> Numbers:
        """Evidence of some similarities of a query; `sampled` are its similarities to a sample."""
        mean, deviation = self.mean, self.deviation
        if sampled is not None and len(sampled):
            n, prior = len(sampled), constants.background_pseudo_count
            mean = (n * float(sampled.mean()) + prior * mean) / (n + prior)
            variance = (n * float(sampled.var()) + prior * deviation**2) / (n + prior)
            deviation = max(math.sqrt(variance), 1e-6)
        raw = np.asarray(similarities, np.float64)
        return (raw - mean) / deviation + 0.5 * (raw - self.location) / self.scale

    def minus_background(self, queries: Vectors) -> Vectors:
        """Queries in words, shape (n, dimension), minus the mean of the unrelated queries."""
        return queries - np.array(self.background_mean, np.float32)

    def certainty(self, best: npt.ArrayLike) -> Numbers:
        """How certain it is that the channel has an answer to each query, shape (n,).

        `best` are the highest similarities after `minus_background`. In Gumbel scales above the
        location of those of unrelated queries.
        """
        return (np.asarray(best, np.float64) - self.certainty_location) / self.certainty_scale

    def certainties_of(self, index: VectorIndex, queries: Vectors) -> Numbers:
        """The certainty of queries, shape (n, dimension), with one search."""
        best, _ = index.search(self.minus_background(queries), 1)
        return self.certainty(best[:, 0])


def gumbel(values: npt.ArrayLike) -> tuple[float, float]:
    """Location and scale of the Gumbel distribution with this median and lower quartile."""
    lower, median = np.quantile(np.asarray(values, np.float64), [0.25, 0.5])
    scale = max(float(median - lower) / math.log(2), 1e-6)
    return float(median) + math.log(math.log(2)) * scale, scale


def joint_gumbel(background: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Gumbel of the best value that each unrelated query reaches in any of some channels."""
    shortest = min(len(values) for values in background)
    location, scale = gumbel(np.max([values[:shortest] for values in background], axis=0))
    return location, max(scale, 0.05)


def measure(index: VectorIndex, sample: Vectors, queries: Vectors, *, members: bool) -> Calibration:
    """Search a channel that is not empty by unrelated queries, shape (n, dimension).

    `members`: the queries may be vectors of the channel, which do not count as their own match.
    """
    scores, _ = index.search(queries, 2 if members else 1)
    scores = np.where(np.isfinite(scores), scores, scores[:, :1]).astype(np.float64)
    best = scores[:, 0]
    if members:
        best = np.where(scores[:, 0] > 1 - 1e-3, scores[:, 1], scores[:, 0])
    similarities = queries @ sample.T if len(sample) else scores[:, :1].astype(np.float32)
    if members:
        others = similarities < 1 - 1e-3
        similarities = similarities[others] if others.any() else similarities
    location, scale = gumbel(best)
    deviation = max(float(similarities.std()), 1e-6)
    calibration = Calibration(
        float(similarities.mean()), deviation, location, max(scale, deviation / 20), ()
    )
    if not members:
        calibration = replace(calibration, background_mean=tuple(queries.mean(axis=0).tolist()))
        plain = calibration.certainties_of(index, queries)
        location, scale = gumbel(plain)
        scale = max(scale, deviation / 20)
        calibration = replace(
            calibration,
            certainty_location=location,
            certainty_scale=scale,
            background_certainties=tuple(((plain - location) / scale).tolist()),
        )
    sampled = [query @ sample.T for query in queries] if len(sample) else [None] * len(queries)
    evidence = [
        float(calibration.evidence([similarity], similarities)[0])
        for similarity, similarities in zip(best, sampled, strict=True)
    ]
    return replace(calibration, background_evidence=tuple(evidence))


def true_positive_rate(
    calibration: Calibration,
    index: VectorIndex,
    probes: Vectors,
    constants: ScoringConstants = CONSTANTS,
) -> float | None:
    """See `Calibration.true_positive_rate`; `probes`, shape (n, dimension), have an answer."""
    if not len(probes):
        return None
    certainties = calibration.certainties_of(index, probes)
    return float(np.mean(certainties >= constants.answer_certainty))


_Key = tuple[int, Modality, QueryKind]


class Calibrations:
    """The calibrations of a library, saved in SQL. Thread-safe.

    A channel is measured when it has none, or has doubled or halved since. The first query that
    needs it measures; others meanwhile use the old calibration, or wait if there is none. What
    cannot be written (a full or read-only disk) is kept in memory.
    """

    def __init__(self, library: Library, composer: Composer | None = None) -> None:
        self._store = library.store
        self._indexes = library.indexes
        self._composer = composer or Composer(library.store, library.indexes)
        self._models_of = library.models_of
        self._known: dict[_Key, tuple[int, Calibration]] = {}
        self._lock = threading.Lock()
        """Guards the dictionaries; never held while anything is measured."""
        self._measuring: defaultdict[_Key, threading.Lock] = defaultdict(threading.Lock)
        self._background: dict[str, Vectors] = {}

    def of(
        self, collection: Collection, stored: StoredSpace, modality: Modality, kind: QueryKind
    ) -> Calibration | None:
        """The channel's calibration; None if there is nothing to calibrate it by."""
        index = self._indexes.get(stored.id, modality)
        if index is None or not len(index):
            return None
        key, size = (stored.id, modality, kind), len(index)
        with self._lock:
            known = self._known.get(key)
            measuring = self._measuring[key]
        if known is not None and not _outgrown(known[0], size):
            return known[1]
        release_read(self._store.database.engine)
        if not measuring.acquire(blocking=known is None):
            return known[1] if known is not None else None
        try:
            return self._renewed(collection, stored, key, index)
        finally:
            measuring.release()

    def _renewed(
        self, collection: Collection, stored: StoredSpace, key: _Key, index: VectorIndex
    ) -> Calibration | None:
        """Read or measure, by one thread at a time for each channel and kind."""
        size = len(index)
        with self._lock:
            known = self._known.get(key)  # another thread may have measured it meanwhile
        if known is None or _outgrown(known[0], size):
            known = self._read(key)  # the process that added the vectors may have measured it
        if known is None or _outgrown(known[0], size):
            calibration = self._measure(collection, stored, key[1], key[2], index)
            if calibration is None:
                return None
            known = (size, calibration)
            self._write(key, size, calibration)
        with self._lock:
            self._known[key] = known
        return known[1]

    def sampled(self, stored: StoredSpace, modality: Modality, query: Vectors) -> Vectors:
        """A query's similarities to the channel's sample, shape (n,)."""
        sample = self._composer.sample(stored.id, modality)
        return np.asarray(sample @ query if len(sample) else np.empty(0), np.float32)

    def prepare(self, collection: Collection) -> None:
        """Measure what is missing for queries in words, so that no query has to wait for it.

        If that fails, a warning is logged and the next query tries again.
        """
        try:
            for stored in self._indexes.spaces:
                if stored.collection_id == collection.id:
                    for modality in Modality:
                        self.of(collection, stored, modality, "words")
        except MMSearchError as error:
            logger.warning("the scores of '%s' are not calibrated: %s", collection.name, error)

    def _measure(
        self,
        collection: Collection,
        stored: StoredSpace,
        modality: Modality,
        kind: QueryKind,
        index: VectorIndex,
    ) -> Calibration | None:
        sample = self._composer.sample(stored.id, modality)
        if kind == "words":
            queries = self._background_queries(collection, stored)
            calibration = measure(index, sample, queries, members=False)
            probes = self._probes(collection, stored, modality, index)
            rate = true_positive_rate(calibration, index, probes)
            return replace(calibration, true_positive_rate=rate)
        for source in EXAMPLES_FROM.get(stored.space.name, tuple(Modality)):
            examples = self._composer.sample(stored.id, source)[:EXAMPLES]
            if len(examples) > 1:
                return measure(index, sample, examples, members=source is modality)
        return None

    def _background_queries(self, collection: Collection, stored: StoredSpace) -> Vectors:
        """The background texts in a space."""
        fingerprint = stored.space.fingerprint
        if fingerprint not in self._background:
            embedder = self._models_of(collection).embedder(stored.space.name)
            self._background[fingerprint] = embedder.encode_texts(list(BACKGROUND), "query")
        return self._background[fingerprint]

    def _probes(
        self, collection: Collection, stored: StoredSpace, modality: Modality, index: VectorIndex
    ) -> Vectors:
        """Queries in words that should have an answer, where any are known.

        Some words from the middle of passages; for pictures, what pictures often show.
        """
        texts: list[str] = []
        if modality in {Modality.IMAGE, Modality.VIDEO} and stored.space.name == "clip":
            texts = list(EVERYDAY)
        elif modality in VERBAL:
            ids = index.sample(PROBES, seed=0).tolist()
            for segment in self._store.segments.get_many(ids).values():
                words = (segment.text or "").split()
                start = max(0, (len(words) - PROBE_WORDS) // 2)
                texts.append(" ".join(words[start : start + PROBE_WORDS]))
        texts = [text for text in texts if text]
        if not texts:
            return np.empty((0, stored.space.dimension), np.float32)
        return self._models_of(collection).embedder(stored.space.name).encode_texts(texts, "query")

    def _read(self, key: _Key) -> tuple[int, Calibration] | None:
        saved = self._store.calibrations.get(*key)
        if saved is None or saved[1].get("version") != VERSION:
            return None
        size, data = saved
        return size, calibration_from_json(data)

    def _write(self, key: _Key, size: int, calibration: Calibration) -> None:
        try:
            self._store.calibrations.save(*key, size, calibration_to_json(calibration))
        except StorageError:
            return


def calibration_to_json(calibration: Calibration) -> dict[str, Any]:
    """The form that is saved in SQL."""
    return {STORED_NAMES.get(name, name): value for name, value in asdict(calibration).items()}


def calibration_from_json(data: dict[str, Any]) -> Calibration:
    """What `calibration_to_json` has made, after a round trip through JSON."""
    names = {stored: name for name, stored in STORED_NAMES.items()}
    fields: dict[str, Any] = {
        names.get(stored, stored): tuple(value) if isinstance(value, list) else value
        for stored, value in data.items()
    }
    return Calibration(**fields)


def _outgrown(measured: int, size: int) -> bool:
    """Whether a calibration measured at one size is not good enough for another."""
    return not measured / 2 <= size <= 2 * measured
