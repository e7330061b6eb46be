"""The command line as its users see it: what is printed where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmsearch.cli import main
from mmsearch.cli.terms import NOT_WEIGHT, terms_from, weighted
from mmsearch.errors import MediaError, QueryError
from tests.fakes import a_picture


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of one command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, " ".join(captured.err.split())


def test_a_missing_library_says_how_to_make_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit 2, one sentence, no traceback, and no folder is left behind."""
    library = tmp_path / "nope"
    for command in (["search", "boat"], ["status"], ["serve"], ["reindex"], ["db", "upgrade"]):
        status, out, err = called(capsys, *command, "--library", library)
        assert (status, out) == (2, "")
        assert "there is no mmsearch library" in err
        assert "mmsearch index" in err
        assert "Traceback" not in err
    assert not library.exists()


def test_a_missing_path_is_an_error_before_a_library_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The JSON form of an error is the last line of standard output."""
    library = tmp_path / "library"
    status, out, err = called(capsys, "index", tmp_path / "no", "--library", library, "--json")
    assert status == 2
    assert "does not exist" in err
    assert json.loads(out.splitlines()[-1])["error"]["code"] == "not_found"
    assert not library.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "huge"], "nano"),
        (["--set", "batchsize=3"], "unknown setting 'batchsize'"),
        (["--set", "batch_size=many"], "setting 'batch_size'"),
        (["--set", "batch_size"], "NAME=VALUE"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_wrong_options_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Exit 2 and a message that names what would be right."""
    picture = a_picture(tmp_path / "a.png", "red")
    status, _, err = called(capsys, "index", picture, "--library", tmp_path / "l", *arguments)
    assert status == 2
    assert message in err


def test_absent_weights_name_model_folder_and_nano(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The default profile without a network: no empty library is left with the wrong profile."""
    picture = a_picture(tmp_path / "a.png", "red")
    library = tmp_path / "library"
    status, _, err = called(
        capsys,
        "index",
        picture,
        "--library",
        library,
        "--profile",
        "base",
        "--set",
        "allow_download=false",
        "--set",
        f"model_folder={tmp_path / 'models'}",
    )
    assert status == 2
    assert "SigLIP2" in err
    assert str(tmp_path / "models") in err
    assert "--profile nano" in err
    status, out, _ = called(capsys, "status", "--library", library, "--json")
    assert status == 0
    assert json.loads(out)["collections"] == {}


def test_terms_of_the_compact_form(tmp_path: Path) -> None:
    """^weight is read behind options, never inside the plain query."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"content")
    terms = terms_from("2^8 is 256", [f"{picture}^0.5"], (), ["12^-1"], ["at night^2"], ["people"])
    assert [(t.kind, t.weight) for t in terms] == [
        ("text", 1.0),
        ("text", 2.0),
        ("image", 0.5),
        ("segment", -1.0),
        ("text", NOT_WEIGHT),
    ]
    assert terms[0].text == "2^8 is 256"
    assert terms[2].image == b"content"
    assert weighted("a^b") == ("a^b", 1.0)
    with pytest.raises(MediaError, match="no file"):
        terms_from(None, [str(tmp_path / "nope.png")])
    with pytest.raises(QueryError, match="id of a segment"):
        terms_from(None, None, None, ["twelve"])


def test_a_wrong_environment_variable_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence that names the setting, not a traceback."""
    monkeypatch.setenv("MMSEARCH_BATCH_SIZE", "many")
    status, _, err = called(capsys, "status", "--library", tmp_path)
    assert status == 2
    assert "setting 'batch_size'" in err
    status, _, err = called(capsys, "index", tmp_path)
    assert status == 2
    assert "setting 'batch_size'" in err
