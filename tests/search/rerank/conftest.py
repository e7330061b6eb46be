"""A small library of pictures and notes, reranked by fakes and servers."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from PIL import Image

from indexer.runs import index_into
from mmsearch.query import SearchResult
from mmsearch.search.engine import SearchEngine
from mmsearch.testing import FakeReranker
from mmsearch.types import RerankCandidate
from tests.support.fakes import open_fake, some_files

PICTURES = ("red", "green", "blue")


def colour_of(content: bytes | None) -> str:
    """What a picture mostly is."""
    assert content is not None
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        pixel = image.resize((1, 1)).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return PICTURES[pixel.index(max(pixel))]


def likes(colour: str) -> Callable[[str, RerankCandidate], float]:
    return lambda _query, candidate: float(colour_of(candidate.picture()) == colour)


class Opener(Protocol):
    def __call__(
        self, *rerankers: FakeReranker, **settings: Any
    ) -> AbstractContextManager[SearchEngine]: ...


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three pictures and two notes, indexed once for all tests here."""
    root = tmp_path_factory.mktemp("indexed")
    with open_fake(root / "library") as engine:
        index_into(engine.library, [some_files(root / "files")])
    return root / "library"


@pytest.fixture
def library(indexed: Path, tmp_path: Path) -> Opener:
    """Opens a copy of it, the same one again within a test, with rerankers of the test's own."""
    shutil.copytree(indexed, tmp_path / "library")

    @contextmanager
    def opened(*rerankers: FakeReranker, **settings: Any) -> Iterator[SearchEngine]:
        given: dict[str, Any] = {"rerank": "vlm", "rerank_seconds": 100} | settings
        if "rerank_url" not in settings:
            given["rerankers"] = lambda _profile, _choice: rerankers
        with open_fake(tmp_path / "library", **given) as engine:
            yield engine

    return opened


def colours(result: SearchResult) -> list[str]:
    return [Path(hit.source.path).stem for hit in result.hits if hit.segment.modality == "image"]


def first_stage(engine: SearchEngine, words: str = "red", **options: Any) -> SearchResult:
    return engine.search(words, rerank="none", **options)
