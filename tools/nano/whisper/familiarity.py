"""Fit and measure the rule by which nano-whisper leaves recordings of people alone.

    python tools/nano/whisper/familiarity.py MODEL_DIR --data DATA

nano-whisper knows synthetic speech only and invents sentences for any other. A linear rule on
statistics of the mel spectrum (`mmsearch.models.speech.in_domain`) tells the two apart: speech of
eSpeak NG in the voices of training, clean, coded and disturbed, against the real recordings and
sounds of DATA (`audio/speech.jsonl`, `sounds/sounds.jsonl`). The printed figures are of held-out
eSpeak voices and, for real recordings, of rules fitted without the recordings of the same source.
Writes MODEL_DIR/mmsearch.json; the manifest has to be written anew afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from espeak import ACCENTS, RATE, Manner
from faster_whisper.vad import get_speech_timestamps
from numpy.typing import NDArray
from sentences import Speaker
from sound import disturb
from synthesize import HELD_OUT_ACCENT, HELD_OUT_VARIANTS, Studio

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
from mmsearch.media.formats.audio import decode  # noqa: E402
from mmsearch.models.speech.in_domain import describe, pieces  # noqa: E402

Samples = NDArray[np.float32]
Matrix = NDArray[np.float64]
STRENGTH = 100.0  # of the ridge; held-out figures hardly change from 30 to 300
MARGIN = 0.05  # taken off every score: rather no text than invented text
ALONE = 11.0
"""Seconds: nearly every training window held one utterance, so each is heard by itself."""
WINDOW = 8.0
"""Seconds down to which silence at a window's end is left out, for a quarter of the time. Word
errors of unseen voices: 0.28 instead of 0.26 in sentences, 0.15 instead of 0.17 in memos."""
SEED = 41


def coded(audio: Samples, codec: str, bit_rate: int) -> Samples:
    """Through a lossy codec and back."""
    buffer = io.BytesIO()
    kind, sample = {"libopus": ("ogg", "s16"), "libmp3lame": ("mp3", "s16p")}[codec]
    with av.open(buffer, "w", format=kind) as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono")
        stream.bit_rate = bit_rate
        whole = (np.clip(audio, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole[None], format=sample, layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return decode(buffer.getvalue()).samples


def varied(audio: Samples, kind: int, draw: np.random.Generator) -> Samples:
    """As it is, coded, with noise, or in a room."""
    if kind == 1:
        return coded(audio, "libopus", int(draw.choice((12_000, 20_000, 32_000))))
    if kind == 2:
        return coded(audio, "libmp3lame", int(draw.choice((32_000, 64_000))))
    if kind == 3:
        level = np.sqrt(np.mean(audio**2)) * 10 ** (-draw.uniform(15, 35) / 20)
        return (audio + level * draw.standard_normal(len(audio))).astype(np.float32)
    if kind == 4:
        return disturb(audio, draw, [])
    return audio


def described(audio: Samples) -> list[Matrix]:
    """Each piece of each stretch of speech."""
    found: list[Matrix] = []
    for speech in get_speech_timestamps(audio, min_silence_duration_ms=500, speech_pad_ms=200):
        for piece in pieces(audio[speech["start"] : speech["end"]]):
            features = describe(piece)
            if features is not None:
                found.append(features)
    return found


def spoken(studio: Studio, count: int, manner: Callable[[int], Manner], seed: int) -> Matrix:
    """Features of sentences in these manners."""
    draw = np.random.default_rng(seed)
    speaker = Speaker(seed)
    rows: list[Matrix] = []
    for index in range(count):
        text = " ".join(speaker.natural() for _ in range(1 + index % 2))
        said = studio.espeak.say(text, manner(index)).audio
        gap = np.zeros(RATE // 4, np.float32)
        audio = np.concatenate([gap, said * (0.5 / max(float(np.abs(said).max()), 1e-3)), gap])
        rows += described(varied(audio, index % 6, draw))
    return np.array(rows)


def held_out(index: int) -> Manner:
    accents = [name for name in ACCENTS if name != HELD_OUT_ACCENT]
    speed, pitch = 125 + index * 37 % 75, 30 + index * 17 % 40
    if index % 3 == 0:
        variant = ("", "+m3", "+f2", "+f5", "+m1")[index // 3 % 5]
        return Manner(ACCENTS[HELD_OUT_ACCENT] + variant, speed, pitch)
    accent = ACCENTS[accents[index % len(accents)]]
    return Manner(f"{accent}+{HELD_OUT_VARIANTS[index % 5]}", speed, pitch)


def real(data: Path) -> Iterator[tuple[str, str, list[Matrix]]]:
    """(source, file, features) of recordings of people and of sounds that pass for speech."""
    draw = np.random.default_rng(SEED)
    for folder, name in (("audio", "speech"), ("sounds", "sounds")):
        for line in (data / folder / f"{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            audio = decode(data / folder / row["file"]).samples[: 60 * RATE]
            # What it was cut or recoded from is one source.
            yield row["source"][:40], row["file"], described(audio)
            if len(audio) > 2 * RATE:
                kind = int(draw.integers(1, 4))
                again = varied(audio[: 20 * RATE], kind, draw)
                yield row["source"][:40], f"{row['file']} (varied)", described(again)


def fitted(familiar: Matrix, foreign: Matrix) -> tuple[Matrix, float]:
    """Weights and bias of the ridge regression to 1 and -1, both sides of equal weight."""
    mean, scale = familiar.mean(axis=0), familiar.std(axis=0) + 1e-6
    rows = (np.concatenate([familiar, foreign]) - mean) / scale
    rows = np.column_stack([rows, np.ones(len(rows))])
    target = np.concatenate([np.ones(len(familiar)), -np.ones(len(foreign))])
    weight = np.where(target > 0, 1 / len(familiar), 1 / len(foreign)) * len(rows) / 2
    system = rows.T @ (weight[:, None] * rows) + STRENGTH * np.eye(rows.shape[1])
    solution = np.linalg.solve(system, rows.T @ (weight * target))
    weights = solution[:-1] / scale
    return weights, float(solution[-1] - weights @ mean - MARGIN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=480, help="sentences of training voices")
    arguments = parser.parse_args()
    studio = Studio(SEED)
    training = spoken(studio, arguments.count, lambda _: studio.manner(), SEED)
    unseen = spoken(studio, arguments.count // 3, held_out, SEED + 1)
    recordings = list(real(arguments.data))
    foreign = np.array([f for _, _, features in recordings for f in features])
    sources = [source for source, _, features in recordings for _ in features]
    weights, bias = fitted(training, foreign)

    accepted: list[str] = []
    for source in sorted(set(sources)):
        others = np.array([s != source for s in sources])
        rule = fitted(training, foreign[others])
        for own, file, features in recordings:
            if own == source and features:
                score = float(np.mean([f @ rule[0] + rule[1] for f in features]))
                if score > 0:
                    accepted.append(f"{file} ({score:.2f})")
    figures: dict[str, Any] = {
        "eSpeak pieces, training voices, familiar": float(np.mean(training @ weights + bias > 0)),
        "eSpeak pieces, held-out voices, familiar": float(np.mean(unseen @ weights + bias > 0)),
        "real recordings and sounds": sum(bool(f) for _, _, f in recordings),
        "of these familiar to a rule fitted without their source": accepted,
    }
    print(json.dumps(figures, indent=1))
    content = {
        "alone": ALONE,
        "window": WINDOW,
        "familiar": {
            "weights": [float(f"{w:.5g}") for w in weights],
            "bias": round(bias, 5),
        },
    }
    (arguments.model / "mmsearch.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
