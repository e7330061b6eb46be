"""Training windows: read the shards that `synthesize.py` writes and make batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from model import FRAMES, MEL_BINS
from numpy.typing import NDArray
from synthesize import CLOSE, FLOOR, OPEN

IGNORE = -100
WINDOW_FRAMES = 600  # transcription goes by windows of 12 s (chunk_length), padded to 30 s
KINDS = ("easy", "short", "long")


@dataclass(frozen=True)
class Item:
    """One window. `mel` is (2 * frames, 80) uint8 as stored, `phonemes` (frames,),
    `marks` (n, 3): mark or word id, first frame, frame after the last."""

    mel: NDArray[np.uint8]
    top: float
    phonemes: NDArray[np.uint8]
    marks: NDArray[np.int16]

    @property
    def frames(self) -> int:
        return len(self.phonemes)


@dataclass(frozen=True)
class Batch:
    """Tensors of one step. Spans are [first, end) frames for each target, -1 where unknown."""

    mel: torch.Tensor  # (n, 80, 2 * frames) float32
    offset: int  # position of the first frame
    phonemes: torch.Tensor  # (n, frames) int64
    words: torch.Tensor  # (n, frames) int64: 0 for no word, word id + 1
    tokens: torch.Tensor  # (n, length) int64
    targets: torch.Tensor  # (n, length) int64
    here: torch.Tensor  # (n, length, 2) frames of the target
    before: torch.Tensor  # (n, length, 2) frames of the input token
    seconds: float


@dataclass(frozen=True)
class Ids:
    """Token ids: words by word id, and the special tokens."""

    words: NDArray[np.int64]
    end: int
    start: int
    no_speech: int
    no_timestamps: int

    @property
    def zero(self) -> int:
        """Token of <|0.00|>."""
        return self.no_timestamps + 1


def read_shard(path: Path) -> list[Item]:
    data = np.load(path)
    mel, phonemes, marks = data["mel"], data["phonemes"], data["marks"]
    items = []
    frame = mark = 0
    for top, frames, count in zip(data["top"], data["frames"], data["counts"], strict=True):
        items.append(
            Item(
                mel[2 * frame : 2 * (frame + frames)],
                float(top),
                phonemes[frame : frame + frames],
                marks[mark : mark + count],
            )
        )
        frame += int(frames)
        mark += int(count)
    return items


class Batcher:
    """Endless batches from the shards of a folder; shards that appear later join in."""

    def __init__(self, folder: Path, ids: Ids, seed: int) -> None:
        self.folder = folder
        self.ids = ids
        self.draw = np.random.default_rng(seed)
        self.fresh: dict[str, list[Path]] = {kind: [] for kind in KINDS}
        self.known: set[Path] = set()
        self.queue: dict[str, list[list[Item]]] = {kind: [] for kind in KINDS}
        self.warps = [_warp(factor) for factor in np.linspace(0.88, 1.14, 14)]

    def _refill(self, kind: str, frames: int) -> None:
        """Queue the batches of the next shards, windows of like length together."""
        for path in sorted(self.folder.glob(f"{kind}-*.npz")):
            if path not in self.known:
                self.known.add(path)
                self.fresh[kind].append(path)
        if not self.fresh[kind]:
            self.fresh[kind] = sorted(path for path in self.known if path.name.startswith(kind))
            self.draw.shuffle(self.fresh[kind])  # type: ignore[arg-type]
            if not self.fresh[kind]:
                raise FileNotFoundError(f"no {kind} shards in {self.folder}")
        items = read_shard(self.fresh[kind].pop(0))
        order = sorted(range(len(items)), key=lambda i: items[i].frames + self.draw.uniform(0, 30))
        batches: list[list[Item]] = [[]]
        for index in order:
            last = batches[-1]
            if last and (len(last) + 1) * items[index].frames > frames:
                batches.append([])
            batches[-1].append(items[index])
        self.draw.shuffle(batches)  # type: ignore[arg-type]
        self.queue[kind] = batches

    def next(self, kind: str, frames: int, padding: int) -> Batch:
        """A batch of about `frames` encoder frames and `padding` further ones for each window."""
        if not self.queue[kind]:
            self._refill(kind, frames)
        items = self.queue[kind].pop()
        if padding:
            items = items[: max(1, len(items) // 2)]
        longest = max(item.frames for item in items)
        return self.collate(items, min(FRAMES, longest + padding))

    def collate(self, items: list[Item], frames: int, augment: bool = True) -> Batch:
        draw = self.draw
        offset = 0
        if augment and frames < WINDOW_FRAMES and draw.random() < 0.3:
            offset = int(draw.integers(0, WINDOW_FRAMES - frames + 1))
        count = len(items)
        mel = np.zeros((count, 2 * frames, MEL_BINS), np.float32)  # padding is 0 as in whisper
        phonemes = np.zeros((count, frames), np.int64)
        words = np.zeros((count, frames), np.int64)
        rows = []
        for index, item in enumerate(items):
            mel[index, : 2 * item.frames] = self._mel(item, augment)
            classes = item.phonemes.astype(np.int64)
            phonemes[index, : item.frames] = np.where(classes == 255, IGNORE, classes)
            for mark, first, end in item.marks:
                if mark >= 0:
                    words[index, first:end] = mark + 1
                elif mark == OPEN and not self._complete(item, first):
                    words[index, first:end] = IGNORE
            rows.append(self._row(item, offset, augment))
        length = max(len(row) for row in rows)
        tokens = np.full((count, length), self.ids.end, np.int64)
        targets = np.full((count, length), IGNORE, np.int64)
        here = np.full((count, length, 2), -1, np.int64)
        before = np.full((count, length, 2), -1, np.int64)
        for index, row in enumerate(rows):
            for at, (token, target, now, past) in enumerate(row):
                tokens[index, at], targets[index, at] = token, target
                here[index, at], before[index, at] = now, past
        return Batch(
            torch.from_numpy(mel).transpose(1, 2).contiguous(),
            offset,
            torch.from_numpy(phonemes),
            torch.from_numpy(words),
            torch.from_numpy(tokens),
            torch.from_numpy(targets),
            torch.from_numpy(here),
            torch.from_numpy(before),
            count * frames * 0.02,
        )

    @staticmethod
    def _complete(item: Item, first: int) -> bool:
        return any(mark == CLOSE and start == first for mark, start, _ in item.marks)

    def _mel(self, item: Item, augment: bool) -> NDArray[np.float32]:
        """Normalised as faster-whisper does it; the maximum may lie in another part of a long
        recording, hence sometimes above the window's own."""
        draw = self.draw
        values = item.mel.astype(np.float32) * (FLOOR / 255) + (item.top - FLOOR)
        top = item.top
        if augment:
            if draw.random() < 0.3:
                values = values @ self.warps[draw.integers(len(self.warps))]
            if draw.random() < 0.25:
                top += float(draw.uniform(0, 0.8))
            if draw.random() < 0.15:
                low = int(draw.integers(0, MEL_BINS - 8))
                values[:, low : low + int(draw.integers(2, 9))] = top - 8
        return (np.maximum(values, top - 8) + 4) / 4

    def _row(
        self, item: Item, offset: int, augment: bool
    ) -> list[tuple[int, int, tuple[int, int], tuple[int, int]]]:
        """(input token, target, frames of the target, frames of the input) for each position."""
        ids, nowhere = self.ids, (-1, -1)
        quiet = self.draw.random() < 0.5
        if len(item.marks) == 0:
            after = ids.no_timestamps if quiet else ids.zero
            return [
                (ids.start, ids.no_speech, nowhere, nowhere),
                (after, ids.end, nowhere, nowhere),
            ]
        cut = not self._complete(item, int(item.marks[item.marks[:, 0] == OPEN][-1][1]))
        timed = cut or not augment or self.draw.random() < 0.7
        outputs: list[tuple[int, tuple[int, int]]] = []
        for mark, first, end in item.marks.tolist():
            if mark >= 0:
                outputs.append((int(ids.words[mark]), (first, max(end, first + 1))))
            elif timed:
                frame = min(first if mark == OPEN else end, item.frames)
                token = ids.zero + min(frame + offset, FRAMES)
                outputs.append((token, (max(0, frame - 5), frame + 5)))
        outputs.append((ids.end, nowhere))
        row = []
        token, past = ids.start, nowhere
        if not timed:
            first = ids.zero + min(int(item.marks[0, 1]) + offset, FRAMES)
            row.append((ids.start, first, nowhere, nowhere))
            token = ids.no_timestamps
        for target, span in outputs:
            row.append((token, target, span, past))
            token, past = target, span
        return row


def _warp(factor: float) -> NDArray[np.float32]:
    """(80, 80) matrix that stretches the mel axis, as a longer or shorter throat does."""
    matrix = np.zeros((MEL_BINS, MEL_BINS), np.float32)
    for bin_ in range(MEL_BINS):
        source = min(bin_ * factor, MEL_BINS - 1.0)
        low = min(int(source), MEL_BINS - 2)
        matrix[low, bin_] += 1 - (source - low)
        matrix[low + 1, bin_] += source - low
    return matrix
