"""Speak the demo's memos into small Opus files, because a user's machine has no eSpeak.

    python tools/nano/whisper/record_memos.py [--check MODEL_DIR]

Writes mmsearch/demo/picturebook/recordings/: `memo-NNN.ogg` (Opus, 16 kHz mono) for every third
story of the demo's library, and recordings.json (file, text, seed and index of the story, voice).
`--check` recognises the files with a nano-whisper folder and prints the word error rate.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import av
import jiwer
import numpy as np
from espeak import ACCENTS, RATE, Espeak, Manner
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
from mmsearch.demo.picturebook.stories import stories  # noqa: E402

FOLDER = ROOT / "mmsearch" / "picturebook" / "recordings"
SEED, COUNT = 2024, 60  # those of `mmsearch demo`
VOICES = ("en-us", "en-gb+f2", "en-us+m3", "en-gb", "en-us+f3", "en-us+m7", "en-gb+m1", "en-us+f2")


def manner(index: int) -> Manner:
    accent, _, variant = VOICES[index % len(VOICES)].partition("+")
    draw = np.random.default_rng([SEED, index])
    return Manner(
        ACCENTS[accent] + (f"+{variant}" if variant else ""),
        speed=int(draw.integers(140, 166)),
        pitch=int(draw.integers(40, 61)),
    )


def spoken(espeak: Espeak, text: str, how: Manner) -> NDArray[np.float32]:
    """Sentence by sentence, with pauses as people make them."""
    parts = [np.zeros(RATE // 3, np.float32)]
    for sentence in re.findall(r"[^.!?]+[.!?]", text):
        said = espeak.say(sentence.strip().lower(), how).audio
        parts += [said * 0.7, np.zeros(int(0.45 * RATE), np.float32)]
    return np.concatenate(parts)


def write_opus(path: Path, audio: NDArray[np.float32]) -> None:
    """Mono Opus at 20 kbit/s in an Ogg file."""
    with av.open(str(path), "w", format="ogg") as file:
        stream = file.add_stream("libopus", rate=RATE, layout="mono")
        stream.bit_rate = 20_000
        samples = (np.clip(audio, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)


def check(model: Path) -> None:
    """Recognise what was recorded and print each wrong memo and the word error rate."""
    from evaluate import Recogniser, kept, text_of
    from faster_whisper import decode_audio

    recognise = Recogniser(model)
    true, heard = [], []
    for entry in json.loads((FOLDER / "recordings.json").read_text()):
        segments = recognise(decode_audio(str(FOLDER / entry["file"])))
        true.append(" ".join(re.findall(r"[a-z']+", entry["text"].lower())))
        heard.append(text_of(kept(segments)))
        if heard[-1] != true[-1]:
            print(f"{entry['file']} {entry['voice']}\n  {true[-1]}\n  {heard[-1]}")
    print(f"word error rate {jiwer.wer(true, heard):.4f} on {len(true)} memos")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", type=Path, metavar="MODEL_DIR")
    arguments = parser.parse_args()
    if arguments.check:
        check(arguments.check)
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    espeak = Espeak()
    entries = []
    for index, story in enumerate(stories(COUNT, SEED)):
        if index % 3 == 1:  # every third one at 0 has a written note
            how = manner(index // 3)
            name = f"memo-{index + 1:03d}.ogg"
            write_opus(FOLDER / name, spoken(espeak, story.memo, how))
            entries.append(
                {
                    "file": name,
                    "text": story.memo,
                    "seed": SEED,
                    "index": index,
                    "voice": VOICES[(index // 3) % len(VOICES)],
                }
            )
    (FOLDER / "recordings.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
