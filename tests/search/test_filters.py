"""Filters compile to SQL that finds what a plain reading of the grammar finds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from mmsearch.errors import FilterError
from mmsearch.search.filters import compile_filter
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.sql import SqlStore
from mmsearch.types import Modality, SegmentDraft, SourceFile

ROWS: list[dict[str, Any]] = [
    {"taken_at": "2023-07-01T10:00:00", "tags": ["beach", "family"], "width": 640},
    {"taken_at": "2024-02-03T10:00:00", "tags": ["snow"], "width": 1024, "flag": True},
    {"taken_at": "2024-08-09T10:00:00", "tags": ["beach"], "width": 320, "flag": False},
    {"camera": 'Old "Box" 1', "width": 99.5},
    {},
]
PAST = 1_600_000_000


@pytest.fixture
def five(store: SqlStore) -> tuple[SqlStore, int]:
    """Five pictures with the metadata above; sizes 10 to 50, a day apart."""
    collection = store.ensure_collection("default", "fake")
    writes = [
        SourceWrite(
            SourceFile(f"file:///p{n}.jpg", f"/p{n}.jpg", 10 * (n + 1), (PAST + 86400 * n) * 10**9),
            f"{n}",
            "image/jpeg" if n < 4 else "image/png",
            "r",
            metadata=row,
            segments=(SegmentDraft(Modality.IMAGE),),
        )
        for n, row in enumerate(ROWS)
    ]
    store.write_sources(collection.id, writes)
    return store, collection.id


def found(five: tuple[SqlStore, int], given: Mapping[str, Any]) -> list[int]:
    """Which of the five pass."""
    store, collection = five
    where = compile_filter(given, store.metadata_keys(collection), store.engine.dialect.name)
    ids = store.segment_ids(collection, Modality.IMAGE, where)
    assert ids.dtype == np.int64
    sources = store.segments_with_sources(ids.tolist())
    return sorted(int(source.sha256) for _, source in sources.values())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"mime": "image/png"}, [4]),
        ({"mime": {"like": "%JPEG"}}, [0, 1, 2, 3]),
        ({"size": {"gt": 10, "lte": 30}}, [1, 2]),
        ({"taken_at": {"gte": "2024-01-01"}}, [1, 2]),
        ({"tags": {"any": ["beach", "snow"]}}, [0, 1, 2]),
        ({"tags": {"all": ["beach", "family"]}}, [0]),
        ({"width": {"lt": 400}}, [2, 3]),
        ({"width": {"eq": 640}}, [0]),
        ({"flag": True}, [1]),
        ({"flag": {"ne": True}}, [0, 2, 3, 4]),
        ({"camera": {"exists": True}}, [3]),
        ({"camera": 'Old "Box" 1'}, [3]),
        ({"taken_at": {"exists": False}}, [3, 4]),
        ({"width": {"in": [640, 320]}}, [0, 2]),
        ({"width": {"not_in": [640, 320]}}, [1, 3, 4]),
        ({"width": {"in": []}}, []),
        ({"not": {"tags": {"any": ["beach"]}}}, [1, 3, 4]),
        ({"not": {"width": {"gt": 400}}}, [2, 3, 4]),
        ({"or": [{"size": 10}, {"size": 50}]}, [0, 4]),
        ({"and": [{"size": {"gte": 20}}, {"tags": {"any": ["beach"]}}]}, [2]),
        (
            {"modified_at": {"gte": datetime.fromtimestamp(PAST + 86400 * 3, UTC).isoformat()}},
            [3, 4],
        ),
    ],
    ids=json.dumps,
)
def test_operators(
    five: tuple[SqlStore, int], given: Mapping[str, Any], expected: list[int]
) -> None:
    """Each operator, on built-in fields and on metadata, missing values included."""
    assert found(five, given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"colour": "red"}, "unknown field 'colour'.*Known fields:.*taken_at"),
        ({"size": {"gtt": 1}}, "unknown operator 'gtt'.*lte"),
        ({"size": "big"}, "takes a number of bytes"),
        ({"modified_at": {"gt": "yesterday"}}, "takes an ISO 8601 date"),
        ({"tags": {"any": "beach"}}, "takes a list"),
        ({"or": []}, "takes a list of filters"),
        ({"width": {}}, "has no condition"),
        ({"camera": {"exists": 1}}, "takes true or false"),
        ({"camera": {"like": 3}}, "takes a string"),
        ({"camera": None}, "string, number or boolean"),
    ],
    ids=json.dumps,
)
def test_a_wrong_filter_says_what_is_wrong(
    five: tuple[SqlStore, int], given: Mapping[str, Any], message: str
) -> None:
    """A mistyped field or operator is an error that lists the right ones, never an empty answer."""
    with pytest.raises(FilterError, match=message):
        found(five, given)


def test_endless_nesting_is_refused(five: tuple[SqlStore, int]) -> None:
    """A filter from the network cannot exhaust the stack."""
    given: dict[str, Any] = {"size": 10}
    for _ in range(100):
        given = {"not": given}
    with pytest.raises(FilterError, match="deep"):
        found(five, given)


@pytest.mark.parametrize("name", ["a.b", "a'b", "$", "a b", "ü"])
def test_odd_metadata_names_are_only_names(store: SqlStore, name: str) -> None:
    """A key that looks like a JSON path or SQL is looked up as the key it is."""
    collection = store.ensure_collection("default", "fake")
    file = SourceFile("file:///x", "/x", 1, 1)
    write = SourceWrite(
        file, "0", "image/png", "r", metadata={name: "v"}, segments=(SegmentDraft(Modality.IMAGE),)
    )
    store.write_sources(collection.id, [write])
    assert found((store, collection.id), {name: "v"}) == [0]
    assert found((store, collection.id), {name: "w"}) == []
