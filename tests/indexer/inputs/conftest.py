"""One engine for all tests of a file, and a collection for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer.runs import RunSummary, index_into
from mmsearch.search.engine import SearchEngine
from mmsearch.types import Source
from tests.support.fakes import open_fake


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """One engine for all: starting decoding workers takes a while. Each test has a collection."""
    with open_fake(tmp_path_factory.mktemp("inputs") / "library", workers=1) as engine:
        yield engine


class Collection:
    """A collection of a test's own."""

    def __init__(self, engine: SearchEngine, name: str) -> None:
        self.engine, self.name = engine, name

    def index(self, *paths: Path | str, **options: Any) -> RunSummary:
        return index_into(self.engine.library, list(paths), collection=self.name, **options)

    def sources(self) -> dict[str, Source]:
        found = self.engine.library.store.sources.list(self.name, limit=1000)
        return {source.path.rpartition("/")[2]: source for source in found}

    def failures(self) -> dict[str, str]:
        return {
            name: source.failure.code
            for name, source in self.sources().items()
            if source.failure is not None
        }


@pytest.fixture
def collection(shared: SearchEngine, request: pytest.FixtureRequest) -> Collection:
    return Collection(shared, request.node.name[:150])
