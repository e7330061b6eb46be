"""Runs of one language in a recording."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmsearch.models.speech.cepstrum import SPEECH_RATE
from mmsearch.models.speech.languages import Span, language_runs
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


def test_one_language_is_one_run_and_asked_for_rarely() -> None:
    stretches = [(at, at + 4.0, 0.1) for at in np.arange(0, 60, 5.0)]
    samples, speech = recording(*stretches)
    ear = Ear()
    assert [r.language for r in language_runs(samples, speech, ear, each=True)] == ["en"]
    assert ear.calls <= 5


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
