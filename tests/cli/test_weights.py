"""`mmsearch weights`: told, set and forgotten; a wrong one says what would be right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmsearch.cli import main
from mmsearch.cli.terms import weights_from
from mmsearch.errors import QueryError
from tests.support.fakes import open_fake


def test_weights_of_a_collection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is set stays until it is reset."""
    library = tmp_path / "library"
    with open_fake(library) as engine:
        engine.library.store.collections.get_or_create("default", "nano")

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as ended:
            main(["weights", *arguments, "--library", str(library), "--json"])
        assert ended.value.code in {0, None}
        return json.loads(capsys.readouterr().out.splitlines()[-1])["weights"]

    assert run() == {}
    assert run("lexical=0.5", "clip:image=2") == {"lexical": 0.5, "clip:image": 2.0}
    assert run("lexical=1") == {"lexical": 1.0, "clip:image": 2.0}
    assert run("--reset") == {}


def test_a_weight_is_a_channel_and_a_number() -> None:
    """The example is in the message."""
    with pytest.raises(QueryError, match=r"lexical=0\.5"):
        weights_from(["lexical"])
