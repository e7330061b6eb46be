"""Speech to text with faster-whisper (CTranslate2).

::

    samples -> what the model may understand -> runs of one language -> Whisper -> what is believed

Sequential decoding is for quality, batched decoding for speed. In both, voice activity detection
skips what is not speech, and stretches that Whisper made up are dropped (`believable.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mmsearch.errors import ConfigurationError, WeightsNotFoundError
from mmsearch.models import loading
from mmsearch.models.speech.hallucinations import Rules, believable
from mmsearch.models.speech.in_domain import Familiarity
from mmsearch.models.speech.languages import LanguageRun, language_runs
from mmsearch.types import Samples, Transcript, Utterance, Word

if TYPE_CHECKING:
    from mmsearch.models.profiles import ModelSpec
    from mmsearch.settings import Settings

_RATE = 16_000
_NEEDS = ("model.bin",)
_PATTERNS = (
    "config.json",
    "preprocessor_config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.*",
    loading.DESCRIPTION,
)
_BATCH = 8
_NOTHING = Transcript(language=None, language_probability=0.0, utterances=())
_OPTIONS: dict[str, Any] = {
    "beam_size": 5,
    "vad_filter": True,
    "word_timestamps": True,
    "condition_on_previous_text": False,
    "without_timestamps": False,
    # No fallback to sampling: the same recording is to give the same segments every time.
    # What the fallback would mend (repetition, inventions) the rules drop.
    "temperature": 0.0,
}
_SEQUENTIAL: dict[str, Any] = {
    # Where words hang in a silence of this length, the silence is skipped and tried again.
    "hallucination_silence_threshold": 2.0,
}
_VAD: dict[str, Any] = {"min_silence_duration_ms": 500, "speech_pad_ms": 200}
_APART_MS = 250
"""The silence that parts two sentences, for a model that hears each alone."""


def from_spec(spec: ModelSpec, settings: Settings) -> WhisperTranscriber:
    """The transcriber that a profile names, as the settings want it."""
    given = {
        "max_compression": settings.speech_max_compression,
        "max_no_speech": settings.speech_max_no_speech,
        "min_logprob": settings.speech_min_logprob,
    }
    return WhisperTranscriber(
        spec.name,
        mode=settings.transcription,
        translate=settings.translate,
        each_language=settings.language_detection == "stretch",
        rules={name: value for name, value in given.items() if value is not None},
        model_folder=settings.model_folder,
        allow_download=settings.allow_download,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    rules: Rules = field(default_factory=Rules)
    familiarity: Familiarity | None = None
    """None: the model knows people's speech."""
    alone: float | None = None
    """None: the model hears one speaker after another in one window. Otherwise every stretch of
    speech is a window by itself, cut at its pauses where it is longer than so many seconds."""
    window: float | None = None
    """None: the model was taught on whole windows of 30 seconds. Otherwise silence that only fills
    a window up is left out, down to so many seconds: attention costs the square of a window."""


