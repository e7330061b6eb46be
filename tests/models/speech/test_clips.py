"""Speech without its long pauses, and back to the times of the recording."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.models.speech.cepstrum import SPEECH_RATE
from mmsearch.models.speech.clips import SpeechClips, without_text
from mmsearch.models.speech.languages import Span
from mmsearch.types import Utterance, Word


def spans(*seconds: tuple[float, float]) -> list[Span]:
    return [(round(a * SPEECH_RATE), round(b * SPEECH_RATE)) for a, b in seconds]


def seconds(found: list[Span]) -> list[tuple[float, float]]:
    return [(round(a / SPEECH_RATE, 3), round(b / SPEECH_RATE, 3)) for a, b in found]


RECORDING = np.arange(40 * SPEECH_RATE, dtype=np.float32)


def test_only_long_pauses_are_cut_out() -> None:
    clips = SpeechClips.of(RECORDING, spans((0.1, 2), (3, 4), (10, 12), (38, 40)))
    assert seconds(list(clips.spans)) == [(0, 4.2), (9.8, 12.2), (37.8, 40)]
    parts = [RECORDING[a:b] for a, b in clips.spans]
    np.testing.assert_array_equal(clips.samples, np.concatenate(parts))
    assert len(SpeechClips.of(RECORDING, []).samples) == 0


def test_words_return_to_their_place() -> None:
    """Also where an utterance spans a pause that was cut out."""
    clips = SpeechClips.of(RECORDING, spans((1, 3), (10, 12)))  # 0.8 to 3.2 and 9.8 to 12.2
    words = (Word("a", 0.2, 1.0, 1.0), Word("b", 2.3, 2.6, 1.0), Word("c", 3.0, 4.9, 1.0))
    (spoken,) = clips.restored([Utterance(0.2, 4.9, "a b c", words=words)])
    assert (spoken.start, spoken.end) == pytest.approx((1.0, 12.2))
    times = [(word.start, word.end) for word in spoken.words]
    np.testing.assert_allclose(times, [(1.0, 1.8), (9.8, 10.0), (10.4, 12.2)], atol=1e-6)
    wordless = [Utterance(0.0, 2.4, "a"), Utterance(2.4, 4.8, "b"), Utterance(4.8, 9.0, "c")]
    restored = [(one.start, one.end) for one in clips.restored(wordless)]
    np.testing.assert_allclose(restored, [(0.8, 3.2), (9.8, 12.2), (12.2, 12.2)], atol=1e-6)


def test_windows_hold_whole_parts() -> None:
    clips = SpeechClips.of(RECORDING, spans((0.2, 4.8), (10.2, 13.8), (20.2, 39.8)))
    for length, expected in (
        (9.0, [(0, 9), (9, 18), (18, 27), (27, 29)]),
        (12.0, [(0, 9), (9, 21), (21, 29)]),
        (30.0, [(0, 29)]),
    ):
        np.testing.assert_allclose(clips.windows(length), expected, atol=1e-6)
    assert SpeechClips.of(RECORDING, []).windows(30.0) == []


@pytest.mark.parametrize(
    ("speech", "texts", "expected"),
    [
        ([(0, 4)], [], [(0, 4)]),
        ([(0, 4)], [(0, 4)], []),
        ([(0, 4)], [(0.5, 3.5)], []),
        ([(0, 6)], [(0, 1), (4.5, 6)], [(1, 4.5)]),
        ([(0, 6)], [(4.5, 6), (0, 1), (0.5, 2)], [(2, 4.5)]),
        ([(0, 2), (5, 5.6), (8, 10)], [(0, 2), (8, 10)], [(5, 5.6)]),
        ([(5, 5.4)], [], []),
        ([(0, 2), (3, 5)], [(0, 5)], []),
        ([(0, 8)], [(3, 4), (3.2, 3.5)], [(0, 3), (4, 8)]),
        ([], [(0, 5)], []),
    ],
)
def test_speech_without_text(
    speech: list[tuple[float, float]],
    texts: list[tuple[float, float]],
    expected: list[tuple[float, float]],
) -> None:
    utterances = [Utterance(start, end, "text") for start, end in texts]
    assert seconds(without_text(spans(*speech), utterances)) == expected
