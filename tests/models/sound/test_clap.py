"""The CLAP adapter against transformers' own pipeline, on a tiny folder at random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import ConfigurationError, DamagedModelError, WeightsNotFoundError
from mmsearch.models.runtime import Runtime
from mmsearch.models.sound.clap import ClapEmbedder
from mmsearch.protocols import SoundTextEmbedder
from mmsearch.types import SOUND_RATE, Samples
from tests.support.clap_folder import write_clap


def tone(seconds: float, hertz: float, seed: int = 0) -> Samples:
    """A tone with a little noise."""
    at = np.arange(int(seconds * SOUND_RATE)) / SOUND_RATE
    noise = np.random.default_rng(seed).standard_normal(len(at)) * 0.05
    return (0.4 * np.sin(2 * np.pi * hertz * at) + noise).astype(np.float32)


SOUNDS = [tone(10, 440), tone(3.2, 2000, 1), tone(0.004, 900, 2), tone(7, 80, 3)]
TEXTS = ["dog barking", "glass breaking", "rain " * 600]


@pytest.fixture(scope="module")
def unfused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clap(tmp_path_factory.mktemp("clap") / "unfused")


@pytest.fixture(scope="module")
def embedder(unfused: Path) -> ClapEmbedder:
    return ClapEmbedder(str(unfused), runtime=Runtime(threads=1))


def test_vectors_equal_the_librarys_own(unfused: Path, embedder: ClapEmbedder) -> None:
    """Cosine 1 to 1e-3, sounds and texts, whatever stands in a batch with them."""
    import torch
    from transformers import ClapModel, ClapProcessor

    model = ClapModel.from_pretrained(unfused).eval()
    processor = ClapProcessor.from_pretrained(unfused)
    sounds = [SOUNDS[0], SOUNDS[1], SOUNDS[3]]
    with torch.inference_mode():
        heard = [
            model.get_audio_features(
                **processor(audio=sound, sampling_rate=SOUND_RATE, return_tensors="pt")
            ).pooler_output[0].numpy()
            for sound in sounds
        ]  # fmt: skip
        read = [
            model.get_text_features(
                **processor(
                    text=f"the sound of {text}", return_tensors="pt", truncation=True, max_length=62
                )
            ).pooler_output[0].numpy()
            for text in TEXTS
        ]  # fmt: skip
    ours = embedder.encode_sounds(sounds)
    assert np.abs((ours * np.stack(heard)).sum(axis=1) - 1).max() < 1e-3
    assert (
        np.abs((embedder.encode_texts(TEXTS, "query") * np.stack(read)).sum(axis=1) - 1).max()
        < 1e-3
    )


def test_unit_rows_of_one_space(embedder: ClapEmbedder) -> None:
    assert isinstance(embedder, SoundTextEmbedder)
    sounds = embedder.encode_sounds(SOUNDS)
    assert sounds.shape == (4, embedder.space.dimension)
    assert sounds.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(sounds, axis=1), 1, atol=1e-5)
    assert embedder.space.name == "sound"
    assert embedder.encode_sounds([]).shape == (0, embedder.space.dimension)
    assert embedder.encode_texts([], "query").shape == (0, embedder.space.dimension)
    assert embedder.count_tokens([]) == []
    assert embedder.count_tokens(["dog barking", ""]) == [len("dog barking") + 2, 2]


def test_silence_has_a_vector_too(embedder: ClapEmbedder) -> None:
    vectors = embedder.encode_sounds([np.zeros(SOUND_RATE, np.float32)])
    assert np.isfinite(vectors).all()


def test_a_query_is_a_sound_and_a_document_is_not(embedder: ClapEmbedder) -> None:
    """Queries get CLAP's template, so that they lie where its captions do."""
    query = embedder.encode_texts(["rain"], "query")
    np.testing.assert_allclose(
        query, embedder.encode_texts(["the sound of rain"], "document"), atol=1e-6
    )


def test_longer_sounds_are_refused_and_not_cropped_at_random(embedder: ClapEmbedder) -> None:
    for wrong in (np.zeros(480_001, np.float32), np.zeros(0, np.float32), np.zeros((2, 9), "f4")):
        with pytest.raises(ValueError, match="mono"):
            embedder.encode_sounds([wrong])


def test_a_fusion_model_says_the_same_every_time(tmp_path: Path) -> None:
    """Its feature extractor marks one sound of a batch as long, at random."""
    embedder = ClapEmbedder(
        str(write_clap(tmp_path / "fused", fused=True)), runtime=Runtime(threads=1)
    )
    first = embedder.encode_sounds(SOUNDS)
    alone = np.concatenate([embedder.encode_sounds([sound]) for sound in SOUNDS])
    np.testing.assert_allclose(first, alone, atol=1e-5)


def test_fingerprint_follows_weights_and_prompt(unfused: Path, tmp_path: Path) -> None:
    other = write_clap(tmp_path / "other", seed=9)
    prints = {
        ClapEmbedder(str(unfused)).space.fingerprint,
        ClapEmbedder(str(unfused), query_prompt="").space.fingerprint,
        ClapEmbedder(str(other)).space.fingerprint,
    }
    assert len(prints) == 3
    assert ClapEmbedder(str(unfused), runtime=Runtime(threads=2)).space.fingerprint in prints


def test_what_is_wrong_with_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"laion--clap-htsat-unfused"):
        _ = ClapEmbedder("laion/clap-htsat-unfused", runtime=Runtime(model_folder=tmp_path)).space
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(DamagedModelError, match="fetch them again"):
        _ = ClapEmbedder(str(tmp_path)).space
    with pytest.raises(ConfigurationError, match="5 s at 48000 Hz"):
        _ = ClapEmbedder(str(write_clap(tmp_path / "low", seconds=5))).space
