"""Recordings of people and of the world: decoded, cut, and free of invented text.

nano-whisper knows synthetic speech only, so that it is to keep silent here; what public
checkpoints hear is for whoever has them (marker `network`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.segmenting.sounds import SoundSegmenter, SoundWindows
from mmsearch.errors import WeightsNotFoundError
from mmsearch.media.formats import audio
from mmsearch.models.profiles import profile
from mmsearch.models.runtime import Runtime
from mmsearch.models.speech.whisper import WhisperTranscriber, from_spec
from mmsearch.settings_loading import load_settings
from mmsearch.types import SOUND_RATE


def transcriber_of(name: str, folder: Path) -> WhisperTranscriber:
    """The transcriber of a profile, with the default settings."""
    settings = load_settings(folder)
    return from_spec(profile(name).whisper, settings, Runtime.from_settings(settings))


def rows(data: Path, folder: str, name: str) -> list[dict[str, Any]]:
    lines = (data / folder / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def nano() -> WhisperTranscriber:
    transcriber = WhisperTranscriber("nano-whisper")
    try:
        _ = transcriber.fingerprint
    except WeightsNotFoundError as error:
        pytest.skip(str(error))
    return transcriber


def invented(nano: WhisperTranscriber, folder: Path, some: list[dict[str, Any]]) -> dict[str, str]:
    """What is written for each recording for which anything is."""
    found: dict[str, str] = {}
    for row in some:
        heard = nano.transcribe(audio.decode(folder / row["file"]).samples)
        if heard.utterances:
            found[row["file"]] = " ".join(one.text for one in heard.utterances)
    return found


def test_nano_invents_nothing_for_people_and_sounds(nano: WhisperTranscriber, data: Path) -> None:
    """Every fifth recording; all of them in the slow test."""
    assert invented(nano, data / "audio", rows(data, "audio", "speech")[::5]) == {}
    assert invented(nano, data / "sounds", rows(data, "sounds", "sounds")[::10]) == {}


@pytest.mark.slow
def test_nano_invents_nothing_for_any_recording(nano: WhisperTranscriber, data: Path) -> None:
    assert invented(nano, data / "audio", rows(data, "audio", "speech")) == {}
    assert invented(nano, data / "sounds", rows(data, "sounds", "sounds")) == {}


def test_nano_still_hears_the_speech_that_it_knows(nano: WhisperTranscriber) -> None:
    """The demo's memos, spoken by eSpeak NG and coded by Opus: none is taken for a person's."""
    import mmsearch.demo.picturebook

    folder = Path(mmsearch.demo.picturebook.__file__).parent / "recordings"
    memos = json.loads((folder / "recordings.json").read_text())[::4]
    for memo in memos:
        heard = nano.transcribe(audio.decode(folder / memo["file"]).samples)
        assert heard.utterances, memo["file"]
        said = " ".join(one.text for one in heard.utterances).split()
        assert len(set(said) & set(re.findall(r"[a-z']+", memo["text"].lower()))) >= 4


@pytest.mark.parametrize("mode", ["sequential", "batched"])
def test_nano_hears_every_sentence_of_a_long_recording(nano: WhisperTranscriber, mode: Any) -> None:
    """Four memos of several sentences one after the other: the words stay at their seconds."""
    import mmsearch.demo.picturebook

    folder = Path(mmsearch.demo.picturebook.__file__).parent / "recordings"
    memos = json.loads((folder / "recordings.json").read_text())[1::5]
    pieces = [audio.decode(folder / memo["file"]).samples for memo in memos]
    pause = np.zeros(10_000, np.float32)
    whole = np.concatenate([part for piece in pieces for part in (piece, pause)])
    heard = WhisperTranscriber("nano-whisper", mode=mode).transcribe(whole)
    begin, shares = 0.0, []
    for memo, piece in zip(memos, pieces, strict=True):
        end = begin + len(piece) / 16_000
        said = {
            word.text.strip().lower()
            for one in heard.utterances
            for word in one.words
            if begin - 0.3 <= word.start <= end + 0.3
        }
        wanted = set(re.findall(r"[a-z']+", memo["text"].lower()))
        shares.append(len(said & wanted) / len(wanted))
        begin = end + len(pause) / 16_000
    assert np.mean(shares) >= 0.8, shares  # 0.5 where twelve-second windows are heard at once


# ------------------------------------------------------------------ public checkpoints


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def errors(said: list[str], heard: list[str]) -> int:
    """Word edits that turn one into the other."""
    row = np.arange(len(heard) + 1)
    for i, word in enumerate(said, start=1):
        before, row = row, np.empty_like(row)
        row[0] = i
        for j, other in enumerate(heard, start=1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (word != other))
    return int(row[-1])


@pytest.mark.network
@pytest.mark.slow
def test_whisper_hears_people(data: Path, tmp_path: Path) -> None:
    """English recordings with transcripts: word error rate below 0.25 with the small profile."""
    transcriber = transcriber_of("small", tmp_path)
    wrong = total = 0
    for row in rows(data, "audio", "speech"):
        if not row["text"] or not row["language"].startswith("en"):
            continue
        heard = transcriber.transcribe(audio.decode(data / "audio" / row["file"]).samples)
        assert heard.language in ("en", None)
        said = words(row["text"])
        wrong += errors(said, words(" ".join(one.text for one in heard.utterances)))
        total += len(said)
    assert total > 500
    assert wrong / total < 0.25


@pytest.mark.network
@pytest.mark.slow
def test_whisper_names_languages_and_keeps_silent_in_sounds(data: Path, tmp_path: Path) -> None:
    transcriber = transcriber_of("base", tmp_path)
    named = [row for row in rows(data, "audio", "speech") if row["duration"] > 5]
    right = [
        row["language"][:2]
        == transcriber.transcribe(audio.decode(data / "audio" / row["file"]).samples).language
        for row in named
        if row["language"] != "mixed"
    ]
    assert np.mean(right) > 0.9
    sounds = rows(data, "sounds", "sounds")
    assert len(invented(transcriber, data / "sounds", sounds)) <= len(sounds) // 10


@pytest.mark.network
@pytest.mark.slow
def test_clap_finds_sounds_by_their_names(data: Path, tmp_path: Path) -> None:
    """ESC-10 and animals: the right sound first for most names."""
    from mmsearch.models.sound import clap

    spec = profile("small").sound
    assert spec is not None
    embedder = clap.from_spec(spec, Runtime.from_settings(load_settings(tmp_path)))
    some = rows(data, "sounds", "sounds")
    vectors = []
    for row in some:
        windows = SoundWindows(embedder.window_seconds)
        segmenter = SoundSegmenter(similarity=-1, longest_seconds=3600)
        path = data / "sounds" / row["file"]
        for chunk in audio.chunks(path, 600, sounds=True):
            if chunk.rate == SOUND_RATE:
                loud = windows.add(chunk.samples, last=chunk.last)
                if loud:
                    segmenter.add(loud, embedder.encode_sounds([one.samples for one in loud]))
        spans, found = segmenter.segments()
        vectors.append(found.mean(axis=0) if spans else np.zeros(embedder.space.dimension))
    labels = [row["label"] for row in some]
    names = sorted({label for label in labels if labels.count(label) >= 5})
    queries = embedder.encode_texts(names, "query")
    best = (queries @ np.stack(vectors).T).argmax(axis=1)
    right = [labels[at].split()[0] == name.split()[0] for at, name in zip(best, names, strict=True)]
    assert np.mean(right) > 0.8
