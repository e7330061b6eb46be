"""What the picture book promises: the same bytes every time, true captions, unseen test scenes."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsearch.demo.picturebook import (
    Scene,
    captions,
    draw,
    questions,
    sample_scenes,
    stories,
    words,
    write_library,
)
from mmsearch.demo.picturebook.draw import shape_of
from mmsearch.demo.picturebook.lexicon import (
    COLOURS,
    KINDS,
    OBJECTS,
    PLACES,
    RELATIONS,
    SKIES,
    STYLES,
)
from mmsearch.demo.picturebook.questions import QUESTION_KINDS
from mmsearch.demo.picturebook.scene import Group, Item, related
from mmsearch.demo.picturebook.splits import INVERSE, colour_split, place_split, relation_split
from mmsearch.demo.picturebook.words import split_words


@pytest.fixture(scope="module")
def train() -> list[Scene]:
    return sample_scenes("train", 400, 1)


@pytest.fixture(scope="module")
def test() -> list[Scene]:
    return sample_scenes("test", 200, 1)


def _pixels(scene: Scene, size: int) -> np.ndarray:
    return np.asarray(draw(scene, size))


def test_world_is_wide_enough() -> None:
    """At least forty kinds of object, ten colours, many places and five styles."""
    assert len(OBJECTS) >= 40
    assert len({kind.category for kind in OBJECTS}) == 8
    assert len(COLOURS) == 10
    assert len(PLACES) >= 10
    assert len(STYLES) == 5
    assert len(SKIES) >= 8
    assert len(words()) >= 600


def test_same_seed_same_scenes_and_bytes() -> None:
    """Scenes and pictures do not change between calls, whatever was drawn before."""
    first = sample_scenes("train", 6, 5)
    before = [hashlib.sha256(draw(s, 96).tobytes()).hexdigest() for s in first]
    np.random.default_rng(0).random(10)
    draw(sample_scenes("test", 1, 9)[0], 64)
    again = sample_scenes("train", 6, 5)
    assert first == again
    assert before == [hashlib.sha256(draw(s, 96).tobytes()).hexdigest() for s in again]


def test_a_longer_list_begins_with_the_shorter() -> None:
    assert sample_scenes("test", 8, 3)[:5] == sample_scenes("test", 5, 3)


def test_seeds_and_splits_give_other_scenes(train: list[Scene], test: list[Scene]) -> None:
    assert sample_scenes("train", 5, 2) != train[:5]
    assert not set(train) & set(test)


@pytest.mark.parametrize("size", [16, 128, 200])
def test_draw_gives_rgb_of_the_asked_size(train: list[Scene], size: int) -> None:
    image = draw(train[0], size)
    assert (image.size, image.mode) == ((size, size), "RGB")


def test_draw_refuses_tiny_sizes(train: list[Scene]) -> None:
    with pytest.raises(ValueError, match="16 pixels"):
        draw(train[0], 8)


def test_every_place_sky_and_style_draws() -> None:
    """No combination fails, and each looks unlike the others."""
    item = Item("dog", "red", "normal", (0.4, 0.6, 0.65, 0.8), flip=False, group=0)
    seen = set()
    for place, (time, weather), style in itertools.product(PLACES, SKIES, STYLES):
        scene = Scene(place.name, time, weather, style, (item,), "train", 3)
        seen.add(draw(scene, 32).tobytes())
    distinct_skies = sum(1 if place.floating else len(SKIES) for place in PLACES)
    assert len(seen) >= 0.9 * distinct_skies * len(STYLES)


def test_objects_are_drawn_inside_their_boxes() -> None:
    for kind in OBJECTS:
        for polygon in shape_of(kind.name):
            x, y = polygon.points[:, 0], polygon.points[:, 1]
            assert x.min() > -0.12, kind.name
            assert x.max() < kind.aspect + 0.12, kind.name
            assert y.min() > -0.12, kind.name
            assert y.max() < 1.06, kind.name


def test_object_colours_can_be_seen() -> None:
    """The middle of a plain object has the colour the scene says."""
    for colour, channel in (("red", 0), ("green", 1), ("blue", 2)):
        item = Item("ball", colour, "big", (0.3, 0.3, 0.7, 0.7), flip=False, group=0)
        scene = Scene("plain", "day", "clear", "poster", (item,), "train", 1)
        ball = _pixels(scene, 128)[44:84, 44:84].reshape(-1, 3).mean(0)
        assert ball.argmax() == channel


def test_boxes_lie_in_the_picture(train: list[Scene], test: list[Scene]) -> None:
    for item in (item for scene in [*train, *test] for item in scene.items):
        x0, y0, x1, y1 = item.box
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1


def test_counts_are_true(train: list[Scene]) -> None:
    """A group has as many items as it says, and no other group has its kind and colour."""
    for scene in train:
        names = [(g.kind, g.colour) for g in scene.groups]
        assert len(set(names)) == len(names)
        assert sum(g.count for g in scene.groups) == len(scene.items)
        assert all(1 <= g.count <= 5 for g in scene.groups)


def _combinations(scenes: list[Scene]) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for scene in scenes:
        for group in scene.groups:
            found.add(("colour", group.kind, group.colour))
            found.add(("place", group.kind, scene.place))
        for i, relation, j in scene.relations:
            found.add(("relation", scene.groups[i].kind, relation, scene.groups[j].kind))
    return found


def test_test_combinations_never_occur_in_train(train: list[Scene], test: list[Scene]) -> None:
    a, b = _combinations(train), _combinations(test)
    assert not a & b
    assert {kind for kind, *_ in b} == {"colour", "place", "relation"}


def test_every_object_and_colour_is_in_both_splits() -> None:
    for split in ("train", "test"):
        assert all(any(colour_split(k, c) == split for c in COLOURS) for k in KINDS)
        assert all(any(colour_split(k, c) == split for k in KINDS) for c in COLOURS)
        assert all(any(place_split(k, p.name) == split for k in KINDS) for p in PLACES)


def test_a_relation_and_its_inverse_share_a_split() -> None:
    for a, b in itertools.product(list(KINDS)[:12], repeat=2):
        for relation in RELATIONS:
            assert relation_split(a, relation, b) == relation_split(b, INVERSE[relation], a)


def _item(x: float, y: float, size: float = 0.2) -> Item:
    return Item("cup", "red", "normal", (x, y, x + size, y + size), flip=False, group=0)


def test_relations_follow_the_boxes() -> None:
    left, right, over = _item(0.1, 0.5), _item(0.6, 0.5), _item(0.35, 0.1)
    assert related([left], "left of", [right])
    assert related([right], "left of", [left]) is False
    assert related([over], "above", [left])
    assert related([left], "next to", [right]) is False
    assert related([_item(0.32, 0.5)], "next to", [left])
    near = _item(0.15, 0.6)
    assert related([near], "in front of", [left])
    assert related([left], "behind", [near])
    assert related([left], "in front of", [near]) is False


def test_relations_come_with_their_inverse(train: list[Scene]) -> None:
    assert sum(bool(scene.relations) for scene in train) > 150
    for scene in train:
        stated = set(scene.relations)
        assert all((j, INVERSE[relation], i) in stated for i, relation, j in stated)


def test_captions_name_what_is_there(train: list[Scene]) -> None:
    for scene in train:
        lines = captions(scene)
        assert lines == captions(scene)
        assert len(lines) >= 2
        main: Group = scene.groups[0]
        noun = KINDS[main.kind].name if main.count == 1 else KINDS[main.kind].plural
        assert noun in lines[0]
        assert all(main.colour in line for line in lines)
        assert scene.style.split()[0] in lines[-1]
        assert len(lines[-1]) > len(lines[0])


def test_captions_use_the_right_article(train: list[Scene]) -> None:
    for text in (text for scene in train for text in captions(scene)):
        tokens = text.replace(",", "").split()
        for first, second in itertools.pairwise(tokens):
            if first in ("a", "an"):
                assert (first == "an") == (second[0] in "aeiou"), text


def test_no_text_leaves_the_vocabulary(train: list[Scene], test: list[Scene]) -> None:
    texts = [text for scene in [*train, *test] for text in captions(scene)]
    texts += [q.text for scene in train[:100] for q in questions(scene, 0)]
    texts += [text for story in stories(150, 4) for text in (story.note, story.memo)]
    used = {word for text in texts for word in split_words(text)}
    assert used <= words()


def test_questions_are_balanced_within_every_kind(train: list[Scene]) -> None:
    asked = [q for scene in train for q in questions(scene, 3)]
    for kind in QUESTION_KINDS:
        answers = [q.answer for q in asked if q.kind == kind]
        assert len(answers) > 50
        assert sum(answers) * 2 == len(answers)


def test_questions_depend_on_scene_and_seed_only(train: list[Scene]) -> None:
    assert questions(train[0], 1) == questions(train[0], 1)
    assert any(questions(s, 1) != questions(s, 2) for s in train[:5])


@pytest.mark.parametrize("split", ["train", "test"])
def test_answers_are_true(split: str, train: list[Scene], test: list[Scene]) -> None:
    """Checked against the items themselves, kind by kind."""
    for scene in train if split == "train" else test:
        shown = {(item.kind, item.colour) for item in scene.items}
        for question in questions(scene, 8):
            tokens = question.text.split()
            kinds = [k for k in KINDS if k in tokens]
            match question.kind:
                case "object":
                    assert (kinds[0] in {k for k, _ in shown}) == question.answer
                case "colour" if len(kinds) == 1 and "and" not in tokens:
                    colour = next(c for c in COLOURS if c in tokens)
                    assert ((kinds[0], colour) in shown) == question.answer
                case "size":
                    size = "big" if "big" in tokens else "small"
                    sizes = {i.size for i in scene.items if i.kind == kinds[0]}
                    assert (size in sizes) == question.answer


def test_questions_stay_in_their_split(train: list[Scene], test: list[Scene]) -> None:
    """Otherwise a combination held back would be a sure "no" in training."""
    for scene in [*train, *test]:
        for question in questions(scene, 2):
            tokens = question.text.split()
            for first, second in itertools.pairwise(tokens):
                if first in COLOURS and second in KINDS:
                    assert colour_split(second, first) == scene.split


def test_stories_tell_of_their_scene() -> None:
    for story in stories(60, 2):
        main = story.scene.groups[0]
        noun = KINDS[main.kind].name if main.count == 1 else KINDS[main.kind].plural
        assert noun in story.note.lower()
        assert noun in story.memo.lower()
        assert 2 <= story.memo.count(".") <= 4
        assert 2 <= story.note.count(".") <= 6
        assert not any(caption in story.note for caption in captions(story.scene)[2:])
    assert stories(3, 2) == stories(60, 2)[:3]


def test_library_is_written_once_and_the_same(tmp_path: Path) -> None:
    entries = write_library(tmp_path / "a", 7, 3, size=96)
    write_library(tmp_path / "b", 7, 3, size=96)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len([f for f in files if f.suffix == ".jpg"]) == 7
    assert len([f for f in files if f.suffix in (".txt", ".md")]) == 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    with Image.open(entries[0].picture) as image:
        assert image.size == (96, 96)
    note = entries[0].note
    assert note is not None
    assert entries[0].story.note in note.read_text(encoding="utf-8")
