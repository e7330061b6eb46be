"""Queries become plans: what is looked for, in which channel, among which segments.

`Planner.plan` does what one query needs on its own (it decodes its picture, transcribes its
recording, compiles its filter); `Planner.embed` then embeds the words of all queries together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from sqlalchemy import true

from mmsearch.errors import (
    DimensionError,
    EmptyQueryError,
    MMSearchError,
    NotFoundError,
    QueryError,
)
from mmsearch.library import Library
from mmsearch.media.requests import decode_request
from mmsearch.models.sets import ModelSet
from mmsearch.protocols import TextEmbedder
from mmsearch.query import Query, Term
from mmsearch.search.compose import Part
from mmsearch.search.parse.filters import compile_filter
from mmsearch.search.parse.metadata_keys import MetadataKeys
from mmsearch.search.parse.words import Words, parse_words, units_of
from mmsearch.search.recordings import read_recording
from mmsearch.search.scoring.calibration import Kind
from mmsearch.search.scoring.fusion import ChannelRanking
from mmsearch.types import VERBAL, Collection, Ids, Modality, WordUnit

LEXICAL = "lexical"
"""The channel of full text, where a term may be confined to it by name."""

LONG_TEXT = 200
"""Characters below which no text is longer than a model reads."""

Vector = npt.NDArray[np.float32]
Channel = tuple[str, Modality]
"""(space name, target modality)."""

LEXICAL_TARGET: tuple[Channel, ...] = tuple((LEXICAL, modality) for modality in Modality)

WORDS_TARGET: tuple[Channel, ...] = (
    ("clip", Modality.IMAGE),
    ("clip", Modality.VIDEO),
    ("clip", Modality.PAGE),
    ("text", Modality.TEXT),
    ("text", Modality.SPEECH),
    ("text", Modality.IMAGE),
    ("text", Modality.VIDEO),
    ("sound", Modality.SOUND),
)
"""Where words are looked for: what is seen through CLIP; written and spoken words, those that
stand in a picture too, through the text space, which knows far more about language than CLIP's
text tower."""

PICTURE_TARGET: tuple[Channel, ...] = (
    ("clip", Modality.IMAGE),
    ("clip", Modality.VIDEO),
    ("clip", Modality.PAGE),
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
    said: list[Term] = field(default_factory=list)
    """Terms in words, typed or recognised, to be embedded with the batch's other queries."""
    parts: dict[Channel, list[Part]] = field(default_factory=dict)
    """What each channel looks for, and what it keeps away from."""
    vectors: dict[Channel, Vector] = field(default_factory=dict)
    """The parts of each channel as one direction (see `composition`)."""
    excluded: set[int] = field(default_factory=set)
    """Segments that must not come back: those given as examples."""
    words: list[tuple[WordUnit, frozenset[Modality]]] = field(default_factory=list)
    """What full text looks for, and among which modalities."""
    required: list[WordUnit] = field(default_factory=list)
    forbidden: list[WordUnit] = field(default_factory=list)
    """What must be there, and must not, wherever a segment was found."""
    allowed: dict[Modality, Ids] | None = None
    """The segments that pass the filter and hold what is required; None: all."""
    answer_score: float = 0.0
    """If the best hit scores less, there is no answer."""
    depth: int = 0
    """How many candidates each channel is asked for."""
    more: bool = False
    """Whether some channel has more than it was asked for."""
    rankings: list[ChannelRanking] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: MMSearchError | None = None
    """Why this query, alone of its batch, has no answer."""

    @property
    def kind(self) -> Kind:
        """Queries in words and by example find different similarities."""
        asked = [term for term in self.query.terms if term.weight > 0]
        return "words" if all(term.kind in {"text", "audio"} for term in asked) else "example"

    @property
    def texts(self) -> list[tuple[str, float]]:
        """Words and their weights."""
        return [(term.text or "", term.weight) for term in self.said]

    def look_for(self, channels: Iterable[Channel], vector: Vector, term: Term, kind: str) -> None:
        """Let the channels look for a unit vector, as far as query and term allow.

        `kind` tells what was embedded ("text", "image", "sound"): how similarities spread
        depends on it.
        """
        for channel in channels:
            confining = [one for one in (self.query.modalities, term.modalities) if one]
            if all(channel[1] in one for one in confining):
                self.parts.setdefault(channel, []).append(Part(vector, term.weight, kind))


