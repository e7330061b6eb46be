"""Recordings: every container, long ones in stretches, damaged ones as far as they go."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mmsearch.errors import MediaError
from mmsearch.media.detect import sniff
from mmsearch.media.formats import audio
from mmsearch.types import SOUND_RATE

RATE = 16_000


def wav(samples: npt.NDArray[np.float64], rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def tone(seconds: float, level: float = 0.5) -> npt.NDArray[np.float64]:
    return level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)


def test_every_recording_is_read_to_its_end(data: Path) -> None:
    rows = (data / "audio/speech.jsonl").read_text().splitlines()
    assert len(rows) == 66
    for row in map(json.loads, rows):
        path = data / "audio" / row["file"]
        assert sniff(path).startswith("audio/"), path.name
        whole = audio.decode(path)
        assert whole.samples.dtype == np.float32
        assert np.abs(whole.samples).max() <= 1
        assert np.abs(whole.samples).max() > 0.01
        # Encoders add silence at the ends; players and probes disagree on how much.
        assert len(whole.samples) / RATE == pytest.approx(row["duration"], abs=0.4), path.name
        assert "warning" not in whole.metadata


def test_samples_are_those_of_the_file() -> None:
    sound = tone(1.0)
    assert np.abs(audio.decode(wav(sound)).samples - sound).max() < 1e-4
    slower = audio.decode(wav(tone(1.0)[::2], RATE // 2)).samples
    assert np.abs(slower[200:-200] - sound[200:-200]).max() < 0.02


def test_long_recordings_are_cut_at_silences(data: Path) -> None:
    path = data / "audio/long_mixed_dev.mp3"
    whole = audio.decode(path)
    parts = list(audio.chunks(path, 60))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    position = 0
    for part in parts:
        assert part.start == pytest.approx(position / RATE, abs=1e-6)
        assert len(part.samples) <= 60 * RATE
        position += len(part.samples)
    assert np.array_equal(np.concatenate([part.samples for part in parts]), whole.samples)
    assert parts[-1].metadata["duration"] == pytest.approx(291.3, abs=0.2)
    for part in parts[1:]:
        cut = int(part.start * RATE)
        around = np.abs(whole.samples[cut - RATE // 10 : cut + RATE // 10]).mean()
        assert around < 0.4 * np.abs(whole.samples[cut - 10 * RATE : cut + 10 * RATE]).mean()


def test_the_quietest_moment_is_found() -> None:
    sound = np.concatenate([tone(50), tone(0.5, 0.001), tone(30)])
    first, second = audio.chunks(wav(sound), 60)
    assert 50.0 <= second.start <= 50.5
    assert first.metadata == second.metadata | {"duration": first.metadata["duration"]}


def test_a_recording_of_exactly_one_stretch_is_not_cut() -> None:
    (only,) = audio.chunks(wav(tone(40)), 40)
    assert only.last
    assert only.start == 0


def test_too_long_is_refused_while_decoding() -> None:
    with pytest.raises(MediaError) as caught:
        list(audio.chunks(wav(tone(70)), 31, max_seconds=65))
    assert caught.value.code == "too_large"


def test_what_was_decodable_is_kept(data: Path) -> None:
    content = (data / "audio/LJ001-0002.flac").read_bytes()
    part = audio.decode(content[: len(content) * 2 // 3])
    assert 0.5 < part.metadata["duration"] < 1.9
    assert "damaged" in part.metadata["warning"]


@pytest.mark.parametrize(
    ("content", "code"),
    [(wav(np.zeros(0)), "empty"), (b"fLaC", "corrupt"), (b"RIFF\xff\xff\xff\xffWAVE", "corrupt")],
)
def test_nothing_in_it(content: bytes, code: str) -> None:
    with pytest.raises(MediaError) as caught:
        list(audio.chunks(content, 60))
    assert caught.value.code == code


def test_films_are_told_from_recordings_with_covers(data: Path) -> None:
    for row in map(json.loads, (data / "video/video.jsonl").read_text().splitlines()):
        assert sniff(data / "video" / row["file"]).startswith("video/")
    assert audio.probe(with_cover(data)).has_video is False


def with_cover(data: Path) -> bytes:
    """An MP4 recording with a photo as its cover."""
    import av
    from PIL import Image

    buffer = io.BytesIO()
    photo = Image.open(data / "images/formats/hopper.png").convert("RGB")
    picture = av.VideoFrame.from_ndarray(np.asarray(photo), format="rgb24").reformat(
        format="yuvj420p"
    )
    with av.open(buffer, "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = *photo.size, "yuvj420p"
        sound = container.add_stream("aac", rate=RATE)
        for packet in cover.encode(picture):
            container.mux(packet)
        container.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(
            tone(1)[:1024].astype(np.float32)[None], format="fltp", layout="mono"
        )
        frame.sample_rate = RATE
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return buffer.getvalue()


def test_tags_become_metadata() -> None:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        container.metadata.update({"title": "On\x01e", "artist": "Nobody", "date": "1999"})
        stream = container.add_stream("flac", rate=RATE)
        frame = av.AudioFrame.from_ndarray(
            (tone(1)[None] * 32767).astype(np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    metadata = audio.decode(buffer.getvalue()).metadata
    assert metadata["title"] == "On e"
    assert (metadata["artist"], metadata["date"]) == ("Nobody", "1999")
    assert (metadata["codec"], metadata["sample_rate"]) == ("flac", RATE)
    json.dumps(metadata, allow_nan=False)


def test_sounds_come_beside_the_words_in_one_pass() -> None:
    """What a sound model hears is the same recording at its own rate, without a gap."""
    sound = tone(130)
    parts = list(audio.chunks(wav(sound), 40, sounds=True))
    words = [part for part in parts if part.rate == RATE]
    heard = [part for part in parts if part.rate == SOUND_RATE]
    assert np.array_equal(
        np.concatenate([part.samples for part in words]), audio.decode(wav(sound)).samples
    )
    assert [part.last for part in heard] == [False, False, True]
    assert [part.start for part in heard] == [0, 60, 120]
    assert sum(len(part.samples) for part in heard) == pytest.approx(130 * SOUND_RATE, abs=200)
    # The tone is the same one.
    spectrum = np.abs(np.fft.rfft(heard[0].samples[:SOUND_RATE]))
    assert spectrum.argmax() == 440
    assert parts[-1].rate == RATE
    assert parts[-1].metadata["duration"] == 130


def test_a_stretch_that_just_fits_is_the_last() -> None:
    heard = [p for p in audio.chunks(wav(tone(0.5)), 40, sounds=True) if p.rate == SOUND_RATE]
    assert [part.last for part in heard] == [True]
