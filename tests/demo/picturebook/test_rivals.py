"""Galleries of rivals: one picture is right, the others nearly so."""

from __future__ import annotations

from mmsearch.demo.picturebook.rivals import gallery, true_of


def test_a_caption_is_true_of_its_picture_and_of_no_rival() -> None:
    """The target comes first in its own group; every rival has the same things in it."""
    scenes, asked = gallery(12, seed=3)
    assert len({text for text, _ in asked}) == 12
    assert len(scenes) > 30
    starts = [target for _, target in asked]
    for number, (text, target) in enumerate(asked):
        end = starts[number + 1] if number + 1 < len(starts) else len(scenes)
        assert true_of(scenes[target], text)
        for rival in scenes[target + 1 : end]:
            assert not true_of(rival, text)
            kinds = sorted(item.kind for item in rival.items)
            assert kinds == sorted(item.kind for item in scenes[target].items)


def test_galleries_are_the_same_every_time() -> None:
    """A longer one begins with the shorter one's captions."""
    assert gallery(3, seed=8) == gallery(3, seed=8)
    assert [text for text, _ in gallery(6, 8)[1]][:3] == [text for text, _ in gallery(3, 8)[1]]
