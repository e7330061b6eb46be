"""A search engine without models, over the store of a library."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MMSearchError, QueryError
from mmsearch.query import Hit, Query, SearchOptions, SearchResult
from mmsearch.search.parse.json_form import check_query
from mmsearch.search.parse.request import query_of
from mmsearch.search.pictures import thumbnail_path
from mmsearch.types import VISUAL, Place, Source

if TYPE_CHECKING:
    from mmsearch.library import Library

Answer = Callable[[Sequence[Query]], list[SearchResult | MMSearchError]]


class FakeSearcher:
    """A `LibrarySearcher` whose hits are the segments with a word of the query.

    The words are looked for in the segment's text and its file's name. The score is the share of
    the query's words that were found; without words every segment scores 0.5. Filters, weights and
    other options are ignored. It records its calls and can be made to wait or to fail.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.settings = library.settings
        self.warm_up_error: Exception | None = None
        """Raised by `warm_up`."""
        self._warm = False
        self.reset()

    def reset(self) -> None:
        """Clear the records, `hold` and `answer`."""
        self.batches: list[list[Query]] = []
        """The queries of every call of `search_many`."""
        self.threads: set[str] = set()
        """The names of the threads that called it."""
        self.hold: threading.Event | None = None
        """Searches wait for it, at most 10 seconds."""
        self.answer: Answer | None = None
        """Answers instead."""

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
        query = query_of(
            query,
            image=image,
            audio=audio,
            like=like,
            modality=modality,
            default_limit=self.settings.limit,
            **options,
        )
        answer = self.search_many([query])[0]
        if isinstance(answer, MMSearchError):
            raise answer
        return answer

    def search_many(self, queries: Sequence[Query]) -> list[SearchResult | MMSearchError]:
        self.batches.append(list(queries))
        self.threads.add(threading.current_thread().name)
        if self.hold is not None and not self.hold.wait(10):
            raise TimeoutError("nobody set `hold` within 10 s")
        return self.answer(queries) if self.answer else [self._answered(q) for q in queries]

    def heat_map(self, segment_id: int, text: str) -> npt.NDArray[np.float32]:
        """A fixed map: the match is in the upper left quarter."""
        segment = self.library.store.segments.get(segment_id)
        if not text.strip():
            raise QueryError("text must not be empty", param="text")
        if segment.modality not in VISUAL:
            raise QueryError(
                f"a segment of modality {segment.modality.value} has no heat map", param="segment"
            )
        heat = np.zeros((8, 8), np.float32)
        heat[:4, :4] = 1.0
        return heat

    def thumbnail_path(self, source: Source, place: Place | None = None) -> Path:
        return thumbnail_path(self.library.path, source.sha256, place)

    def warm_up(self) -> None:
        if self.warm_up_error is not None:
            raise self.warm_up_error
        self._warm = True

    def ready(self) -> bool:
        return self._warm

    def warm_up_notes(self) -> tuple[str, ...]:
        return ()

    def start_following(self) -> None:
        """Every search reads the store, so there is nothing to follow."""

    def close(self) -> None:
        self.library.close()

    def _answered(self, query: Query) -> SearchResult | MMSearchError:
        try:
            check_query(query)
            hits = sorted(self._hits(query), key=lambda hit: (-hit.score, hit.segment.id))
        except MMSearchError as error:
            return error
        best = hits[: query.limit]
        ranked = tuple(replace(hit, rank=rank) for rank, hit in enumerate(best, 1))
        return SearchResult(query, ranked, 1.25)

    def _hits(self, query: Query) -> Iterator[Hit]:
        store = self.library.store
        words = {word for term in query.terms for word in (term.text or "").lower().split()}
        for source in store.sources.list(store.collections.get(query.collection).name, limit=1000):
            for segment in store.segments.of_source(source.id):
                if query.modalities and segment.modality not in query.modalities:
                    continue
                text = f"{segment.text or ''} {Path(source.path).name}".lower()
                matches = sum(word in text for word in words)
                if matches or not words:
                    score = matches / len(words) if words else 0.5
                    yield Hit(0, score, {"fake": score}, source, segment)
