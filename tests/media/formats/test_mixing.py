"""All channels of a recording are heard, also where their sum would be silence."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.media.formats import audio
from tests.support.encoded import RATE, a_recording, bursts

LOUD = 0.4
"""Of two channels with the same tone: FFmpeg adds them at -3 dB each."""
TONE = bursts((0, 3), seconds=3)
NONE = np.zeros_like(TONE)
NOISE = np.random.default_rng(3).normal(0, 0.1, len(TONE))


def level(*channels: np.ndarray, codec: str = "pcm_s16le", kind: str = "matroska") -> float:
    """The root mean square of what is heard."""
    whole = audio.decode(a_recording(np.stack(channels), kind, codec))
    return float(np.sqrt(np.square(whole.samples).mean()))


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("matroska", "pcm_s16le"), ("matroska", "pcm_f32le"), ("mp4", "aac"), ("flac", "flac"),
     ("webm", "libopus")],
)  # fmt: skip
def test_an_inverted_channel_takes_nothing_away(kind: str, codec: str) -> None:
    assert level(TONE, -TONE, codec=codec, kind=kind) == pytest.approx(LOUD, rel=0.05)


def test_other_cancelling_channels() -> None:
    """Quieter ones, several of them, with some noise, and only for a part of the recording."""
    assert level(TONE, -0.8 * TONE) == pytest.approx(0.9 * LOUD, rel=0.05)
    assert level(TONE + NOISE / 9, -TONE) > 0.9 * LOUD
    assert level(TONE, -TONE, NONE, NONE, NONE, NONE) > 0.3
    middle = np.where(np.arange(len(TONE)) < RATE, TONE, -TONE)
    assert level(TONE, middle) > 0.9 * LOUD


def test_healthy_channels_stay_as_they_are() -> None:
    """The sum of both, whatever they are."""
    assert level(TONE, TONE) == pytest.approx(LOUD, rel=0.02)
    assert level(TONE, NONE) == pytest.approx(LOUD / 2, rel=0.02)
    assert level(NONE, TONE) == pytest.approx(LOUD / 2, rel=0.02)
    for other in (NOISE, 0.3 * TONE, np.roll(TONE, 25)):
        whole = audio.decode(a_recording(np.stack([TONE, other])))
        added = audio.decode(a_recording((TONE + other) / 2)).samples * 2**0.5
        assert np.abs(whole.samples - added).max() < 1e-3


def test_the_smallest_sample_can_be_inverted() -> None:
    """-32768 has no opposite in 16 bits."""
    square = np.where(np.arange(RATE) // 100 % 2, 1.0, -1.00003)
    assert level(square, -square) > 0.9


def test_a_channel_that_is_inverted_later() -> None:
    """Also after so much sound in order that it is looked at from time to time only."""
    long = bursts((0, 12), seconds=12)
    later = np.where(np.arange(len(long)) < 6 * RATE, long, -long)
    whole = audio.decode(a_recording(np.stack([long, later]))).samples
    assert np.sqrt(np.square(whole[8 * 16_000 :]).mean()) == pytest.approx(LOUD, rel=0.02)
    assert len(whole) == 12 * 16_000
