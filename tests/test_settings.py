"""Where a setting's value comes from, and what is reported if it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsearch.errors import SettingsError
from mmsearch.settings_loading import SETTINGS_FILE, load_settings


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LIMIT", "PORT", "BATCH_SIZE", "LIBRARY"):
        monkeypatch.delenv(f"MMSEARCH_{name}", raising=False)
    return tmp_path


def write(library: Path, text: str) -> Path:
    path = library / SETTINGS_FILE
    path.write_text(text, "utf-8")
    return path


def test_argument_before_environment_before_file_before_default(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source wins over those after it, setting by setting."""
    write(library, "limit = 30\nport = 3000\nbatch_size = 3\n[weights]\nlexical = 0.5\n")
    monkeypatch.setenv("MMSEARCH_LIMIT", "20")
    monkeypatch.setenv("MMSEARCH_PORT", "2000")
    settings = load_settings(library, limit=10, profile=None)
    assert (settings.limit, settings.port, settings.batch_size) == (10, 2000, 3)
    assert settings.weights == {"lexical": 0.5}
    assert settings.commit_files == 64


def test_the_environment_may_name_the_library_whose_file_is_read(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`MMSEARCH_LIBRARY` and no argument: the file in that folder counts."""
    write(library, "limit = 30\n")
    monkeypatch.setenv("MMSEARCH_LIBRARY", str(library))
    assert load_settings().limit == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size = 0\n", "setting 'batch_size'"),
        ("device = 3\n", "setting 'device'"),
        ("batchsize = 3\n", "Did you mean 'batch_size'?"),
        ("[weights]\nlexical = 11\n", "setting 'weights.lexical'"),
        ("limit = \n", "line 1"),
    ],
)
def test_an_error_in_the_file_names_the_file(library: Path, text: str, message: str) -> None:
    """Wrong key, wrong value, wrong syntax: path and setting are in the message."""
    path = write(library, text)
    with pytest.raises(SettingsError) as raised:
        load_settings(library)
    assert str(path) in raised.value.message
    assert message in raised.value.message


def test_an_argument_is_not_blamed_on_the_file(library: Path) -> None:
    """With a file present, a wrong argument is reported without its path."""
    write(library, "limit = 30\n")
    with pytest.raises(SettingsError) as raised:
        load_settings(library, batch_size=0)
    assert SETTINGS_FILE not in raised.value.message


def test_an_error_in_the_environment_names_the_variable(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can be found and unset."""
    monkeypatch.setenv("MMSEARCH_BATCH_SIZE", "many")
    with pytest.raises(SettingsError, match="environment variable MMSEARCH_BATCH_SIZE"):
        load_settings(library)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("weights", "lexical=0.5, clip:image=2", {"lexical": 0.5, "clip:image": 2.0}),
        ("weights", '{"lexical": 0.5}', {"lexical": 0.5}),
        ("api_keys", "first, second", ("first", "second")),
        ("api_keys", '["a,b"]', ("a,b",)),
    ],
)
def test_weights_and_keys_may_be_text_or_json(
    library: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    """The environment takes what `--set` takes."""
    monkeypatch.setenv(f"MMSEARCH_{name.upper()}", text)
    assert getattr(load_settings(library), name) == value


def test_bad_json_in_the_environment_is_a_settings_error(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, no traceback of pydantic."""
    monkeypatch.setenv("MMSEARCH_WEIGHTS", '{"lexical": ')
    with pytest.raises(SettingsError, match="MMSEARCH_WEIGHTS"):
        load_settings(library)
