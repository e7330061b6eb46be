"""The engine under the mteb harness: its protocol, and a tiny task of its own run by it."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer.evaluation.mteb_search import MtebSearch
from tests.support.fakes import open_fake

CORPUS = [
    {"id": "d/1", "title": "Boats", "text": "We rowed the old boat across the lake."},
    {"id": "d/2", "title": "", "text": "Boil fresh water for tea and wait four minutes."},
    {"id": "d/3", "title": "Kites", "text": "A kite needs wind, a tail and a long string."},
]
QUERIES = [
    {"id": "q1", "text": "the boat on the lake"},
    {"id": "q2", "text": "boil fresh water for tea"},
    {"id": "q3", "text": "wind for a kite"},
]
TASK: dict[str, Any] = {
    "task_metadata": SimpleNamespace(name="Tiny"),
    "hf_split": "test",
    "hf_subset": "default",
}


@pytest.fixture
def model(tmp_path: Path) -> Iterator[MtebSearch]:
    made = MtebSearch(tmp_path, engine=open_fake(tmp_path / "library"))
    yield made
    made.close()


def test_documents_are_found_by_their_own_ids(model: MtebSearch) -> None:
    """Ids may be anything; scores fall; at most `top_k` come back."""
    model.index(CORPUS, **TASK)
    found = model.search(QUERIES, top_k=2, **TASK)
    assert {query: next(iter(scores)) for query, scores in found.items()} == {
        "q1": "d/1", "q2": "d/2", "q3": "d/3"}  # fmt: skip
    for scores in found.values():
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        assert len(scores) <= 2


def test_reranking_tasks_only_see_their_candidates(model: MtebSearch) -> None:
    """`top_ranked` is a filter, so candidates come back however badly they match."""
    model.index(CORPUS, **TASK)
    found = model.search(QUERIES[:1], top_k=10, top_ranked={"q1": ["d/2", "d/3"]}, **TASK)
    assert set(found["q1"]) == {"d/2", "d/3"}


def test_pictures_and_blank_queries(model: MtebSearch) -> None:
    """Pictures are found by words and by a picture; a blank query finds nothing."""
    corpus = [
        {"id": colour, "image": Image.new("RGB", (64, 64), colour)}
        for colour in ("red", "green", "blue")
    ]
    model.index(corpus, **TASK)
    queries: list[dict[str, Any]] = [
        {"id": "words", "text": "red"},
        {"id": "picture", "image": Image.new("RGB", (80, 80), "blue")},
        {"id": "blank", "text": " "},
        {"id": "talk", "text": [{"role": "user", "content": "something green"}]},
    ]
    found = model.search(queries, top_k=3, **TASK)
    first = {query: next(iter(scores), None) for query, scores in found.items()}
    assert first == {"words": "red", "picture": "blue", "blank": None, "talk": "green"}


def test_recordings_become_wav(model: MtebSearch, tmp_path: Path) -> None:
    """16-bit mono at its own rate, as the engine reads it."""
    samples = np.sin(np.linspace(0, 3000, 16_000)).astype(np.float32)
    model.index([{"id": "a", "audio": {"array": samples, "sampling_rate": 8000}}], **TASK)
    file = next((tmp_path / "library" / "mteb").rglob("*.wav"))
    with wave.open(io.BytesIO(file.read_bytes())) as read:
        assert (read.getframerate(), read.getnchannels(), read.getnframes()) == (8000, 1, 16_000)


@pytest.mark.filterwarnings("ignore")
def test_mteb_runs_a_task(model: MtebSearch, tmp_path: Path, monkeypatch: Any) -> None:
    """The harness itself indexes, searches and scores; skipped where mteb is not installed."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    mteb = pytest.importorskip("mteb")
    datasets = pytest.importorskip("datasets")
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Tiny(AbsTaskRetrieval):  # type: ignore[misc]
        metadata = TaskMetadata(
            name="Tiny",
            description="Three notes.",
            dataset={"path": "local/tiny", "revision": "1"},
            type="Retrieval",
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, *_arguments: Any, **_options: Any) -> None:
            self.dataset = {
                "default": {
                    "test": {
                        "corpus": datasets.Dataset.from_list(CORPUS),
                        "queries": datasets.Dataset.from_list(QUERIES),
                        "relevant_docs": {f"q{n}": {f"d/{n}": 1} for n in (1, 2, 3)},
                        "top_ranked": None,
                    }
                }
            }
            self.data_loaded = True

    result = mteb.evaluate(model, Tiny(), cache=None, co2_tracker=False, show_progress_bar=False)
    scores = result.task_results[0].scores["test"][0]
    assert scores["ndcg_at_10"] == 1.0
    assert result.model_name == "mmsearch/nano"
