"""Files are indexed again if the content of a model's files has changed, and only then."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from indexer.outcomes import RunCounts
from indexer.recipe import recipe, same_recipe
from indexer.runs import index_into
from mmsearch.library import Library
from mmsearch.models import loading


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    folder = tmp_path / "whisper"
    shutil.copytree(loading.nano_folder("whisper"), folder)
    (folder / loading.MANIFEST).unlink()
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    with wave.open(str(folder / "silence.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.zeros(16_000, "<i2").tobytes())
    return folder


def opened(tmp_path: Path, whisper: Path) -> Library:
    return Library.open(
        tmp_path / "library", create=True, profile="nano", whisper_model=str(whisper), workers=1
    )


def indexed(tmp_path: Path, whisper: Path, files: Path) -> RunCounts:
    with opened(tmp_path, whisper) as library:
        return index_into(library, [files]).counts


def change(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def test_other_weights_under_the_same_name(tmp_path: Path, whisper: Path, files: Path) -> None:
    assert indexed(tmp_path, whisper, files).indexed == 1
    assert indexed(tmp_path, whisper, files).unchanged == 1
    change(whisper / "model.bin")
    assert indexed(tmp_path, whisper, files).indexed == 1
    assert indexed(tmp_path, whisper, files).unchanged == 1


def test_weights_that_are_gone_are_not_changed_weights(
    tmp_path: Path, whisper: Path, files: Path
) -> None:
    """A library may be opened on a machine without its models."""
    assert indexed(tmp_path, whisper, files).indexed == 1
    whisper.rename(tmp_path / "elsewhere")
    assert indexed(tmp_path, whisper, files).unchanged == 1
    (tmp_path / "elsewhere").rename(whisper)
    assert indexed(tmp_path, whisper, files).unchanged == 1


def test_libraries_of_older_versions_stay_as_they_are(
    tmp_path: Path, whisper: Path, files: Path
) -> None:
    """Their recipes do not name weights. From then on a change is noticed."""
    assert indexed(tmp_path, whisper, files).indexed == 1
    with opened(tmp_path, whisper) as library:
        (collection,) = library.store.collections.list()
        old = recipe(library.settings, library.models_of(collection))
        (known,) = next(iter(library.store.sources.iterate(collection.id)))
        library.store.sources.update_recipes({known.id: old})
    assert indexed(tmp_path, whisper, files).unchanged == 1
    change(whisper / "model.bin")
    assert indexed(tmp_path, whisper, files).indexed == 1


def test_what_makes_a_recipe_current() -> None:
    base, a, b = "0" * 32, "+" + "a" * 12, "+" + "b" * 12
    assert same_recipe(base + a, base + a)
    assert same_recipe(base, base + a)
    assert same_recipe(base + a, base)
    assert same_recipe(base + a + ":stamp", base + a + ":stamp")
    assert not same_recipe(base + a, base + b)
    assert not same_recipe(base + a + ":stamp", base + a)
    assert not same_recipe("1" * 32 + a, base + a)
    assert not same_recipe("", base + a)
