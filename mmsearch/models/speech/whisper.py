"""Speech to text with faster-whisper (CTranslate2).

::

    samples -> voice activity -> in-domain detector -> runs of one language -> Whisper
            -> hallucination filter -> speech without text -> Whisper, once more

Sequential decoding is for quality, batched decoding for speed. Both skip what is not speech and
drop segments that Whisper hallucinated (`hallucinations.py`). Speech that is left without text is
decoded again, each part alone and in its own language.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mmsearch.errors import ConfigurationError, ModelError, WeightsNotFoundError
from mmsearch.models import loading
from mmsearch.models.runtime import Runtime
from mmsearch.models.speech.cepstrum import SPEECH_RATE
from mmsearch.models.speech.clips import SpeechClips, without_text
from mmsearch.models.speech.hallucinations import Rules, without_hallucinations
from mmsearch.models.speech.in_domain import InDomainDetector
from mmsearch.models.speech.languages import Detect, LanguageRun, Span, language_runs, redetected
from mmsearch.models.speech.voice_activity import VAD_OPTIONS, detect_speech, silenced_outside
from mmsearch.types import Samples, Transcript, Utterance, Word

if TYPE_CHECKING:
    from mmsearch.models.profiles import ModelSpec
    from mmsearch.settings import Settings

_NEEDS = ("model.bin",)
_PATTERNS = (
    "config.json",
    "preprocessor_config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.*",
    loading.DESCRIPTION,
)
_SUFFIXES = (".bin", ".json", ".txt")
"""Of the files that change a transcript."""
_BATCH = 8
_NO_SPEECH = Transcript(language=None, language_probability=0.0, utterances=())
_OPTIONS: dict[str, Any] = {
    "beam_size": 5,
    # Voice activity is detected here, once, and long pauses are cut out (`clips.py`).
    "vad_filter": False,
    "word_timestamps": True,
    "condition_on_previous_text": False,
    "without_timestamps": False,
    # No fallback to sampling: the same recording must give the same segments every time.
    # The hallucination filter drops what the fallback would repair.
    "temperature": 0.0,
}
_SEQUENTIAL: dict[str, Any] = {
    # A silence of this length around a word is skipped, and decoding is repeated behind it.
    "hallucination_silence_threshold": 2.0,
}
_WINDOW_SECONDS = 30.0


def from_spec(spec: ModelSpec, settings: Settings, runtime: Runtime) -> WhisperTranscriber:
    """The transcriber of a profile, with the settings of transcription."""
    thresholds = {
        "max_compression": settings.speech_max_compression,
        "max_no_speech": settings.speech_max_no_speech,
        "min_logprob": settings.speech_min_logprob,
    }
    return WhisperTranscriber(
        spec.name,
        mode=settings.transcription,
        translate=settings.translate,
        each_language=settings.language_detection == "stretch",
        rules={name: value for name, value in thresholds.items() if value is not None},
        runtime=runtime,
    )


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    weights: str = ""
    """Digest of the model's files."""
    rules: Rules = field(default_factory=Rules)
    detector: InDomainDetector | None = None
    """None: the model was trained on speech of every kind."""
    alone: float | None = None
    """None: the model reads one sentence after another in one window. Otherwise each stretch of
    speech has a window of its own; a stretch longer than this many seconds is split at pauses."""
    window: float | None = None
    """None: the model was trained on whole windows of 30 seconds. Otherwise padding is cut down to
    windows of this many seconds: the cost of attention is quadratic in the window."""


