"""The command line as its users see it: what is printed where, and how it ends."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import typer

from mmsearch.cli.app import app
from mmsearch.cli.terms import facet_from, query_from_options, terms_from, weighted
from mmsearch.errors import MediaError, QueryError
from mmsearch.search.parse.json_form import query_from_json, query_to_json
from tests.support.command import called
from tests.support.fakes import a_picture


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


def test_terms_of_the_command_line(tmp_path: Path) -> None:
    """A text and options; ^weight is read behind options, not in the text."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"content")
    terms = terms_from(
        f"2^8 is 256 {picture} -people",
        [f"{picture}^0.5"],
        (),
        ["12^-1"],
        ["at night^2"],
        ["cars^0.5"],
        ['{"text": "4711", "channels": ["lexical"]}'],
    )
    assert [(t.kind, t.weight) for t in terms] == [
        ("text", 1.0),
        ("text", 2.0),
        ("image", 0.5),
        ("segment", -1.0),
        ("text", -0.5),
        ("text", 1.0),
    ]
    assert terms[0].text == f"2^8 is 256 {picture} -people"
    assert terms[2].image == b"content"
    assert terms[5].channels == ("lexical",)
    assert weighted("a^b") == ("a^b", 1.0)
    with pytest.raises(MediaError, match="no file"):
        terms_from(None, [str(tmp_path / "nope.png")])
    with pytest.raises(QueryError, match="id of a segment"):
        terms_from(None, None, None, ["twelve"])
    with pytest.raises(QueryError, match="--term is not JSON"):
        terms_from(None, any_terms=["text"])


def test_the_command_line_says_what_json_says(tmp_path: Path) -> None:
    """Every option through the real parser gives the query that its JSON form gives."""
    picture = tmp_path / "-odd name^2.png"
    picture.write_bytes(b"content")
    plain = (
        "--modality image --modality video --limit 5 --min-score 0.25 --exact --sort -taken_at "
        "--sort path --best 2 --fold-at 0.9 --facet mime --facet taken_at:year --cursor abc "
        "--collection family"
    )
    text = 'boats -"rowing boats" type:image OR type:video without:people like:7'
    words = [text, "--image", f"{picture}^0.5"]
    words += ["--filter", '{"size": {"gt": 3}}', *plain.split()]
    command = typer.main.get_command(app).commands["search"]  # type: ignore[attr-defined]
    given = command.make_context("search", words).params
    terms = terms_from(*(given[n] for n in ("query", "image", "audio", "like", "text", "without")))
    query = query_from_options(
        terms,
        facets=[facet_from(one) for one in given["facet"]],
        fold=given["fold_at"],
        group={"by": "source", "best": given["best"]},
        modalities=given["modality"],
        filter=json.loads(given["filter_"]),
        **{n: given[n] for n in ("limit", "min_score", "exact", "sort", "cursor", "collection")},
    )
    sent = {
        "query": text,
        "terms": [{"image": base64.b64encode(b"content").decode(), "weight": 0.5}],
        "modalities": ["image", "video"],
        "filter": {"size": {"gt": 3}},
        "limit": 5,
        "min_score": 0.25,
        "exact": True,
        "sort": [{"taken_at": "desc"}, "path"],
        "group": {"by": "source", "best": 2},
        "fold": 0.9,
        "facets": ["mime", {"field": "taken_at", "by": "year"}],
        "cursor": "abc",
        "collection": "family",
    }
    assert query == query_from_json(sent)
    assert query_from_json(query_to_json(query)) == query


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
