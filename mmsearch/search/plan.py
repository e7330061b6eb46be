"""Queries become plans: what is looked for, in which channel, among which segments.

`Planner.plan` does what one query needs on its own (it decodes its picture, transcribes its
recording, compiles its filter); `Planner.embed` then embeds the words of all queries together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mmsearch.errors import (
    DimensionError,
    EmptyQueryError,
    MMSearchError,
    NotFoundError,
    QueryError,
)
from mmsearch.media.parts import ImagePart
from mmsearch.media.requests import decode_request
from mmsearch.media.sandbox import Sandbox
from mmsearch.protocols import TextEmbedder
from mmsearch.search.filters import compile_filter
from mmsearch.search.fusion import ChannelRanking
from mmsearch.search.modelset import ModelSet
from mmsearch.search.recordings import read_recording
from mmsearch.settings import Settings
from mmsearch.stores.sql import SqlStore
from mmsearch.types import Collection, Ids, Modality, Query, Term

Vector = npt.NDArray[np.float32]
Channel = tuple[str, Modality]
"""(space name, target modality)."""

WORDS_TARGET: tuple[Channel, ...] = (
    ("clip", Modality.IMAGE),
    ("text", Modality.TEXT),
    ("text", Modality.SPEECH),
    ("sound", Modality.SOUND),
)
"""Where words are looked for: pictures through CLIP; written and spoken words through the
text space, which knows far more about language than CLIP's text tower."""

PICTURE_TARGET: tuple[Channel, ...] = (
    ("clip", Modality.IMAGE),
    ("clip", Modality.TEXT),
    ("clip", Modality.SPEECH),
)
"""Where a picture is looked for: only CLIP compares it with anything."""

SOUND_TARGET: tuple[Channel, ...] = (("sound", Modality.SOUND),)
"""Where the sound of a recording is looked for."""


@dataclass(slots=True, eq=False)
class QueryPlan:
    """One query on its way through the stages, each of which fills in its part."""

    query: Query
    collection: Collection
    texts: list[tuple[str, float]] = field(default_factory=list)
    """Weighted words, to be embedded with those of the batch's other queries."""
    vectors: dict[Channel, Vector] = field(default_factory=dict)
    """What each channel looks for: the sum of its weighted unit vectors."""
    excluded: set[int] = field(default_factory=set)
    """Segments that must not come back: those given as examples."""
    allowed: dict[Modality, Ids] = field(default_factory=dict)
    """Only for a query with a filter: the segments that pass it."""
    rankings: list[ChannelRanking] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: MMSearchError | None = None
    """Why this query, alone of its batch, has no answer."""

    def look_for(self, channels: Sequence[Channel], vector: Vector, weight: float) -> None:
        """Add a weighted unit vector to what the channels look for."""
        for channel in channels:
            if self.query.modalities and channel[1] not in self.query.modalities:
                continue
            have = self.vectors.get(channel)
            term = weight * vector
            self.vectors[channel] = term if have is None else have + term


