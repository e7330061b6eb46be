"""The embedding step: vectors of segments, by the CLIP, text and sound models.

=========  ====================================================================
`clip`     pixels of pictures, pages and frames; words of passages and speech
`text`     all words: passages, speech, captions, and words that stand in a picture
`sound`    windows of sound (merged into spans by `segmenting.sounds`)
=========  ====================================================================

Indexing embeds many files together, each model seeing few large batches; a long file is embedded
while it is still being decoded. Switching models embeds what SQL holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from indexer.segmenting.segmenter import Segmented, Segmenter, SegmentVectors
from indexer.segmenting.sounds import SoundWindow
from mmsearch.errors import ModelError
from mmsearch.models.sets import ModelSet
from mmsearch.types import VERBAL, Vectors

SOUND_BATCH = 8
"""Windows of one call of the sound model."""

MAX_WAITING_BATCHES = 2
"""Pictures of one file that may wait, in batches."""

T = TypeVar("T")
_Rows = list[npt.NDArray[np.float16]]


class Embedder:
    """Runs the embedding models in batches of `batch_size`. Thread-safe.

    Every method raises ModelError if a model gives anything but finite numbers.
    """

    def __init__(self, models: ModelSet, batch_size: int) -> None:
        self._models = models
        self._batch_size = batch_size

    def embed(self, files: Sequence[Segmented]) -> list[dict[str, SegmentVectors]]:
        """All vectors of some files, by space name: those they have, and those still to be made.

        A picture's vector in `clip` is that of its pixels; words that stand in it only have one
        in `text`. Words that a model cannot read have no vector in its space.
        """
        pictures = [(n, ordinal) for n, file in enumerate(files) for ordinal in file.pixels]
        pixels = [picture for file in files for picture in file.pixels.values()]
        worded = [
            (n, ordinal, draft)
            for n, file in enumerate(files)
            for ordinal, draft in enumerate(file.segments)
            if draft.text
        ]
        verbal = [(n, ordinal, d) for n, ordinal, d in worded if d.modality in VERBAL]
        vectors: list[dict[str, SegmentVectors]] = [{} for _ in files]
        _distribute(vectors, "clip", pictures, self.pixels(pixels))
        for space, drafts in (("clip", verbal), ("text", worded)):
            texts = [draft.text or "" for *_, draft in drafts]
            readable = self.can_read(space, texts)
            where = [(n, o) for (n, o, _), read in zip(drafts, readable, strict=True) if read]
            _distribute(vectors, space, where, self.texts(space, list(compress(texts, readable))))
        for by_space, file in zip(vectors, files, strict=True):
            for space, present in file.vectors.items():
                _append(by_space, space, present)
        return vectors

    def embed_waiting(self, segmenter: Segmenter) -> None:
        """Embed what a file has waiting: sounds at once, as their spans depend on the vectors;
        pictures once there are more than a file may hold in memory."""
        if windows := segmenter.take_sound_windows():
            segmenter.add_sound_vectors(windows, self.sounds(windows))
        if segmenter.waiting_pixels >= MAX_WAITING_BATCHES * self._batch_size:
            pixels = segmenter.take_pixels()
            rows = self.pixels(list(pixels.values()))
            segmenter.add_picture_vectors((np.array(list(pixels), np.int64), np.stack(rows)))

    def pixels(self, pixels: Sequence[npt.NDArray[np.uint8]]) -> _Rows:
        """Pictures, (height, width, 3) each, in the `clip` space."""
        rows: _Rows = []
        for batch in _batches(pixels, self._batch_size):
            rows.extend(stored(self._models.clip.encode_pixels(np.stack(batch))))
        return rows

    def can_read(self, space: str, texts: Sequence[str]) -> list[bool]:
        """Which texts have a vector in the `clip`, `text` or `sound` space."""
        embedder = self._models.embedder(space)
        return [
            read
            for batch in _batches(texts, self._batch_size)
            for read in embedder.can_read(batch).tolist()
        ]

    def texts(self, space: str, texts: Sequence[str]) -> _Rows:
        """Words of segments in the `clip`, `text` or `sound` space."""
        embedder = self._models.embedder(space)
        rows: _Rows = []
        for batch in _batches(texts, self._batch_size):
            rows.extend(stored(embedder.encode_texts(batch, "document")))
        return rows

    def sounds(self, windows: Sequence[SoundWindow]) -> Vectors:
        """At least one window of sound in the `sound` space, (n, dimension) float32."""
        sound = self._models.sound
        assert sound is not None, "sounds are decoded only for a sound model"
        rows = [
            sound.encode_sounds([window.samples for window in batch])
            for batch in _batches(windows, SOUND_BATCH)
        ]
        return _finite(np.concatenate(rows))


def stored(vectors: Vectors) -> npt.NDArray[np.float16]:
    """Vectors as SQL stores them. Raises ModelError if one is not finite."""
    return _finite(vectors).astype(np.float16)


def _finite(vectors: Vectors) -> Vectors:
    if not np.isfinite(vectors).all():
        raise ModelError("a model gave vectors that are not numbers; nothing was written")
    return vectors


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _distribute(
    vectors: Sequence[dict[str, SegmentVectors]],
    space: str,
    where: Sequence[tuple[int, int]],
    rows: _Rows,
) -> None:
    """Give the vectors of a batch back to the files (number, ordinal) that they belong to."""
    by_file: dict[int, list[tuple[int, npt.NDArray[np.float16]]]] = {}
    for (n, ordinal), row in zip(where, rows, strict=True):
        by_file.setdefault(n, []).append((ordinal, row))
    for n, some in by_file.items():
        ordinals = np.array([ordinal for ordinal, _ in some], np.int64)
        _append(vectors[n], space, (ordinals, np.stack([row for _, row in some])))


def _append(vectors: dict[str, SegmentVectors], space: str, more: SegmentVectors) -> None:
    present = vectors.get(space)
    if present is not None:
        more = (np.concatenate([present[0], more[0]]), np.concatenate([present[1], more[1]]))
    vectors[space] = more