def confined(channels: Iterable[Channel], term: Term, space: str) -> list[Channel]:
    """The usual channels of a term's content in a space, or those of it that the term names.

    "clip" names the usual ones of a space (or all, if none is usual), "clip:page" that one.
    """
    usual = [channel for channel in channels if channel[0] == space]
    if not term.channels:
        return usual
    found: list[Channel] = []
    for name in term.channels:
        named, _, modality = name.partition(":")
        if named == space:
            every = usual or [(space, one) for one in Modality]
            found += [(space, Modality(modality))] if modality else every
    return list(dict.fromkeys(found))


class Planner:
    """Makes plans. Thread-safe."""

    def __init__(self, library: Library) -> None:
        self.settings = library.settings
        self.store = library.store
        self.models_of = library.models_of
        self.sandbox = library.sandbox
        self.metadata_keys = MetadataKeys(library.store)

    def plan(self, query: Query) -> QueryPlan:
        """Everything that one query needs on its own. Raises MMSearchError."""
        collection = self.store.collection(query.collection)
        models = self.models_of(collection)
        plan = QueryPlan(query, collection)
        self._check_channels(plan)
        self._tell_about_sounds(plan, models)
        for term in query.terms:
            if term.text is not None:
                self._say(plan, term, parse_words(term.text, term.weight))
            elif term.image is not None:
                channels = confined(PICTURE_TARGET, term, "clip")
                plan.look_for(channels, self._picture(models, term.image), term, "image")
            elif term.audio is not None:
                self._look_for_recording(plan, models, term)
            elif term.segment is not None:
                self._look_for_segment(plan, term)
            else:
                self._look_for_vector(plan, term)
        if query.filter:
            where = compile_filter(
                query.filter,
                self.metadata_keys.of(collection.id),
                self.store.engine.dialect.name,
            )
            plan.allowed = self.store.passing(collection.id, where, query.modalities)
        self._confine(plan)
        return plan

    def embed(self, plans: Sequence[QueryPlan]) -> None:
        """One model call per space for the words of all queries of a profile.

        What goes wrong becomes the `error` of the plans that it concerns.
        """
        by_models: dict[tuple[object, ...], list[QueryPlan]] = {}
        for plan in plans:
            if plan.said:
                models_named = (plan.collection.profile, plan.collection.models)
                by_models.setdefault(models_named, []).append(plan)
        for members in by_models.values():
            texts = list(dict.fromkeys(text for plan in members for text, _ in plan.texts))
            row = {text: n for n, text in enumerate(texts)}
            try:
                models = self.models_of(members[0].collection)
                embedders = self._text_embedders(models, members)
                readable = {one.space.name: one.can_read(texts) for one in embedders}
                for plan in members:
                    for term in plan.said:
                        read = {n: bool(m[row[term.text or ""]]) for n, m in readable.items()}
                        _warn_about_unknown_words(plan, term, read)
                for embedder in embedders:
                    vectors = embedder.encode_texts(texts, "query")
                    name = embedder.space.name
                    for plan in members:
                        for term in plan.said:
                            if not readable[name][row[term.text or ""]]:
                                continue
                            channels = confined(WORDS_TARGET, term, name)
                            plan.look_for(channels, vectors[row[term.text or ""]], term, "text")
                            if channels:
                                _tell_about_length(plan, term.text or "", embedder)
            except MMSearchError as error:
                for plan in members:
                    plan.error = error

    def _check_channels(self, plan: QueryPlan) -> None:
        """Raise QueryError, which lists the channels, for a term that names another."""
        named = {name for term in plan.query.terms for name in term.channels}
        if not named:
            return
        known = [*(s.space.name for s in self.store.spaces(plan.collection.id)), LEXICAL]
        for name in named:
            space, colon, modality = name.partition(":")
            if space not in known or (colon and modality not in set(Modality)):
                raise QueryError(
                    f"there is no channel '{name}' here. Channels: {', '.join(known)}, each "
                    f"also with one of {', '.join(Modality)} after a colon.",
                    param="channels",
                )

    # ------------------------------------------------------------------ words

    def _say(self, plan: QueryPlan, term: Term, words: Words) -> None:
        """Words are embedded without their syntax, and looked for in full text."""
        plan.said.append(replace(term, text=words.plain))
        where = {modality for _, modality in confined(LEXICAL_TARGET, term, LEXICAL)}
        for confining in (plan.query.modalities, term.modalities):
            if confining:
                where &= set(confining)
        plan.words += [(unit, frozenset(where)) for unit in words.units]
        if term.weight > 0:
            plan.required += words.required
            plan.forbidden += words.excluded

    def _confine(self, plan: QueryPlan) -> None:
        """Push what is quoted and what is excluded down into every channel."""
        if not plan.required and not plan.forbidden:
            return
        collection_id, lexical = plan.collection.id, self.store.lexical
        if plan.allowed is None:
            plan.allowed = self.store.passing(collection_id, true(), plan.query.modalities)
        for unit in plan.required:
            there = lexical.holding(collection_id, unit)
            if not len(there):
                plan.warnings.append(f'nothing here holds the words "{" ".join(unit.tokens)}"')
            plan.allowed = {m: np.intersect1d(ids, there) for m, ids in plan.allowed.items()}
        for unit in plan.forbidden:
            there = lexical.holding(collection_id, unit)
            plan.allowed = {m: np.setdiff1d(ids, there) for m, ids in plan.allowed.items()}

    # ------------------------------------------------------------------ the kinds of terms

    def _picture(self, models: ModelSet, content: bytes) -> Vector:
        request = decode_request(
            self.settings, content=content, kinds=("image",), preprocess=models.clip.preprocess
        )
        part = self.sandbox.picture(request)
        if part is not None and part.pixels is not None:
            return np.asarray(models.clip.encode_pixels(part.pixels[None])[0], np.float32)
        raise QueryError("the query's picture is not a picture", param="image")

    def _look_for_recording(self, plan: QueryPlan, models: ModelSet, term: Term) -> None:
        """By its words, and where there are sounds to compare with, by its sound."""
        assert term.audio is not None
        said = plan.query.modalities != (Modality.SOUND,)
        heard = models.knows_sounds and self._wants_sounds(plan)
        recording = read_recording(
            term.audio, models, self.settings, self.sandbox, said=said, heard=heard
        )
        if recording.words:
            heard_words = Words(recording.words, units_of(recording.words, term.weight))
            self._say(plan, replace(term, audio=None), heard_words)
        if recording.sound is not None:
            channels = confined(SOUND_TARGET, term, "sound")
            plan.look_for(channels, recording.sound, term, "sound")
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

    def _look_for_segment(self, plan: QueryPlan, term: Term) -> None:
        assert term.segment is not None
        segment = self.store.segment(term.segment)
        if self.store.source(segment.source_id).collection_id != plan.collection.id:
            raise NotFoundError(f"there is no segment {term.segment} in this collection")
        plan.excluded.add(term.segment)
        in_words = segment.modality in VERBAL
        found = False
        for stored in self.store.spaces(plan.collection.id):
            name = stored.space.name
            for _ids, vectors in self.store.vectors_of(stored.id, [term.segment]).values():
                found = True
                # What is seen is compared by looks, what it says (a page) by meaning.
                usual = PICTURE_TARGET if name == "clip" and not in_words else WORDS_TARGET
                channels = confined(usual, term, name)
                kind = "text" if in_words or name == "text" else segment.modality.value
                plan.look_for(channels, vectors[0].astype(np.float32), term, kind)
        if not found:
            raise QueryError(f"segment {term.segment} has no vector to compare", param="segment")

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
        channels = confined([(name, m) for m in Modality], term, name)
        plan.look_for(channels, vector / norm, term, "vector")


