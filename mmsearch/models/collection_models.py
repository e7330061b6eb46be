"""The models of a collection: those it was created with, or those of its last switch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from mmsearch.errors import SpaceMismatchError
from mmsearch.models.sets import ModelSet
from mmsearch.settings import Settings
from mmsearch.types import Collection

MODEL_SETTINGS = ("clip_model", "text_model", "whisper_model", "sound_model")
"""The settings that replace a model of the profile."""

_Choice = tuple[str, tuple[tuple[str, str], ...]]
"""A profile, and the models that replace its own: (setting, name)."""


def models_in(settings: Settings) -> dict[str, str]:
    """The models that the settings name in place of a profile's own, by setting."""
    named = {name: getattr(settings, name) for name in MODEL_SETTINGS}
    return {name: model for name, model in named.items() if model is not None}


class CollectionModels:
    """The models of the collections of one opened library. Thread-safe.

    If the settings name a profile, it must be the collection's. A collection that is switched to
    other models while the library is open uses those, whatever the settings name.
    """

    def __init__(self, settings: Settings, make: Callable[..., ModelSet]) -> None:
        self._settings = settings
        self._make = make
        self._lock = threading.Lock()
        self._first: dict[int, _Choice] = {}
        self._last: dict[int, tuple[_Choice, ModelSet]] = {}

    def of(self, collection: Collection) -> ModelSet:
        """Its models. Raises SpaceMismatchError if the settings name another profile."""
        now: _Choice = (collection.profile, collection.models)
        with self._lock:
            switched = self._first.get(collection.id, now) != now
            if not switched:
                self._check_profile(collection)
                self._first[collection.id] = now
            last = self._last.get(collection.id)
            if last is not None and last[0] == now:
                return last[1]
            models = self.chosen(*now, asked=not switched)
            self._last[collection.id] = (now, models)
            in_use = [used for _, used in self._last.values()]
        # Outside of the lock: releasing a model waits until it is loaded.
        if last is not None and all(last[1] is not used for used in in_use):
            last[1].release_all_but(models)
        return models

    def chosen(
        self, profile: str, models: Mapping[str, str] | tuple[tuple[str, str], ...], *, asked: bool
    ) -> ModelSet:
        """A profile with `models` in place of its own; with `asked` the settings override them."""
        if not models and asked:
            return self._make(profile)
        return self._make(profile, dict(models), asked=asked)

    def check(self, collection: Collection) -> None:
        """Raise SpaceMismatchError if the settings name another profile than the collection's."""
        with self._lock:
            first = self._first.get(collection.id)
        if first is None or first == (collection.profile, collection.models):
            self._check_profile(collection)

    def _check_profile(self, collection: Collection) -> None:
        requested = self._settings.profile
        if requested is not None and requested != collection.profile:
            raise SpaceMismatchError(
                f"collection '{collection.name}' was created with profile {collection.profile}, "
                f"not {requested}: their vectors are not comparable. Leave --profile out, index "
                "into another collection (--collection) or library, or change the models of this "
                f"one with: mmsearch models switch --profile {requested}",
                param="profile",
            )
