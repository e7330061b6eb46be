"""Speaker diarisation with pyannote.audio (`pip install 'mmsearch[pyannote]'`).

A pipeline is a hub id, whose licence must be accepted on the hub, or a local folder or
`config.yaml`.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MissingDependencyError, WeightsNotFoundError
from mmsearch.models import loading
from mmsearch.models.runtime import Runtime
from mmsearch.models.speech.cepstrum import SPEECH_RATE
from mmsearch.types import Samples, Turn

_SAME_SPEAKER = 0.6
"""Least cosine between the voice embeddings of one speaker in two stretches."""
_SUFFIXES = (".bin", ".ckpt", ".json", ".npz", ".onnx", ".pt", ".safetensors", ".yaml")
_CHECKPOINT = re.compile(r"[^\s'\"]+\.(?:bin|ckpt|npz|onnx|pt|safetensors)\b")
"""A path in a pipeline's `config.yaml`."""


class PyannoteDiariser:
    """A `Diariser`: a hub id, or the folder or file of a pipeline. Loads on first use."""

    def __init__(
        self,
        model: str,
        *,
        runtime: Runtime = Runtime(),  # noqa: B008  # frozen
    ) -> None:
        self._name = model
        self._runtime = runtime
        self._lazy = loading.Lazy(self._load)
        self._loaded_weights = ""

    @property
    def fingerprint(self) -> str:
        return loading.fingerprint(adapter="pyannote/2", model=self._name, weights=self.weights)

    @property
    def weights(self) -> str:
        """A digest of a local pipeline's files; "" for a hub id, which has only its name."""
        return self._loaded_weights if self._lazy.loaded else self._digest()

    def begin(self) -> PyannoteTracker:
        return PyannoteTracker(self._lazy.get())

    def release(self) -> None:
        self._lazy.release()

    def _load(self) -> Any:
        try:
            from pyannote.audio import Pipeline
        except ImportError as error:
            raise MissingDependencyError(
                "pyannote.audio", "pyannote", "Speaker diarisation with speakers=pyannote"
            ) from error
        path = self._local_path()
        source = self._name
        if path is not None:
            source = str(path / "config.yaml" if path.is_dir() else path)
        elif not self._runtime.allow_download:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self._loaded_weights = self._digest()
        try:
            pipeline = Pipeline.from_pretrained(source)
        except MemoryError:
            raise
        except Exception as error:
            raise WeightsNotFoundError(self._name, source, str(error)[:200]) from error
        if pipeline is None:
            raise WeightsNotFoundError(
                self._name, source, "its licence must be accepted on the hub (see its page there)"
            )
        pipeline.to(self._runtime.torch_device())
        return pipeline

    def _digest(self) -> str:
        path = self._local_path()
        if path is None or not path.exists():
            return ""
        if path.is_dir():
            return loading.folder_digest(path, _SUFFIXES, recursive=True)
        named = _CHECKPOINT.findall(path.read_text("utf-8", "replace"))
        checkpoints = (path.parent / name for name in named)
        return loading.weights_digest([path, *(file for file in checkpoints if file.is_file())])

    def _local_path(self) -> Path | None:
        """The folder or file that the model's name is a path of; None: it is a hub id."""
        path = Path(self._name).expanduser()
        return path if path.exists() or loading.looks_like_path(self._name) else None


class PyannoteTracker:
    """A `SpeakerTracker`: matches the voices of a recording's stretches by their embeddings."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._voices: list[npt.NDArray[np.float64]] = []
        self._lock = threading.Lock()

    def turns(self, samples: Samples) -> tuple[Turn, ...]:
        import torch

        audio = {"waveform": torch.from_numpy(samples)[None], "sample_rate": SPEECH_RATE}
        annotation, embeddings = _parts(self._pipeline(audio))
        with self._lock:
            spoken = [
                (float(turn.start), float(turn.end), str(label))
                for turn, _, label in annotation.itertracks(yield_label=True)
            ]
            labels = [str(label) for label in annotation.labels()]
            numbers = self._numbered(dict.fromkeys(label for _, _, label in sorted(spoken)),
                                     dict(zip(labels, embeddings, strict=False)))  # fmt: skip
        turns: list[Turn] = []
        for start, end, label in sorted(spoken):
            # Where two speak at once, the first speaker's turn continues.
            begin = max(start, turns[-1].end) if turns else start
            if end - begin > 0.01:
                turns.append(Turn(round(begin, 2), round(end, 2), numbers[label]))
        return tuple(turns)

    def _numbered(
        self, labels: dict[str, None], voices: dict[str, npt.NDArray[np.float64]]
    ) -> dict[str, int]:
        numbers: dict[str, int] = {}
        for label in labels:
            voice = _unit(voices.get(label))
            matches = [
                (float(voice @ known), number)
                for number, known in enumerate(self._voices, start=1)
                if voice is not None and known.shape == voice.shape
                if number not in numbers.values()
            ]
            best, number = max(matches, default=(0.0, 0))
            if best < _SAME_SPEAKER:
                self._voices.append(voice if voice is not None else np.zeros(0))
                number = len(self._voices)
            numbers[label] = number
        return numbers


def _parts(answer: Any) -> tuple[Any, list[npt.NDArray[np.float64]]]:
    """The annotation and the speakers' embeddings in the result of pyannote.audio 3 or 4."""
    annotation = getattr(answer, "speaker_diarization", answer)
    embeddings = getattr(answer, "speaker_embeddings", None)
    return annotation, [] if embeddings is None else list(np.asarray(embeddings, np.float64))


def _unit(vector: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64] | None:
    if vector is None or not np.isfinite(vector).all():
        return None
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-9 else None
