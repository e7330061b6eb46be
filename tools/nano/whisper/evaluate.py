"""Measure a nano-whisper folder: word errors on unseen sentences and voices, times, false speech.

    python tools/nano/whisper/evaluate.py MODEL_DIR [--json docs/models/nano-whisper.json]
        [--sounds DIR] [--speech DIR]

Single sentences are recognised through faster-whisper on the CPU in int8, in the folder's shorter
windows; memos of several as mmsearch does, with what it leaves out. `--sounds` and `--speech` name
folders of real recordings, which should give no text.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from espeak import ACCENTS, RATE, Espeak, Manner
from faster_whisper import WhisperModel, decode_audio
from lexicon import words
from numpy.typing import NDArray
from sentences import Speaker, transcript
from sound import noise
from synthesize import HELD_OUT_ACCENT, HELD_OUT_VARIANTS, Studio

from mmsearch.models.loading import DESCRIPTION
from mmsearch.models.speech.whisper import WhisperTranscriber, shortened

SETTINGS: dict[str, Any] = {
    "language": "en",
    "vad_filter": True,
    "condition_on_previous_text": False,
    "word_timestamps": True,
}
# A segment is kept only above this mean log probability of its tokens (see the model card).
LOGPROB_CUT = -0.6
SEED = 77_000_000  # far from every training seed


@dataclass(frozen=True)
class Segment:
    """What is kept of a recognised segment (seconds, mean log probability)."""

    start: float
    end: float
    text: str
    logprob: float
    no_speech: float
    compression: float


class Recogniser:
    """faster-whisper with the settings above; counts how long it takes."""

    def __init__(self, folder: Path, threads: int = 1, compute: str = "int8") -> None:
        self.model = WhisperModel(
            str(folder), device="cpu", compute_type=compute, cpu_threads=threads
        )
        told = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        self.model.encode = shortened(self.model.encode, told["window"])
        self.spent = self.heard = 0.0

    def __call__(self, audio: NDArray[np.float32], **settings: Any) -> list[Segment]:
        began = time.perf_counter()
        found, _ = self.model.transcribe(audio, **{**SETTINGS, **settings})
        segments = [
            Segment(s.start, s.end, s.text, s.avg_logprob, s.no_speech_prob, s.compression_ratio)
            for s in found
        ]
        self.spent += time.perf_counter() - began
        self.heard += len(audio) / RATE
        return segments


def kept(segments: Iterable[Segment], cut: float = LOGPROB_CUT) -> list[Segment]:
    """The usual drop rules of mmsearch and the model's own cut."""
    return [
        s
        for s in segments
        if s.compression <= 2.4 and not (s.no_speech > 0.6 and s.logprob < -1) and s.logprob >= cut
    ]


def text_of(segments: Iterable[Segment]) -> str:
    return " ".join("".join(s.text for s in segments).split())


