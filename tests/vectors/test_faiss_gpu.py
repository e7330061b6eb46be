"""The FAISS index on GPUs, which a fake stands for, and what it leaves to the CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest

from mmsearch.errors import ConfigurationError
from mmsearch.types import Ids, SearchParams, Vectors
from mmsearch.vectors.faiss.index import FaissIndex
from mmsearch.vectors.faiss.rows import load_faiss
from tests.support.vectors import from_another_modality, referee_of


def test_a_gpu_demanded_in_vain_is_an_error() -> None:
    if load_faiss().get_num_gpus() > 0:
        pytest.skip("FAISS has a GPU here")
    with pytest.raises(ConfigurationError, match=r"no GPU .*mmsearch\[gpu\]"):
        FaissIndex(4, device="gpu")
    assert FaissIndex(4, device="auto").stats().device == "cpu"
    with pytest.raises(ConfigurationError, match="not 'cuda'"):
        FaissIndex(4, device="cuda")  # type: ignore[arg-type]


class FakeGpu:
    """Stands for FAISS's GPU functions: an exact index that counts and can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 1) -> None:
        faiss = load_faiss()
        self.searches: list[int] = []
        self.loads: list[bool] = []
        self.broken = False
        self.refused: tuple[bool, ...] = ()
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: count)
        monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", self.load, raising=False)
        monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", SimpleNamespace, raising=False)

    def load(self, source: Any, co: Any, ngpu: int) -> Self:
        self.loads.append(co.shard)
        if co.shard in self.refused:
            raise RuntimeError("out of memory")
        self.source = source
        return self

    def search(self, queries: Vectors, k: int) -> Any:
        if self.broken:
            raise RuntimeError("the GPU fell off the bus")
        assert k <= 2048, "FAISS refuses more on a GPU"
        self.searches.append(k)
        return self.source.search(queries, k)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return FakeGpu(monkeypatch)


def test_unfiltered_searches_go_to_the_gpu(gpu: FakeGpu, rows: tuple[Ids, Vectors]) -> None:
    index = FaissIndex.build(*rows, exact_below=0, device="gpu", auto_compact=False)
    assert index.stats().device == "gpu:1"
    gpu.searches.clear()
    referee = referee_of(*rows)
    queries = from_another_modality(20, 3)
    np.testing.assert_array_equal(index.search(queries, 10)[1], referee.search(queries, 10)[1])
    assert len(gpu.searches) == 1
    allowed = rows[0][::2]
    np.testing.assert_array_equal(
        index.search(queries, 10, allowed=allowed)[1],
        referee.search(queries, 10, allowed=allowed)[1],
    )
    assert len(gpu.searches) == 1, "a GPU would ignore the filter"
    index.search(queries[:1], 1500)
    index.search(queries[:1], 5, params=SearchParams(exact=True))
    assert len(gpu.searches) == 1
    # What is written later counts as well: tail and removals.
    gone = index.search(queries[:1], 60)[1][0]
    for target in (index, referee):
        target.remove(gone)
        target.add(np.array([9000]), queries[:1])
    np.testing.assert_array_equal(index.search(queries, 40)[1], referee.search(queries, 40)[1])


def test_a_failing_gpu_hands_over_to_the_cpu(
    gpu: FakeGpu, rows: tuple[Ids, Vectors], caplog: pytest.LogCaptureFixture
) -> None:
    index = FaissIndex.build(*rows, exact_below=0, device="auto")
    gpu.broken = True
    queries = from_another_modality(5, 3)
    expected = referee_of(*rows).search(queries, 10)[1]
    np.testing.assert_array_equal(index.search(queries, 10)[1], expected)
    assert "fell off the bus" in caplog.text
    index.close()
    assert index.stats().device == "cpu"
    assert index.stats().type.startswith("PQ"), "it is compressed for the CPU in the background"


def test_vectors_that_no_gpu_holds_stay_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, rows: tuple[Ids, Vectors], caplog: pytest.LogCaptureFixture
) -> None:
    gpu = FakeGpu(monkeypatch, count=2)
    gpu.refused = (False,)
    index = FaissIndex.build(*rows, exact_below=0, device="gpu")
    assert gpu.loads == [False, True], "shards, where one GPU cannot hold a replica"
    assert index.stats().device == "gpu:2"
    gpu.refused = (False, True)
    index = FaissIndex.build(*rows, exact_below=0, device="gpu")
    assert index.stats().device == "cpu"
    assert index.stats().type.startswith("PQ")
    assert "out of memory" in caplog.text


def test_a_snapshot_from_a_gpu_is_restored_on_either(
    gpu: FakeGpu, rows: tuple[Ids, Vectors], index: FaissIndex
) -> None:
    on_gpu = FaissIndex.build(*rows, exact_below=0, device="gpu")
    on_cpu = FaissIndex.restore(on_gpu.export(), exact_below=0, device="cpu")
    on_cpu.close()
    assert on_cpu.stats().type.startswith("PQ")
    index.remove(rows[0][:5])
    index.add(np.array([8000]), rows[1][:1])
    again = FaissIndex.restore(index.export(), exact_below=0, device="gpu")
    assert again.stats().device == "gpu:1"
    np.testing.assert_array_equal(again.ids(), index.ids())
    assert again.search(rows[1][:1], 1)[1][0, 0] == 8000
