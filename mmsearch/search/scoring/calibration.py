"""What a similarity means: measured against queries that have nothing to do with anything.

A cosine of 0.3 is much between a text and a photo and little between two photos, and models
differ. So unrelated queries are asked of every channel once (`background.py` for words; the
channel's own vectors, each without itself, for examples), and it is kept in SQL, beside the
space, what their best matches look like. A similarity then becomes *evidence*::

    (s - m_q) / d_q  +  (s - loc) / (2 scale)

how far it stands out among this query's similarities (mean and standard deviation over a sample
of the channel; those orders best across modalities) plus how far it lies above the best match
of an unrelated query (Gumbel location and scale; that knows a query without an answer). Fits
use median and lower quartile: that some of the queries are answered after all does not matter.

Whether there is an answer at all is asked in another way than which is best. In a shared space some
items are near to whatever is asked (hubs), so the best match of nonsense is mostly one of those.
Against that, `Calibration.certainty` looks at similarities less what unrelated queries have with
the same item on average. That is the query less their mean, so it costs one more row of the
search and no vectors of items. The order within a channel is left alone: the same correction
costs it as much as it brings. But how certain a channel is moves all of its scores
(`fusion.calibrated`): a query that pictures answer clearly is more likely meant for them.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MMSearchError, StorageError
from mmsearch.library import Library
from mmsearch.protocols import VectorIndex
from mmsearch.search.compose import Composer
from mmsearch.search.scoring.background import BACKGROUND, EVERYDAY
from mmsearch.stores.rows import StoredSpace
from mmsearch.types import VERBAL, Collection, Modality, Vectors

logger = logging.getLogger(__name__)

Kind = Literal["words", "example"]
Numbers = npt.NDArray[np.float64]

VERSION = 4
"""Counts up when the same vectors give another calibration."""

EXAMPLES = 128
"""Vectors of the space that stand in for unrelated examples."""

PROBES = 48
PROBE_WORDS = 7
"""Passages that are asked for by some of their own words, and how many of them."""

HALF = 3.0
"""A score of 0.5 is for evidence so many scales above the location of the best that unrelated
queries find: one in twenty of them comes so far."""

ANSWERED = 2.0
"""Certainty from which a query has an answer: one in eight unrelated queries comes so far."""

ABLE = 0.38
"""The least power with which a channel may say that there is no answer: three times chance."""

FEW = 16
"""Worth of the background's spread beside the query's own, in sampled vectors."""

EXAMPLES_FROM = {
    "clip": (Modality.IMAGE, Modality.VIDEO, Modality.PAGE, Modality.TEXT, Modality.SPEECH),
    "text": (Modality.TEXT, Modality.SPEECH, Modality.PAGE, Modality.IMAGE, Modality.VIDEO),
    "sound": (Modality.SOUND,),
}
"""What examples are, by space: of the first modality that there are any of."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How unrelated queries fare in one channel."""

    mean: float
    deviation: float
    """Of all their similarities."""
    location: float
    scale: float
    """Of the Gumbel distribution of their best similarities."""
    best: tuple[float, ...]
    """The evidence for each one's best match, in the order of the queries."""
    centre: tuple[float, ...] = ()
    """The mean of the unrelated queries' vectors; empty where queries are examples."""
    floor: float = 0.0
    spread: float = 1.0
    """Of the Gumbel distribution of their best similarities less the centre's."""
    certainties: tuple[float, ...] = ()
    """The certainty that each one has an answer, in the order of the queries."""
    power: float | None = None
    """How many of the queries that should be answered are as certain as only one unrelated one
    in eight: 0.13 for a model that knows nothing of what it sees. None: not known."""
    version: int = VERSION

    def evidence(self, similarities: npt.ArrayLike, sampled: Vectors | None) -> Numbers:
        """Evidence for some of a query's similarities; `sampled` are those with a sample."""
        mean, deviation = self.mean, self.deviation
        if sampled is not None and len(sampled):
            own = len(sampled)
            mean = (own * float(sampled.mean()) + FEW * mean) / (own + FEW)
            variance = (own * float(sampled.var()) + FEW * deviation**2) / (own + FEW)
            deviation = max(math.sqrt(variance), 1e-6)
        raw = np.asarray(similarities, np.float64)
        return (raw - mean) / deviation + 0.5 * (raw - self.location) / self.scale

    def distinct(self, queries: Vectors) -> Vectors:
        """Queries in words, shape (n, dimension), less what unrelated ones have in common."""
        return queries - np.array(self.centre, np.float32)

    def certainty(self, best: npt.ArrayLike) -> Numbers:
        """That something in the channel answers each query, shape (n,), from the best match of
        what is `distinct` in it: in scales above the best of unrelated queries."""
        return (np.asarray(best, np.float64) - self.floor) / self.spread

    def certainties_of(self, index: VectorIndex, queries: Vectors) -> Numbers:
        """Of queries, shape (n, dimension), with one search."""
        best, _ = index.search(self.distinct(queries), 1)
        return self.certainty(best[:, 0])


