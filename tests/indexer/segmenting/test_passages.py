"""Passages and sentences: whole, within the limit, and exactly where they say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from indexer.segmenting.passages import image_segment, passages, speech_segments
from mmsearch.types import Modality, SegmentDraft, Transcript, Utterance, Word


def words(texts: Sequence[str]) -> list[int]:
    """Two special tokens, and one for each word of up to eight letters."""
    return [2 + sum(1 + (len(word) - 1) // 8 for word in text.split()) for text in texts]


def characters(texts: Sequence[str]) -> list[int]:
    return [2 + len(text) for text in texts]


def checked(text: str, found: Sequence[SegmentDraft]) -> list[str]:
    """The passages' texts; nothing of the text but space lies outside of them."""
    position = 0
    for passage in found:
        start, end = passage.place.char_start, passage.place.char_end
        assert start is not None
        assert end is not None
        assert text[start:end] == passage.text
        assert not text[position:start].strip()
        position = end
        assert passage.modality is Modality.TEXT
    assert not text[position:].strip()
    return [passage.text or "" for passage in found]


def test_sentences_are_packed_whole() -> None:
    text = "One two three. Four five six? Seven eight nine! Ten eleven twelve."
    assert checked(text, passages(text, words, 8)) == [
        "One two three. Four five six?",
        "Seven eight nine! Ten eleven twelve.",
    ]


@pytest.mark.parametrize("text", ["", " \n\t ", "\n\n\n"])
def test_blank_text_has_no_passages(text: str) -> None:
    assert passages(text, words, 10) == []


@pytest.mark.parametrize(
    "text",
    [
        "Dr. No met J. S. Bach at 5 p.m. yesterday, e.g. by chance.",
        "It costs 3.50 in the U.S. today.",
        "Das gilt z. B. für Prof. Meier und seine Nr. 5 im Haus.",
    ],
)
def test_abbreviations_end_no_sentence(text: str) -> None:
    limit = words([text])[0]
    assert checked(text + " Next one.", passages(text + " Next one.", words, limit))[0] == text


def test_headings_begin_passages_and_paragraphs_stay_apart() -> None:
    text = (
        "# First\nShort text.\n\n## Second\n\nOne.\n\nTwo.\n\n"
        + "This paragraph is long enough to stand by itself, all of it. " * 2
        + "\n\nThird\n=====\nThe end."
    )
    assert checked(text, passages(text, words, 30)) == [
        "# First\nShort text.",
        "## Second\n\nOne.\n\nTwo.",
        ("This paragraph is long enough to stand by itself, all of it. " * 2).strip(),
        "Third\n=====\nThe end.",
    ]


def test_an_overlong_sentence_is_split_at_its_clauses() -> None:
    text = "a b c d e f, g h i j k l, m n o p q r, s t u v w x"
    parts = checked(text, passages(text, words, 15))
    assert all(part.endswith(",") for part in parts[:-1])
    assert all(count <= 15 for count in words(parts))


def test_languages_without_spaces() -> None:
    text = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 3
    parts = checked(text, passages(text, characters, 40))
    assert all(part.endswith("。") for part in parts)
    assert all(count <= 40 for count in characters(parts))
    thai = "ภาษาไทยไม่มีช่องว่างระหว่างคำ" * 20
    assert all(count <= 50 for count in characters(checked(thai, passages(thai, characters, 50))))


def test_any_text_at_all() -> None:
    numbers = random.Random(0)
    alphabet = "ab ab .,\n\n#=-é\u0301中。\u200d👍🏽12"
    for _ in range(500):
        text = "".join(numbers.choice(alphabet) for _ in range(numbers.randrange(300)))
        limit = numbers.choice([3, 5, 10, 50])
        for part in checked(text, passages(text, characters, limit)):
            assert characters([part])[0] <= limit or len(part) == 1


def test_a_token_count_that_does_not_add_up() -> None:
    """Joined, the sentences have more tokens than apart: the limit holds all the same."""

    def growing(texts: Sequence[str]) -> list[int]:
        return [2 + len(text.split()) + text.count(".") ** 2 for text in texts]

    text = "One two three. " * 50
    assert max(growing(checked(text, passages(text, growing, 30)))) <= 30


def test_tokens_are_counted_in_few_calls() -> None:
    calls = []

    def counted(texts: Sequence[str]) -> list[int]:
        calls.append(len(texts))
        return words(texts)

    text = "\n\n".join("Some words make a sentence here. " * 20 for _ in range(50))
    checked(text, passages(text, counted, 60))
    assert len(calls) <= 6
    calls.clear()
    line = "word " * 50_000
    checked(line, passages(line, counted, 60))
    assert len(calls) <= 12


def test_a_real_text(data: Path) -> None:
    text = (data / "documents/sonnet_001.txt").read_text("utf-8")
    parts = checked(text, passages(text, words, 60))
    assert len(parts) >= 2
    assert all(count <= 60 for count in words(parts))


# ------------------------------------------------------------------ speech


def transcript(*utterances: Utterance) -> Transcript:
    return Transcript("en", 0.9, utterances)


def test_a_hit_is_a_sentence_at_its_second() -> None:
    spoken = transcript(
        Utterance(0.0, 2.0, " And so, my fellow", (Word(" And", 0.0, 0.4, 0.9),)),
        Utterance(2.1, 4.0, " Americans."),
        Utterance(4.2, 7.0, " Ask not what your country can do."),
        Utterance(7.0, 7.1, "  "),
        Utterance(30.0, 33.0, " Thank you."),
    )
    found = speech_segments(spoken, 1200.0)
    assert [(s.text, s.place.start, s.place.end) for s in found] == [
        ("And so, my fellow Americans.", 1200.0, 1204.0),
        ("Ask not what your country can do.", 1204.2, 1207.0),
        ("Thank you.", 1230.0, 1233.0),
    ]
    assert all(segment.modality is Modality.SPEECH for segment in found)
    assert found[0].metadata == {"language": "en", "words": [["And", 1200.0, 1200.4]]}


def test_joining_has_an_end() -> None:
    spoken = transcript(*(Utterance(5.0 * n, 5.0 * n + 5, "on and on") for n in range(20)))
    found = speech_segments(spoken, 0.0)
    assert len(found) == 10
    assert all((s.place.end or 0) - (s.place.start or 0) <= 12 for s in found)


def test_silence_has_no_segments() -> None:
    assert speech_segments(Transcript(None, 0.0, ()), 0.0) == []


def test_a_picture_is_one_segment() -> None:
    assert image_segment() == SegmentDraft(Modality.IMAGE)
