"""Second by second: what is heard stands where the time stamps put it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from mmsearch.media.formats import audio, video
from mmsearch.media.parts import AudioPart, DecodeRequest, SoundPart
from mmsearch.media.sandbox.pool import Sandbox
from tests.support.encoded import a_recording, bursts

CONTAINERS = [
    ("matroska", "pcm_s16le"), ("matroska", "flac"), ("webm", "libopus"), ("mp4", "aac"),
    ("mpegts", "aac"), ("ogg", "libopus"),
]  # fmt: skip


def gaps(*jumps: tuple[float, float]) -> Callable[[float], float]:
    """Time stamps that jump ahead by so much at these seconds."""
    return lambda second: second + sum(length for at, length in jumps if second >= at)


def begins(samples: npt.NDArray[np.float32], rate: int = 16_000) -> list[float]:
    """When the tones begin, in seconds."""
    loud = np.flatnonzero(np.abs(samples) > 0.1) / rate
    return [loud[0], *loud[1:][np.diff(loud) > 0.3]]


TWO = bursts((0.2, 1), (2, 3), seconds=4)


@pytest.mark.parametrize(("kind", "codec"), [c for c in CONTAINERS if c[0] != "ogg"])
def test_a_gap_is_silence(kind: str, codec: str) -> None:
    """In every container; the recording becomes as long as its container says."""
    content = a_recording(TWO, kind, codec, stamp=gaps((1.5, 18.0)))
    whole = audio.decode(content)
    assert begins(whole.samples) == pytest.approx([0.2, 20.0], abs=0.15)
    assert whole.metadata["duration"] == pytest.approx(22, abs=0.2)
    assert "warning" not in whole.metadata


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "aac"), ("matroska", "libopus")])
def test_a_gap_beside_pictures(sandbox: Sandbox, kind: str, codec: str) -> None:
    """Words and sounds of a film stand where its pictures are."""
    film = a_recording(TWO, kind, codec, stamp=gaps((1.5, 10.0)), pictures=14)
    parts = list(sandbox.decode(DecodeRequest(content=film, sounds=True)))
    (words,) = [part for part in parts if isinstance(part, AudioPart)]
    (heard,) = [part for part in parts if isinstance(part, SoundPart)]
    assert begins(words.samples) == pytest.approx([0.2, 12.0], abs=0.15)
    assert begins(heard.samples, 48_000) == pytest.approx([0.2, 12.0], abs=0.15)


def test_several_gaps_add_up() -> None:
    sound = bursts((0, 0.5), (1, 1.5), (2, 2.5), (3, 3.5), seconds=4)
    stamps = gaps((0.8, 3.0), (1.8, 0.7), (2.8, 5.0))
    whole = audio.decode(a_recording(sound, "webm", "libopus", stamp=stamps))
    assert begins(whole.samples) == pytest.approx([0, 4, 5.7, 11.7], abs=0.1)


def test_many_lost_packets_add_up() -> None:
    """Each of them is too short to be a gap."""
    sound = bursts((0, 0.3), (3.6, 4), seconds=4)
    stamps = gaps(*((0.5 + n / 10, 0.12) for n in range(25)))
    whole = audio.decode(a_recording(sound, stamp=stamps))
    assert begins(whole.samples)[-1] == pytest.approx(6.6, abs=0.25)


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "aac"), ("matroska", "pcm_s16le")])
def test_a_recording_may_begin_late(kind: str, codec: str) -> None:
    whole = audio.decode(a_recording(TWO, kind, codec, stamp=lambda second: second + 6))
    assert begins(whole.samples) == pytest.approx([6.2, 8], abs=0.15)


def test_a_film_whose_sound_begins_late(sandbox: Sandbox) -> None:
    film = a_recording(TWO, "mp4", "aac", stamp=lambda second: second + 3, pictures=8)
    (words,) = [p for p in sandbox.decode(DecodeRequest(content=film)) if isinstance(p, AudioPart)]
    assert words.start + begins(words.samples)[0] == pytest.approx(3.2, abs=0.1)


@pytest.mark.parametrize(("kind", "codec"), CONTAINERS)
def test_without_gaps_nothing_is_inserted(kind: str, codec: str) -> None:
    whole = audio.decode(a_recording(TWO, kind, codec))
    assert begins(whole.samples) == pytest.approx([0.2, 2], abs=0.15)
    assert whole.metadata["duration"] == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    "stamp",
    [
        lambda second: second + 0.09 * (1 + np.sin(40 * second)),  # late by up to 0.18 seconds
        lambda second: second * 1.0004,  # a clock that is a little fast
        lambda second: second - 0.5,  # begins before 0
        lambda second: second + 1e6 * (1.49 < second < 1.51),  # one mad packet
        lambda second: second + 1e6 * (second > 1.5),  # and all that follow
        lambda second: second if second < 1.5 else second - 1.5,  # begins again
    ],
    ids=["jitter", "drift", "negative", "mad", "all mad", "joined"],
)
def test_other_time_stamps_are_no_gaps(stamp: Callable[[float], float]) -> None:
    """Neither clicks in the middle of a word nor hours of silence."""
    whole = audio.decode(a_recording(bursts((0, 4), seconds=4), "matroska", stamp=stamp))
    assert whole.metadata["duration"] == pytest.approx(4, abs=0.05)
    assert len(begins(whole.samples)) == 1


def test_random_time_stamps() -> None:
    """A recording whose time stamps mean nothing is read as if it had none."""
    rng = np.random.default_rng(0)
    content = a_recording(TWO, stamp=lambda second: second + 9000 * rng.random())
    assert audio.decode(content, max_seconds=7200).metadata["duration"] < 3700


def test_a_gap_cannot_make_a_recording_too_long() -> None:
    content = a_recording(TWO, stamp=gaps((1.5, 600.0)))
    assert audio.decode(content, max_seconds=60).metadata["duration"] == pytest.approx(4, abs=0.1)


def test_time_of_sound_and_pictures_is_one(sandbox: Sandbox) -> None:
    """A transport stream counts from anywhere."""
    film = a_recording(TWO, "mpegts", "aac", stamp=gaps((1.5, 4.0)), pictures=8)
    parts = list(sandbox.decode(DecodeRequest(content=film)))
    (words,) = [part for part in parts if isinstance(part, AudioPart)]
    assert words.start + begins(words.samples)[1] == pytest.approx(6, abs=0.2)
    assert video.frame_at(film, 6.0, max_pixels=10**6).size == (64, 48)
