"""Recordings and films that end too early say so."""

from __future__ import annotations

import pytest

from mmsearch.media.formats import audio
from mmsearch.media.formats.truncation import missing_bytes
from mmsearch.media.parts import DecodeRequest
from mmsearch.media.sandbox.pool import Sandbox
from tests.support.encoded import a_recording, bursts
from tests.support.films import a_film

SOUND = bursts((0, 20), seconds=20)
FRONT = {"movflags": "faststart"}


@pytest.mark.parametrize(
    ("kind", "codec", "options"),
    [("wav", "pcm_s16le", {}), ("aiff", "pcm_s16be", {}), ("flac", "flac", {}),
     ("mp3", "libmp3lame", {}), ("ogg", "libopus", {}), ("matroska", "pcm_s16le", {}),
     ("mp4", "aac", FRONT), ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
     ("asf", "wmav2", {})],
)  # fmt: skip
def test_a_recording_that_is_cut_off(kind: str, codec: str, options: dict[str, str]) -> None:
    """What is there is kept, with a warning; the whole one has none."""
    whole = a_recording(SOUND, kind, codec, options=options)
    assert "warning" not in audio.decode(whole).metadata
    metadata = audio.decode(whole[: len(whole) // 2]).metadata
    assert 3 < metadata["duration"] < 17
    assert "damaged" in metadata["warning"]


def test_a_film_that_is_cut_off(sandbox: Sandbox) -> None:
    film = a_film([("red", 10), ("blue", 10)])
    for content, warned in ((film, False), (film[: len(film) // 2], True)):
        *_, last = sandbox.decode(DecodeRequest(content=content))
        assert ("cut off" in last.metadata.get("warning", "")) is warned


def test_what_does_not_know_its_length() -> None:
    """Written to a pipe, or of unknown kind: never called cut off."""
    wav = a_recording(SOUND, "wav")
    for length in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        assert missing_bytes(wav[:4] + length + wav[8:]) == 0
    live = a_recording(SOUND, "matroska", options={"live": "1"})
    assert missing_bytes(live[: len(live) // 2]) == 0
    for content in (
        b"",
        b"\0" * 20,
        b"RIFF",
        b"OggS",
        b"\xff\xfbXing",
        b"\0\0\0\0ftyp",
        b"ID3\x04",
    ):
        assert missing_bytes(content) == 0 or content == b"OggS"


def test_padding_that_is_left_out_is_no_damage() -> None:
    wav = a_recording(SOUND, "wav")
    assert missing_bytes(wav[:-1]) == 0