class Planner:
    """Makes plans. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        store: SqlStore,
        models_of: Callable[[Collection], ModelSet],
        sandbox: Sandbox,
    ) -> None:
        self.settings = settings
        self.store = store
        self.models_of = models_of
        self.sandbox = sandbox

    def plan(self, query: Query) -> QueryPlan:
        """Everything that one query needs on its own. Raises MMSearchError."""
        collection = self.store.collection(query.collection)
        models = self.models_of(collection)
        plan = QueryPlan(query, collection)
        self._tell_about_sounds(plan, models)
        for term in query.terms:
            if term.text is not None:
                plan.texts.append((term.text, term.weight))
            elif term.image is not None:
                plan.look_for(PICTURE_TARGET, self._picture(models, term.image), term.weight)
            elif term.audio is not None:
                self._look_for_recording(plan, models, term.audio, term.weight)
            elif term.segment is not None:
                self._look_for_segment(plan, term.segment, term.weight)
            else:
                self._look_for_vector(plan, term)
        if query.filter:
            where = compile_filter(
                query.filter,
                self.store.metadata_keys(collection.id),
                self.store.engine.dialect.name,
            )
            for modality in query.modalities or tuple(Modality):
                plan.allowed[modality] = self.store.segment_ids(collection.id, modality, where)
        return plan

    def embed(self, plans: Sequence[QueryPlan]) -> None:
        """One model call per space for the words of all queries of a profile.

        What goes wrong becomes the `error` of the plans that it concerns.
        """
        by_models: dict[tuple[object, ...], list[QueryPlan]] = {}
        for plan in plans:
            if plan.texts:
                models_named = (plan.collection.profile, plan.collection.models)
                by_models.setdefault(models_named, []).append(plan)
        for members in by_models.values():
            texts = list(dict.fromkeys(text for plan in members for text, _ in plan.texts))
            row = {text: n for n, text in enumerate(texts)}
            try:
                models = self.models_of(members[0].collection)
                for embedder in self._text_embedders(models, members):
                    vectors = embedder.encode_texts(texts, "query")
                    channels = [c for c in WORDS_TARGET if c[0] == embedder.space.name]
                    for plan in members:
                        for text, weight in plan.texts:
                            plan.look_for(channels, vectors[row[text]], weight)
            except MMSearchError as error:
                for plan in members:
                    plan.error = error

    # ------------------------------------------------------------------ the kinds of terms

    def _picture(self, models: ModelSet, content: bytes) -> Vector:
        request = decode_request(
            self.settings, content=content, kinds=("image",), preprocess=models.clip.preprocess
        )
        for part in self.sandbox.decode(request):
            if isinstance(part, ImagePart) and part.pixels is not None:
                return np.asarray(models.clip.encode_pixels(part.pixels[None])[0], np.float32)
        raise QueryError("the query's picture is not a picture", param="image")

    def _look_for_recording(
        self, plan: QueryPlan, models: ModelSet, content: bytes, weight: float
    ) -> None:
        """By its words, and where there are sounds to compare with, by its sound."""
        said = plan.query.modalities != (Modality.SOUND,)
        heard = models.knows_sounds and self._wants_sounds(plan)
        recording = read_recording(
            content, models, self.settings, self.sandbox, said=said, heard=heard
        )
        if recording.words:
            plan.texts.append((recording.words, weight))
        if recording.sound is not None:
            plan.look_for(SOUND_TARGET, recording.sound, weight)
        if not recording.words and recording.sound is None:
            what = "no words were recognised" if said else "nothing is heard"
            raise EmptyQueryError(f"{what} in the recording", param="audio")
        if said and not recording.words:
            plan.warnings.append(
                "no words were recognised in the recording: it is searched by its sound alone"
            )

    # ------------------------------------------------------------------ sounds

    def _wants_sounds(self, plan: QueryPlan) -> bool:
        """Whether sounds are asked for, and this collection has any."""
        if plan.query.modalities and Modality.SOUND not in plan.query.modalities:
            return False
        return any(s.space.name == "sound" for s in self.store.spaces(plan.collection.id))

    def _tell_about_sounds(self, plan: QueryPlan, models: ModelSet) -> None:
        """Who asks for sounds where there are none is told why."""
        if Modality.SOUND not in plan.query.modalities:
            return
        if not models.knows_sounds:
            why = "sounds are switched off" if not self.settings.sounds else (
                f"profile {plan.collection.profile} has no sound model; small, base and best have"
            )  # fmt: skip
            plan.warnings.append(f"no sounds can be found by this query: {why}")
        elif not self._wants_sounds(plan):
            plan.warnings.append("no sounds are indexed in this collection")

    def _text_embedders(self, models: ModelSet, plans: Sequence[QueryPlan]) -> list[TextEmbedder]:
        """The models that the words of these queries are for."""
        embedders: list[TextEmbedder] = [models.clip, models.text]
        if models.knows_sounds and any(self._wants_sounds(plan) for plan in plans):
            embedders.append(models.embedder("sound"))
        return embedders

    def _look_for_segment(self, plan: QueryPlan, segment_id: int, weight: float) -> None:
        segment = self.store.segment(segment_id)
        if self.store.source(segment.source_id).collection_id != plan.collection.id:
            raise NotFoundError(f"there is no segment {segment_id} in this collection")
        plan.excluded.add(segment_id)
        found = False
        for stored in self.store.spaces(plan.collection.id):
            for _ids, vectors in self.store.vectors_of(stored.id, [segment_id]).values():
                found = True
                targets = SOUND_TARGET if stored.space.name == "sound" else PICTURE_TARGET
                if segment.modality in {Modality.TEXT, Modality.SPEECH}:
                    targets = tuple(t for t in WORDS_TARGET if t[0] == stored.space.name)
                plan.look_for(targets, vectors[0].astype(np.float32), weight)
        if not found:
            raise QueryError(f"segment {segment_id} has no vector to compare", param="segment")

    def _look_for_vector(self, plan: QueryPlan, term: Term) -> None:
        assert term.vector is not None
        name = term.space or "clip"
        spaces = {s.space.name: s.space for s in self.store.spaces(plan.collection.id)}
        if name not in spaces:
            known = ", ".join(spaces) or "none"
            raise QueryError(f"there is no space '{name}' here (spaces: {known})", param="space")
        vector = np.asarray(term.vector, np.float32)
        if vector.shape != (spaces[name].dimension,):
            raise DimensionError(
                f"the vector has {vector.size} numbers, space '{name}' has "
                f"{spaces[name].dimension} dimensions",
                param="vector",
            )
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0:
            raise DimensionError("the vector's length is zero or not finite", param="vector")
        plan.look_for([(name, m) for m in Modality], vector / norm, term.weight)