def gumbel(values: npt.ArrayLike) -> tuple[float, float]:
    """Location and scale of a Gumbel distribution with this median and lower quartile."""
    lower, median = np.quantile(np.asarray(values, np.float64), [0.25, 0.5])
    scale = max(float(median - lower) / math.log(2), 1e-6)
    return float(median) + math.log(math.log(2)) * scale, scale


def measure(index: VectorIndex, sample: Vectors, queries: Vectors, own: bool) -> Calibration:
    """Ask unrelated queries, shape (n, dimension), of a channel that is not empty.

    `own`: the queries may be vectors of the channel itself, and do not count as matches.
    """
    scores, _ = index.search(queries, 2 if own else 1)
    scores = np.where(np.isfinite(scores), scores, scores[:, :1]).astype(np.float64)
    best = scores[:, 0]
    if own:
        best = np.where(scores[:, 0] > 1 - 1e-3, scores[:, 1], scores[:, 0])
    every = queries @ sample.T if len(sample) else scores[:, :1].astype(np.float32)
    if own:
        every = every[every < 1 - 1e-3] if (every < 1 - 1e-3).any() else every
    location, scale = gumbel(best)
    deviation = max(float(every.std()), 1e-6)
    made = Calibration(float(every.mean()), deviation, location, max(scale, deviation / 20), ())
    if not own:
        made = replace(made, centre=tuple(queries.mean(axis=0).tolist()))
        plain = made.certainties_of(index, queries)
        floor, spread = gumbel(plain)
        spread = max(spread, deviation / 20)
        certainties = tuple(((plain - floor) / spread).tolist())
        made = replace(made, floor=floor, spread=spread, certainties=certainties)
    sampled = [query @ sample.T for query in queries] if len(sample) else [None] * len(queries)
    evidence = [
        float(made.evidence([one], some)[0]) for one, some in zip(best, sampled, strict=True)
    ]
    return replace(made, best=tuple(evidence))


def power(calibration: Calibration, index: VectorIndex, probes: Vectors) -> float | None:
    """See `Calibration.power`; `probes`, shape (n, dimension), should be answered."""
    if not len(probes):
        return None
    return float(np.mean(calibration.certainties_of(index, probes) >= ANSWERED))


