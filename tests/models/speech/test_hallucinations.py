"""What Whisper made up is told from what was said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmsearch.models.speech.hallucinations import (
    Rules,
    hallucination,
    loops,
    without_hallucinations,
)
from mmsearch.types import Utterance

LONG = "We meet at the old station by the river before the train leaves."
SURE = Utterance(0.0, 3.0, "We meet at the station.", avg_logprob=-0.2, no_speech_prob=0.05)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"text": " ...  "}, "empty"),
        ({"text": "♪♪"}, "empty"),
        ({"compression_ratio": 2.5}, "repeats"),
        ({"text": "no no no no no no no"}, "repeats"),
        ({"no_speech_prob": 0.7, "avg_logprob": -1.1}, "no speech"),
        ({"no_speech_prob": 0.7, "avg_logprob": -0.5}, None),
        ({"no_speech_prob": 0.3, "avg_logprob": -1.4}, None),
        ({"text": "Untertitel der Amara.org-Community"}, "boilerplate"),
        ({"text": "字幕由 Amara.org 社区提供"}, "boilerplate"),
        ({"text": "Thank you.", "no_speech_prob": 0.4}, "boilerplate"),
        ({"text": "Thank you.", "avg_logprob": -0.8}, "boilerplate"),
        ({"text": "Thank you."}, None),
        ({"text": "Thank you for the tickets.", "no_speech_prob": 0.4}, None),
        ({"text": LONG, "end": 0.3, "avg_logprob": -0.9}, "too fast"),
        ({"text": LONG, "end": 0.3}, None),
    ],
)
def test_hallucinations(changes: dict[str, object], why: str | None) -> None:
    assert hallucination(replace(SURE, **changes), Rules()) == why  # type: ignore[arg-type]


STOCK = [
    "Please subscribe!",
    "Thanks for watching. Please like, share and subscribe.",
    "Thank you. Bye-bye.",
    "Don\u2019t forget to like and subscribe.",
    "Danke f\u00fcrs Zuschauen!",
    "Merci d'avoir regard\u00e9 cette vid\u00e9o !",
    "\u00a1Suscr\u00edbete al canal!",
    "Спасибо за просмотр.",
    "\u8c22\u8c22\u89c2\u770b\u3002\u8bf7\u8ba2\u9605\u3002",
]


@pytest.mark.parametrize("text", STOCK)
def test_stock_phrases_are_dropped_if_the_model_is_uncertain(text: str) -> None:
    assert hallucination(replace(SURE, text=text), Rules()) is None
    assert hallucination(replace(SURE, text=text, no_speech_prob=0.4), Rules()) == "boilerplate"
    assert hallucination(replace(SURE, text=text, avg_logprob=-0.8), Rules()) == "boilerplate"


@pytest.mark.parametrize(
    "text",
    [
        "Thank you. The meeting is closed.",
        "Thank you, Anna, for the tickets.",
        "They asked us to like and subscribe, which we refused.",
        "Please subscribe to the newspaper before Monday.",
        "Bye, Johanna.",
        "Vielen Dank, dass Sie gekommen sind.",
        "Amara wrote the subtitles.",
    ],
)
def test_longer_utterances_with_stock_phrases_stay(text: str) -> None:
    unsure = replace(SURE, text=text, no_speech_prob=0.4, avg_logprob=-0.8)
    assert hallucination(unsure, Rules()) is None


@pytest.mark.parametrize(
    "text",
    [
        "Subtitles by the Amara.org community",
        "Untertitel von Stephanie Geiges",
        "Napisy: spo\u0142eczno\u015b\u0107 Amara.org",
        "Sottotitoli a cura di QTSS",
        "Субтитры создавал DimaTorzok",
    ],
)
def test_credits_of_subtitles_are_always_dropped(text: str) -> None:
    assert hallucination(replace(SURE, text=text), Rules()) == "boilerplate"


def test_a_model_may_have_a_floor_of_its_own() -> None:
    low = replace(SURE, avg_logprob=-0.9)
    assert hallucination(low, Rules()) is None
    assert hallucination(low, Rules(floor_logprob=-0.8)) == "improbable"


@pytest.mark.parametrize(
    "text",
    [
        "ha ha ha ha ha ha ha ha",
        "I don't know. I don't know. I don't know. I don't know. I don't know.",
        "So the the the the the the the the the",
        "谢谢谢谢谢谢谢谢谢谢谢谢谢谢谢谢谢谢",
        "one two three four " * 5,
    ],
)
def test_loops(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    [
        "No, no, no.",
        "Row, row, row your boat gently down the stream.",
        "The cat and the dog and the bird and the fish went to the market and to the sea.",
        "It was the best of times, it was the worst of times, it was the age of wisdom.",
        "今天天气很好，我们一起去公园散步吧，晚上再回家吃饭。",
        "",
    ],
)
def test_what_only_sounds_like_a_loop(text: str) -> None:
    assert not loops(text)


def test_an_echo_is_kept_once() -> None:
    """The same sentence three times running is Whisper stuck; twice, it is said twice."""
    said = [replace(SURE, start=float(i), text=t) for i, t in enumerate("AABBBCA")]
    assert [one.text for one in without_hallucinations(said, Rules())] == list("AABCA")
    assert without_hallucinations([], Rules()) == []
