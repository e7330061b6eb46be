"""The composition root: the one place that turns settings into wired parts.

A new model, store or index is plugged in here, with one line.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mmsearch.errors import LibraryNotFoundError, SettingsError, StorageError
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.models.collection_models import asked_models
from mmsearch.models.profiles import ModelSpec, Profile
from mmsearch.models.profiles import profile as profile_named
from mmsearch.models.rerankers.choice import rerankers_of
from mmsearch.models.sets import ModelSet
from mmsearch.models.vision import ocr
from mmsearch.protocols import (
    Captioner,
    Diariser,
    ImageTextEmbedder,
    Reranker,
    SoundTextEmbedder,
    TextEmbedder,
    Transcriber,
    VectorIndex,
)
from mmsearch.settings import Settings, decoding_workers
from mmsearch.stores import migrate
from mmsearch.stores.store import SqlStore
from mmsearch.types import Ids, Modality, Vectors
from mmsearch.vectors.channels import ChannelIndexes, ChannelKey
from mmsearch.vectors.snapshot import SnapshotKey, read_snapshot, write_snapshot

logger = logging.getLogger(__name__)

CALIBRATION_QUERIES = 100

T = TypeVar("T")


def open_sandbox(settings: Settings) -> Sandbox:
    """The pool of decoding workers, within the settings' limits."""
    return Sandbox(
        decoding_workers(settings),
        seconds=settings.decode_seconds,
        memory_mb=settings.decode_memory_mb,
    )


def open_indexes(settings: Settings, store: SqlStore) -> ChannelIndexes:
    """The vector indexes of all channels, not loaded yet."""
    return ChannelIndexes(
        store, FaissKeeper(settings, store), publish_every=settings.snapshot_every
    )


def rerankers_for(settings: Settings) -> Callable[[str, str], Sequence[Reranker]]:
    """A profile's name and a choice of the setting `rerank` to the rerankers meant."""
    return rerankers_of(settings, profile_named)


