"""Speech, screens and films that `found_by_kind.py` makes to search for."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from films import RATE, heard, write_film, write_recording
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SCREENS = (
    "Your parcel will be delivered on Thursday between nine and eleven",
    "Password must contain at least twelve characters",
    "Error 0x80070057: the parameter is incorrect",
    "Boarding pass Lisbon gate B42 seat 17A",
    "The meeting was moved to the blue room upstairs",
    "Disk almost full: delete old backups to continue",
    "Invoice 4711 is overdue since the third of March",
    "Two sugars, one coffee and a slice of lemon cake",
    "Battery low, connect your charger",
    "Congratulations, you finished level nineteen",
)

SHOT = 4.0


def speak(text: str, folder: Path, seed: int) -> NDArray[np.float32]:
    sys.path.insert(0, str(Path(__file__).parent / "ranking"))
    import speech

    path = folder / f"spoken-{seed}.wav"
    speech.speak(text, path, seed)
    sound = heard(path)
    path.unlink()
    return sound


def sentences(count: int, seed: int) -> list[str]:
    """Distinct sentences of seven words or more from memos about unseen scenes."""
    from mmsearch.demo.picturebook import stories

    found: dict[str, None] = {}
    for story in stories(count * 3, seed, "test"):
        longest = max(re.split(r"(?<=[.!?]) ", story.memo), key=len)
        if len(longest.split()) >= 7:
            found[longest] = None
    return list(found)[:count]


def make_screens(folder: Path) -> dict[str, str]:
    """Windows with a bar, a line of words and two buttons; {file: the words}."""
    made = {}
    for n, words in enumerate(SCREENS):
        dark = n % 3 == 1
        back, ink = ("#202830", "#e8e8e8") if dark else ("#f4f5f7", "#222222")
        screen = Image.new("RGB", (1280, 800) if n % 2 else (720, 1280), back)
        pen = ImageDraw.Draw(screen)
        pen.rectangle((0, 0, screen.width, 56), fill="#3b6fb5")
        pen.text((20, 12), ("Settings", "Inbox", "Notes")[n % 3], "white", _font(28))
        half = len(words.split()) // 2
        lines = [" ".join(words.split()[:half]), " ".join(words.split()[half:])]
        for at, line in enumerate(lines):
            pen.text((60, 220 + 60 * at), line, ink, _font(30 if n % 2 else 26))
        for at, label in enumerate(("Cancel", "OK")):
            pen.rectangle((60 + 200 * at, 520, 220 + 200 * at, 580), fill="#9fb7d8")
            pen.text((90 + 200 * at, 535), label, "#222222", _font(24))
        screen.save(folder / f"screen-{n}.png")
        made[f"screen-{n}.png"] = words
    return made


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@dataclass
class Voiced:
    """Recordings and films whose sentences and shots are known to the second."""

    recordings: list[tuple[str, str, float]] = field(default_factory=list)
    """(file, sentence, second at which it begins)"""
    spoken: list[tuple[str, str, float]] = field(default_factory=list)
    """The same of the films."""
    shots: list[tuple[str, Path, float]] = field(default_factory=list)
    """(film, the photo that is shown, second at which it appears)"""


def make_voiced(folder: Path, photos: Sequence[Path]) -> Voiced:
    """Four recordings of five sentences with pauses; four films of eight photos and four
    sentences."""
    made = Voiced()
    said = iter(sentences(36, 41))
    for n in range(4):
        sound, at = [np.zeros(RATE, np.float32)], 1.0
        for k in range(5):
            sentence = next(said)
            spoken = speak(sentence, folder, 100 * n + k)
            made.recordings.append((f"memo-{n}.ogg", sentence, at))
            pause = np.zeros(int(RATE * (1.5 + k)), np.float32)
            sound += [spoken, pause]
            at += (len(spoken) + len(pause)) / RATE
        write_recording(folder / f"memo-{n}.ogg", np.concatenate(sound))
    for n in range(4):
        name = f"film-{n}.mp4"
        shown = photos[8 * n : 8 * n + 8]
        track = np.zeros(int(RATE * SHOT * len(shown)), np.float32)
        for k in range(4):
            sentence, at = next(said), 1.0 + 8.0 * k
            spoken = speak(sentence, folder, 1000 + 10 * n + k)
            track[int(at * RATE) : int(at * RATE) + len(spoken)] = spoken[
                : len(track) - int(at * RATE)
            ]
            made.spoken.append((name, sentence, at))
        write_film(folder / name, [(Image.open(path), SHOT) for path in shown], track)
        made.shots += [(name, path, SHOT * k) for k, path in enumerate(shown)]
    return made
