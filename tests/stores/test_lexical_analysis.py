"""Text has the same tokens on every database, and each token has its place in the text."""

from __future__ import annotations

import pytest

from mmsearch.stores.lexical.analysis import (
    BREAK,
    name_tokens,
    tokens,
    tokens_with_places,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ångström ANGSTROM angstrom", ["angstrom"] * 3),
        ("Straße Łódź Ærø", ["strasse", "lodz", "aero"]),
        ("cafe\u0301s cafés", ["cafes", "cafes"]),
        ("Invoice 4711, IMG4711", ["invoice", "4711", "img", "4711"]),
        ("Ａｂｃ１２３ ٤٧", ["abc", "123", "47"]),
        ("東京都", ["東京", "京都", "都"]),
        ("猫", ["猫"]),
        ("か\u3099く", ["がく", "く"]),
        ("ภาษา", ["ภา", "าษ", "ษา", "า"]),
        ("한국", ["한국", "국"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("مُحَمَّد محمد", ["محمد", "محمد"]),
        ("Ёлка", ["елка"]),
        ("foo_bar-baz.qux", ["foo", "bar", "baz", "qux"]),
        ("🎉 ¦ '\" * :", []),
        ("x" * 100, ["x" * 64]),
    ],
)
def test_variants_of_a_word_become_one_token(text: str, expected: list[str]) -> None:
    """Case, accents, width, digits of other scripts; scripts without spaces go in pairs."""
    assert tokens(text) == expected
    assert [token for token, _, _ in tokens_with_places(text)] == expected


def test_places_lead_back_to_the_text_as_it_was() -> None:
    """Places refer to the original text, even where folding changes its length."""
    text = "Die STRAẞE in 東京: cafe\u0301 ½"
    shown = [(token, text[start:end]) for token, start, end in tokens_with_places(text)]
    assert shown == [
        ("die", "Die"),
        ("strasse", "STRAẞE"),
        ("in", "in"),
        ("東京", "東京"),
        ("京", "京"),
        ("cafe", "cafe\u0301"),
        ("1", "½"),
        ("2", "½"),
    ]


def test_names_are_found_in_parts_and_whole() -> None:
    """Split at capitals, digits and signs; the folder and the title are included."""
    named = name_tokens(
        r"/home/ann/Trip-Rome/HolidayPhotoXML_01.jpg", {"title": "Forum", "tags": ["old stones"]}
    )
    assert named == [
        *("holiday", "photo", "xml", "01", "jpg", BREAK, "holidayphotoxml", BREAK),
        *("trip", "rome", BREAK),
        *("forum", BREAK, "old", "stones", BREAK),
    ]
    assert name_tokens("C:\\scans\\Rechnung.pdf", {})[:2] == ["rechnung", "pdf"]
