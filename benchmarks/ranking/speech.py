"""Speech for the evaluation: memos spoken by eSpeak NG, and what is said in real recordings."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

VOICES = ("en-us", "en-gb+f2", "en-us+m3", "en-gb", "en-us+f3", "en-us+m7", "en-gb+m1", "en-us+f2")

QUESTIONS = {
    "LJ001-0001.wav": "how book printing is unlike the other crafts on show",
    "LJ001-0003.mp3": "Asian woodcuts made long before the Dutch ones",
    "LJ001-0004.ogg": "what came just before real printed books",
    "LJ001-0005.m4a": "when metal type was invented",
    "LJ001-0006.opus": "a good example of beautiful lettering",
    "LJ001-0007.wav": "the first printed Bible",
    "LJ001-0009.mp3": "definition of printing",
    "LJ001-0011.m4a": "letter shapes must be beautiful",
    "LJ001-0025.m4a": "a rounder handwriting that is easier to read",
    "sense_and_sensibility_01_austen_64kb-0870.wav": "how much could he give them",
    "sense_and_sensibility_01_austen_64kb-0880.wav": "his character was not bad",
    "sense_and_sensibility_01_austen_64kb-0890.wav": "being selfish and without warmth",
    "cards_001.wav": "one playing card",
    "cards_005.wav": "several playing cards of a poker hand",
    "goforward.wav": "order to a robot to move ahead",
    "sonnet_001.mp3": "poem about beauty and having children",
    "azure_en-US_1.wav": "setting up a project for speech recognition in the portal",
    "whatstheweatherlike.wav": "question about rain or sunshine",
    "jfk.wav": "president asks citizens to serve their nation",
}
"""Hand-written, in other words than the recording's."""

LONGEST = 30.0


def speak(text: str, path: Path, seed: int) -> None:
    """One memo as 22 kHz WAV; voice, speed and pitch depend on the seed."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise SystemExit("espeak-ng is needed to speak the memos: apt install espeak-ng")
    rng = np.random.default_rng([seed, 23])
    voice = VOICES[int(rng.integers(len(VOICES)))]
    speed, pitch = int(rng.integers(140, 166)), int(rng.integers(40, 61))
    subprocess.run(
        [program, "-v", voice, "-s", str(speed), "-p", str(pitch), "-g", "3", "-w", path, text],
        check=True,
    )


def real_recordings(data: Path, folder: Path) -> list[tuple[str, str]]:
    """The published transcripts of real English recordings, one text file each.

    Returns (file name of the recording, transcript). The recordings themselves stay out:
    nano-whisper does not understand real voices, and what is measured here is ranking.
    """
    found = []
    listing = data / "audio" / "speech.jsonl"
    for line in listing.read_text("utf-8").splitlines():
        row = json.loads(line)
        if (
            not row["text"]
            or not row["language"].startswith("en")
            or row["duration"] > LONGEST
            or row["file"].startswith(("fsdd", "p001_format", "uberi"))
        ):
            continue  # digits, and copies of one recording
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row['file']}.txt").write_text(row["text"] + "\n", "utf-8")
        found.append((row["file"], row["text"]))
    return found


def quotes(recordings: list[tuple[str, str]], seed: int) -> list[tuple[str, str]]:
    """(file name, four words in a row) of each recording: what one remembers having heard."""
    rng = np.random.default_rng([seed, 29])
    found = []
    for name, text in recordings:
        words = [word.strip('.,;:!?"') for word in text.split()]
        if len(words) >= 8:
            start = int(rng.integers(len(words) - 4))
            found.append((name, " ".join(words[start : start + 4]).lower()))
    return found
