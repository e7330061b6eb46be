"""Filters compile to SQL that finds what a plain reading of the grammar finds."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import literal

from mmsearch.errors import FilterError
from mmsearch.search.parse.filters import compile_filter
from mmsearch.stores.rows import SourceWrite
from mmsearch.stores.store import SqlStore
from mmsearch.types import Modality, SegmentDraft, SourceFile
from tests.support.filter_oracle import KEYS, passes, some_filter, some_metadata

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
    collection = store.collections.get_or_create("default", "fake")
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
    store.sources.write(collection.id, writes)
    return store, collection.id


def found(five: tuple[SqlStore, int], given: Mapping[str, Any]) -> list[int]:
    """Which of the five pass."""
    store, collection = five
    where = compile_filter(given, store.sources.metadata_keys(collection), store.dialect)
    ids = store.segments.matching(collection, where)[Modality.IMAGE]
    assert ids.dtype == np.int64
    sources = store.segments.with_sources(ids.tolist())
    return sorted(int(source.sha256) for _, source in sources.values())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"mime": "image/png"}, [4]),
        ({"mime": {"like": "%JPEG"}}, [0, 1, 2, 3]),
        ({"size": {"gt": 10, "lte": 30}}, [1, 2]),
        ({"taken_at": {"gte": "2024-01-01"}}, [1, 2]),
        ({"taken_at": "2024-02-03"}, [1]),
        ({"taken_at": {"lte": "2024-02-03"}}, [0, 1]),
        ({"taken_at": {"gt": "2024-02-03"}}, [2]),
        ({"tags": "beach"}, [0, 2]),
        ({"tags": {"any": ["beach", "snow"]}}, [0, 1, 2]),
        ({"tags": {"any": []}}, []),
        ({"tags": {"all": []}}, [0, 1, 2, 3, 4]),
        ({"modality": "image", "mime": {"in": ["image/png"]}}, [4]),
        ({"modality": {"ne": "image"}}, []),
        ({"taken_at": {"gt": 5}}, []),
        ({"width": {"gt": "5"}}, []),
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
        ({"modified_at": "2020-09-14"}, [1]),
        ({"modified_at": {"lt": "2999-01-01"}}, [0, 1, 2, 3, 4]),
        ({"modified_at": {"lte": "2020-09-14"}}, [0, 1]),
        ({"modified_at": {"gt": "2020-09-14"}}, [2, 3, 4]),
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
        ({"colour": "red"}, "Unknown field 'colour'.*Known fields:.*taken_at"),
        ({"size": {"gtt": 1}}, "Unknown operator 'gtt'.*lte"),
        ({"size": "big"}, "takes a number of bytes"),
        ({"modified_at": {"gt": "yesterday"}}, "takes an ISO 8601 date"),
        ({"tags": {"any": "beach"}}, "takes a list"),
        ({"or": []}, "takes a list of filters"),
        ({"width": {}}, "has no condition"),
        ({"camera": {"exists": 1}}, "takes true or false"),
        ({"camera": {"like": 3}}, "takes a string"),
        ({"camera": None}, "string, number or boolean"),
        ({"camera": {"gt": True}}, "a string or a number"),
        ({"taken": "2024"}, "Unknown field 'taken'. Did you mean 'taken_at'"),
        ({"width": {"notin": [3]}}, "Did you mean 'not_in'"),
        ({"modality": "photo"}, "takes one of image, text"),
        ({"size": {"like": "1%"}}, "is not text"),
        ({"modified_at": "2024-02-30"}, "takes an ISO 8601 date"),
        ({"tags": {"in": ["x"] * 501}}, "at most 500"),
    ],
    ids=json.dumps,
)
def test_a_wrong_filter_says_what_is_wrong(
    five: tuple[SqlStore, int], given: Mapping[str, Any], message: str
) -> None:
    """A mistyped field or operator is an error that lists the right ones, never an empty answer."""
    with pytest.raises(FilterError, match=message):
        found(five, given)


def test_sql_answers_as_a_plain_reading_does(store: SqlStore) -> None:
    """Three hundred random filters over records with values of every type and of mixed ones."""
    rng = random.Random(4711)
    records = [some_metadata(rng) for _ in range(60)]
    collection = store.collections.get_or_create("default", "fake").id
    store.sources.write(
        collection,
        [
            SourceWrite(
                SourceFile(f"file:///{n}", f"/{n}", 1, 1), str(n), "image/png", "r",
                metadata=record, segments=(SegmentDraft(Modality.IMAGE),),
            )
            for n, record in enumerate(records)
        ],
    )  # fmt: skip
    every = store.segments.matching(collection, literal(True))[Modality.IMAGE].tolist()
    number = {
        i: int(source.sha256) for i, (_, source) in store.segments.with_sources(every).items()
    }
    for _ in range(300):
        given = some_filter(rng)
        where = compile_filter(given, KEYS, store.dialect)
        ids = store.segments.matching(collection, where)[Modality.IMAGE]
        assert ids.tolist() == sorted(ids.tolist())
        expected = [n for n, record in enumerate(records) if passes(given, record)]
        assert sorted(number[i] for i in ids.tolist()) == expected, given


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
    collection = store.collections.get_or_create("default", "fake")
    file = SourceFile("file:///x", "/x", 1, 1)
    write = SourceWrite(
        file, "0", "image/png", "r", metadata={name: "v"}, segments=(SegmentDraft(Modality.IMAGE),)
    )
    store.sources.write(collection.id, [write])
    assert found((store, collection.id), {name: "v"}) == [0]
    assert found((store, collection.id), {name: "w"}) == []