class WhisperTranscriber:
    """A `Transcriber`: a size ("small"), a hub id, a folder, or "nano-whisper".

    A size or id is what faster-whisper knows under that name. On a CPU weights are 8-bit
    unless `precision` says otherwise, on a GPU 16-bit. `translate`: other languages are written
    in English. `each_language`: the language may change within a recording. `rules`: fields of
    `Rules` in place of the model's own.
    """

    def __init__(
        self,
        model: str,
        *,
        mode: Literal["sequential", "batched"] = "sequential",
        translate: bool = False,
        each_language: bool = True,
        rules: dict[str, float] | None = None,
        model_folder: Path = Path("~/.cache/mmsearch/models"),
        allow_download: bool = False,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
    ) -> None:
        self._name = model
        self._mode = mode
        self._translate = translate
        self._each_language = each_language
        self._rules = dict(rules or {})
        self._model_folder = model_folder
        self._allow_download = allow_download
        self._device = device
        self._precision = precision
        self._threads = loading.arithmetic_threads(threads)
        self._lazy = loading.Lazy(self._load)
        self._fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        if self._fingerprint is None:
            self._lazy.get()
        assert self._fingerprint is not None, "loading sets it"
        return self._fingerprint

    def transcribe(
        self, samples: npt.NDArray[np.float32], *, language: str | None = None
    ) -> Transcript:
        if samples.ndim != 1:
            raise ValueError(f"samples: shape {samples.shape}, not (n,): mono is needed")
        if samples.size == 0:
            return _NOTHING
        loaded = self._lazy.get()
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        speech = _speech(samples, loaded.alone)
        if loaded.familiarity is not None:
            speech = loaded.familiarity.familiar(samples, speech)
            samples = _only(samples, speech)
        if not speech:
            return _NOTHING
        heard: list[Utterance] = []
        for run in self._runs(loaded, samples, speech, language):
            clips = None
            if loaded.alone is not None:
                clips = [
                    (a - run.start, b - run.start)
                    for a, b in speech
                    if run.start < b and a < run.end
                ]
            heard += self._hear(loaded, samples[run.start : run.end], run, clips)
        return _transcript(believable(heard, loaded.rules))

    def release(self) -> None:
        self._lazy.release()

    # -------------------------------------------------------------- languages

    def _runs(
        self,
        loaded: _Loaded,
        samples: Samples,
        speech: Sequence[tuple[int, int]],
        language: str | None,
    ) -> list[LanguageRun]:
        multilingual = bool(loaded.model.model.is_multilingual)
        if not multilingual or language is not None:
            whole = LanguageRun(0, len(samples), language or "en", 1.0)
            return [whole]

        def detect(part: Samples) -> tuple[str, float]:
            found, probability, _ = loaded.model.detect_language(audio=part)
            return str(found), float(probability)

        return language_runs(samples, speech, detect, each=self._each_language)

    def _hear(
        self,
        loaded: _Loaded,
        samples: Samples,
        run: LanguageRun,
        clips: Sequence[tuple[int, int]] | None,
    ) -> list[Utterance]:
        """What Whisper writes for one run, with times of the whole recording."""
        translated = self._translate and run.language != "en"
        task = "translate" if translated else "transcribe"
        try:
            segments = self._segments(loaded.model, samples, run.language, task, clips)
            heard = list(_utterances(segments, len(samples) / _RATE))
        except ValueError as error:
            if "language" in str(error):
                raise ConfigurationError(str(error).splitlines()[0], param="language") from error
            raise
        offset = run.start / _RATE
        return [
            replace(
                utterance,
                start=utterance.start + offset,
                end=utterance.end + offset,
                words=tuple(
                    replace(word, start=word.start + offset, end=word.end + offset)
                    for word in utterance.words
                ),
                language=run.language,
                language_probability=run.probability,
                translated=translated,
            )
            for utterance in heard
        ]

    def _segments(
        self,
        model: Any,
        samples: Samples,
        language: str,
        task: str,
        clips: Sequence[tuple[int, int]] | None,
    ) -> Iterable[Any]:
        options = {**_OPTIONS, "language": language, "task": task}
        spans = [(max(a, 0) / _RATE, min(b, len(samples)) / _RATE) for a, b in clips or ()]
        if clips is not None:
            options["vad_filter"] = False
        if self._mode == "sequential":
            if clips is not None:
                options["clip_timestamps"] = [second for span in spans for second in span]
            return model.transcribe(samples, **options, **_SEQUENTIAL)[0]
        from faster_whisper import BatchedInferencePipeline

        # The pipeline keeps state between calls, so every call has its own.
        pipeline = BatchedInferencePipeline(model=model)
        if clips is not None:
            options["clip_timestamps"] = [{"start": a, "end": b} for a, b in spans]
        return pipeline.transcribe(samples, **options, batch_size=_BATCH)[0]

    # -------------------------------------------------------------- loading

    def _load(self) -> _Loaded:
        from faster_whisper import WhisperModel

        folder = self._folder()
        device, index = self._placed()
        try:
            model = WhisperModel(
                str(folder),
                device=device,
                device_index=index,
                compute_type=self._compute_type(device),
                cpu_threads=self._threads,
                local_files_only=True,
            )
        except MemoryError:
            raise
        except Exception as error:
            raise loading.unreadable(self._name, folder, error) from error
        described = self._described(folder, model)
        self._check_translation(model)
        files = [folder / "model.bin", *folder.glob("*.json"), *folder.glob("vocabulary.txt")]
        self._fingerprint = loading.fingerprint(
            adapter="whisper/2",
            weights=loading.weights_digest(f for f in files if f.name != loading.MANIFEST),
            mode=self._mode,
            translate=self._translate,
            each_language=self._each_language,
            options=[_OPTIONS, _SEQUENTIAL, _VAD, described.alone, described.window, _APART_MS],
            rules=asdict(described.rules),
        )
        return described

    def _described(self, folder: Path, model: Any) -> _Loaded:
        """The model with what its folder says about it, and the settings on top."""

        def understand(told: dict[str, Any]) -> _Loaded:
            """{"rules": {...}, "familiar": {...}, "alone": s, "window": s}, all optional."""
            rules = Rules(**(told.get("rules", {}) | self._rules))
            familiar = told.get("familiar")
            alone, window = (
                None if (given := told.get(name)) is None else float(given)
                for name in ("alone", "window")
            )
            if window is not None:
                model.encode = shortened(model.encode, window)
            familiarity = Familiarity.from_json(familiar) if familiar else None
            return _Loaded(model, rules, familiarity, alone, window)

        return loading.described(self._name, folder, understand)

    def _check_translation(self, model: Any) -> None:
        if not self._translate:
            return
        if not model.model.is_multilingual:
            why = "knows English only, so there is nothing that it could translate"
        elif "turbo" in self._name.lower():
            why = "was not trained to translate"
        else:
            return
        raise ConfigurationError(
            f"'{self._name}' {why}. Leave `translate` out, or use another whisper_model "
            "(small, medium, large-v3).",
            param="translate",
        )

    def _folder(self) -> Path:
        if self._name == "nano-whisper":
            return loading.nano_folder("whisper")
        from faster_whisper.utils import _MODELS

        folder = loading.find_model(
            self._name,
            model_folder=self._model_folder,
            repo=self._name if "/" in self._name else _MODELS.get(self._name),
            patterns=_PATTERNS,
            needs=_NEEDS,
            allow_download=self._allow_download,
        )
        loading.verify_manifest(folder)
        if not (folder / "tokenizer.json").is_file():
            # faster-whisper would fetch another model's tokenizer from a hub.
            raise WeightsNotFoundError(self._name, str(folder), "there is no tokenizer.json")
        return folder

    def _placed(self) -> tuple[str, int]:
        """CTranslate2's (device, index). It finds GPUs by itself, without torch."""
        import ctranslate2

        count = ctranslate2.get_cuda_device_count()
        if self._device == "auto":
            return ("cuda", 0) if count else ("cpu", 0)
        name, _, number = self._device.partition(":")
        index = int(number) if number.isdigit() else 0
        if name not in ("cpu", "cuda") or (name == "cuda" and index >= count):
            raise ConfigurationError(
                f"device '{self._device}' is not there ({count} GPUs)", param="device"
            )
        return name, index

    def _compute_type(self, device: str) -> str:
        import ctranslate2

        wanted = {"fp32": "float32", "bf16": "bfloat16"}.get(self._precision)
        if wanted and wanted in ctranslate2.get_supported_compute_types(device):
            return wanted
        return "int8" if device == "cpu" else "float16"