class Calibrations:
    """The calibrations of a library: kept in SQL, measured when they are missing or outgrown.

    Thread-safe. What cannot be written (a full or read-only disk) is kept in memory.
    """

    def __init__(self, library: Library, composer: Composer | None = None) -> None:
        self._store = library.store
        self._indexes = library.indexes
        self._composer = composer or Composer(library.store, library.indexes)
        self._models_of = library.models_of
        self._lock = threading.RLock()
        self._known: dict[tuple[int, Modality, Kind], tuple[int, Calibration]] = {}
        self._background: dict[str, Vectors] = {}

    def of(
        self, collection: Collection, stored: StoredSpace, modality: Modality, kind: Kind
    ) -> Calibration | None:
        """The channel's calibration; None if there is nothing to calibrate it by."""
        index = self._indexes.get(stored.id, modality)
        if index is None or not len(index):
            return None
        key, size = (stored.id, modality, kind), len(index)
        with self._lock:
            have = self._known.get(key)
            if have is None or _outgrown(have[0], size):
                have = self._read(key)  # whoever made it grow may have measured already
            if have is None or _outgrown(have[0], size):
                made = self._measure(collection, stored, modality, kind, index)
                if made is None:
                    return None
                have = (size, made)
                self._write(key, size, made)
            self._known[key] = have
            return have[1]

    def sampled(self, stored: StoredSpace, modality: Modality, query: Vectors) -> Vectors:
        """A query's similarities, shape (n,), with the channel's sample."""
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
        kind: Kind,
        index: VectorIndex,
    ) -> Calibration | None:
        sample = self._composer.sample(stored.id, modality)
        if kind == "words":
            made = measure(index, sample, self._words(collection, stored), own=False)
            probes = self._probes(collection, stored, modality, index)
            return replace(made, power=power(made, index, probes))
        for source in EXAMPLES_FROM.get(stored.space.name, tuple(Modality)):
            examples = self._composer.sample(stored.id, source)[:EXAMPLES]
            if len(examples) > 1:
                return measure(index, sample, examples, own=source is modality)
        return None

    def _words(self, collection: Collection, stored: StoredSpace) -> Vectors:
        """The background texts in a space."""
        fingerprint = stored.space.fingerprint
        if fingerprint not in self._background:
            embedder = self._models_of(collection).embedder(stored.space.name)
            self._background[fingerprint] = embedder.encode_texts(list(BACKGROUND), "query")
        return self._background[fingerprint]

    def _probes(
        self, collection: Collection, stored: StoredSpace, modality: Modality, index: VectorIndex
    ) -> Vectors:
        """Queries in words that should be answered, where any are known.

        Some words from the middle of what is there; of pictures, what they often show.
        """
        texts: list[str] = []
        if modality in {Modality.IMAGE, Modality.VIDEO} and stored.space.name == "clip":
            texts = list(EVERYDAY)
        elif modality in VERBAL:
            ids = np.random.default_rng(0).permutation(index.ids())[:PROBES].tolist()
            for segment in self._store.segments.get_many(ids).values():
                words = (segment.text or "").split()
                start = max(0, (len(words) - PROBE_WORDS) // 2)
                texts.append(" ".join(words[start : start + PROBE_WORDS]))
        texts = [text for text in texts if text]
        if not texts:
            return np.empty((0, stored.space.dimension), np.float32)
        return self._models_of(collection).embedder(stored.space.name).encode_texts(texts, "query")

    def _read(self, key: tuple[int, Modality, Kind]) -> tuple[int, Calibration] | None:
        found = self._store.calibrations.get(*key)
        if found is None or found[1].get("version") != VERSION:
            return None
        size, data = found
        lists = {name: tuple(data[name]) for name in ("best", "centre", "certainties")}
        return size, Calibration(**{**data, **lists})

    def _write(self, key: tuple[int, Modality, Kind], size: int, made: Calibration) -> None:
        try:
            self._store.calibrations.save(*key, size, asdict(made))
        except StorageError:
            return


def _outgrown(measured: int, size: int) -> bool:
    """Whether a channel of this size needs another calibration than the one it was measured at."""
    return not measured / 2 <= size <= 2 * measured


def joint(best: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Gumbel of the best evidence (or certainty) that unrelated queries find in some channels."""
    most = min(len(some) for some in best)
    together = np.max([some[:most] for some in best], axis=0)
    location, scale = gumbel(together)
    return location, max(scale, 0.05)
