"""Which models a collection uses: those it was made with, or those of its last switch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from mmsearch.errors import SpaceMismatchError
from mmsearch.models.sets import ModelSet
from mmsearch.settings import Settings
from mmsearch.types import Collection

MODEL_SETTINGS = ("clip_model", "text_model", "whisper_model", "sound_model")
"""The settings that put another model in place of the profile's own."""

_Choice = tuple[str, tuple[tuple[str, str], ...]]


def asked_models(settings: Settings) -> dict[str, str]:
    """The models that the settings name in place of a profile's own."""
    named = {name: getattr(settings, name) for name in MODEL_SETTINGS}
    return {name: model for name, model in named.items() if model is not None}


class CollectionModels:
    """The models of the collections of one opened library. Thread-safe.

    What the settings ask for must be what a collection was made with. A collection that is
    switched to other models while the library is open is followed there, whatever was asked
    for at the beginning.
    """

    def __init__(self, settings: Settings, make: Callable[..., ModelSet]) -> None:
        self._settings = settings
        self._make = make
        self._lock = threading.Lock()
        self._first: dict[int, _Choice] = {}
        self._last: dict[int, tuple[_Choice, ModelSet]] = {}

    def of(self, collection: Collection) -> ModelSet:
        """Its models. Raises SpaceMismatchError if another profile was asked for."""
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
            if last is not None and all(last[1] is not one for _, one in self._last.values()):
                last[1].release_all_but(models)
            return models

    def chosen(
        self, profile: str, models: Mapping[str, str] | tuple[tuple[str, str], ...], *, asked: bool
    ) -> ModelSet:
        """A profile with `models` in place of its own; `asked`: unless settings name others."""
        if not models and asked:
            return self._make(profile)
        return self._make(profile, dict(models), asked=asked)

    def check(self, collection: Collection) -> None:
        """Raise SpaceMismatchError if another profile was asked for than made the collection."""
        with self._lock:
            first = self._first.get(collection.id)
        if first is None or first == (collection.profile, collection.models):
            self._check_profile(collection)

    def _check_profile(self, collection: Collection) -> None:
        asked = self._settings.profile
        if asked is not None and asked != collection.profile:
            raise SpaceMismatchError(
                f"collection '{collection.name}' was made with profile {collection.profile}, and "
                f"now {asked} was asked for: their vectors do not compare. Leave --profile out, "
                "index into another collection (--collection) or library, or change the models "
                f"of this one with: mmsearch models switch --profile {asked}",
                param="profile",
            )
