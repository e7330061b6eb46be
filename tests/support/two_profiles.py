"""Two sets of fake models, to switch a collection from one to the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmsearch.library import Library
from mmsearch.models.sets import ModelSet
from mmsearch.search.engine import SearchEngine
from mmsearch.testing import (
    FakeImageTextEmbedder,
    FakeSoundEmbedder,
    FakeTextEmbedder,
    FakeTranscriber,
)

OLD, NEW = "nano", "small"


class TwoProfiles:
    """ "nano" and "small", whose models differ in weights and dimension.

    `hearing`: "small" has another speech model too. `sounds`: both have a sound model.
    `ascii_only`: profiles whose text model reads only ASCII.
    """

    def __init__(
        self,
        *,
        hearing: bool = False,
        sounds: bool = False,
        ascii_only: frozenset[str] = frozenset(),
    ) -> None:
        self._ascii_only = ascii_only
        self._hearing = hearing
        self._sounds = sounds
        self._made: dict[tuple[str, str], ModelSet] = {}

    def __call__(
        self, profile: str, chosen: Mapping[str, str] | None = None, *, asked: bool = True
    ) -> ModelSet:
        text_model = (chosen or {}).get("text_model", profile)
        key = (profile, text_model)
        if key not in self._made:
            clip, text, sound = (64, 48, 24) if profile == OLD else (80, 40, 32)
            text = 48 if text_model == OLD else 40
            self._made[key] = ModelSet(
                profile,
                f"fakes of {key}",
                lambda: FakeImageTextEmbedder(clip, revision=profile),
                lambda: FakeTextEmbedder(
                    text, revision=text_model, ascii_only=text_model in self._ascii_only
                ),
                FakeTranscriber,
                (lambda: FakeSoundEmbedder(sound, revision=profile)) if self._sounds else None,
                hearing=profile if self._hearing else "",
            )
        return self._made[key]


def open_two(library: Path, models: TwoProfiles | None = None, **settings: Any) -> SearchEngine:
    """Open (or make) a library that can be switched from OLD to NEW."""
    given = {"workers": 2} | settings
    return SearchEngine(Library.open(library, create=True, models=models or TwoProfiles(), **given))
