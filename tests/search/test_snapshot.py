"""The library's snapshot: what a batch of queries runs on, and what reading it costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmsearch.errors import NotFoundError
from mmsearch.query import Query, SearchResult
from mmsearch.search.engine import SearchEngine
from mmsearch.types import Modality
from tests.support.fakes import open_fake
from tests.support.small_library import fill, note, photo
from tests.support.statements import counted

THINGS = [
    *(photo(f"/{n}.jpg", f"a {colour} boat") for n, colour in enumerate(("red", "green", "blue"))),
    note("/harbour.txt", "an old red boat in the harbour", "the harbour at night"),
    note("/tea.txt", "water for tea"),
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SearchEngine]:
    with open_fake(tmp_path / "library") as made:
        fill(made, THINGS)
        yield made


def test_a_warm_query_in_words_costs_6_selects_in_2_transactions(engine: SearchEngine) -> None:
    """Snapshot, word counts, words of candidates, their places, the hits, and a last check."""
    engine.search("red boat harbour")
    with counted(engine.library.store.database.engine) as statements:
        assert engine.search("red boat harbour").hits
    assert len(statements.selects) <= 6, "\n".join(statements.selects)
    assert statements.transactions <= 2


def test_a_batch_shares_snapshot_and_transactions(engine: SearchEngine) -> None:
    """Each further query costs the four statements of its own words and hits."""
    queries = [Query.words(text) for text in ("red boat", "harbour night", "water")]
    engine.search_many(queries)
    with counted(engine.library.store.database.engine) as statements:
        engine.search_many(queries)
    assert len(statements.selects) <= 2 + 4 * len(queries), "\n".join(statements.selects)
    assert statements.transactions <= 2


def test_a_snapshot_is_kept_until_the_change_log_moves(engine: SearchEngine) -> None:
    """Then everything is read anew, by other processes too."""
    library = engine.library
    first = library.snapshot()
    assert library.snapshot() is first
    assert first.last_change == library.store.changes.last_id()
    with open_fake(library.path) as other:
        fill(other, [photo("/new.jpg", "yellow", place="here")])
    second = library.snapshot()
    assert second is not first
    assert second.last_change > first.last_change
    assert first.metadata_keys(1) == ("place",), "read when it is asked for first"
    assert second.metadata_keys(1) == ("place",)
    assert library.indexes.last_change == second.last_change


def test_weights_of_a_collection_apply_at_once(engine: SearchEngine) -> None:
    """They have no entry in the change log."""
    library = engine.library
    before = library.snapshot()
    assert before.lexical_totals(1).segments == {Modality.IMAGE: 3, Modality.TEXT: 3}
    library.store.collections.set_weights(1, {"lexical": 0.0})
    after = library.snapshot()
    assert dict(after.collection().weights) == {"lexical": 0.0}
    with counted(library.store.database.engine) as statements:
        assert after.lexical_totals(1) == before.lexical_totals(1)
    assert statements.selects == [], "what was read for the first snapshot is kept"
    hits = engine.search("harbour").hits
    assert not any(name.startswith("lexical") for hit in hits for name in hit.scores)


def test_collections_by_name(engine: SearchEngine) -> None:
    """The only one needs no name; a wrong name lists the right ones."""
    snapshot = engine.library.snapshot()
    assert snapshot.collection().name == "default"
    assert set(snapshot.spaces_of(snapshot.collection().id)) == {"clip", "text"}
    assert snapshot.spaces_of(99) == {}
    with pytest.raises(NotFoundError, match="collections: 'default'"):
        snapshot.collection("other")


def test_only_a_switch_of_models_makes_a_snapshot_stale(engine: SearchEngine) -> None:
    """New files do not; the batch that is running answers as if they were not there yet."""
    library = engine.library
    snapshot = library.snapshot()
    assert not library.switched_since(snapshot)
    fill(engine, [photo("/more.jpg", "a red boat")])
    assert not library.switched_since(snapshot)


def test_a_new_collection_is_found_before_it_holds_anything(engine: SearchEngine) -> None:
    """It has no entry in the change log either."""
    engine.library.snapshot()
    engine.library.store.collections.get_or_create("empty", "nano")
    result = engine.search(Query.words("boat").first(3), collection=None)
    assert isinstance(result, SearchResult)
    empty = engine.search_many([Query((Query.words("boat").terms), collection="empty")])[0]
    assert isinstance(empty, SearchResult)
    assert empty.hits == ()
