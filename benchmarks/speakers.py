"""How well voices are told apart: pairs of real and of synthetic voices, and single ones.

    python benchmarks/speakers.py --data DATA [--penalty 3]

Pairs take turns in stretches of five seconds, 0.4 s apart, cut from recordings of DATA
(`audio/speech.jsonl`), or speak whole sentences (eSpeak NG). Printed: the voices found, and the
share of the seconds found that are given to the right one. Single voices: how many are split.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from mmsearch.media.formats.audio import decode
from mmsearch.models.speech.speakers.clustering import PENALTY, ClusteringDiariser
from mmsearch.types import Samples, Turn

RATE = 16_000
PAIRS = (
    ("LJ001_long_0001-0011.m4a", "sonnet_001.mp3"),
    ("LJ001_long_0001-0011.m4a", "jfk.wav"),
    ("sonnet_001.mp3", "simplicissimus_de.mp3"),
    ("LJ001_long_0001-0011.m4a", "azure_pt-BR_1.ogg"),
    ("azure_ko-KR_1.mp3", "azure_ja-JP_1.opus"),
    ("watson_en-GB_Broadband_sample1.wav", "watson_fr-FR_Broadband_sample1.wav"),
)
VOICES = (("en-us", "en-us+f2"), ("en-us", "en+m3"), ("en-us+f2", "en+f4"), ("en-us", "en-us+m7"))
SENTENCES = (
    "The train to the coast leaves at nine in the morning from the old station.",
    "I have packed two sandwiches, a map, and a warm jacket for the evening.",
    "Please ask your sister whether she can bring the red umbrella as well.",
    "There will be rain on Sunday, but the weather should be fine until then.",
)


def joined(pieces: list[Samples], voices: int) -> tuple[Samples, list[Turn]]:
    """Pieces of the voices in turn, with the truth."""
    sound: list[Samples] = []
    truth: list[Turn] = []
    at = 0.0
    for number, piece in enumerate(pieces):
        level = max(float(np.abs(piece).max()), 1e-3)
        sound += [piece / level * np.float32(0.6), np.zeros(int(0.4 * RATE), np.float32)]
        truth.append(Turn(at, at + len(piece) / RATE, number % voices + 1))
        at += len(piece) / RATE + 0.4
    return np.concatenate(sound).astype(np.float32), truth


def real_pair(folder: Path, names: tuple[str, str]) -> tuple[Samples, list[Turn]]:
    step = 5 * RATE
    parts = []
    for name in names:
        samples = decode(folder / name).samples
        count = len(samples) // step
        parts.append([samples[n % count * step :][:step] for n in range(4)])
    return joined([piece for both in zip(*parts, strict=True) for piece in both], 2)


def spoken_pair(voices: tuple[str, str]) -> tuple[Samples, list[Turn]]:
    pieces = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"
        for number, text in enumerate(SENTENCES * 2):
            command = ["espeak-ng", "-v", voices[number % 2], "-w", str(file), text]
            subprocess.run(command, check=True)
            pieces.append(decode(file).samples)
    return joined(pieces, 2)


def right(found: tuple[Turn, ...], truth: list[Turn]) -> float:
    """With the best naming of the voices found."""
    shared: dict[tuple[int, int], float] = {}
    for one, other in itertools.product(found, truth):
        seconds = min(one.end, other.end) - max(one.start, other.start)
        if seconds > 0:
            pair = (one.speaker, other.speaker)
            shared[pair] = shared.get(pair, 0.0) + seconds
    voices = sorted({turn.speaker for turn in found})
    true = sorted({turn.speaker for turn in truth})
    padded = [*true, *[0] * max(0, len(voices) - len(true))]
    best = max(
        sum(shared.get(pair, 0.0) for pair in zip(voices, naming, strict=False))
        for naming in itertools.permutations(padded, len(voices))
    )
    return best / max(sum(shared.values()), 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--penalty", type=float, default=PENALTY)
    arguments = parser.parse_args()
    diariser = ClusteringDiariser(penalty=arguments.penalty)
    folder = arguments.data / "audio"
    pairs = [(names, real_pair(folder, names)) for names in PAIRS]
    pairs += [(voices, spoken_pair(voices)) for voices in VOICES]
    for names, (samples, truth) in pairs:
        found = diariser.begin().turns(samples)
        voices = len({turn.speaker for turn in found})
        print(
            f"{' and '.join(names)}: {voices} voices, {right(found, truth):.1%} right", flush=True
        )
    split = []
    rows = [json.loads(line) for line in (folder / "speech.jsonl").read_text().splitlines()]
    alone = [row["file"] for row in rows if row["duration"] > 8 and "mixed" not in row["file"]]
    for name in alone:
        found = diariser.begin().turns(decode(folder / name).samples[: 60 * RATE])
        if len({turn.speaker for turn in found}) > 1:
            split.append(name)
    print(f"single voices: {len(split)} of {len(alone)} split {split}")


if __name__ == "__main__":
    main()
