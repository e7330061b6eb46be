"""Voices told apart by pyannote.audio, an optional package (`pip install 'mmsearch[pyannote]'`).

Its pipelines are on the hub behind a licence to be accepted, or in a local folder or `config.yaml`.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MissingDependencyError, WeightsNotFoundError
from mmsearch.models import loading
from mmsearch.types import Samples, Turn

_RATE = 16_000
_ALIKE = 0.6
"""Cosine of two stretches' voices from which they are one speaker."""


class PyannoteDiariser:
    """A `Diariser`: a hub id, or the folder or file of a pipeline. Loads on first use."""

    def __init__(self, model: str, *, allow_download: bool = False, device: str = "auto") -> None:
        self._name = model
        self._allow_download = allow_download
        self._device = device
        self._lazy = loading.Lazy(self._load)

    @property
    def fingerprint(self) -> str:
        return loading.fingerprint(adapter="pyannote/1", model=self._name)

    def begin(self) -> PyannoteTracker:
        return PyannoteTracker(self._lazy.get())

    def release(self) -> None:
        self._lazy.release()

    def _load(self) -> Any:
        try:
            from pyannote.audio import Pipeline
        except ImportError as error:
            raise MissingDependencyError(
                "pyannote.audio", "pyannote", "Telling speakers apart with speakers=pyannote"
            ) from error
        import torch

        from mmsearch.models.devices import resolve_device

        given = Path(self._name).expanduser()
        local = given.exists() or loading.looks_like_path(self._name)
        if local:
            given = given / "config.yaml" if given.is_dir() else given
        elif not self._allow_download:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            pipeline = Pipeline.from_pretrained(str(given) if local else self._name)
        except MemoryError:
            raise
        except Exception as error:
            raise WeightsNotFoundError(self._name, str(given), str(error)[:200]) from error
        if pipeline is None:
            raise WeightsNotFoundError(
                self._name, str(given), "the hub wants its licence accepted (see the model's page)"
            )
        pipeline.to(torch.device(str(resolve_device(self._device))))
        return pipeline


class PyannoteTracker:
    """A `SpeakerTracker`: joins the voices of a recording's stretches by their embeddings."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._voices: list[npt.NDArray[np.float64]] = []
        self._lock = threading.Lock()

    def turns(self, samples: Samples) -> tuple[Turn, ...]:
        import torch

        given = {"waveform": torch.from_numpy(samples)[None], "sample_rate": _RATE}
        with self._lock:
            found, embeddings = _parts(self._pipeline(given))
            spoken = [
                (float(turn.start), float(turn.end), str(label))
                for turn, _, label in found.itertracks(yield_label=True)
            ]
            labels = [str(label) for label in found.labels()]
            numbers = self._numbered(dict.fromkeys(label for _, _, label in sorted(spoken)),
                                     dict(zip(labels, embeddings, strict=False)))  # fmt: skip
        turns: list[Turn] = []
        for start, end, label in sorted(spoken):
            # Where two speak at once, the one who began goes on.
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
            alike = [
                (float(voice @ known), number)
                for number, known in enumerate(self._voices, start=1)
                if voice is not None and known.shape == voice.shape
                if number not in numbers.values()
            ]
            best, number = max(alike, default=(0.0, 0))
            if best < _ALIKE:
                self._voices.append(voice if voice is not None else np.zeros(0))
                number = len(self._voices)
            numbers[label] = number
        return numbers


def _parts(answer: Any) -> tuple[Any, list[npt.NDArray[np.float64]]]:
    """The annotation and the speakers' embeddings, as pyannote.audio 3 and 4 give them."""
    found = getattr(answer, "speaker_diarization", answer)
    embeddings = getattr(answer, "speaker_embeddings", None)
    return found, [] if embeddings is None else list(np.asarray(embeddings, np.float64))


def _unit(vector: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64] | None:
    if vector is None or not np.isfinite(vector).all():
        return None
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-9 else None
