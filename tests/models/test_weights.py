"""Changed weights under the same name are noticed, without loading the model."""

from __future__ import annotations

import os
import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from mmsearch.models import loading
from mmsearch.models.runtime import Runtime
from mmsearch.models.sets import ModelSet
from mmsearch.models.speech.speakers.pyannote import PyannoteDiariser
from mmsearch.models.speech.whisper import WhisperTranscriber
from mmsearch.models.vision import ocr
from mmsearch.models.vision.captions.local import LocalCaptioner
from mmsearch.models.vision.vlm import VisionLanguageScorer
from mmsearch.testing import FakeImageTextEmbedder, FakeTextEmbedder


def change(file: Path) -> None:
    """Other content of the same size."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    """nano-whisper under another name; without a manifest, as public models are."""
    folder = tmp_path / "whisper"
    shutil.copytree(loading.nano_folder("whisper"), folder)
    (folder / loading.MANIFEST).unlink()
    return folder


def test_changed_weights_of_a_transcriber(whisper: Path) -> None:
    transcriber = WhisperTranscriber(str(whisper))
    first = transcriber.weights
    assert first
    assert transcriber.weights == first
    change(whisper / "model.bin")
    assert transcriber.weights not in (first, None)
    assert not transcriber._lazy.loaded


def test_a_loaded_transcriber_names_the_weights_that_it_uses(whisper: Path) -> None:
    """A change of files takes effect when they are loaded again."""
    transcriber = WhisperTranscriber(str(whisper), runtime=Runtime(device="cpu", threads=1))
    _ = transcriber.fingerprint
    first = transcriber.weights
    change(whisper / "model.bin")
    assert transcriber.weights == first
    transcriber.release()
    assert transcriber.weights != first


def test_weights_that_are_not_on_this_machine_are_unknown(tmp_path: Path) -> None:
    """Nothing is downloaded to find out, even if that is allowed."""
    runtime = Runtime(model_folder=tmp_path, allow_download=True)
    assert WhisperTranscriber(str(tmp_path / "nothing"), runtime=runtime).weights is None
    captioner = LocalCaptioner(VisionLanguageScorer(str(tmp_path / "nothing"), runtime=runtime))
    assert captioner.weights is None


def test_changed_models_of_the_ocr_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's version alone does not identify them."""
    (tmp_path / "models").mkdir()
    for name in ("a_det_b.onnx", "a_rec_b.onnx"):
        (tmp_path / "models" / name).write_bytes(b"weights")
    package = ModuleSpec("rapidocr", None, is_package=True)
    package.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(ocr, "find_spec", lambda _name: package)
    engine = ocr.RapidOcr()
    first = engine.fingerprint
    assert first == engine.fingerprint
    change(tmp_path / "models" / "a_rec_b.onnx")
    assert engine.fingerprint != first


def test_changed_weights_of_a_diariser(tmp_path: Path) -> None:
    """Of a folder, and of the checkpoints that a config.yaml names."""
    (tmp_path / "config.yaml").write_text("params:\n  segmentation: sub/model.bin\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.bin").write_bytes(b"weights")
    diarisers = [PyannoteDiariser(str(tmp_path)), PyannoteDiariser(str(tmp_path / "config.yaml"))]
    first = [diariser.fingerprint for diariser in diarisers]
    assert first == [diariser.fingerprint for diariser in diarisers]
    change(tmp_path / "sub" / "model.bin")
    for diariser, before in zip(diarisers, first, strict=True):
        assert diariser.fingerprint != before
    assert PyannoteDiariser("org/pipeline").weights == ""


def test_changed_weights_of_a_captioner(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "chat_template.jinja"):
        (tmp_path / name).write_bytes(b"content")
    captioner = LocalCaptioner(VisionLanguageScorer(str(tmp_path)))
    digests = [captioner.weights]
    for name in ("model.safetensors", "chat_template.jinja"):
        change(tmp_path / name)
        digests.append(captioner.weights)
    assert None not in digests
    assert len(set(digests)) == 3


def test_unchanged_files_are_hashed_once(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"weights")
    first = loading.weights_digest([file])
    misses = loading._weights_digest.cache_info().misses
    assert loading.weights_digest([file]) == first
    assert loading._weights_digest.cache_info().misses == misses
    # Other content with the same size and time: the inode differs.
    status = file.stat()
    other = tmp_path / "other"
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)
    assert loading.weights_digest([file]) != first


def test_a_set_names_the_weights_of_all_models_of_segments(whisper: Path) -> None:
    """Unknown if those of any are."""

    def models(folder: Path) -> ModelSet:
        return ModelSet(
            "mine",
            "mine",
            FakeImageTextEmbedder,
            FakeTextEmbedder,
            lambda: WhisperTranscriber(str(folder)),
        )

    first = models(whisper).weights
    assert first
    assert models(whisper).weights == first
    change(whisper / "tokenizer.json")
    assert models(whisper).weights not in (first, None)
    assert models(whisper / "nothing").weights is None