def _warn_about_unknown_words(plan: QueryPlan, term: Term, readable: Mapping[str, bool]) -> None:
    """`readable`: by space, whether its model can read the term."""
    searched = [name for name in readable if confined(WORDS_TARGET, term, name)]
    unread = [name for name in searched if not readable[name]]
    if not unread:
        return
    models = f"{' and '.join(unread)} model{'s' if len(unread) > 1 else ''}"
    does = "do" if len(unread) > 1 else "does"
    profile = plan.collection.profile
    warning = f"the {models} of profile {profile} {does} not know the words '{_short(term.text)}'"
    if unread == searched and units_of(term.text or ""):
        warning += "; they are matched by full text only"
    elif unread == searched:
        warning += "; nothing is searched for them"
    plan.warnings.append(warning)


def _short(text: str | None) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= 40 else text[:39] + "…"


def _tell_about_length(plan: QueryPlan, text: str, embedder: TextEmbedder) -> None:
    """Nothing is cut off a long text, but what is asked for becomes blurred."""
    if len(text) < LONG_TEXT:
        return
    tokens = embedder.count_tokens([text])[0]
    if tokens > embedder.max_tokens:
        plan.warnings.append(
            f"the words are longer than the {embedder.space.name} model reads at once ({tokens} "
            f"tokens, {embedder.max_tokens} fit): it searches by the mean of their parts"
        )
