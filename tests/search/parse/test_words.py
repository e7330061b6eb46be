"""What the texts of the query language mean to full text and to the embedders."""

from __future__ import annotations

import pytest

from mmsearch.search.parse.words import parse_words, units_of
from mmsearch.types import WordUnit


def shown(unit: WordUnit) -> str:
    return "|".join(" ".join(one.tokens) + ("*" if one.prefix else "") for one in unit.each())


@pytest.mark.parametrize(
    ("text", "plain", "units", "required", "excluded"),
    [
        ("a red boat", "a red boat", ["a", "red", "boat"], [], []),
        ('the "red boat" at sea', "the red boat at sea", ["red boat", "the", "at", "sea"],
         ["red boat"], []),
        ("“Red Boat”", "Red Boat", ["red boat"], ["red boat"], []),
        ("boat* at sea", "boat at sea", ["boat*", "at", "sea"], [], []),
        ("beach -people", "beach", ["beach"], [], ["people"]),
        ('plan -"first draft" -old*', "plan", ["plan"], [], ["first draft", "old*"]),
        ("invoice-4711 IMG4711", "invoice-4711 IMG4711", ["invoice 4711", "img 4711"], [], []),
        ("John's l'eau", "John's l'eau", ["john", "eau"], [], []),
        ("東京都 猫", "東京都 猫", ["東京", "京都", "猫*"], [], []),
        ('"東京 tower"', "東京 tower", ["東京 京 tower"], ["東京 京 tower"], []),
        ('"東京都"', "東京都", ["東京 京都"], ["東京 京都"], []),
        # No syntax where it makes no sense.
        ("-people", "-people", ["people"], [], []),
        ('27" screen', '27" screen', ["27", "screen"], [], []),
        ('say "hello', 'say "hello', ["say", "hello"], [], []),
        ('"" ** - "?!"', '"" ** - "?!"', [], [], []),
        ("a* b", "a* b", ["a", "b"], [], []),
        ("e-mail -", "e-mail -", ["e mail"], [], []),
        ("NEAR(a, b) ^d {e}", "NEAR(a, b) ^d {e}", ["near a", "b", "d", "e"], [], []),
        ("-24 degrees at 12:30", "-24 degrees at 12:30", ["24", "degrees", "at", "12 30"], [], []),
        # Alternatives are one unit, and their words are embedded side by side.
        ("old boat OR ship*", "old boat ship", ["old", "boat|ship*"], [], []),
        ('("red boat" OR "blue boat") here', "red boat blue boat here",
         ["red boat|blue boat", "here"], ["red boat|blue boat"], []),
        ("sea -(people OR dogs)", "sea", ["sea"], [], ["people", "dogs"]),
        ("words:c OR d", "words:c d", ["words c|d"], [], []),
        (r"sea \-people boat\* \"a", 'sea -people boat* "a',
         ["sea", "people", "boat", "a"], [], []),
        ("see http://example.com/secret.txt", "see http://example.com/secret.txt",
         ["see", "http example com secret txt"], [], []),
    ],
)  # fmt: skip
def test_reading(
    text: str, plain: str, units: list[str], required: list[str], excluded: list[str]
) -> None:
    """Quotes, stars and minus signs mean what the module says; all else is words."""
    words = parse_words(text)
    assert words.plain == plain
    assert [shown(one) for one in words.units] == units
    assert [shown(one) for one in words.required] == required
    assert [shown(one) for one in words.excluded] == excluded


def test_words_that_were_heard_have_no_syntax() -> None:
    """What a recogniser wrote is taken as it is."""
    assert [shown(one) for one in units_of('minus -one "two" thr*')] == [
        *("minus", "one", "two", "thr")
    ]


def test_weights_go_with_the_words() -> None:
    assert {unit.weight for unit in parse_words('a "b c"', 0.5).units} == {0.5}
