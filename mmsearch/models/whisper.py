"""Speech to text with faster-whisper (CTranslate2).

Sequential decoding falls back to higher temperatures where a stretch comes out badly;
batched decoding is faster and does not. In both, voice activity detection skips what is
not speech, and stretches that Whisper made up are dropped afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mmsearch.errors import ConfigurationError, WeightsNotFoundError
from mmsearch.models import loading
from mmsearch.types import Transcript, Utterance, Word

if TYPE_CHECKING:
    from mmsearch.models.profiles import ModelSpec
    from mmsearch.settings import Settings

MAX_COMPRESSION = 2.4
"""A stretch whose text compresses better than this repeats itself."""
MAX_NO_SPEECH, MIN_LOGPROB = 0.6, -1.0
"""Probably no speech, and the words are improbable too: made up."""

_NEEDS = ("model.bin",)
_PATTERNS = (
    "config.json",
    "preprocessor_config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.*",
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
    # What the fallback would mend (repetition, inventions) the rules below drop.
    "temperature": 0.0,
}


def from_spec(spec: ModelSpec, settings: Settings) -> WhisperTranscriber:
    """The transcriber that a profile names, as the settings want it."""
    return WhisperTranscriber(
        spec.name,
        mode=settings.transcription,
        model_folder=settings.model_folder,
        allow_download=settings.allow_download,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )


class WhisperTranscriber:
    """A `Transcriber`: a size ("small"), a hub id, a folder, or "nano-whisper".

    A size or id is what faster-whisper knows under that name. On a CPU weights are 8-bit
    unless `precision` says otherwise, on a GPU 16-bit.
    """

    def __init__(
        self,
        model: str,
        *,
        mode: Literal["sequential", "batched"] = "sequential",
        model_folder: Path = Path("~/.cache/mmsearch/models"),
        allow_download: bool = False,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
    ) -> None:
        self._name = model
        self._mode = mode
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
        model = self._lazy.get()
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        try:
            segments, info = self._run(model, samples, language)
            utterances = tuple(_kept(segments, len(samples) / 16_000))
        except ValueError as error:
            if language is not None and "language" in str(error):
                raise ConfigurationError(str(error).splitlines()[0], param="language") from error
            raise
        if not utterances:
            # A language heard in noise or silence is a guess about nothing.
            return _NOTHING
        return Transcript(
            language=info.language,
            language_probability=float(info.language_probability),
            utterances=utterances,
        )

    def release(self) -> None:
        self._lazy.release()

    def _run(
        self, model: Any, samples: npt.NDArray[np.float32], language: str | None
    ) -> tuple[Iterable[Any], Any]:
        if self._mode == "sequential":
            return model.transcribe(samples, language=language, **_OPTIONS)
        from faster_whisper import BatchedInferencePipeline

        # The pipeline keeps state between calls, so every call has its own.
        pipeline = BatchedInferencePipeline(model=model)
        return pipeline.transcribe(samples, language=language, batch_size=_BATCH, **_OPTIONS)

    # -------------------------------------------------------------- loading

    def _load(self) -> Any:
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
        files = [folder / "model.bin", *folder.glob("*.json"), *folder.glob("vocabulary.txt")]
        self._fingerprint = loading.fingerprint(
            adapter="whisper/1",
            weights=loading.weights_digest(f for f in files if f.name != loading.MANIFEST),
            mode=self._mode,
            options=_OPTIONS,
            drop=[MAX_COMPRESSION, MAX_NO_SPEECH, MIN_LOGPROB],
        )
        return model

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


def _kept(segments: Iterable[Any], duration: float) -> Iterable[Utterance]:
    """Utterances of the segments that are speech and not made up.

    Whisper may place times behind the end of the recording: they are moved back to it.
    """
    for segment in segments:
        text = segment.text.strip()
        repeats = segment.compression_ratio > MAX_COMPRESSION
        guessed = segment.no_speech_prob > MAX_NO_SPEECH and segment.avg_logprob < MIN_LOGPROB
        if not text or repeats or guessed:
            continue
        yield Utterance(
            start=min(float(segment.start), duration),
            end=min(float(max(segment.start, segment.end)), duration),
            text=text,
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
        )