def shortened(
    encode: Callable[[npt.NDArray[np.float32]], Any], seconds: float
) -> Callable[[npt.NDArray[np.float32]], Any]:
    """`encode` of log-mel features (..., 80, frames of 10 ms), whose end faster-whisper has filled
    up with zeros, without that filling beyond `seconds`."""

    def within(features: npt.NDArray[np.float32]) -> Any:
        filled = np.flatnonzero(features.any(axis=tuple(range(features.ndim - 1))))
        frames = max(round(seconds * 100), int(filled[-1]) + 1 if len(filled) else 0)
        frames += frames % 2  # the encoder joins two
        return encode(np.ascontiguousarray(features[..., :frames]))

    return within


def _speech(samples: Samples, longest: float | None) -> list[tuple[int, int]]:
    """Stretches that hold speech, as (first sample, last + 1), of `longest` seconds at the most."""
    from faster_whisper.vad import get_speech_timestamps

    options = dict(_VAD)
    if longest is not None:
        options |= {"min_silence_duration_ms": _APART_MS, "max_speech_duration_s": longest}
    return [(found["start"], found["end"]) for found in get_speech_timestamps(samples, **options)]


def _only(samples: Samples, speech: Sequence[tuple[int, int]]) -> Samples:
    """These stretches, and silence between them."""
    kept = np.zeros_like(samples)
    for start, end in speech:
        kept[start:end] = samples[start:end]
    return kept


def _utterances(segments: Iterable[Any], duration: float) -> Iterable[Utterance]:
    """Whisper's segments as they are, believed or not.

    Whisper may place times behind the end of the recording: they are moved back to it.
    """
    for segment in segments:
        yield Utterance(
            start=min(float(segment.start), duration),
            end=min(float(max(segment.start, segment.end)), duration),
            text=segment.text.strip(),
            words=tuple(
                Word(
                    text=word.word.strip(),
                    start=min(float(word.start), duration),
                    end=min(float(word.end), duration),
                    probability=float(word.probability),
                )
                for word in segment.words or ()
            ),
            avg_logprob=float(segment.avg_logprob) if math.isfinite(segment.avg_logprob) else -99.0,
            no_speech_prob=float(segment.no_speech_prob),
            compression_ratio=float(segment.compression_ratio),
        )


def _transcript(utterances: Sequence[Utterance]) -> Transcript:
    """With the language that is spoken longest; none where nothing is believed: a language heard
    in noise or silence is a guess about nothing."""
    seconds: dict[str, float] = {}
    probabilities: dict[str, list[float]] = {}
    for utterance in utterances:
        name = utterance.language or "en"
        seconds[name] = seconds.get(name, 0.0) + utterance.end - utterance.start
        probabilities.setdefault(name, []).append(utterance.language_probability)
    if not seconds:
        return _NOTHING
    main = max(seconds, key=lambda name: seconds[name])
    return Transcript(main, float(np.mean(probabilities[main])), tuple(utterances))
