"""ModelSet: the models of one profile, for searching and indexing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property

from mmsearch.errors import ProfileError
from mmsearch.models import loading
from mmsearch.protocols import (
    Captioner,
    Diariser,
    ImageTextEmbedder,
    Ocr,
    SoundTextEmbedder,
    TextEmbedder,
    Transcriber,
)


class ModelSet:
    """The models of one profile. Each adapter is imported and made on first use."""

    def __init__(
        self,
        profile: str,
        recipe: str,
        clip: Callable[[], ImageTextEmbedder],
        text: Callable[[], TextEmbedder],
        transcriber: Callable[[], Transcriber],
        sound: Callable[[], SoundTextEmbedder] | None = None,
        ocr: Callable[[], Ocr | None] = lambda: None,
        hearing: str = "",
        diariser: Callable[[], Diariser] | None = None,
        captioner: Callable[[], Captioner] | None = None,
    ) -> None:
        self.profile = profile
        self.hearing = hearing
        """Names the speech and sound models as configured; others re-index recordings."""
        self.recipe = recipe
        """Names the models as configured. Unlike their fingerprints it is known without loading."""
        self._lock = threading.Lock()
        self._make_clip = clip
        self._make_text = text
        self._make_transcriber = transcriber
        self._make_sound = sound
        self._make_ocr = ocr
        self._make_diariser = diariser
        self._make_captioner = captioner

    @property
    def weights(self) -> str | None:
        """Identifies the files of the models whose output is indexed as segments.

        These are speech recognition, OCR, diarisation and captions. (The embedders' files are
        part of their spaces' fingerprints.) "" if none of them has files; None if the files of
        any are not on this machine. Nothing is loaded or downloaded.
        """
        digests: dict[str, str] = {}
        for name in ("transcriber", "ocr", "diariser", "captioner"):
            model = getattr(self, name)
            digest = "" if model is None else model.weights
            if digest is None:
                return None
            digests[name] = digest
        return loading.fingerprint(**digests) if any(digests.values()) else ""

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

    @cached_property
    def ocr(self) -> Ocr | None:
        """None without OCR."""
        with self._lock:
            return self.__dict__["ocr"] if "ocr" in self.__dict__ else self._make_ocr()

    @cached_property
    def diariser(self) -> Diariser | None:
        """None without diarisation."""
        with self._lock:
            if "diariser" in self.__dict__ or self._make_diariser is None:
                return self.__dict__.get("diariser")
            return self._make_diariser()

    @cached_property
    def captioner(self) -> Captioner | None:
        """None without captions."""
        with self._lock:
            if "captioner" in self.__dict__ or self._make_captioner is None:
                return self.__dict__.get("captioner")
            return self._make_captioner()

    @property
    def knows_sounds(self) -> bool:
        """Whether there is a sound model; loads nothing."""
        return self._make_sound is not None

    @cached_property
    def sound(self) -> SoundTextEmbedder | None:
        """None if the profile has no sound model."""
        with self._lock:
            if "sound" in self.__dict__ or self._make_sound is None:
                return self.__dict__.get("sound")
            return self._make_sound()

    def release_all_but(self, other: ModelSet) -> None:
        """Free the weights of the models that `other` does not share; later calls reload them."""
        for name in ("clip", "text", "transcriber", "sound"):
            model = self.__dict__.get(name)
            if model is not None and model is not getattr(other, name):
                model.release()

    def embedder(self, space: str) -> TextEmbedder:
        """The embedder of the space of that name. Raises ProfileError."""
        if space == "sound":
            if self.sound is None:
                raise ProfileError(
                    f"this collection has sounds, but profile {self.profile} as configured has no "
                    "sound model: set sound_model to the one that indexed it",
                    param="sound_model",
                )
            return self.sound
        return self.clip if space == "clip" else self.text
