"""Training data of nano-whisper: spoken windows with the times of words and phonemes.

Writes shards (.npz) of log-mel windows; run several times with other seeds for more. Everything
is made from a seed: sentences (`sentences.py`), voices, speeds, pauses, noise.

    python tools/nano/whisper/synthesize.py --out DIR --kind short --hours 1 --seed 1
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from espeak import ACCENTS, FOREIGN, RATE, Espeak, Manner
from lexicon import words
from numpy.typing import NDArray
from sentences import Speaker, transcript
from sound import disturb, log_mel, music

# Never heard in training: five variants in every accent, and one accent in every variant.
HELD_OUT_VARIANTS = ("f5", "m8", "anika", "Michael", "quincy")
HELD_OUT_ACCENT = "en-gb-x-gbcwmd"
_ACCENT_WEIGHTS = {
    "en-us": 0.34,
    "en-gb": 0.22,
    "en-gb-x-rp": 0.11,
    "en-gb-scotland": 0.09,
    "en-029": 0.06,
    "en-gb-x-gbclan": 0.09,
    "en-us-nyc": 0.09,
}
_PLAIN = (
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "f1",
    "f2",
    "f3",
    "f4",
    "klatt",
    "klatt2",
    "croak",
)
_COLOURFUL = [
    "Alex",
    "Alicia",
    "Andrea",
    "Andy",
    "Annie",
    "AnxiousAndy",
    "Denis",
    "Diogo",
    "Gene",
    "Gene2",
    "Henrique",
    "Hugo",
    "Jacky",
    "Lee",
    "Marco",
    "Mario",
    "Mike",
    "Nguyen",
    "RicishayMax",
    "RicishayMax2",
    "RicishayMax3",
    "Storm",
    "Tweaky",
    "UniRobot",
    "adam",
    "announcer",
    "antonio",
    "aunty",
    "belinda",
    "benjamin",
    "boris",
    "caleb",
    "david",
    "ed",
    "edward",
    "grandma",
    "grandpa",
    "gustave",
    "iven",
    "iven2",
    "iven3",
    "iven4",
    "john",
    "kaukovalta",
    "klatt3",
    "klatt4",
    "klatt5",
    "klatt6",
    "linda",
    "marcelo",
    "max",
    "michel",
    "miguel",
    "norbert",
    "pablo",
    "paul",
    "pedro",
    "rob",
    "robert",
    "robosoft",
    "robosoft3",
    "robosoft5",
    "robosoft6",
    "sandro",
    "shelby",
    "steph",
    "steph2",
    "steph3",
    "travis",
    "victor",
    "zac",
    "whisper",
]
WINDOW = 30.0  # seconds
STEP = 0.02  # seconds of an encoder frame
OPEN, CLOSE = -1, -2  # marks of a segment's beginning and end among the word ids
FLOOR = 9.5  # decades below the window's maximum that are kept
_SYLLABLES = [
    "ka",
    "mo",
    "ri",
    "tes",
    "ul",
    "vo",
    "schna",
    "pru",
    "ei",
    "zo",
    "lang",
    "dri",
    "fa",
    "bu",
    "ne",
    "qui",
    "sto",
    "re",
    "ga",
    "him",
    "ot",
    "ju",
    "we",
]


@dataclass
class Window:
    """One window being built: pieces of audio, marks (kind or word id, start, end in s)."""

    audio: list[NDArray[np.float32]] = field(default_factory=list)
    length: int = 0  # samples
    marks: list[tuple[int, float, float]] = field(default_factory=list)
    phonemes: list[tuple[str, float, float]] = field(default_factory=list)

    def silence(self, seconds: float) -> None:
        self.add(np.zeros(int(seconds * RATE), np.float32))

    def add(self, samples: NDArray[np.float32]) -> None:
        self.audio.append(samples)
        self.length += len(samples)

    @property
    def seconds(self) -> float:
        return self.length / RATE


class Studio:
    """Makes windows. Equal seeds make equal windows."""

    def __init__(self, seed: int, easy: bool = False) -> None:
        """`easy`: few plain voices at middle speeds, without noise, to begin the training with."""
        self.easy = easy
        self.draw = np.random.default_rng(seed)
        self.speaker = Speaker(seed)
        self.espeak = Espeak()
        self.ids = {word: index for index, word in enumerate(words())}
        self.crowd: list[NDArray[np.float32]] = []  # lately spoken audio, for babble

    def manner(self) -> Manner:
        draw = self.draw
        if self.easy:
            variant = str(draw.choice(("", "", "+m1", "+m3", "+m7", "+f2", "+f3")))
            accent = ACCENTS["en-us" if draw.random() < 0.6 else "en-gb"]
            speed, pitch = int(draw.uniform(140, 190)), int(draw.uniform(35, 65))
            return Manner(accent + variant, speed, pitch)
        accent = draw.choice(list(_ACCENT_WEIGHTS), p=list(_ACCENT_WEIGHTS.values()))
        kind = draw.random()
        variant = ""
        if kind > 0.55:
            variant = "+" + str(draw.choice(_COLOURFUL))
        elif kind > 0.15:
            variant = "+" + str(draw.choice(_PLAIN))
        speed = draw.uniform(120, 205) if draw.random() < 0.85 else draw.uniform(100, 245)
        return Manner(
            voice=ACCENTS[str(accent)] + variant,
            speed=int(speed),
            pitch=int(draw.uniform(20, 80)) if draw.random() < 0.8 else 50,
            range=int(draw.uniform(20, 80)) if draw.random() < 0.5 else 50,
            gap=int(draw.integers(1, 6)) if draw.random() < 0.2 else 0,
        )

    def speak(self, window: Window, manner: Manner, limit: float, cut: bool = False) -> bool:
        """Add one sentence. False: it would end after `limit` and only its start was kept."""
        sentence = self.speaker.sentence()
        if len(transcript(sentence)) > 6 and manner.speed < 130 and limit < 12:
            sentence = " ".join(sentence.split()[:6]).rstrip(",")
        said = self.espeak.say(sentence, manner)
        first = int(self.draw.integers(1, len(said.words))) if cut and len(said.words) > 2 else 0
        begin = said.words[first][1] if first else 0.0
        at = window.seconds - begin
        audio = said.audio[int(begin * RATE) :]
        phonemes = [item for item in said.phonemes if item[1] >= begin - 0.005]
        if not phonemes:
            return True
        stop = phonemes[-1][2]
        window.marks.append((OPEN, at + phonemes[0][1], at + stop))
        complete = at + stop <= limit
        for phoneme, start, end in phonemes:
            window.phonemes.append((phoneme, at + start, at + end))
        if complete:
            for word, start, end in said.words[first:]:
                window.marks.append((self.ids[word], at + start, at + end))
            window.marks.append((CLOSE, at + phonemes[0][1], at + stop))
        window.add(audio[: max(1, int((stop - begin + 0.03) * RATE))])
        if self.draw.random() < 0.05:
            self.crowd = [*self.crowd[-30:], audio]
        return complete

    def short(self) -> Window:
        """One or two sentences, 2 to about 9 s."""
        window = Window()
        window.silence(self.draw.uniform(0.0, 0.6))
        manner = self.manner()
        self.speak(window, manner, 12.0, cut=self.draw.random() < 0.03)
        while window.seconds < 4.0 and self.draw.random() < 0.6:
            window.silence(self.draw.uniform(0.25, 1.0))
            self.speak(window, manner, 12.0)
        window.silence(self.draw.uniform(0.1, 0.7))
        return window

    def long(self) -> Window:
        """A window as faster-whisper shows it: up to 30 s of sentences, or fewer and silence."""
        window = Window()
        draw = self.draw
        window.silence(draw.uniform(0.0, 0.5) if draw.random() < 0.8 else draw.uniform(0.5, 4.0))
        manner = self.manner()
        fill = WINDOW if draw.random() < 0.6 else draw.uniform(2.0, WINDOW)
        cut = draw.random() < 0.06
        while window.seconds < fill:
            if draw.random() < 0.08:
                manner = self.manner()
            complete = self.speak(window, manner, WINDOW - 0.02, cut)
            cut = False
            if not complete:
                break
            window.silence(min(0.2 + draw.exponential(0.45), 5.0))
        return window

    def senseless(self) -> Window:
        """Sound without any speech that the model should write down."""
        window = Window()
        draw = self.draw
        seconds = draw.uniform(1.0, WINDOW) if draw.random() < 0.5 else WINDOW
        kind = draw.random()
        if kind < 0.3:
            window.silence(seconds)  # noise comes later, or stays silent
        elif kind < 0.5:
            window.add(music(seconds, draw))
        else:
            while window.seconds < seconds:
                manner = self.manner()
                if kind < 0.75:  # a language it does not know
                    text = " ".join(
                        "".join(draw.choice(_SYLLABLES, size=draw.integers(1, 5)))
                        for _ in range(draw.integers(2, 9))
                    )
                    variant = "+" + str(draw.choice(_PLAIN)) if draw.random() < 0.6 else ""
                    manner = Manner(str(draw.choice(FOREIGN)) + variant, manner.speed, manner.pitch)
                    window.add(self.espeak.say(text, manner).audio)
                else:  # speech backwards
                    window.add(self.espeak.say(self.speaker.sentence(), manner).audio[::-1])
                window.silence(draw.uniform(0.1, 1.0))
        return window

    def finish(self, window: Window, noisy: bool = False) -> tuple[NDArray[np.uint8], float]:
        """Noise, level, log-mel: (frames, 80) in steps of FLOOR / 255, and the maximum (log10)."""
        audio = np.concatenate(window.audio)[: int(WINDOW * RATE)]
        if not self.easy:
            audio = disturb(audio, self.draw, self.crowd, noisy)
        mel = log_mel(audio)
        top = float(mel.max())
        scaled = np.clip((mel - top + FLOOR) * (255 / FLOOR), 0, 255)
        return np.round(scaled).astype(np.uint8), top


def phoneme_table(folder: Path) -> dict[str, int]:
    """Classes of the phoneme head: 0 for pauses, then what the accents use for all the words.

    Kept in `folder` once it is made."""
    kept = folder / "phonemes.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    espeak, seen = Espeak(), set[str]()
    for accent, voice in ACCENTS.items():
        if accent != HELD_OUT_ACCENT:
            for word in words():
                said = espeak.say(word, Manner(voice, speed=300))
                seen.update(name for name, _, _ in said.phonemes)
    table = {name: index + 1 for index, name in enumerate(sorted(seen))}
    kept.write_text(json.dumps(table))
    return table


def labels(window: Window, table: dict[str, int], frames: int) -> NDArray[np.uint8]:
    """Phoneme class of each 20 ms frame, (frames,); 255 where it is not in the table."""
    out = np.zeros(frames, np.uint8)
    for name, start, end in window.phonemes:
        out[round(start / STEP) : max(round(end / STEP), round(start / STEP) + 1)] = table.get(
            name, 255
        )
    return out


def write_shard(path: Path, kind: str, seconds: float, seed: int, table: dict[str, int]) -> float:
    """Make `seconds` of audio and write them; returns the seconds made."""
    studio = Studio(seed, easy=kind == "easy")
    mels, tops, phonemes, marks = [], [], [], []
    made = 0.0
    while made < seconds:
        senseless = studio.draw.random() < {"long": 0.07, "short": 0.01, "easy": 0.0}[kind]
        if senseless:
            window = studio.senseless()
        else:
            window = studio.long() if kind == "long" else studio.short()
        mel, top = studio.finish(window, noisy=senseless)
        frames = len(mel) // 2
        mels.append(mel[: 2 * frames])
        tops.append(top)
        phonemes.append(labels(window, table, frames)[:frames])
        marks.append(
            np.array(
                [(k, round(a / STEP), round(b / STEP)) for k, a, b in window.marks], np.int16
            ).reshape(-1, 3)
        )
        made += frames * STEP
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as out:
        np.savez(
            out,
            mel=np.concatenate(mels),
            top=np.array(tops, np.float32),
            frames=np.array([len(item) for item in phonemes], np.int32),
            phonemes=np.concatenate(phonemes),
            marks=np.concatenate(marks),
            counts=np.array([len(item) for item in marks], np.int32),
        )
    temporary.rename(path)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=("easy", "short", "long"), required=True)
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = phoneme_table(arguments.out)
    made, number = 0.0, 0
    while made < arguments.hours * 3600:
        began = time.time()
        path = arguments.out / f"{arguments.kind}-{arguments.seed:03d}-{number:04d}.npz"
        if path.exists():
            made += float(np.load(path)["frames"].sum()) * STEP
        else:
            seed = arguments.seed * 100_000 + number + (50_000 if arguments.kind == "long" else 0)
            seconds = write_shard(path, arguments.kind, 1200.0, seed, table)
            made += seconds
            print(f"{path.name}: {seconds / (time.time() - began):.0f}x real time", flush=True)
        number += 1


if __name__ == "__main__":
    main()
