"""Makes the models of a profile from settings: the one place that names the adapters.

Adapters import torch, ctranslate2 and the like, so each is imported when its model is first used.
A new model is added by an adapter and a line here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mmsearch.errors import SettingsError
from mmsearch.models.collection_models import models_in
from mmsearch.models.profiles import ModelSpec, Profile, profile
from mmsearch.models.runtime import Runtime
from mmsearch.models.sets import ModelSet
from mmsearch.models.vision import ocr
from mmsearch.protocols import (
    Captioner,
    Diariser,
    ImageTextEmbedder,
    SoundTextEmbedder,
    TextEmbedder,
    Transcriber,
)
from mmsearch.settings import Settings

T = TypeVar("T")


def models_of(settings: Settings) -> Callable[..., ModelSet]:
    """A function from a profile's name to its models. Each set and each model is made once.

    The function also takes `chosen`, models in place of the profile's, by setting. Models that
    the settings name override them unless `asked` is false.
    """
    sets: dict[str, ModelSet] = {}
    shared = _SharedModels()
    lock = threading.Lock()

    def models(
        name: str, chosen: Mapping[str, str] | None = None, *, asked: bool = True
    ) -> ModelSet:
        replaced = dict(chosen or {}) | (models_in(settings) if asked else {})
        key = json.dumps([name, *sorted(replaced.items())])
        with lock:
            if key not in sets:
                by_part = {k.removesuffix("_model"): model for k, model in replaced.items()}
                sets[key] = _model_set(profile(name).replace(**by_part), settings, shared)
            return sets[key]

    return models


class _SharedModels:
    """Models by name: two sets that differ in one model share the others."""

    def __init__(self) -> None:
        self._models: dict[object, Any] = {}
        self._lock = threading.RLock()

    def get(self, spec: ModelSpec, make: Callable[[], T]) -> T:
        key = (spec.kind, spec.label)
        with self._lock:
            if key not in self._models:
                self._models[key] = make()
            model: T = self._models[key]
            return model


def _model_set(chosen: Profile, settings: Settings, shared: _SharedModels) -> ModelSet:
    runtime = Runtime.from_settings(settings)

    def clip() -> ImageTextEmbedder:
        from mmsearch.models.clip import openclip

        return shared.get(chosen.clip, lambda: openclip.from_spec(chosen.clip, runtime))

    def text() -> TextEmbedder:
        from mmsearch.models.text import sentence

        return shared.get(chosen.text, lambda: sentence.from_spec(chosen.text, runtime))

    def transcriber() -> Transcriber:
        from mmsearch.models.speech import whisper

        return shared.get(
            chosen.whisper, lambda: whisper.from_spec(chosen.whisper, settings, runtime)
        )

    specs = [chosen.clip, chosen.text, chosen.whisper]
    sound: Callable[[], SoundTextEmbedder] | None = None
    if settings.sounds and chosen.sound is not None:
        sound = _sound(chosen.sound, runtime, shared)
        specs.append(chosen.sound)
    engine = ocr.resolve(settings.ocr)
    return ModelSet(
        chosen.name,
        json.dumps([*(spec.label for spec in specs), f"ocr: {engine}"]),
        clip,
        text,
        transcriber,
        sound,
        lambda: ocr.from_name(engine, runtime),
        hearing=json.dumps([spec.label for spec in specs[2:]]),
        diariser=_diariser(settings, runtime),
        captioner=_captioner(chosen, settings, runtime),
    )


def _sound(
    spec: ModelSpec, runtime: Runtime, shared: _SharedModels
) -> Callable[[], SoundTextEmbedder]:
    def sound() -> SoundTextEmbedder:
        from mmsearch.models.sound import clap

        return shared.get(spec, lambda: clap.from_spec(spec, runtime))

    return sound


def _diariser(settings: Settings, runtime: Runtime) -> Callable[[], Diariser] | None:
    if settings.speakers == "clustering":
        from mmsearch.models.speech.speakers.clustering import ClusteringDiariser

        return ClusteringDiariser
    if settings.speakers == "pyannote":
        from mmsearch.models.speech.speakers.pyannote import PyannoteDiariser

        return lambda: PyannoteDiariser(settings.speakers_model, runtime=runtime)
    return None


def _captioner(
    chosen: Profile, settings: Settings, runtime: Runtime
) -> Callable[[], Captioner] | None:
    if settings.captions == "none":
        return None
    if settings.captions == "openai":
        return lambda: _remote_captioner(settings)
    return lambda: _local_captioner(chosen, settings, runtime)


def _remote_captioner(settings: Settings) -> Captioner:
    from mmsearch.models.vision.captions.openai import OpenAICaptioner

    if settings.caption_url is None:
        raise SettingsError("captions=openai needs caption_url", param="caption_url")
    key = settings.caption_api_key
    return OpenAICaptioner(
        settings.caption_url,
        settings.caption_model or "",
        key=key.get_secret_value() if key is not None else None,
    )


def _local_captioner(chosen: Profile, settings: Settings, runtime: Runtime) -> Captioner:
    from mmsearch.models.vision.captions.local import LocalCaptioner
    from mmsearch.models.vision.vlm import VisionLanguageScorer

    model = settings.caption_model or (chosen.vlm.name if chosen.vlm else None)
    if model is None or model == "nano-vlm":
        raise SettingsError(
            f"profile {chosen.name} has no model that can describe a picture (nano-vlm answers "
            "yes or no only): name one with caption_model, or a server with captions=openai",
            param="caption_model",
        )
    return LocalCaptioner(
        VisionLanguageScorer(model, runtime=runtime, max_pixels=settings.caption_pixels**2)
    )
