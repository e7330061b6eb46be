"""The state of a FAISS index at one moment, and its form in a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmsearch.errors import SnapshotError
from mmsearch.types import HalfVectors, Ids
from mmsearch.vectors.checks import is_member
from mmsearch.vectors.faiss.compressed import Compressed
from mmsearch.vectors.faiss.gpu import GpuRows
from mmsearch.vectors.faiss.rows import Mask, Rows
from mmsearch.vectors.snapshot_format import IndexContent, block


@dataclass(frozen=True, slots=True)
class IndexState:
    """Immutable: a write replaces it, and a running search keeps the state it began with."""

    main: Rows
    """Ascending ids."""
    tail: Rows
    """Rows added since `main` was built."""
    fast: Compressed | None = None
    gpu: GpuRows | None = None
    incompressible: bool = False
    """The compressed form of this main part was tried and lost too much recall."""

    @property
    def live(self) -> int:
        return self.main.live + self.tail.live

    @property
    def type(self) -> str:
        return self.fast.type if self.fast is not None else "Flat(SQfp16)"

    @property
    def memory_bytes(self) -> int:
        rows = (self.main, self.tail)
        memory = sum(part.ids.nbytes + part.vectors.nbytes + part.dead.nbytes for part in rows)
        return memory + (self.fast.memory_bytes if self.fast is not None else 0)

    def ids(self) -> Ids:
        """The live ids, ascending."""
        live = (self.main.ids[~self.main.dead], self.tail.ids[~self.tail.dead])
        return np.sort(np.concatenate(live))

    def contains(self, ids: Ids) -> Mask:
        """Which of these ids are live, shape (len(ids),)."""
        _, live = self.main_positions(ids)
        return live | is_member(ids, self.tail.ids[~self.tail.dead])

    def main_positions(self, ids: Ids) -> tuple[npt.NDArray[np.int64], Mask]:
        """For each id its position in `main`, and whether it is live there."""
        main = self.main
        if len(main) == 0:
            return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
        positions = np.searchsorted(main.ids, ids)
        positions[positions == len(main)] = 0
        return positions, (main.ids[positions] == ids) & ~main.dead[positions]

    def merged(self) -> tuple[Ids, HalfVectors]:
        """All live ids, ascending, and their vectors."""
        main, tail = self.main, self.tail
        if len(tail) == 0 and main.n_dead == 0:
            return main.ids, main.vectors
        ids = np.concatenate([main.ids[~main.dead], tail.ids[~tail.dead]])
        order = np.argsort(ids)
        half = np.empty((len(ids), main.vectors.shape[1]), dtype=np.float16)
        place = np.empty(len(ids), dtype=np.int64)
        place[order] = np.arange(len(ids))
        half[place[: main.live]] = main.vectors[~main.dead]
        half[place[main.live :]] = tail.vectors[~tail.dead]
        return ids[order], half

    def export(self) -> IndexContent:
        """All that `FaissIndex.restore` needs."""
        main, tail, fast = self.main, self.tail, self.fast
        blocks: dict[str, npt.NDArray[np.generic]]
        if fast is None:
            ids, half = self.merged()
            blocks = {"main_ids": ids, "main_vectors": half}
        else:
            # The codes belong to all rows, dead ones included, until the next compaction.
            blocks = {
                "main_ids": main.ids,
                "main_vectors": main.vectors,
                "main_dead": main.dead.view(np.uint8),
                "tail_ids": tail.ids[~tail.dead],
                "tail_vectors": tail.vectors[~tail.dead],
                "compressed": fast.serialize(),
            }
        return IndexContent(
            type=self.type,
            dimension=main.vectors.shape[1],
            count=self.live,
            parameters={} if fast is None else {"k_factor": fast.k_factor},
            recall=None if fast is None else fast.recall,
            blocks=blocks,
        )


def saved_rows(content: IndexContent, part: str) -> tuple[Ids, HalfVectors]:
    """Ids and vectors of the part "main" or "tail". Raises SnapshotError."""
    ids = block(content, f"{part}_ids", np.int64, 1)
    half = block(content, f"{part}_vectors", np.float16, 2)
    if half.shape != (len(ids), content.dimension) or (ids < 0).any():
        raise SnapshotError(f"the snapshot's {part} ids and vectors do not belong together")
    return ids, half


def saved_dead(content: IndexContent, rows: int) -> Mask:
    """Which rows of the main part are dead. Raises SnapshotError."""
    if "main_dead" not in content.blocks:
        return np.zeros(rows, dtype=np.bool_)
    dead = block(content, "main_dead", np.uint8, 1)
    if len(dead) != rows or (dead > 1).any():
        raise SnapshotError("the snapshot's marks of removed vectors are malformed")
    return dead.astype(np.bool_)


def saved_codes(content: IndexContent, main: Rows, k_factor: int) -> Compressed:
    """The compressed form of the main part, with a k_factor not below this. SnapshotError."""
    saved_factor, recall = content.parameters.get("k_factor"), content.recall
    if not isinstance(saved_factor, int) or saved_factor < 1 or recall is None:
        raise SnapshotError("the snapshot lacks the search parameters of its compressed part")
    codes = block(content, "compressed", np.uint8, 1)
    return Compressed.restore(main, codes, max(saved_factor, k_factor), recall)
