"""Facets and sorting values come out the same on both databases."""

from __future__ import annotations

import pytest

from mmsearch.errors import FilterError
from mmsearch.query import Facet, Query
from mmsearch.search.results.facets import FacetCounter, facets_of
from mmsearch.stores.metadata_values import whole_value
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.store import SqlStore
from mmsearch.types import Metadata, Modality, SegmentDraft, SourceFile

RECORDS: list[Metadata] = [
    {"tags": ["sea", "dog"], "taken_at": "2023-07-01T10:00:00", "width": 640, "flag": True},
    {"tags": "sea", "taken_at": "2024-02-03", "width": 640.0, "odd": {"in": "sea"}},
    {"tags": ["sea", 7, None, ["deep"]], "taken_at": "no date", "flag": False},
    {"tags": [], "taken_at": "2024-12-31T23:59:59Z", "width": None},
    {},
]
FIELDS = ["tags", "taken_at", "width", "flag", "odd"]


def test_values_are_counted(store: SqlStore) -> None:
    """Single ones, those of lists, of every type; dates by year and month; built-in fields."""
    collection = store.collections.get_or_create("default", "fake").id
    drafts = (SegmentDraft(Modality.TEXT, text="a"), SegmentDraft(Modality.TEXT, text="b"))
    store.sources.write(
        collection,
        [
            SourceWrite(
                SourceFile(f"file:///{n}", f"/{n}", n, (1_700_000_000 + n * 86400 * 20) * 10**9),
                str(n),
                "text/plain" if n else "text/html",
                "r",
                metadata=record,
                segments=drafts,
            )
            for n, record in enumerate(RECORDS)
        ],
    )

    def counted(facet: Facet) -> dict[object, tuple[int, int]]:
        query = Query(facets=(facet,))
        (values,) = facets_of(store, collection, query, FIELDS).values()
        sources = [value.sources for value in values]
        assert sources == sorted(sources, reverse=True)
        return {value.value: (value.sources, value.segments) for value in values}

    assert counted(Facet("tags")) == {"sea": (3, 6), "dog": (1, 2), 7: (1, 2)}
    assert counted(Facet("taken_at", by="year")) == {"2024": (2, 4), "2023": (1, 2)}
    assert counted(Facet("taken_at", by="month"))["2024-12"] == (1, 2)
    assert counted(Facet("width")) == {640: (2, 4)}
    assert counted(Facet("flag")) == {True: (1, 2), False: (1, 2)}
    assert counted(Facet("odd")) == {}
    assert counted(Facet("mime")) == {"text/plain": (4, 8), "text/html": (1, 2)}
    assert counted(Facet("modality")) == {"text": (5, 10)}
    assert counted(Facet("modified_at", by="month"))["2023-11"] == (1, 2)
    assert list(counted(Facet("indexed_at", by="year")).values()) == [(5, 10)]
    assert len(counted(Facet("path", limit=2))) == 2
    assert counted(Facet("page")) == {}

    counter = FacetCounter(store)
    query = Query(facets=(Facet("mime"),), filter={"flag": True})
    (html,) = counter.count(collection, query, FIELDS)["mime"]
    assert (html.value, html.sources) == ("text/html", 1)
    assert counter.count(collection, query, FIELDS) == {"mime": (html,)}
    store.sources.delete([1])
    assert counter.count(collection, query, FIELDS) == {"mime": ()}
    with pytest.raises(FilterError, match="Unknown facet 'tag'"):
        counter.count(collection, Query(facets=(Facet("tag"),)), FIELDS)

    ids = [segment.id for segment in store.segments.of_source(2)]
    assert store.segments.column_values(ids, whole_value("tags")) == dict.fromkeys(ids, "sea")
