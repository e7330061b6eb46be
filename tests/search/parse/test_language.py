"""The query language: what texts mean, and that every parsed query can be written again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.search.parse.language import (
    Alternatives,
    FieldValue,
    Item,
    Phrase,
    Word,
    parse,
    unparse,
)

PIECES = st.lists(
    st.sampled_from(
        ["beach", "-", '"', "“", "”", "„", "\\", "*", "(", ")", ":", "OR", " ", " ", "boat", "type",
         "image", "24", ">", "..", "é", "猫", "'", "http://", "C:\\", "_", "\n", "without", "like"]
    ),
    max_size=14,
).map("".join)  # fmt: skip
TEXTS = st.text(max_size=30) | PIECES

WORD_TEXT = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=8)
FIELDS = st.sampled_from(["type", "tag", "taken_at", "exif.iso", "größe"])
SIMPLE = (
    WORD_TEXT.map(Word)
    | st.sampled_from([Word("boat", prefix=True), Word("boat", excluded=True)])
    | st.builds(Phrase, WORD_TEXT, st.booleans())
    | st.builds(FieldValue, FIELDS, st.sampled_from(["image", ">1000", "2..5", "a*"]))
    | st.builds(FieldValue, FIELDS, WORD_TEXT, st.just(True), st.booleans())
)
JOINED = st.lists(SIMPLE.filter(lambda item: not item.excluded), min_size=2, max_size=4).map(
    lambda items: Alternatives(tuple(items))
)
ITEMS = st.lists(SIMPLE | JOINED, max_size=5)


@settings(max_examples=1500, deadline=None)
@given(TEXTS)
def test_what_was_parsed_can_be_written_and_read_again(text: str) -> None:
    """Whatever is typed: there is no wrong query, and its canonical text means the same."""
    items = parse(text)
    assert parse(unparse(items)) == items
    assert unparse(parse(unparse(items))) == unparse(items)


@settings(max_examples=1000, deadline=None)
@given(ITEMS)
def test_every_query_can_be_written(items: list[Item]) -> None:
    """Words with any signs in them, phrases, filters and alternatives, each with a text."""
    assert parse(unparse(items)) == tuple(items)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a red boat", [Word("a"), Word("red"), Word("boat")]),
        ('the "red boat"', [Word("the"), Phrase("red boat")]),
        ("„rotes Boot“", [Phrase("rotes Boot")]),
        ("-people -\"palm trees\"", [Word("people", excluded=True), Phrase("palm trees", True)]),
        ("invoi*", [Word("invoi", prefix=True)]),
        ("a boat OR ship here",
         [Word("a"), Alternatives((Word("boat"), Word("ship"))), Word("here")]),
        ('(boat OR "old ship" OR barg*)',
         [Alternatives((Word("boat"), Phrase("old ship"), Word("barg", prefix=True)))]),
        ("-(boat OR ship)", [Alternatives((Word("boat"), Word("ship")), excluded=True)]),
        ("type:image -tag:beach width:>1000",
         [FieldValue("type", "image"), FieldValue("tag", "beach", excluded=True),
          FieldValue("width", ">1000")]),
        ('camera:"Canon EOS"', [FieldValue("camera", "Canon EOS", quoted=True)]),
        ("type:image OR type:video",
         [Alternatives((FieldValue("type", "image"), FieldValue("type", "video")))]),
        (r'\-people \"x\" \OR type\:image boat\* \(a',
         [Word("-people"), Word('"x"'), Word("OR"), Word("type:image"), Word("boat*"), Word("(a")]),
        (r'"say \"hi\""', [Phrase('say "hi"')]),
    ],
)  # fmt: skip
def test_syntax(text: str, items: list[Item]) -> None:
    """Each construct of the language."""
    assert parse(text) == tuple(items)


@pytest.mark.parametrize(
    "text",
    ["-24 degrees", "- fast -", "12:30", "16:9", ":) :-(", "f(x) (c)", "(a dog)", 'say "hello',
     '27" screen', "OR", "a* --size", "2^8 is 256", "🏖️ 100%", "note: milk", r"\\server\a\b.jpg",
     '""', "t-shirt", "or and AND"],
)  # fmt: skip
def test_text_without_syntax_is_words(text: str) -> None:
    """Sentences, times, ratios, smileys, lone signs: every word as it stands."""
    assert parse(text) == tuple(Word(word) for word in text.split())


def test_addresses_and_paths_keep_their_text() -> None:
    """They have the form of a field and a value; no field has such a name."""
    assert parse("http://example.com/a?b=-c") == (FieldValue("http", "//example.com/a?b=-c"),)
    assert parse(r"C:\x\y.jpg") == (FieldValue("C", r"\x\y.jpg"),)
