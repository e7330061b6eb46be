"""The models of one profile, as the engine and the indexer use them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property

from mmsearch.protocols import ImageTextEmbedder, TextEmbedder, Transcriber


class ModelSet:
    """The models of one profile. Each adapter is made, and its library imported, on first use."""

    def __init__(
        self,
        profile: str,
        recipe: str,
        clip: Callable[[], ImageTextEmbedder],
        text: Callable[[], TextEmbedder],
        transcriber: Callable[[], Transcriber],
    ) -> None:
        self.profile = profile
        self.recipe = recipe
        """Names the models as configured; unlike their fingerprints, known before loading any."""
        self._lock = threading.Lock()
        self._make_clip = clip
        self._make_text = text
        self._make_transcriber = transcriber

    @cached_property
    def clip(self) -> ImageTextEmbedder:
        with self._lock:
            return self.__dict__.get("clip") or self._make_clip()

    @cached_property
    def text(self) -> TextEmbedder:
        with self._lock:
            return self.__dict__.get("text") or self._make_text()

    @cached_property
    def transcriber(self) -> Transcriber:
        with self._lock:
            return self.__dict__.get("transcriber") or self._make_transcriber()