def open_store(settings: Settings, *, create: bool = False) -> SqlStore:
    """The metadata store, its schema brought up to date."""
    folder = settings.library
    if settings.database_url is None:
        there = (folder / "library.sqlite").exists()
        if not there and not create:
            raise LibraryNotFoundError(
                f"there is no mmsearch library in {folder}. Make one with: "
                f"mmsearch index FOLDER --library {folder}",
                param="library",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the library folder {folder} cannot be made: {error}") from None
    store = SqlStore(settings.database)
    migrate.upgrade(store.database.engine)
    return store


def models_of(settings: Settings) -> Callable[..., ModelSet]:
    """Profile name to its models; every set is wired once, every model made once.

    The function also takes `chosen`, models in place of the profile's own by setting, which the
    settings override unless `asked` is false.
    """
    sets: dict[str, ModelSet] = {}
    shared = _Shared()
    lock = threading.Lock()

    def models(
        name: str, chosen: Mapping[str, str] | None = None, *, asked: bool = True
    ) -> ModelSet:
        named = dict(chosen or {}) | (asked_models(settings) if asked else {})
        profile = profile_named(name).replace(
            **{setting.removesuffix("_model"): model for setting, model in named.items()}
        )
        key = json.dumps([name, *sorted(named.items())])
        with lock:
            if key not in sets:
                sets[key] = _model_set(profile, settings, shared)
            return sets[key]

    return models


class _Shared:
    """Models by what they are: two sets that differ in one model share the others."""

    def __init__(self) -> None:
        self._made: dict[object, Any] = {}
        self._lock = threading.RLock()

    def get(self, spec: ModelSpec, make: Callable[[], T]) -> T:
        key = (spec.kind, spec.label)
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            found: T = self._made[key]
            return found


def _model_set(profile: Profile, settings: Settings, shared: _Shared) -> ModelSet:
    # The adapters import torch and ctranslate2: only when a model is first used.
    def clip() -> ImageTextEmbedder:
        from mmsearch.models.clip import openclip

        return shared.get(profile.clip, lambda: openclip.from_spec(profile.clip, settings))

    def text() -> TextEmbedder:
        from mmsearch.models.text import sentence

        return shared.get(profile.text, lambda: sentence.from_spec(profile.text, settings))

    def transcriber() -> Transcriber:
        from mmsearch.models.speech import whisper

        return shared.get(profile.whisper, lambda: whisper.from_spec(profile.whisper, settings))

    def sound() -> SoundTextEmbedder:
        from mmsearch.models.sound import clap

        spec = profile.sound
        assert spec is not None
        return shared.get(spec, lambda: clap.from_spec(spec, settings))

    specs = [profile.clip, profile.text, profile.whisper]
    hears = profile.sound is not None and settings.sounds
    if hears and profile.sound is not None:
        specs.append(profile.sound)
    reader = ocr.resolve(settings.ocr)
    recipe = json.dumps([*(spec.label for spec in specs), f"ocr: {reader}"])
    return ModelSet(
        profile.name,
        recipe,
        clip,
        text,
        transcriber,
        sound if hears else None,
        lambda: ocr.from_name(reader, threads=settings.threads),
        hearing=json.dumps([spec.label for spec in specs[2:]]),
        diariser=_diariser(settings),
        captioner=_captioner(profile, settings),
    )


def _captioner(profile: Profile, settings: Settings) -> Callable[[], Captioner] | None:
    if settings.captions == "none":
        return None

    def make() -> Captioner:
        if settings.captions == "openai":
            from mmsearch.models.vision.captions.openai import OpenAICaptioner

            if settings.caption_url is None:
                raise SettingsError("captions=openai needs caption_url", param="caption_url")
            key = settings.caption_api_key
            return OpenAICaptioner(
                settings.caption_url,
                settings.caption_model or "",
                key=key.get_secret_value() if key is not None else None,
            )
        from mmsearch.models.vision.captions.local import LocalCaptioner
        from mmsearch.models.vision.vlm import VisionLanguageScorer

        model = settings.caption_model or (profile.vlm.name if profile.vlm else None)
        if model in (None, "nano-vlm"):
            raise SettingsError(
                f"profile {profile.name} has no model that can describe a picture (nano-vlm says "
                "yes or no only): name one with caption_model, or a server with captions=openai",
                param="caption_model",
            )
        assert model is not None
        return LocalCaptioner(
            VisionLanguageScorer(
                model,
                model_folder=settings.model_folder,
                allow_download=settings.allow_download,
                device=settings.device,
                precision=settings.precision,
                threads=settings.threads,
                max_pixels=settings.caption_pixels**2,
            )
        )

    return make


def _diariser(settings: Settings) -> Callable[[], Diariser] | None:
    if settings.speakers == "clustering":
        from mmsearch.models.speech.speakers.clustering import ClusteringDiariser

        return ClusteringDiariser
    if settings.speakers == "pyannote":
        from mmsearch.models.speech.speakers.pyannote import PyannoteDiariser

        return lambda: PyannoteDiariser(
            settings.speakers_model,
            allow_download=settings.allow_download,
            device=settings.device,
        )
    return None


class FaissKeeper:
    """FAISS indexes with snapshot files in the library's folder (an `IndexKeeper`)."""

    def __init__(self, settings: Settings, store: SqlStore) -> None:
        self._settings = settings
        self._store = store
        self._uuid = store.library_uuid()
        self._folder = settings.library / "indexes"

    def build(self, key: ChannelKey, ids: Ids, vectors: Vectors) -> VectorIndex:
        from mmsearch.vectors.faiss.index import FaissIndex

        queries = None
        if len(ids) > self._settings.index_exact_below:
            queries = self._cross_modal_queries(key)
        return FaissIndex.build(ids, vectors, calibration_queries=queries, **self._options())

    def load(self, key: ChannelKey) -> tuple[VectorIndex, int, int] | None:
        from mmsearch.vectors.faiss.index import FaissIndex

        path = self._path(key)
        if not path.exists():
            return None
        index, header = read_snapshot(
            path, self._key(key), lambda content: FaissIndex.restore(content, **self._options())
        )
        return index, header.high_water_mark, header.generation

    def publish(self, key: ChannelKey, index: VectorIndex, mark: int, generation: int) -> None:
        from mmsearch.vectors.faiss.index import FaissIndex

        assert isinstance(index, FaissIndex)
        path = self._path(key)
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path.parent} cannot be made: {error.strerror}") from None
        write_snapshot(path, index, self._key(key), high_water_mark=mark, generation=generation)

    def discard(self, key: ChannelKey) -> None:
        with suppress(OSError):  # only a cache
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: ChannelKey) -> Path:
        return self._folder / f"{key.collection_id}-{key.space_id}-{key.modality.value}.index"

    def _key(self, key: ChannelKey) -> SnapshotKey:
        return SnapshotKey(
            library=self._uuid,
            space=key.fingerprint,
            channel=f"{key.collection_id}/{key.modality.value}",
            dimension=key.dimension,
        )

    def _cross_modal_queries(self, key: ChannelKey) -> Vectors | None:
        """Vectors of the space's other modalities: what recall is to be measured with.

        Queries from another modality lie away from the data (the modality gap), and an index
        tuned on its own vectors loses recall on them. None if there are too few.
        """
        samples = [
            next(self._store.vectors.iterate(key.space_id, other, batch=CALIBRATION_QUERIES), None)
            for other in Modality
            if other is not key.modality
        ]
        found = [sample[1].astype(np.float32) for sample in samples if sample is not None]
        queries = np.concatenate(found)[:CALIBRATION_QUERIES] if found else None
        return queries if queries is not None and len(queries) >= CALIBRATION_QUERIES else None

    def _options(self) -> dict[str, Any]:
        return {
            "exact_below": self._settings.index_exact_below,
            "k_factor": self._settings.index_k_factor,
            "device": self._settings.index_device,
        }
