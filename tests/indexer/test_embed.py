"""The embedding step: each segment gets the vectors of its spaces, in bounded batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from indexer.embed import Embedder
from indexer.segmenting.segmenter import Segmented
from indexer.segmenting.sounds import SoundWindow
from mmsearch.errors import ModelError
from mmsearch.testing import FakeImageTextEmbedder
from mmsearch.types import Modality, SegmentDraft, Vectors
from tests.support.audio import tone
from tests.support.fakes import fake_models


def picture(shade: int) -> npt.NDArray[np.uint8]:
    return np.full((32, 32, 3), shade, np.uint8)


def test_each_segment_has_its_vectors() -> None:
    """Pictures in `clip`, passages in both, words that stand in a picture in `text` only."""
    models = fake_models()("nano")
    worded = SegmentDraft(Modality.IMAGE, text="ferry at dawn")
    passage = SegmentDraft(Modality.TEXT, text="an old boat")
    ready = (np.zeros(1, np.int64), np.full((1, 64), 0.125, np.float16))
    files = [
        Segmented("image/png", {}, (worded, passage), {0: picture(200)}),
        Segmented(),
        Segmented("image/png", {}, (SegmentDraft(Modality.IMAGE),), {}, {"clip": ready}),
    ]
    first, nothing, imported = Embedder(models, batch_size=2).embed(files)
    assert first["clip"][0].tolist() == [0, 1]
    np.testing.assert_array_equal(
        first["clip"][1],
        np.concatenate(
            [
                models.clip.encode_pixels(picture(200)[None]),
                models.clip.encode_texts(["an old boat"], "document"),
            ]
        ).astype(np.float16),
    )
    assert first["text"][0].tolist() == [0, 1]
    assert nothing == {}
    np.testing.assert_array_equal(imported["clip"][1], ready[1])


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call of a model sees more than `batch_size` pictures, and their order stays."""
    sizes: list[int] = []
    encode = FakeImageTextEmbedder.encode_pixels

    def counted(self: FakeImageTextEmbedder, pixels: npt.NDArray[np.uint8]) -> Vectors:
        sizes.append(len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(FakeImageTextEmbedder, "encode_pixels", counted)
    models = fake_models()("nano")
    rows = Embedder(models, batch_size=4).pixels([picture(shade) for shade in range(0, 200, 20)])
    assert sizes == [4, 4, 2]
    (last,) = models.clip.encode_pixels(picture(180)[None]).astype(np.float16)
    np.testing.assert_array_equal(rows[9], last)


@pytest.mark.parametrize("broken", ["pixels", "sounds"])
def test_a_model_that_gives_no_numbers_ends_the_run(broken: str) -> None:
    """NaN is never written."""
    models = fake_models(sounds=True)("nano")
    assert models.sound is not None
    embedder = Embedder(models, batch_size=4)
    models.clip.encode_pixels = lambda pixels: np.full((len(pixels), 64), np.nan)  # type: ignore[method-assign]
    models.sound.encode_sounds = lambda sounds: np.full((len(sounds), 24), np.inf)  # type: ignore[method-assign]
    embed: dict[str, Callable[[], object]] = {
        "pixels": lambda: embedder.pixels([picture(1)]),
        "sounds": lambda: embedder.sounds([SoundWindow(0.0, tone(10, 500))]),
    }
    with pytest.raises(ModelError, match="not numbers"):
        embed[broken]()


def test_words_that_a_model_cannot_read_have_no_vector() -> None:
    """The other segments of the batch keep theirs, whatever the size of the batches."""
    models = fake_models()("nano")
    drafts = [SegmentDraft(Modality.TEXT, text=text) for text in ("...", "a boat", "--", "tea")]
    (vectors,) = Embedder(models, batch_size=3).embed([Segmented("text/plain", {}, tuple(drafts))])
    assert {name: rows[0].tolist() for name, rows in vectors.items()} == {
        "clip": [1, 3],
        "text": [1, 3],
    }
    expected = models.text.encode_texts(["a boat", "tea"], "document").astype(np.float16)
    np.testing.assert_array_equal(vectors["text"][1], expected)