class WhisperTranscriber:
    """A `Transcriber`: a size ("small"), a hub id, a folder, or "nano-whisper".

    Sizes and ids are those of faster-whisper. On a CPU weights are 8-bit unless
    `runtime.precision` says otherwise, on a GPU 16-bit. `translate`: other languages are
    translated to English. `each_language`: the language may change within a recording. `rules`:
    fields of `Rules` in place of the model's own.
    """

    def __init__(
        self,
        model: str,
        *,
        mode: Literal["sequential", "batched"] = "sequential",
        translate: bool = False,
        each_language: bool = True,
        rules: dict[str, float] | None = None,
        runtime: Runtime = Runtime(),  # noqa: B008  # frozen
    ) -> None:
        self._name = model
        self._mode = mode
        self._translate = translate
        self._each_language = each_language
        self._rules = dict(rules or {})
        self._runtime = runtime
        self._lazy = loading.Lazy(self._load)
        self._fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        if self._fingerprint is None:
            self._lazy.get()
        assert self._fingerprint is not None, "loading sets it"
        return self._fingerprint

    @property
    def weights(self) -> str | None:
        if self._lazy.loaded:
            return self._lazy.get().weights
        try:
            return loading.folder_digest(self._folder(self._runtime.offline()), _SUFFIXES)
        except (ModelError, OSError):
            return None

    def transcribe(
        self, samples: npt.NDArray[np.float32], *, language: str | None = None
    ) -> Transcript:
        if samples.ndim != 1:
            raise ValueError(f"samples: shape {samples.shape}, not (n,): mono is needed")
        if samples.size == 0:
            return _NO_SPEECH
        loaded = self._lazy.get()
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        longest = loaded.alone or (_WINDOW_SECONDS if self._mode == "batched" else None)
        speech = detect_speech(samples, longest, sentences=loaded.alone is not None)
        if loaded.detector is not None:
            speech = loaded.detector.in_domain(samples, speech)
            samples = silenced_outside(samples, speech)
        if not speech:
            return _NO_SPEECH
        runs = self._runs(loaded, samples, speech, language)
        utterances = [
            utterance
            for run in runs
            for utterance in self._transcribe_run(loaded, samples, run, speech)
        ]
        utterances = without_hallucinations(utterances, loaded.rules)
        if loaded.alone is None:
            detect = self._detector(loaded, language)
            for start, end in without_text(speech, utterances):
                run = replace(next(r for r in runs if start < r.end), start=start, end=end)
                if detect is not None and self._each_language:
                    run = redetected(samples, run, detect)
                utterances += self._transcribe_run(loaded, samples, run, [(start, end)])
            utterances.sort(key=lambda utterance: utterance.start)
            utterances = without_hallucinations(utterances, loaded.rules)
        return _transcript(utterances)

    def release(self) -> None:
        self._lazy.release()

    # -------------------------------------------------------------- languages

    def _runs(
        self,
        loaded: _Loaded,
        samples: Samples,
        speech: Sequence[Span],
        language: str | None,
    ) -> list[LanguageRun]:
        detect = self._detector(loaded, language)
        if detect is None:
            return [LanguageRun(0, len(samples), language or "en", 1.0)]
        return language_runs(samples, speech, detect, each=self._each_language)

    def _detector(self, loaded: _Loaded, language: str | None) -> Detect | None:
        """Language detection; None if the language is known."""
        if not loaded.model.model.is_multilingual or language is not None:
            return None

        def detect(part: Samples) -> tuple[str, float]:
            detected, probability, _ = loaded.model.detect_language(audio=part)
            return str(detected), float(probability)

        return detect

    def _transcribe_run(
        self,
        loaded: _Loaded,
        samples: Samples,
        run: LanguageRun,
        speech: Sequence[Span],
    ) -> list[Utterance]:
        """Whisper's utterances in one run, with times relative to the whole recording."""
        translated = self._translate and run.language != "en"
        task = "translate" if translated else "transcribe"
        samples = samples[run.start : run.end]
        inside = [
            (max(start - run.start, 0), min(end - run.start, len(samples)))
            for start, end in speech
            if run.start < end and start < run.end
        ]
        try:
            utterances = self._utterances(loaded, samples, inside, run.language, task)
        except ValueError as error:
            if "language" in str(error):
                raise ConfigurationError(str(error).splitlines()[0], param="language") from error
            raise
        offset = run.start / SPEECH_RATE
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
            for utterance in utterances
        ]

    def _utterances(
        self, loaded: _Loaded, samples: Samples, speech: Sequence[Span], language: str, task: str
    ) -> list[Utterance]:
        """Utterances in `samples`, in one language."""
        options = {**_OPTIONS, "language": language, "task": task}
        if loaded.alone is not None:
            windows = [(start / SPEECH_RATE, end / SPEECH_RATE) for start, end in speech]
            segments = self._segments(loaded.model, samples, windows, options)
            return list(_utterances(segments, len(samples) / SPEECH_RATE))
        clips = SpeechClips.of(samples, speech)
        windows = clips.windows(_WINDOW_SECONDS) if self._mode == "batched" else []
        segments = self._segments(loaded.model, clips.samples, windows, options)
        return list(clips.restored(_utterances(segments, len(clips.samples) / SPEECH_RATE)))

    def _segments(
        self,
        model: Any,
        samples: Samples,
        windows: Sequence[tuple[float, float]],
        options: dict[str, Any],
    ) -> Iterable[Any]:
        """Whisper's segments in these windows, in seconds; without windows, in all samples."""
        if self._mode == "sequential":
            if windows:
                options["clip_timestamps"] = [second for window in windows for second in window]
            return model.transcribe(samples, **options, **_SEQUENTIAL)[0]
        from faster_whisper import BatchedInferencePipeline

        # The pipeline keeps state between calls, so each call makes its own.
        pipeline = BatchedInferencePipeline(model=model)
        options["clip_timestamps"] = [{"start": start, "end": end} for start, end in windows]
        return pipeline.transcribe(samples, **options, batch_size=_BATCH)[0]

    # -------------------------------------------------------------- loading

    def _load(self) -> _Loaded:
        from faster_whisper import WhisperModel

        folder = self._folder(self._runtime)
        device, index = self._device()
        weights = loading.folder_digest(folder, _SUFFIXES)
        try:
            model = WhisperModel(
                str(folder),
                device=device,
                device_index=index,
                compute_type=self._compute_type(device),
                cpu_threads=self._runtime.thread_count,
                local_files_only=True,
            )
        except MemoryError:
            raise
        except Exception as error:
            raise loading.unreadable(self._name, folder, error) from error
        loaded = self._described(folder, model, weights)
        self._check_translation(model)
        self._fingerprint = loading.fingerprint(
            adapter="whisper/3",
            weights=weights,
            mode=self._mode,
            translate=self._translate,
            each_language=self._each_language,
            options=[_OPTIONS, _SEQUENTIAL, VAD_OPTIONS, loaded.alone, loaded.window],
            rules=asdict(loaded.rules),
        )
        return loaded

    def _described(self, folder: Path, model: Any, weights: str) -> _Loaded:
        """The model with the properties in its folder's description, and the settings on top."""

        def parse(description: dict[str, Any]) -> _Loaded:
            """{"rules": {...}, "familiar": {...}, "alone": s, "window": s}, all optional."""
            rules = Rules(**(description.get("rules", {}) | self._rules))
            rule = description.get("familiar")
            detector = InDomainDetector.from_json(rule) if rule else None
            alone, window = (
                None if (seconds := description.get(name)) is None else float(seconds)
                for name in ("alone", "window")
            )
            if window is not None:
                model.encode = shortened(model.encode, window)
            return _Loaded(model, weights, rules, detector, alone, window)

        return loading.described(self._name, folder, parse)

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

    def _folder(self, runtime: Runtime) -> Path:
        if self._name == "nano-whisper":
            return loading.nano_folder("whisper")
        from faster_whisper.utils import _MODELS

        folder = runtime.find_model(
            self._name,
            repo=self._name if "/" in self._name else _MODELS.get(self._name),
            patterns=_PATTERNS,
            needs=_NEEDS,
        )
        if not (folder / "tokenizer.json").is_file():
            # faster-whisper would download another model's tokenizer from a hub.
            raise WeightsNotFoundError(self._name, str(folder), "there is no tokenizer.json")
        return folder

    def _device(self) -> tuple[str, int]:
        """CTranslate2's (device, index). It detects GPUs without torch."""
        import ctranslate2

        device = self._runtime.device
        count = ctranslate2.get_cuda_device_count()
        if device == "auto":
            return ("cuda", 0) if count else ("cpu", 0)
        name, _, number = device.partition(":")
        index = int(number) if number.isdigit() else 0
        if name not in ("cpu", "cuda") or (name == "cuda" and index >= count):
            raise ConfigurationError(
                f"there is no device '{device}' ({count} GPUs)", param="device"
            )
        return name, index

    def _compute_type(self, device: str) -> str:
        import ctranslate2

        wanted = {"fp32": "float32", "bf16": "bfloat16"}.get(self._runtime.precision)
        if wanted and wanted in ctranslate2.get_supported_compute_types(device):
            return wanted
        return "int8" if device == "cpu" else "float16"


