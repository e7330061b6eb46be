"""Finding model files, refusing damaged ones, naming what moves a vector."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import DamagedModelError, ProfileError, WeightsNotFoundError
from mmsearch.models import loading, profiles
from mmsearch.models.clip.openclip import OpenClipEmbedder
from mmsearch.models.runtime import Runtime
from mmsearch.models.speech.whisper import WhisperTranscriber
from mmsearch.models.text import long_texts
from mmsearch.models.text.sentence import SentenceEmbedder
from mmsearch.models.vision import vlm


def model_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"w" * 1000)
    (folder / "config.json").write_text("{}")
    files = {
        file.name: {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "bytes": file.stat().st_size,
        }
        for file in folder.iterdir()
    }
    (folder / "manifest.json").write_text(json.dumps({"name": "m", "version": "1", "files": files}))
    return folder


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    loading.verify_manifest(model_folder(tmp_path / "m"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "weights.safetensors").write_bytes(b"w" * 999), "999 bytes"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"x" * 1000), "checksum"),
        (lambda f: (f / "weights.safetensors").unlink(), "missing"),
        (lambda f: (f / "manifest.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "manifest.json").write_text("[]"), "cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: object, said: str) -> None:
    """The error names the file and how to get it back."""
    folder = model_folder(tmp_path / "m")
    damage(folder)  # type: ignore[operator]
    with pytest.raises(DamagedModelError, match=said) as caught:
        loading.verify_manifest(folder)
    assert str(folder) in str(caught.value)
    assert "reinstall" in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[1]", '{"familiar": {"weights": [1], "bias": 0}}'])
def test_a_description_that_cannot_be_understood(tmp_path: Path, content: str) -> None:
    assert loading.described("mine", tmp_path, vlm._detector) is None
    (tmp_path / loading.DESCRIPTION).write_text(content)
    with pytest.raises(DamagedModelError, match=r"mine.*mmsearch\.json"):
        loading.described("mine", tmp_path, vlm._detector)


@pytest.mark.parametrize("allow_download", [False, True])
def test_unreachable_weights_are_told_within_seconds(
    tmp_path: Path, allow_download: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every adapter names the model, the folder and the nano profile, and does not retry long."""
    import huggingface_hub.constants

    cache = str(tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", cache)
    # A port of this machine where nothing listens: no test may reach a real hub.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    folder = tmp_path / "models"
    runtime = Runtime(model_folder=folder, allow_download=allow_download)
    started = time.monotonic()
    with pytest.raises(WeightsNotFoundError) as clip:
        _ = OpenClipEmbedder("ViT-B-32", weights="laion2b_s34b_b79k", runtime=runtime).space
    with pytest.raises(WeightsNotFoundError) as text:
        _ = SentenceEmbedder("intfloat/multilingual-e5-small", runtime=runtime).space
    with pytest.raises(WeightsNotFoundError) as whisper:
        _ = WhisperTranscriber("small", runtime=runtime).fingerprint
    assert time.monotonic() - started < 60
    for caught, name in ((clip, "ViT-B-32"), (text, "multilingual-e5-small"), (whisper, "small")):
        message = str(caught.value)
        assert name in message
        assert str(folder) in message
        assert "--profile nano" in message


def test_lazy_makes_once_and_again_after_a_failure() -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        time.sleep(0.05)
        if len(made) == 1:
            raise OSError("the disk was away")
        return "model"

    lazy = loading.Lazy(make)
    with pytest.raises(OSError, match="away"):
        lazy.get()
    threads = [threading.Thread(target=lazy.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert lazy.loaded
    lazy.release()
    assert not lazy.loaded
    assert lazy.get() == "model"
    assert len(made) == 3


def test_digest_of_large_files_sees_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampling notices a change of training (everything moves) and of size."""
    monkeypatch.setattr(loading, "_FULL_HASH_BYTES", 2**16)
    monkeypatch.setattr(loading, "_HEAD_BYTES", 2**12)
    random = np.random.default_rng(0)
    file = tmp_path / "w.safetensors"
    file.write_bytes(random.bytes(2**20))
    first = loading.weights_digest([file])
    assert loading.weights_digest([file]) == first
    file.write_bytes(random.bytes(2**20))
    second = loading.weights_digest([file])
    assert second != first
    file.write_bytes(file.read_bytes() + b"x")
    assert loading.weights_digest([file]) != second


def words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


@pytest.mark.parametrize("limit", [4, 5, 12, 60])
def test_pieces_of_a_long_text(limit: int) -> None:
    """Every word is in exactly one piece, in order, and every piece fits."""
    text = " ".join(f"w{i}" for i in range(50))
    pieces = long_texts.split_to_fit(text, limit, lambda some: words(list(some)))
    assert " ".join(pieces).split() == text.split()
    assert max(words(pieces)) <= limit
    unspaced = "字" * 100
    pieces = long_texts.split_to_fit(unspaced, limit, lambda some: [len(t) for t in some])
    assert "".join(pieces) == unspaced


def test_profiles_are_complete() -> None:
    """Each says what it is made of, where that comes from and under which licence."""
    assert list(profiles.PROFILES) == ["nano", "small", "base", "best"]
    for name, profile in profiles.PROFILES.items():
        assert profile.name == name
        for spec, kind in (
            (profile.clip, "openclip"),
            (profile.text, "sentence"),
            (profile.whisper, "whisper"),
            (profile.sound, "clap"),
        ):
            if spec is None:
                # The nano models are made by this project, and there is none for sounds.
                assert name == "nano"
                continue
            assert spec.kind == kind
            assert spec.source
            assert spec.licence in ("MIT", "Apache-2.0")
            assert name == "nano" or spec.download_bytes
    with pytest.raises(ProfileError, match="nano, small, base, best"):
        profiles.profile("huge")


def test_public_checkpoints_of_profiles_are_known_to_their_libraries() -> None:
    import open_clip
    from faster_whisper import available_models

    for profile in profiles.PROFILES.values():
        if profile.name != "nano":
            assert profile.clip.weights in open_clip.list_pretrained_tags_by_model(
                profile.clip.name
            )
            config = open_clip.get_model_config(profile.clip.name)
            assert config["embed_dim"] == profile.clip.dimension
            assert profile.whisper.name in available_models()


def test_any_model_of_a_profile_is_replaceable_by_name() -> None:
    base = profiles.profile("base")
    changed = base.replace(clip="ViT-B-32:random=7", text="all-MiniLM-L12-v2")
    assert (changed.clip.name, changed.clip.seed) == ("ViT-B-32", 7)
    assert changed.text.name == "all-MiniLM-L12-v2"
    assert changed.whisper is base.whisper
    assert changed.replaced == ("clip", "text")
    known = base.replace(clip="ViT-B-32:laion2b_s34b_b79k")
    assert known.clip == profiles.profile("small").clip
    assert base.replace() is base
    with pytest.raises(ProfileError):
        base.replace(whisper=" ")
