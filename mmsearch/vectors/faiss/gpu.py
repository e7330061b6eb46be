"""The exact part of an index on the GPUs that FAISS sees, with the CPU behind it.

Only unfiltered searches come here: without cuVS, FAISS on a GPU ignores an IDSelector
silently, so filtered ones stay on the CPU whatever the build. GPU arithmetic (TF32) is too
coarse to rank hits: it proposes candidates, and `Rows.scores` ranks them.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Literal

import numpy as np

from mmsearch.errors import ConfigurationError
from mmsearch.types import Vectors
from mmsearch.vectors.faiss.rows import Positions, Rows, load_faiss

logger = logging.getLogger(__name__)

LARGEST_K = 2048
"""FAISS's own limit on a GPU."""

Device = Literal["auto", "cpu", "gpu"]


class GpuFailedError(Exception):
    """Internal to the index: search on the CPU from now on. The cause has been logged."""


def gpus(device: Device) -> int:
    """How many GPUs to use. Raises ConfigurationError if 'gpu' is demanded and there is none."""
    if device not in {"auto", "cpu", "gpu"}:
        raise ConfigurationError(
            f"the index device is auto, cpu or gpu, not '{device}'", param="index_device"
        )
    if device == "cpu":
        return 0
    faiss = load_faiss()
    count = int(faiss.get_num_gpus()) if hasattr(faiss, "index_cpu_to_all_gpus") else 0
    if device == "gpu" and count == 0:
        built = "GPU" in faiss.get_compile_options()
        cause = (
            "it sees none"
            if built
            else "it is a CPU build: install one of mmsearch[gpu] and mmsearch[gpu-cu12]"
        )
        raise ConfigurationError(
            f"index_device=gpu, but FAISS has no GPU ({cause})", param="index_device"
        )
    return count


class GpuRows:
    """A copy of one `Rows` on the GPUs. Raises GpuFailedError if a GPU fails."""

    def __init__(self, rows: Rows, count: int) -> None:
        self.count = count
        self._lock = threading.Lock()
        """A GPU index of FAISS is not safe even for two readers at once."""
        self._index = self._load(rows, count)

    def candidates(self, rows: Rows, queries: Vectors, k: int) -> list[Positions | None]:
        """For each query live positions that hold its best k; None: search it on the CPU.

        `rows` are those that were loaded, with the removals since.
        """
        count = 2 * k + 64  # coarse arithmetic misplaces some
        fetch = min(count + min(rows.n_dead, count), len(rows))
        if fetch > LARGEST_K:
            return [None] * len(queries)
        products, positions = self._search(queries, fetch)
        result: list[Positions | None] = []
        for scores, candidates in zip(products, positions, strict=True):
            alive = (candidates >= 0) & ~rows.dead[candidates]
            kept, kept_scores = candidates[alive], scores[alive]
            enough = len(kept) >= min(k, rows.live)
            # So many equal scores at the end that a smaller id may lie beyond it.
            clear = fetch == len(rows) or (
                len(kept) > k and kept_scores[-1] < kept_scores[k - 1] - 1e-3
            )
            result.append(kept if enough and clear else None)
        return result

    def _load(self, rows: Rows, count: int) -> Any:
        faiss = load_faiss()
        for shard in (False, True) if count > 1 else (False,):
            # Replicas answer batches quicker; shards are for what one GPU cannot hold.
            try:
                source = faiss.IndexFlatIP(rows.vectors.shape[1])
                source.add(rows.decode(slice(None)))
                options = faiss.GpuMultipleClonerOptions()
                options.shard = shard
                index = faiss.index_cpu_to_all_gpus(source, co=options, ngpu=count)
                self._check(index, rows)
            except Exception as error:  # FAISS raises RuntimeError, a driver anything
                logger.warning(
                    "FAISS cannot hold %d vectors on the GPU: %s", len(rows), error, exc_info=True
                )
                continue
            return index
        raise GpuFailedError

    @staticmethod
    def _check(index: Any, rows: Rows) -> None:
        """Raise RuntimeError unless rows from everywhere are found at their own positions."""
        probes = np.linspace(0, len(rows) - 1, num=min(8, len(rows))).astype(np.int64)
        queries = rows.decode(probes)
        products, positions = index.search(queries, 1)
        hits = rows.decode(positions[:, 0])
        same = np.einsum("nd,nd->n", queries, hits)
        if not np.allclose(products[:, 0], same, atol=1e-2):
            raise RuntimeError("its answers disagree with the CPU's")

    def _search(self, queries: Vectors, k: int) -> tuple[Any, Any]:
        try:
            with self._lock:
                return self._index.search(queries, k)  # type: ignore[no-any-return]
        except Exception as error:
            logger.warning("A FAISS search failed on the GPU; the CPU takes over: %s", error)
            raise GpuFailedError from error
