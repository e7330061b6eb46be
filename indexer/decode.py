"""Decoding: what is asked of the sandbox for a file that is indexed."""

from __future__ import annotations

from collections.abc import Iterator

from indexer.inputs.content import Opened
from mmsearch.media.parts import DecodeRequest, Part, TextPart
from mmsearch.media.requests import decode_request
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.models.sets import ModelSet
from mmsearch.settings import Settings


class Decoder:
    """Decodes files into the parts that the models of a collection need. Thread-safe."""

    def __init__(self, settings: Settings, sandbox: Sandbox, models: ModelSet) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._models = models

    def decode(self, opened: Opened) -> Iterator[Part]:
        """The parts of a file, in order. Raises MediaError. A record's text is one part as it is:
        it is not sent to a worker."""
        if opened.text is not None:
            return iter([TextPart("text/plain", {}, opened.text)])
        return self.parts(self.request(opened))

    def parts(self, request: DecodeRequest) -> Iterator[Part]:
        """Raises MediaError."""
        return self._sandbox.decode(request)

    def request(self, opened: Opened) -> DecodeRequest:
        """All that indexing asks for."""
        return decode_request(
            self._settings,
            path=opened.path,
            content=opened.data,
            name=opened.name,
            preprocess=self._models.clip.preprocess,
            thumbnail=self._thumbnail_pixels(),
            sounds=self._models.knows_sounds,
            ocr=self._settings.ocr_pictures if self._models.ocr is not None else "none",
        )

    def _thumbnail_pixels(self) -> int:
        """The longest side of thumbnails. A captioner sees them, and may need larger ones."""
        if self._models.captioner is None:
            return self._settings.thumbnail_pixels
        return max(self._settings.thumbnail_pixels, self._settings.caption_pixels)
