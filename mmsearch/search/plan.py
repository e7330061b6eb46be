"""The first stage: what each query searches, in which channels, among which segments.

Pictures are decoded and embedded here, recordings transcribed, filters compiled and run. Words are
only collected: the next stage embeds those of all queries together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from sqlalchemy import true

from mmsearch.errors import (
    DimensionError,
    EmptyQueryError,
    MMSearchError,
    NotFoundError,
    QueryError,
)
from mmsearch.library import Library, LibrarySnapshot
from mmsearch.media.requests import decode_request
from mmsearch.models.sets import ModelSet
from mmsearch.query import Query, Term
from mmsearch.search.channels import (
    LEXICAL,
    LEXICAL_TARGET,
    PICTURE_TARGET,
    SOUND_TARGET,
    WORDS_TARGET,
    Channel,
    check_channels,
    restrict_channels,
    searches,
)
from mmsearch.search.compose import Vector, WeightedVector
from mmsearch.search.parse.filters import compile_filter
from mmsearch.search.parse.json_form import check_query
from mmsearch.search.parse.reading import expand
from mmsearch.search.parse.words import Words, parse_words, units_of
from mmsearch.search.recordings import read_recording
from mmsearch.search.results.earlier import EarlierPages, earlier_pages
from mmsearch.search.results.ordering import SORT_POOL
from mmsearch.search.scoring.calibration import QueryKind
from mmsearch.search.scoring.constants import CONSTANTS, ScoringConstants
from mmsearch.search.scoring.no_answer import Thresholds, thresholds_for
from mmsearch.search.text_lengths import within_pieces
from mmsearch.stores.rows import StoredSpace
from mmsearch.types import VERBAL, Collection, Ids, Modality, WordUnit


@dataclass(frozen=True, slots=True, eq=False)
class PlannedQuery:
    """A checked query and everything that it needs on its own."""

    query: Query
    """With the `min_score` that applies to it."""
    collection: Collection
    snapshot: LibrarySnapshot
    models: ModelSet
    spaces: Mapping[str, StoredSpace]
    """The active spaces of the collection, by name."""
    thresholds: Thresholds
    earlier: EarlierPages
    depth: int
    """How many candidates each channel is asked for at first."""
    texts: tuple[Term, ...] = ()
    """Terms in words, typed or transcribed, that are still to be embedded."""
    targets: Mapping[Channel, tuple[WeightedVector, ...]] = field(default_factory=dict)
    """What each channel searches, except for the texts."""
    words: tuple[tuple[WordUnit, frozenset[Modality]], ...] = ()
    """What full text searches, and in which modalities."""
    excluded: frozenset[int] = frozenset()
    """Segments that must not come back: those given as examples."""
    allowed: Mapping[Modality, Ids] | None = None
    """The segments that pass the filter and contain the required words; None: all."""
    warnings: tuple[str, ...] = ()

    @property
    def kind(self) -> QueryKind:
        """Queries in words and by example have different similarities."""
        return kind_of(self.query)

    @property
    def positive_words(self) -> str:
        """What is searched in words, transcripts included; "" if nothing is."""
        return ", ".join(term.text or "" for term in self.texts if term.weight > 0)

    @property
    def wants_sounds(self) -> bool:
        """Whether sounds are searched, and this collection has any."""
        return wants_sounds(self.query, self.spaces)


def kind_of(query: Query) -> QueryKind:
    """Whether all positive terms are in words."""
    positive = [term for term in query.terms if term.weight > 0]
    return "words" if all(term.kind in {"text", "audio"} for term in positive) else "example"


def wants_sounds(query: Query, spaces: Mapping[str, StoredSpace]) -> bool:
    """Whether a query searches sounds, and the collection has any."""
    return "sound" in spaces and (not query.modalities or Modality.SOUND in query.modalities)


@dataclass(slots=True, eq=False)
class _Terms:
    """What the terms of one query add up to, while they are read one by one."""

    query: Query
    collection: Collection
    models: ModelSet
    spaces: Mapping[str, StoredSpace]
    texts: list[Term] = field(default_factory=list)
    targets: dict[Channel, list[WeightedVector]] = field(default_factory=dict)
    words: list[tuple[WordUnit, frozenset[Modality]]] = field(default_factory=list)
    required: list[WordUnit] = field(default_factory=list)
    forbidden: list[WordUnit] = field(default_factory=list)
    excluded: set[int] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    def add_target(
        self, channels: Iterable[Channel], vector: Vector, term: Term, kind: str
    ) -> None:
        """Search the channels by a unit vector, as far as query and term allow.

        `kind` is what was embedded: the deviation of similarities depends on it.
        """
        for channel in channels:
            if searches(self.query, term, channel[1]):
                weighted = WeightedVector(vector, term.weight, kind)
                self.targets.setdefault(channel, []).append(weighted)

    def add_words(self, term: Term, words: Words) -> None:
        """Embed the words without their syntax, and search them in full text."""
        self.texts.append(replace(term, text=words.plain))
        modalities = frozenset(
            modality
            for _, modality in restrict_channels(LEXICAL_TARGET, term, LEXICAL)
            if searches(self.query, term, modality)
        )
        self.words += [(unit, modalities) for unit in words.units]
        if term.weight > 0:
            self.required += words.required
            self.forbidden += words.excluded


class Planner:
    """Plans queries. Thread-safe."""

    def __init__(self, library: Library, constants: ScoringConstants = CONSTANTS) -> None:
        self._library = library
        self._settings = library.settings
        self._store = library.store
        self._constants = constants
        self._library_uuid = library.store.library_uuid()

    def plan_all(
        self, queries: Sequence[Query], snapshot: LibrarySnapshot
    ) -> list[PlannedQuery | MMSearchError]:
        """Plan each query; its error takes its place."""
        planned: list[PlannedQuery | MMSearchError] = []
        for query in queries:
            try:
                planned.append(self.plan(check_query(query), snapshot))
            except MMSearchError as error:
                planned.append(error)
        return planned

    def plan(self, query: Query, snapshot: LibrarySnapshot) -> PlannedQuery:
        """Everything that one checked query needs on its own. Raises MMSearchError."""
        collection = snapshot.collection(query.collection)
        models = self._library.models_of(collection)
        spaces = snapshot.spaces_of(collection.id)
        query, warnings = expand(query, partial(snapshot.metadata_keys, collection.id))
        check_channels(query, list(spaces))
        terms = _Terms(query, collection, models, spaces, warnings=list(warnings))
        self._warn_about_sounds(terms)
        for term in query.terms:
            self._read_term(terms, term)
        allowed = self._push_down(terms, self._filtered(query, snapshot, collection))
        thresholds = thresholds_for(
            query,
            kind_of(query),
            filtered=allowed is not None,
            vectors=self._library.vector_count(snapshot, collection.id),
            defaults=Thresholds(self._settings.min_score, self._settings.answer_score),
            constants=self._constants,
        )
        query = replace(query, min_score=thresholds.min_score)
        earlier = earlier_pages(
            self._store, query, self._library_uuid, collection.id, snapshot.last_change
        )
        depth = max(self._settings.candidates, query.limit) + len(earlier.shown)
        return PlannedQuery(
            query=query,
            collection=collection,
            snapshot=snapshot,
            models=models,
            spaces=spaces,
            thresholds=thresholds,
            earlier=earlier,
            depth=max(depth, SORT_POOL) if query.sort else depth,
            texts=tuple(terms.texts),
            targets={channel: tuple(vectors) for channel, vectors in terms.targets.items()},
            words=tuple(terms.words),
            excluded=frozenset(terms.excluded),
            allowed=allowed,
            warnings=tuple(terms.warnings),
        )

    def _read_term(self, terms: _Terms, term: Term) -> None:
        if term.text is not None:
            terms.add_words(term, parse_words(term.text, term.weight))
        elif term.image is not None:
            channels = restrict_channels(PICTURE_TARGET, term, "clip")
            terms.add_target(channels, self._picture(terms.models, term.image), term, "image")
        elif term.audio is not None:
            self._read_recording(terms, term, term.audio)
        elif term.segment is not None:
            self._read_segment(terms, term, term.segment)
        elif term.vector is not None:
            self._read_vector(terms, term, term.vector)

    # ------------------------------------------------------------------ what may come back

    def _filtered(
        self, query: Query, snapshot: LibrarySnapshot, collection: Collection
    ) -> Mapping[Modality, Ids] | None:
        """The segments that pass the query's filter; None without a filter."""
        if not query.filter:
            return None
        where = compile_filter(
            query.filter,
            snapshot.metadata_keys(collection.id),
            self._store.dialect,
        )
        return self._store.segments.matching(collection.id, where, query.modalities)

    def _push_down(
        self, terms: _Terms, allowed: Mapping[Modality, Ids] | None
    ) -> Mapping[Modality, Ids] | None:
        """Restrict every channel to segments with the required and without the forbidden words."""
        if not terms.required and not terms.forbidden:
            return allowed
        collection_id, lexical = terms.collection.id, self._store.lexical
        if allowed is None:
            allowed = self._store.segments.matching(collection_id, true(), terms.query.modalities)
        for unit in terms.required:
            holding = lexical.holding(collection_id, unit)
            if not len(holding):
                terms.warnings.append(f'nothing here holds the words "{" ".join(unit.tokens)}"')
            allowed = {m: np.intersect1d(ids, holding) for m, ids in allowed.items()}
        for unit in terms.forbidden:
            holding = lexical.holding(collection_id, unit)
            allowed = {m: np.setdiff1d(ids, holding) for m, ids in allowed.items()}
        return allowed

    # ------------------------------------------------------------------ the kinds of terms

    def _picture(self, models: ModelSet, content: bytes) -> Vector:
        request = decode_request(
            self._settings, content=content, kinds=("image",), preprocess=models.clip.preprocess
        )
        part = self._library.sandbox.picture(request)
        if part is not None and part.pixels is not None:
            return np.asarray(models.clip.encode_pixels(part.pixels[None])[0], np.float32)
        raise QueryError("the query's picture is not a picture", param="image")

    def _read_recording(self, terms: _Terms, term: Term, content: bytes) -> None:
        """Search by the words of a recording and, if the collection has sounds, by its sound."""
        transcribe = terms.query.modalities != (Modality.SOUND,)
        listen = terms.models.knows_sounds and wants_sounds(terms.query, terms.spaces)
        recording = read_recording(
            content,
            terms.models,
            self._settings,
            self._library.sandbox,
            transcribe=transcribe,
            embed_sound=listen,
        )
        if recording.words:
            spoken = within_pieces(recording.words, [terms.models.clip, terms.models.text])
            if spoken != recording.words:
                terms.warnings.append(
                    f"the recording is searched by the first {len(spoken)} characters of its words"
                )
            words = Words(spoken, units_of(spoken, term.weight))
            terms.add_words(replace(term, audio=None), words)
        if recording.sound is not None:
            channels = restrict_channels(SOUND_TARGET, term, "sound")
            terms.add_target(channels, recording.sound, term, "sound")
        if not recording.words and recording.sound is None:
            what = "no words were recognised" if transcribe else "nothing is heard"
            raise EmptyQueryError(f"{what} in the recording", param="audio")
        if transcribe and not recording.words:
            terms.warnings.append(
                "no words were recognised in the recording: it is searched by its sound alone"
            )

    def _warn_about_sounds(self, terms: _Terms) -> None:
        """Explain why a query for sounds cannot find any."""
        if Modality.SOUND not in terms.query.modalities:
            return
        if not terms.models.knows_sounds:
            why = (
                f"profile {terms.collection.profile} has no sound model; small, base and best have"
                if self._settings.sounds
                else "sounds are switched off"
            )
            terms.warnings.append(f"no sounds can be found by this query: {why}")
        elif not wants_sounds(terms.query, terms.spaces):
            terms.warnings.append("no sounds are indexed in this collection")

    def _read_segment(self, terms: _Terms, term: Term, segment_id: int) -> None:
        segment = self._store.segments.get(segment_id)
        if self._store.sources.get(segment.source_id).collection_id != terms.collection.id:
            raise NotFoundError(f"there is no segment {segment_id} in this collection")
        terms.excluded.add(segment_id)
        verbal = segment.modality in VERBAL
        has_vector = False
        for name, stored in terms.spaces.items():
            for _, vectors in self._store.vectors.of_segments(stored.id, [segment_id]).values():
                has_vector = True
                # What is seen is compared by its looks; what it says (a page) by meaning.
                target = PICTURE_TARGET if name == "clip" and not verbal else WORDS_TARGET
                channels = restrict_channels(target, term, name)
                kind = "text" if verbal or name == "text" else segment.modality.value
                terms.add_target(channels, vectors[0].astype(np.float32), term, kind)
        if not has_vector:
            raise QueryError(f"segment {segment_id} has no vector to compare", param="segment")

    def _read_vector(self, terms: _Terms, term: Term, numbers: tuple[float, ...]) -> None:
        name = term.space or "clip"
        if name not in terms.spaces:
            known = ", ".join(terms.spaces) or "none"
            raise QueryError(f"there is no space '{name}' here (spaces: {known})", param="space")
        dimension = terms.spaces[name].space.dimension
        vector = np.asarray(numbers, np.float32)
        if vector.shape != (dimension,):
            raise DimensionError(
                f"the vector has {vector.size} numbers, space '{name}' has {dimension} dimensions",
                param="vector",
            )
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0:
            raise DimensionError("the vector's length is zero or not finite", param="vector")
        channels = restrict_channels([(name, m) for m in Modality], term, name)
        terms.add_target(channels, vector / norm, term, "vector")
