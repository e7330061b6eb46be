"""Recognised stretches are cut where another voice goes on."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from indexer.runs import index_into
from indexer.segmenting.passages import speech_segments
from indexer.segmenting.speakers import with_speakers
from mmsearch.testing import FakeTranscriber
from mmsearch.types import Samples, Transcript, Turn, Utterance, Word
from tests.support.audio import silence, tone, wav
from tests.support.fakes import open_fake


def said(text: str, start: float, step: float = 0.5) -> Utterance:
    words = tuple(
        Word(word, start + i * step, start + (i + 1) * step, 0.9)
        for i, word in enumerate(text.split())
    )
    return Utterance(start, words[-1].end, text, words)


def parts(utterance: Utterance, *turns: Turn) -> list[tuple[int | None, str]]:
    return [(one.speaker, one.text) for one in with_speakers([utterance], turns)]


def test_a_stretch_of_two_voices_becomes_two() -> None:
    heard = said("are you coming yes I am coming", 0)
    turns = (Turn(0, 1.5, 1), Turn(1.5, 4, 2))
    assert parts(heard, *turns) == [(1, "are you coming"), (2, "yes I am coming")]
    first, second = with_speakers([heard], turns)
    assert (first.start, first.end, second.start, second.end) == (0, 1.5, 1.5, 3.5)
    assert [word.text for word in second.words] == ["yes", "I", "am", "coming"]


def test_a_slip_of_one_word_is_no_change() -> None:
    heard = said("we meet at the station", 0)
    assert parts(heard, Turn(0, 1, 1), Turn(1, 1.5, 2), Turn(1.5, 2.5, 1)) == [
        (1, "we meet at the station")
    ]
    assert parts(heard, Turn(0, 0.5, 1), Turn(0.5, 2.5, 2)) == [(2, "we meet at the station")]


def test_words_outside_of_all_turns_go_with_the_nearest() -> None:
    heard = said("well good evening all of you", 0)
    assert parts(heard, Turn(0.6, 1.4, 1), Turn(1.9, 2.8, 2)) == [
        (1, "well good evening"), (2, "all of you"),
    ]  # fmt: skip


def test_without_times_of_words_a_stretch_stays_whole() -> None:
    heard = Utterance(0, 4, "one two three")
    assert parts(heard, Turn(0, 1, 1), Turn(1, 4, 2)) == [(2, "one two three")]
    assert with_speakers([heard], ()) == [heard]


def test_no_word_is_lost_and_none_invented() -> None:
    draw = np.random.default_rng(3)
    for _ in range(50):
        heard = said(" ".join(f"w{i}" for i in range(draw.integers(1, 30))), 0, 0.3)
        edges = np.sort(draw.uniform(0, heard.end, 5))
        turns = [
            Turn(float(a), float(b), int(draw.integers(1, 4))) for a, b in itertools.pairwise(edges)
        ]
        told = with_speakers([heard], turns)
        assert [word for one in told for word in one.words] == list(heard.words)
        assert " ".join(one.text for one in told) == heard.text


def test_sentences_of_two_speakers_are_not_joined() -> None:
    one, two = said("and so", 0), said("we went", 1)
    told = with_speakers([one, two], [Turn(0, 1, 1), Turn(1, 2, 2)])
    segments = speech_segments(Transcript("en", 1.0, tuple(told)), 10)
    assert [(s.text, s.metadata["speaker"]) for s in segments] == [("and so", 1), ("we went", 2)]
    alone = speech_segments(Transcript("en", 1.0, (one, two)), 10)
    assert [s.text for s in alone] == ["and so we went"]


# ------------------------------------------------------------------ in a library


class Turns:
    """A diariser that hears speaker 1 in the first ten seconds."""

    fingerprint = "turns"
    weights = ""

    def begin(self) -> Turns:
        return self

    def turns(self, samples: Samples) -> tuple[Turn, ...]:
        return (Turn(0, 10, 1), Turn(10, len(samples) / 16_000, 2))

    def release(self) -> None:
        """There is nothing to free."""


def test_a_hit_tells_who_speaks_and_what_was_said_around(tmp_path: Path) -> None:
    lines = ("The ferry leaves at nine.", "Bring the blue tickets.", "We meet at the harbour.")
    pieces = [piece for _ in lines for piece in (tone(4, 500), silence(2))]
    (tmp_path / "call.wav").write_bytes(wav(*pieces))
    with open_fake(tmp_path / "library") as engine:
        models = engine.library.models("nano")
        models.__dict__["transcriber"] = FakeTranscriber(lines)
        models.__dict__["diariser"] = Turns()
        index_into(engine.library, [tmp_path / "call.wav"])
        hit = engine.search("blue tickets").hits[0]
        assert hit.context is not None
        assert (hit.context.before, hit.context.after) == (lines[0], lines[2])
        from mmsearch.search.parse.json_form import hit_to_json

        told = hit_to_json(hit)["segment"]
        assert told["context"] == {"before": lines[0], "after": lines[2]}
        assert (told["speaker"], told["language"]) == (1, "en")
        first = hit_to_json(engine.search("ferry").hits[0])["segment"]
        assert first["context"] == {"before": None, "after": lines[1]}
        last = hit_to_json(engine.search("harbour").hits[0])["segment"]
        assert last["speaker"] == 2
