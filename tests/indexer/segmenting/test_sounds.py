"""Sounds are split into windows, merged into spans, and found by words and by recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexer.runs import index_into
from indexer.segmenting.sounds import SoundSegmenter, SoundWindows
from mmsearch.errors import EmptyQueryError
from mmsearch.search.engine import SearchEngine
from mmsearch.testing import FakeSoundEmbedder, FakeTranscriber
from mmsearch.types import SOUND_RATE, Modality, Samples
from tests.support.audio import HIGH, LOW, silence, tone, wav
from tests.support.fakes import open_fake


def spans_of(
    samples: Samples, stretch: float = 60, longest: float = 60, starts_at: float = 0
) -> list[tuple[float, float]]:
    """(start, end) of the segments of a recording that comes in stretches."""
    embedder = FakeSoundEmbedder()
    windows = SoundWindows(embedder.window_seconds, starts_at=starts_at)
    segmenter = SoundSegmenter(similarity=0.85, longest_seconds=longest)
    step = round(stretch * SOUND_RATE)
    for first in range(0, len(samples), step):
        last = first + step >= len(samples)
        if loud := windows.add(samples[first : first + step], last=last):
            segmenter.add(loud, embedder.encode_sounds([window.samples for window in loud]))
    drafts, vectors = segmenter.segments()
    assert len(drafts) == len(vectors)
    assert all(draft.modality is Modality.SOUND for draft in drafts)
    if len(drafts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    return [(draft.place.start or 0, draft.place.end or 0) for draft in drafts]


def test_one_sound_is_one_span() -> None:
    assert spans_of(tone(37, LOW)) == [(0, 37)]
    assert spans_of(tone(3.2, LOW)) == [(0, 3.2)]
    assert spans_of(tone(10, LOW)) == [(0, 10)]


def test_another_sound_begins_another_span() -> None:
    both = np.concatenate([tone(20, LOW), tone(20, HIGH)])
    assert spans_of(both) == [(0, 20), (15, 25), (20, 40)]


@pytest.mark.parametrize("stretch", [3, 10, 17.3, 60])
def test_stretches_leave_no_trace(stretch: float) -> None:
    """However the recording comes, the windows are the same."""
    both = np.concatenate([tone(31, LOW), tone(21.7, HIGH)])
    assert spans_of(both, stretch) == spans_of(both, 1000)
    assert spans_of(both, stretch)[-1][1] == pytest.approx(52.7)


def test_a_span_has_its_longest_length() -> None:
    spans = spans_of(tone(100, LOW), longest=40)
    assert spans[0] == (0, 40)
    assert max(end - start for start, end in spans) <= 40
    assert spans[-1][1] == 100


def test_the_sound_of_a_film_may_begin_late() -> None:
    """The second of the film counts, not that of its sound track."""
    assert spans_of(tone(12, LOW), starts_at=1.5) == [(1.5, 13.5)]


def test_silence_has_no_sound() -> None:
    assert spans_of(silence(30)) == []
    assert spans_of(np.concatenate([silence(40), tone(10, LOW), silence(40)])) == [(35, 55)]
    assert spans_of(tone(30, LOW, level=1e-4)) == []


# ------------------------------------------------------------------ found in a library


@pytest.fixture
def engine(tmp_path: Path) -> SearchEngine:
    files = tmp_path / "files"
    files.mkdir()
    (files / "hum.wav").write_bytes(wav(tone(25, LOW), tone(30, HIGH)))
    (files / "whistle.wav").write_bytes(wav(tone(12, HIGH)))
    (files / "note.txt").write_text("A low note about nothing.")
    engine = open_fake(tmp_path / "library", sounds=True)
    index_into(engine.library, [files])
    return engine


def test_words_find_the_place_of_a_sound(engine: SearchEngine) -> None:
    with engine:
        hits = engine.search("a low hum", modality="sound").hits
        assert Path(hits[0].source.path).name == "hum.wav"
        assert hits[0].segment.modality is Modality.SOUND
        assert (hits[0].segment.place.start, hits[0].segment.place.end) == (0, 25)
        assert "sound:sound" in hits[0].scores
        assert engine.library.status(verify=True)["verify"]["ok"]


def test_a_sound_is_found_by_a_recording_like_it(engine: SearchEngine) -> None:
    """Nothing is said in it: that is reported, and the sound is searched."""
    with engine:
        deaf = FakeTranscriber(())
        engine.library.models("nano").__dict__["transcriber"] = _Deaf(deaf)
        result = engine.search(audio=wav(tone(4, 5000)))
        assert Path(result.hits[0].source.path).name in ("whistle.wav", "hum.wav")
        assert result.hits[0].scores["sound:sound"] > 0.99
        assert any("by its sound alone" in warning for warning in result.warnings)
        with pytest.raises(EmptyQueryError, match="no words"):
            engine.search(audio=wav(silence(4)))
        with pytest.raises(EmptyQueryError, match="nothing is heard"):
            engine.search(audio=wav(silence(4)), modality="sound")


class _Deaf:
    """A transcriber that never understands a word."""

    def __init__(self, inner: FakeTranscriber) -> None:
        self.fingerprint = inner.fingerprint
        self.weights = inner.weights

    def transcribe(self, samples: Samples, *, language: str | None = None) -> object:
        from mmsearch.types import Transcript

        return Transcript(None, 0.0, ())

    def release(self) -> None:
        """There is nothing to free."""


def test_more_like_this_sound(engine: SearchEngine) -> None:
    with engine:
        first = engine.search("high", modality="sound").hits[0]
        alike = engine.search(like=first.segment.id, modality="sound").hits
        assert alike[0].scores["sound:sound"] > 0.99
        assert first.segment.id not in {hit.segment.id for hit in alike}


def test_sounds_come_with_everything_else(engine: SearchEngine) -> None:
    with engine:
        kinds = {hit.segment.modality for hit in engine.search("low").hits}
        assert {Modality.SOUND, Modality.TEXT} <= kinds


def test_a_profile_without_a_sound_model_says_so(tmp_path: Path) -> None:
    """Absent, and not silently."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "hum.wav").write_bytes(wav(tone(12, LOW)))
    with open_fake(tmp_path / "library") as engine:
        index_into(engine.library, [files])
        result = engine.search("a low hum", modality="sound")
        assert result.hits == ()
        assert "profile nano has no sound model" in result.warnings[0]
    with open_fake(tmp_path / "silent", sounds=True) as engine:
        (tmp_path / "note.txt").write_text("Nothing to hear.")
        index_into(engine.library, [tmp_path / "note.txt"])
        assert "no sounds are indexed" in engine.search("hum", modality="sound").warnings[0]


def test_another_sound_similarity_indexes_the_recordings_again(tmp_path: Path) -> None:
    (tmp_path / "hum.wav").write_bytes(wav(tone(12, LOW)))
    with open_fake(tmp_path / "library", sounds=True) as engine:
        assert index_into(engine.library, [tmp_path / "hum.wav"]).counts.indexed == 1
    with open_fake(tmp_path / "library", sounds=True, sound_similarity=0.5) as engine:
        assert index_into(engine.library, [tmp_path / "hum.wav"]).counts.indexed == 1
    with open_fake(tmp_path / "library", sounds=True, sound_similarity=0.5) as engine:
        assert index_into(engine.library, [tmp_path / "hum.wav"]).counts.unchanged == 1
