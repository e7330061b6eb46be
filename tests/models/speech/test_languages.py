"""Runs of one language in a recording."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mmsearch.models.speech.cepstrum import SPEECH_RATE
from mmsearch.models.speech.languages import LanguageRun, Span, language_runs, redetected
from mmsearch.types import Samples

LEVELS = {0.1: ("en", 0.95), 0.2: ("de", 0.95), 0.3: ("fr", 0.6), 0.4: ("is", 0.3)}


class Ear:
    """Hears the language in the level; of a mixture the first, and not surely."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, speech: Samples) -> tuple[str, float]:
        self.calls += 1
        levels = [round(float(level), 1) for level in np.unique(speech)]
        language, sure = LEVELS[levels[0]]
        return language, sure if len(levels) == 1 else 0.5


def recording(*stretches: tuple[float, float, float]) -> tuple[Samples, list[Span]]:
    """Stretches of (start, end, level) in silence."""
    end = max(end for _, end, _ in stretches)
    samples = np.zeros(int((end + 1) * SPEECH_RATE), np.float32)
    for start, stop, level in stretches:
        samples[int(start * SPEECH_RATE) : int(stop * SPEECH_RATE)] = level
    return samples, [(int(a * SPEECH_RATE), int(b * SPEECH_RATE)) for a, b, _ in stretches]


def heard(*stretches: tuple[float, float, float], each: bool = True) -> list[tuple[float, str]]:
    samples, speech = recording(*stretches)
    runs = language_runs(samples, speech, Ear(), each=each)
    assert runs[0].start == 0
    assert runs[-1].end == len(samples)
    assert all(a.end == b.start for a, b in itertools.pairwise(runs))
    return [(run.end / SPEECH_RATE, run.language) for run in runs]


def test_each_stretch_is_detected_once() -> None:
    stretches = [(at, at + 4.0, 0.1) for at in np.arange(0, 60, 5.0)]
    samples, speech = recording(*stretches)
    ear = Ear()
    assert [r.language for r in language_runs(samples, speech, ear, each=True)] == ["en"]
    assert ear.calls == len(stretches)


@pytest.mark.parametrize("pause", [0.6, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("seconds", [2.0, 4.0, 9.0])
def test_languages_take_turns(seconds: float, pause: float) -> None:
    """A confident answer for several stretches together is not trusted: they may differ."""
    at = np.arange(0, 6) * (seconds + pause)
    stretches = [(a, a + seconds, 0.1 + 0.1 * (n % 2)) for n, a in enumerate(at.tolist())]
    samples, speech = recording(*stretches)

    def first_and_sure(part: Samples) -> tuple[str, float]:
        return LEVELS[round(float(part[0]), 1)][0], 0.95

    runs = language_runs(samples, speech, first_and_sure, each=True)
    assert [run.language for run in runs] == ["en", "de"] * 3
    for run, (start, end, _) in zip(runs, stretches, strict=True):
        assert run.start / SPEECH_RATE <= start
        assert run.end / SPEECH_RATE >= end


def test_short_stretches_take_the_language_of_the_nearest() -> None:
    """Not of the one before: "Yes. Guten Morgen, meine Damen ..." after a pause is German."""
    assert heard((0, 5, 0.1), (8, 9, 0.1), (9.5, 15, 0.2)) == [(6.5, "en"), (16, "de")]
    assert heard((0, 5, 0.1), (5.6, 6.6, 0.2), (9, 15, 0.2)) == [(7.8, "en"), (16, "de")]


def test_short_stretches_between_pauses_are_detected_together() -> None:
    stretches = ((0, 5, 0.1), (8, 9.5, 0.2), (10, 11.5, 0.2), (14, 20, 0.1))
    assert heard(*stretches) == [(6.5, "en"), (12.75, "de"), (21, "en")]


def test_redetection_needs_enough_speech() -> None:
    run = LanguageRun(0, 3 * SPEECH_RATE, "en", 0.9)
    german = np.full(3 * SPEECH_RATE, 0.2, np.float32)
    unsure = np.full(3 * SPEECH_RATE, 0.4, np.float32)
    assert redetected(german, run, Ear()) == replace(run, language="de", probability=0.95)
    assert redetected(unsure, run, Ear()) == run
    short = replace(run, end=SPEECH_RATE)
    assert redetected(german, short, Ear()) == short


def test_the_cut_lies_in_the_pause() -> None:
    assert heard((0, 12, 0.1), (15, 30, 0.2)) == [(13.5, "en"), (31, "de")]


def test_a_mixed_group_is_taken_apart() -> None:
    """No pause is long enough to tell where the language changes."""
    assert heard((0, 5, 0.1), (5.5, 10, 0.2), (10.5, 16, 0.1)) == [
        (5.25, "en"), (10.25, "de"), (17, "en"),
    ]  # fmt: skip


def test_what_is_not_sure_goes_with_its_neighbours() -> None:
    assert heard((0, 12, 0.1), (15, 19, 0.4), (22, 34, 0.1)) == [(35, "en")]
    assert heard((0, 12, 0.1), (15, 26, 0.3), (29, 41, 0.1)) == [(42, "en")]
    assert heard((0, 12, 0.1), (12.3, 13, 0.2)) == [(14, "en")]


def test_only_something_uncertain_is_still_something() -> None:
    assert heard((0, 1, 0.4)) == [(2, "is")]
    assert heard((0, 1, 0.4), (1.2, 1.9, 0.3)) == [(2.9, "fr")]


def test_the_beginning_may_decide() -> None:
    assert heard((0, 12, 0.1), (15, 30, 0.2), each=False) == [(31, "en")]


@pytest.mark.parametrize("each", [True, False])
def test_nothing_said_is_in_no_language(each: bool) -> None:
    assert language_runs(np.zeros(SPEECH_RATE, np.float32), [], Ear(), each=each) == []


def test_a_long_stretch_is_shown_in_parts() -> None:
    samples, speech = recording((0, 95, 0.1))
    longest: list[int] = []

    def ear(part: Samples) -> tuple[str, float]:
        longest.append(len(part))
        return "en", 0.9

    language_runs(samples, speech, ear, each=True)
    assert max(longest) <= 30 * SPEECH_RATE
    assert len(longest) == 4
