"""The committed evaluation's recipe: its judgements are true, its parts have nothing in common."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsearch.demo.picturebook import captions, sample_scenes, stories

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "ranking"


@pytest.fixture
def recipe() -> Iterator[Any]:
    """A module of the recipe by name."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(FOLDER))


def test_a_query_is_true_of_the_scene_it_was_made_from(recipe: Any) -> None:
    """At every level; and of few others, fewer the more it says."""
    wanted = recipe("wanted")
    scenes = sample_scenes("test", 120, 4)
    shown: dict[str, float] = {}
    for level in wanted.LEVELS:
        asked = wanted.asked(scenes, level, 25, 4)
        assert len({one.text for _, one in asked}) == len(asked) > 15
        for number, one in asked:
            assert one.shown_by(scenes[number])
        shown[level] = float(np.mean([sum(map(one.shown_by, scenes)) for _, one in asked]))
    assert shown["object"] > shown["detailed"] >= 1.0
    assert shown["object"] < 6


def test_a_short_query_is_what_the_short_captions_say(recipe: Any) -> None:
    """The captions' own words and the judgements agree about which scenes show a main object."""
    wanted = recipe("wanted")
    scenes = sample_scenes("test", 150, 6)
    for scene in scenes[:40]:
        one = wanted.Wanted("", "object", (wanted.mention(scene.groups[0]),))
        for other in scenes:
            if captions(other)[0] == captions(scene)[0]:
                assert one.shown_by(other)


def test_what_is_told_is_in_the_note_and_the_memo(recipe: Any) -> None:
    """A note that is judged relevant names the thing."""
    wanted = recipe("wanted")
    told = stories(60, 9, "test")
    for _, one in wanted.asked([story.scene for story in told], "object", 30, 9):
        kind, colour, _ = one.mentions[0]
        for story in told:
            if one.told_by(story.scene):
                for text in (story.note, story.memo):
                    assert kind.split()[-1][:3] in text
                    assert colour in text


def test_records_are_named_by_their_words_alone(recipe: Any) -> None:
    """Numbers and codes are unique; family names come without accents."""
    records = recipe("records").records(100, 3)
    for one in records:
        assert sum(one.words in other.text.lower() for other in records) == 1
        assert one.name.isascii()
    assert records == recipe("records").records(100, 3)
    assert records != recipe("records").records(100, 4)


def test_the_two_parts_share_no_scene(recipe: Any) -> None:
    """What defaults are chosen on is never what is reported."""
    data = recipe("data")
    dev, test = (
        {scene.seed for offset in (0, 7919, 7920, 7921) for scene in
         sample_scenes("test", data.PICTURES, data.SEEDS[part] + offset)}
        for part in ("dev", "test")
    )  # fmt: skip
    assert not dev & test
