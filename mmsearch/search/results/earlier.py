"""What the earlier pages of a search have shown."""

from __future__ import annotations

from dataclasses import dataclass

from mmsearch.errors import CursorError
from mmsearch.query import Query
from mmsearch.search.results.cursors import Shown, shown_by
from mmsearch.stores.store import SqlStore

MAX_CHANGES = 20_000
"""Changes of a library that are read to find what became of segments that were shown."""


@dataclass(frozen=True, slots=True)
class EarlierPages:
    """What must not be shown again."""

    mark: int
    """Id of the newest change when the first page was made."""
    shown: tuple[int, ...] = ()
    """The representative segment of each hit that was shown."""
    hidden_sources: frozenset[int] = frozenset()
    """Sources of such segments that have been indexed again since. Their segments have new ids,
    and they cannot be distinguished."""


def earlier_pages(
    store: SqlStore, query: Query, library: str, collection_id: int, last_change: int
) -> EarlierPages:
    """Read the query's cursor; `library` is the library's uuid. Raises CursorError."""
    if query.cursor is None:
        return EarlierPages(last_change)
    shown = shown_by(query.cursor, query, library)
    if shown.mark > last_change:
        raise CursorError("the cursor is from another copy of this library: search again")
    return EarlierPages(shown.mark, shown.segments, _reindexed(store, collection_id, shown))


def _reindexed(store: SqlStore, collection_id: int, shown: Shown) -> frozenset[int]:
    """Sources of shown segments that have been indexed again since the first page."""
    gone = set(shown.segments) - set(store.segments.candidates(shown.segments))
    sources: set[int] = set()
    after, read = shown.mark, 0
    while gone:
        changes = store.changes.after(collection_id, after)
        if not changes:
            break
        read += len(changes)
        if read > MAX_CHANGES:
            raise CursorError("the library has changed too much since: search again")
        for change in changes:
            if change.op == "remove" and not gone.isdisjoint(change.segment_ids):
                sources.add(change.source_id)
                gone -= set(change.segment_ids)
        after = changes[-1].id
    return frozenset(sources)
