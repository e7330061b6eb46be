"""A mixture of vectors, and the compressed index of them."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.types import Ids, Vectors
from mmsearch.vectors.faiss.index import FaissIndex
from tests.support.vectors import MIXTURE, mixture


@pytest.fixture(scope="module")
def rows() -> tuple[Ids, Vectors]:
    return np.arange(MIXTURE, dtype=np.int64), mixture(MIXTURE, 1)


@pytest.fixture
def index(rows: tuple[Ids, Vectors]) -> FaissIndex:
    """Compressed; it compacts only in `compact`."""
    compressed = FaissIndex.build(*rows, exact_below=0, device="cpu", auto_compact=False)
    assert compressed.stats().type == "PQ64x4fs,Refine(SQfp16)"
    return compressed
