"""The second stage: the words of all queries become vectors, and each channel gets one direction.

One model call per space serves all queries of a batch whose collections use the same models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmsearch.errors import LimitError, MMSearchError, QueryError
from mmsearch.models.sets import ModelSet
from mmsearch.protocols import TextEmbedder
from mmsearch.query import Term
from mmsearch.search.channels import WORDS_TARGET, Channel, restrict_channels, searches
from mmsearch.search.compose import Composer, Vector, WeightedVector
from mmsearch.search.plan import PlannedQuery
from mmsearch.search.text_lengths import check_pieces, length_warnings
from mmsearch.stores.lexical.analysis import tokens
from mmsearch.stores.rows import check_same_space
from mmsearch.vectors.channels import ChannelIndexes

MAX_QUOTED = 40
"""Characters of the query in a warning."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedQuery:
    """A planned query with the direction that each vector channel searches."""

    planned: PlannedQuery
    vectors: Mapping[Channel, Vector]
    """Unit vectors, shape (dimension,), of the channels in which there is anything to find."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Texts:
    """The embedded words of one query."""

    targets: dict[Channel, list[WeightedVector]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class QueryEmbedder:
    """Embeds planned queries. Thread-safe."""

    def __init__(self, indexes: ChannelIndexes, composer: Composer) -> None:
        self._indexes = indexes
        self._composer = composer

    def embed(
        self, batch: Sequence[PlannedQuery | MMSearchError]
    ) -> list[EmbeddedQuery | MMSearchError]:
        """Embed each query; its error takes its place."""
        texts = self._embed_texts([query for query in batch if isinstance(query, PlannedQuery)])
        embedded: list[EmbeddedQuery | MMSearchError] = []
        for query in batch:
            if isinstance(query, MMSearchError):
                embedded.append(query)
                continue
            words = texts.get(id(query), _Texts())
            try:
                if isinstance(words, MMSearchError):
                    raise words
                embedded.append(self._composed(query, words))
            except MMSearchError as error:
                embedded.append(error)
        return embedded

    # ------------------------------------------------------------------ words

    def _embed_texts(self, queries: Sequence[PlannedQuery]) -> dict[int, _Texts | MMSearchError]:
        """The words of all queries, by the `id` of the query."""
        groups: dict[tuple[object, ...], list[PlannedQuery]] = {}
        for query in queries:
            if query.texts:
                models_key = (query.collection.profile, query.collection.models)
                groups.setdefault(models_key, []).append(query)
        outcomes: dict[int, _Texts | MMSearchError] = {}
        for group in groups.values():
            try:
                outcomes |= self._embed_group(group)
            except MMSearchError as error:
                outcomes |= {id(query): error for query in group}
        return outcomes

    def _embed_group(self, group: Sequence[PlannedQuery]) -> dict[int, _Texts | MMSearchError]:
        """Queries of collections that use the same models."""
        refused: dict[int, _Texts | MMSearchError] = {}
        for query in group:
            try:
                for embedder in _text_embedders(query.models, [query]):
                    check_pieces(query.texts, embedder)
            except LimitError as error:
                refused[id(query)] = error
        group = [query for query in group if id(query) not in refused]
        return {**refused, **self._embed_allowed(group)} if group else refused

    def _embed_allowed(self, group: Sequence[PlannedQuery]) -> dict[int, _Texts]:
        texts = list(dict.fromkeys(term.text or "" for query in group for term in query.texts))
        row = {text: n for n, text in enumerate(texts)}
        embedded = {id(query): _Texts() for query in group}
        embedders = _text_embedders(group[0].models, group)
        readable = {embedder.space.name: embedder.can_read(texts) for embedder in embedders}
        for query in group:
            for term in query.texts:
                read = {name: bool(mask[row[term.text or ""]]) for name, mask in readable.items()}
                embedded[id(query)].warnings.extend(_unknown_words(query, term, read))
        for embedder in embedders:
            vectors = embedder.encode_texts(texts, "query")
            for query in group:
                words = embedded[id(query)]
                for term in query.texts:
                    if not readable[embedder.space.name][row[term.text or ""]]:
                        continue
                    channels = restrict_channels(WORDS_TARGET, term, embedder.space.name)
                    vector = vectors[row[term.text or ""]]
                    for channel in channels:
                        if searches(query.query, term, channel[1]):
                            weighted = WeightedVector(vector, term.weight, "text")
                            words.targets.setdefault(channel, []).append(weighted)
                    if channels:
                        words.warnings.extend(length_warnings(term.text or "", embedder))
        return embedded

    # ------------------------------------------------------------------ one direction a channel

    def _composed(self, query: PlannedQuery, words: _Texts) -> EmbeddedQuery:
        """Raises SpaceMismatchError where the models are not those that made the vectors, and
        QueryError where a model has returned NaN."""
        warnings = list(words.warnings)
        vectors: dict[Channel, Vector] = {}
        for channel in dict.fromkeys([*query.targets, *words.targets]):
            stored = query.spaces.get(channel[0])
            if stored is None or not self._has_candidates(query, stored.id, channel):
                continue
            check_same_space(stored.space, query.models.embedder(stored.space.name).space)
            weighted = [*query.targets.get(channel, ()), *words.targets.get(channel, ())]
            if not all(np.isfinite(term.vector).all() for term in weighted):
                raise QueryError(f"a term of the query has no finite vector in '{channel[0]}'")
            vector = self._composer.compose(stored.id, channel[1], weighted)
            if vector is None:
                continue
            if vector.any():
                vectors[channel] = vector
            else:
                name = f"{channel[0]}:{channel[1].value}"
                warnings.append(f"the query's terms cancel each other out in {name}")
        return EmbeddedQuery(query, vectors, tuple(warnings))

    def _has_candidates(self, query: PlannedQuery, space_id: int, channel: Channel) -> bool:
        index = self._indexes.get(space_id, channel[1])
        if index is None or not len(index):
            return False
        allowed = query.allowed
        return allowed is None or bool(len(allowed.get(channel[1], np.empty(0))))


def _text_embedders(models: ModelSet, queries: Sequence[PlannedQuery]) -> list[TextEmbedder]:
    """The models that the words of these queries are for."""
    embedders: list[TextEmbedder] = [models.clip, models.text]
    if models.knows_sounds and any(query.wants_sounds for query in queries):
        embedders.append(models.embedder("sound"))
    return embedders


def _unknown_words(query: PlannedQuery, term: Term, readable: Mapping[str, bool]) -> list[str]:
    """A warning about models that cannot read a term; `readable` is by space."""
    searched = [name for name in readable if restrict_channels(WORDS_TARGET, term, name)]
    unread = [name for name in searched if not readable[name]]
    if not unread:
        return []
    text = " ".join((term.text or "").split())
    text = text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"
    several = len(unread) > 1
    warning = (
        f"the {' and '.join(unread)} model{'s' if several else ''} of profile "
        f"{query.collection.profile} {'do' if several else 'does'} not know the words '{text}'"
    )
    if unread == searched and tokens(text):
        warning += "; they are matched by full text only"
    elif unread == searched:
        warning += "; nothing is searched for them"
    return [warning]