def speak(espeak: Espeak, sentence: str, manner: Manner) -> NDArray[np.float32]:
    """The sentence with a little silence around, at half level."""
    said = espeak.say(sentence, manner).audio
    gap = np.zeros(RATE // 3, np.float32)
    return np.concatenate([gap, said * (0.5 / max(np.abs(said).max(), 1e-3)), gap])


def written_sentences() -> list[str]:
    """Sentences written by hand, not by the templates of training."""
    return (Path(__file__).parent / "unseen_sentences.txt").read_text().split("\n")[:-1]


def fresh_sentences(count: int, natural: bool) -> list[str]:
    """Sentences of the templates, or all kinds including loose word strings, of another seed."""
    speaker = Speaker(SEED)
    made: list[str] = []
    while len(made) < count:
        sentence = speaker.natural() if natural else speaker.sentence()
        if len(transcript(sentence)) > 2:
            made.append(sentence)
    return made


def manners(kind: str, count: int) -> list[Manner]:
    """Speaking manners of a test: voice as named, speeds 125-195 and pitches 30-70."""
    studio = Studio(SEED)
    draw = np.random.default_rng(SEED)
    result = []
    for index in range(count):
        speed, pitch = int(draw.uniform(125, 195)), int(draw.uniform(30, 70))
        if kind == "seen":
            manner = studio.manner()
            voice = manner.voice
        elif kind == "variants":
            accents = [name for name in ACCENTS if name != HELD_OUT_ACCENT]
            variant = HELD_OUT_VARIANTS[index % len(HELD_OUT_VARIANTS)]
            voice = ACCENTS[accents[index % len(accents)]] + "+" + variant
        elif kind == "accent":
            voice = ACCENTS[HELD_OUT_ACCENT] + ("", "+m3", "+f2", "+f5", "+m1")[index % 5]
        else:
            voice = kind
        result.append(Manner(voice, speed, pitch))
    return result


def word_errors(
    recognise: Recogniser,
    sentences: list[str],
    voices: list[Manner],
    disturb: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda audio: audio,
    show: bool = False,
    **settings: Any,
) -> dict[str, float]:
    """Word error rate before and after the drop rules, and the segments' log probabilities."""
    espeak = Espeak()
    true, raw, filtered, logprobs = [], [], [], []
    for sentence, manner in zip(sentences, voices, strict=True):
        segments = recognise(disturb(speak(espeak, sentence, manner)), **settings)
        true.append(" ".join(transcript(sentence)))
        raw.append(text_of(segments))
        filtered.append(text_of(kept(segments)))
        logprobs += [s.logprob for s in segments]
        if show and raw[-1] != true[-1]:
            print(f"   {manner.voice} {manner.speed}\n     {true[-1]}\n     {raw[-1]}")
    return {
        "wer": round(jiwer.wer(true, raw), 4),
        "wer_after_cut": round(jiwer.wer(true, filtered), 4),
        "logprob_5th_percentile": round(float(np.percentile(logprobs or [0], 5)), 3),
        "logprob_median": round(float(np.median(logprobs or [0])), 3),
        "sentences": len(true),
    }


def times(folder: Path, count: int) -> dict[str, float]:
    """Memos of several sentences with pauses as mmsearch hears them: words, and seconds (s)."""
    sequential, batched = (
        WhisperTranscriber(str(folder.resolve()), mode=mode) for mode in ("sequential", "batched")
    )
    espeak, speaker, draw = Espeak(), Speaker(SEED + 1), np.random.default_rng(SEED)
    starts, ends, word_starts, true, heard, in_batch = [], [], [], [], [], []
    segments_true = segments_found = 0
    for manner in manners("variants", count):
        audio, spans, spoken = np.zeros(RATE // 2, np.float32), [], []
        word_times: list[tuple[str, float]] = []
        for _ in range(int(draw.integers(3, 9))):
            sentence = speaker.natural()
            said = espeak.say(sentence, manner)
            if not said.phonemes:
                continue
            at = len(audio) / RATE
            spans.append((at + said.phonemes[0][1], at + said.phonemes[-1][2]))
            spoken += transcript(sentence)
            word_times += [(word, at + start) for word, start, _ in said.words]
            pause = np.zeros(int(draw.uniform(0.4, 1.5) * RATE), np.float32)
            audio = np.concatenate([audio, said.audio * 0.5, pause])
        found = sequential.transcribe(audio, language="en").utterances
        true.append(" ".join(spoken))
        heard.append(" ".join(one.text.strip() for one in found))
        again = batched.transcribe(audio, language="en").utterances
        in_batch.append(" ".join(one.text.strip() for one in again))
        segments_true += len(spans)
        segments_found += len(found)
        for one in found:
            starts.append(min(abs(one.start - span[0]) for span in spans))
            ends.append(min(abs(one.end - span[1]) for span in spans))
            for word in one.words:
                near = [t for w, t in word_times if w == word.text.strip()]
                if near:
                    word_starts.append(min(abs(word.start - t) for t in near))
    return {
        "wer": round(jiwer.wer(true, heard), 4),
        "wer_batched": round(jiwer.wer(true, in_batch), 4),
        "segments_true": segments_true,
        "segments_found": segments_found,
        "segment_start_error_median_s": round(float(np.median(starts)), 3),
        "segment_end_error_median_s": round(float(np.median(ends)), 3),
        "word_start_error_median_s": round(float(np.median(word_starts)), 3),
        "word_start_error_90th_s": round(float(np.percentile(word_starts, 90)), 3),
    }


def false_text(recognise: Recogniser, files: list[Path], cut: float) -> dict[str, Any]:
    """How many words come out of recordings that hold no speech it should know."""
    raw = after = 0
    logprobs: list[float] = []
    with_text = 0
    seconds = 0.0
    for path in files:
        audio = decode_audio(str(path))
        seconds += len(audio) / RATE
        segments = recognise(audio)
        raw += len(text_of(segments).split())
        left = len(text_of(kept(segments, cut)).split())
        after += left
        with_text += left > 0
        logprobs += [s.logprob for s in segments]
    return {
        "recordings": len(files),
        "minutes": round(seconds / 60, 1),
        "words": raw,
        "words_after_cut": after,
        "recordings_with_text_after_cut": with_text,
        "logprob_median": round(float(np.median(logprobs)), 3) if logprobs else None,
        "logprob_95th_percentile": (
            round(float(np.percentile(logprobs, 95)), 3) if logprobs else None
        ),
    }


def silence(recognise: Recogniser) -> dict[str, int]:
    """Words written for 20 s of silence and of noise, without the VAD's help."""
    draw = np.random.default_rng(SEED)
    result = {}
    for name in ("silence", "white", "pink", "brown", "hum"):
        audio = np.zeros(20 * RATE, np.float32)
        if name != "silence":
            audio = 0.05 * noise(20 * RATE, name, draw)
        result[name] = len(text_of(recognise(audio, vad_filter=False)).split())
    return result


def keep(results: dict[str, Any], target: Path | None) -> None:
    """Write what has been measured so far, if anybody asked for a file."""
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sounds", type=Path, help="folder of sounds without speech")
    parser.add_argument("--speech", type=Path, help="folder of real speech")
    parser.add_argument("--count", type=int, default=60, help="sentences in each test")
    parser.add_argument("--show", action="store_true", help="print the wrong transcripts")
    arguments = parser.parse_args()
    recognise = Recogniser(arguments.model)
    written = written_sentences()[: arguments.count]
    count = len(written)
    fresh = fresh_sentences(count, natural=True)
    draw = np.random.default_rng(SEED)

    def noisy(audio: NDArray[np.float32]) -> NDArray[np.float32]:
        level = np.sqrt(np.mean(audio**2)) * 10 ** (-10 / 20)
        return (audio + level * noise(len(audio), "pink", draw)).astype(np.float32)

    tests: dict[str, Callable[[], dict[str, Any]]] = {
        "unseen sentences, one unseen voice (en-us+f5)": lambda: word_errors(
            recognise, written, manners("gmw/en-US+f5", count), show=arguments.show
        ),
        "unseen sentences, five unseen variants in seven accents": lambda: word_errors(
            recognise, written, manners("variants", count), show=arguments.show
        ),
        "unseen sentences, unseen accent (en-gb-x-gbcwmd)": lambda: word_errors(
            recognise, written, manners("accent", count), show=arguments.show
        ),
        "template sentences, unseen variants": lambda: word_errors(
            recognise, fresh, manners("variants", count)
        ),
        "loose words and strings, unseen variants": lambda: word_errors(
            recognise, fresh_sentences(count, natural=False), manners("variants", count)
        ),
        "unseen sentences, seen voices": lambda: word_errors(
            recognise, written, manners("seen", count)
        ),
        "unseen sentences, plain en-us": lambda: word_errors(
            recognise, written, manners("gmw/en-US", count)
        ),
        "unseen sentences, unseen variants, pink noise at 10 dB": lambda: word_errors(
            recognise, written, manners("variants", count), noisy
        ),
        "memos with pauses": lambda: times(arguments.model, max(3, count // 4)),
        "silence and noise without VAD, words": lambda: silence(recognise),
    }
    for name, folder in (("sounds", arguments.sounds), ("real speech", arguments.speech)):
        if folder:
            endings = (".wav", ".ogg", ".mp3", ".flac", ".m4a", ".opus")
            files = sorted(p for p in folder.iterdir() if p.suffix.lower() in endings)
            files = files[:: max(1, len(files) // count)]
            tests[f"{name}, words written"] = lambda f=files: false_text(  # type: ignore[misc]
                recognise, f, LOGPROB_CUT
            )
    results: dict[str, Any] = {
        "vocabulary": len(words()),
        "bytes": sum(path.stat().st_size for path in arguments.model.iterdir()),
        "logprob_cut": LOGPROB_CUT,
    }
    for name, test in tests.items():
        results[name] = test()
        print(name, json.dumps(results[name]), flush=True)
        keep(results, arguments.json)
    results["seconds of audio per second, one thread"] = round(recognise.heard / recognise.spent, 1)
    print(json.dumps({k: v for k, v in results.items() if not isinstance(v, dict)}))
    keep(results, arguments.json)


if __name__ == "__main__":
    main()
