"""Captions of pictures are indexed, found by their words, and marked as machine-made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from indexer.runs import index_into
from mmsearch.build import models_of
from mmsearch.errors import CaptionError, SettingsError
from mmsearch.search.parse.json_form import hit_to_json
from mmsearch.settings_loading import load_settings
from mmsearch.testing import FakeCaptioner
from tests.support.fakes import a_picture, open_fake


def test_a_picture_is_found_by_its_caption_and_says_who_wrote_it(tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        a_picture(tmp_path / "pictures" / f"{colour}.png", colour)
    with open_fake(tmp_path / "library") as engine:
        captioner = FakeCaptioner()
        engine.library.models("nano").__dict__["captioner"] = captioner
        index_into(engine.library, [tmp_path / "pictures"])
        assert captioner.seen == 2
        hit = engine.search("a blue picture").hits[0]
        assert Path(hit.source.path).name == "blue.png"
        assert hit.segment.text == "A blue picture."
        assert "text:image" in hit.scores
        assert hit_to_json(hit)["segment"]["caption"] == {
            "text": "A blue picture.", "model": "fake-captioner", "machine": True,
        }  # fmt: skip
        assert engine.library.status(verify=True)["verify"]["ok"]


def test_what_has_no_caption_is_indexed_all_the_same(tmp_path: Path) -> None:
    a_picture(tmp_path / "red.png", "red")
    with open_fake(tmp_path / "library") as engine:
        silent = FakeCaptioner()
        silent.caption = lambda pictures: [None]  # type: ignore[method-assign]
        engine.library.models("nano").__dict__["captioner"] = silent
        assert index_into(engine.library, [tmp_path / "red.png"]).counts.indexed == 1
        (hit,) = engine.search("red").hits
        assert hit.segment.text is None
        assert "caption" not in hit_to_json(hit)["segment"]


def test_a_captioner_that_is_away_ends_the_run(tmp_path: Path) -> None:
    a_picture(tmp_path / "red.png", "red")

    def away(pictures: Any) -> Any:
        raise CaptionError("no captions: the server cannot be reached")

    with open_fake(tmp_path / "library") as engine:
        captioner = FakeCaptioner()
        captioner.caption = away  # type: ignore[method-assign]
        engine.library.models("nano").__dict__["captioner"] = captioner
        with pytest.raises(CaptionError, match="cannot be reached"):
            index_into(engine.library, [tmp_path / "red.png"])
        assert engine.library.status()["sources"] == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"captions": "local"}, "caption_model"),
        ({"captions": "openai"}, "needs caption_url"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    models = models_of(load_settings(tmp_path, **settings))("nano")
    with pytest.raises(SettingsError, match=told):
        _ = models.captioner


def test_there_are_none_unless_asked_for(tmp_path: Path) -> None:
    assert models_of(load_settings(tmp_path))("nano").captioner is None