def shortened(
    encode: Callable[[npt.NDArray[np.float32]], Any], seconds: float
) -> Callable[[npt.NDArray[np.float32]], Any]:
    """`encode` of log-mel features (..., 80, frames of 10 ms), less the zeros with which
    faster-whisper padded them beyond `seconds`."""

    def within(features: npt.NDArray[np.float32]) -> Any:
        nonzero = np.flatnonzero(features.any(axis=tuple(range(features.ndim - 1))))
        frames = max(round(seconds * 100), int(nonzero[-1]) + 1 if len(nonzero) else 0)
        frames += frames % 2  # the encoder merges pairs of frames
        return encode(np.ascontiguousarray(features[..., :frames]))

    return within


def _utterances(segments: Iterable[Any], duration: float) -> Iterable[Utterance]:
    """Whisper's segments, unfiltered. Times after the end of the recording become its end."""
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
    """The transcript, with the language that is spoken longest.

    Without utterances there is no language: one detected in noise or silence is meaningless.
    """
    seconds: dict[str, float] = {}
    probabilities: dict[str, list[float]] = {}
    for utterance in utterances:
        name = utterance.language or "en"
        seconds[name] = seconds.get(name, 0.0) + utterance.end - utterance.start
        probabilities.setdefault(name, []).append(utterance.language_probability)
    if not seconds:
        return _NO_SPEECH
    main = max(seconds, key=lambda name: seconds[name])
    return Transcript(main, float(np.mean(probabilities[main])), tuple(utterances))
