"""Voices are told apart: by clustering of real (synthetic) speech, and through pyannote's API."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mmsearch.errors import MissingDependencyError
from mmsearch.media.formats.audio import decode
from mmsearch.models.runtime import Runtime
from mmsearch.models.speech.speakers import pyannote
from mmsearch.models.speech.speakers.clustering import ClusteringDiariser
from mmsearch.models.speech.speakers.pyannote import PyannoteDiariser
from mmsearch.protocols import Diariser
from mmsearch.types import Samples, Turn

RATE = 16_000
SENTENCES = (
    "The train to the coast leaves at nine in the morning from the old station.",
    "I have packed two sandwiches, a map, and a warm jacket for the evening.",
    "Please ask your sister whether she can bring the red umbrella as well.",
    "There will be rain on Sunday, but the weather should be fine until then.",
)
espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")


def speak(folder: Path, text: str, voice: str) -> Samples:
    file = folder / "said.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-w", str(file), text], check=True)
    return decode(file).samples * np.float32(0.6)


def conversation(folder: Path, *voices: str) -> tuple[Samples, list[Turn]]:
    """The voices take turns; half a second lies between them."""
    pause = np.zeros(RATE // 2, np.float32)
    pieces: list[Samples] = [pause]
    truth: list[Turn] = []
    for number, sentence in enumerate(SENTENCES * 2):
        start = sum(map(len, pieces)) / RATE
        said = speak(folder, sentence, voices[number % len(voices)])
        truth.append(Turn(start, start + len(said) / RATE, number % len(voices) + 1))
        pieces += [said, pause]
    return np.concatenate(pieces), truth


def right(found: tuple[Turn, ...], truth: list[Turn]) -> float:
    """Share of the found seconds that have the right speaker."""
    agreed = sum(
        max(0.0, min(a.end, b.end) - max(a.start, b.start))
        for a in found
        for b in truth
        if a.speaker == b.speaker
    )
    return agreed / sum(turn.end - turn.start for turn in found)


@espeak
def test_two_voices_in_turn(tmp_path: Path) -> None:
    samples, truth = conversation(tmp_path, "en-us", "en-us+f2")
    found = ClusteringDiariser().begin().turns(samples)
    assert {turn.speaker for turn in found} == {1, 2}
    assert right(found, truth) > 0.95
    assert sum(t.end - t.start for t in found) > 0.8 * sum(t.end - t.start for t in truth)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


@espeak
def test_one_voice_is_one_speaker_and_keeps_its_number(tmp_path: Path) -> None:
    """Also in the next stretch of a long recording, where another one joins it."""
    alone, _ = conversation(tmp_path, "en-us")
    both, truth = conversation(tmp_path, "en-us+f2", "en-us")
    tracker = ClusteringDiariser().begin()
    assert {turn.speaker for turn in tracker.turns(alone)} == {1}
    swapped = [Turn(turn.start, turn.end, 3 - turn.speaker) for turn in truth]
    assert right(tracker.turns(both), swapped) > 0.9


def test_silence_and_noise_have_no_speakers() -> None:
    noise = np.random.default_rng(1).standard_normal(5 * RATE).astype(np.float32) * 0.05
    tracker = ClusteringDiariser().begin()
    assert tracker.turns(np.zeros(5 * RATE, np.float32)) == ()
    assert tracker.turns(noise) == ()
    assert tracker.turns(np.zeros(0, np.float32)) == ()
    assert isinstance(ClusteringDiariser(), Diariser)


def test_real_recordings_of_one_person_have_one_speaker(data: Path) -> None:
    for name in ("LJ001-0001.wav", "jfk.wav"):
        found = ClusteringDiariser().begin().turns(decode(data / "audio" / name).samples)
        assert {turn.speaker for turn in found} == {1}, name


# ------------------------------------------------------------------ pyannote


class Annotation:
    def __init__(self, tracks: list[tuple[float, float, str]]) -> None:
        self.tracks = tracks

    def itertracks(self, yield_label: bool) -> Iterator[tuple[Any, str, str]]:
        assert yield_label
        for start, end, label in self.tracks:
            yield types.SimpleNamespace(start=start, end=end), "A", label

    def labels(self) -> list[str]:
        return sorted({label for _, _, label in self.tracks})


class Pipeline:
    """Answers as pyannote.audio 4 does: an annotation and an embedding per label."""

    answers: ClassVar[list[Any]] = []

    @classmethod
    def from_pretrained(cls, name: str) -> Pipeline:
        return cls()

    def to(self, device: Any) -> None:
        self.device = device

    def __call__(self, given: dict[str, Any]) -> Any:
        assert given["sample_rate"] == RATE
        assert tuple(given["waveform"].shape) == (1, RATE)
        return self.answers.pop(0)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> type[Pipeline]:
    monkeypatch.setitem(sys.modules, "pyannote", types.ModuleType("pyannote"))
    module = types.ModuleType("pyannote.audio")
    module.Pipeline = Pipeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyannote.audio", module)
    return Pipeline


def test_pyannotes_labels_become_numbers_in_the_order_of_speaking(
    pipeline: type[Pipeline],
) -> None:
    """And a voice keeps its number in the next stretch, by its embedding."""
    one, two = [1.0, 0.0], [0.0, 1.0]
    answer = types.SimpleNamespace
    pipeline.answers = [
        answer(
            speaker_diarization=Annotation([(0.0, 0.4, "B"), (0.3, 0.6, "A"), (0.7, 0.9, "B")]),
            speaker_embeddings=np.array([two, one]),
        ),
        answer(
            speaker_diarization=Annotation([(0.1, 0.5, "A"), (0.5, 0.9, "B")]),
            speaker_embeddings=np.array([two, [0.9, 0.1]]),
        ),
        Annotation([(0.0, 0.5, "A")]),
    ]
    tracker = PyannoteDiariser("org/model", runtime=Runtime(device="cpu")).begin()
    samples = np.zeros(RATE, np.float32)
    assert tracker.turns(samples) == (Turn(0.0, 0.4, 1), Turn(0.4, 0.6, 2), Turn(0.7, 0.9, 1))
    assert tracker.turns(samples) == (Turn(0.1, 0.5, 2), Turn(0.5, 0.9, 1))
    # pyannote.audio 3 gives no embeddings with the annotation: a new number is the honest one.
    assert tracker.turns(samples) == (Turn(0.0, 0.5, 3),)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyannote.audio", None)
    with pytest.raises(MissingDependencyError, match=r"mmsearch\[pyannote\]"):
        PyannoteDiariser("org/model").begin()
    assert pyannote.PyannoteDiariser("a").fingerprint != PyannoteDiariser("b").fingerprint
