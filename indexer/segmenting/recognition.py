"""Enrichment of decoded parts by models, before segmenting: words in pictures (OCR), captions,
speech and its speakers."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from indexer.segmenting.speakers import with_speakers
from mmsearch.errors import ModelError
from mmsearch.media.parts import AudioPart, FramePart, ImagePart, PagePart, Part
from mmsearch.models.sets import ModelSet
from mmsearch.protocols import SpeakerTracker
from mmsearch.types import Metadata, Transcript, WordLine

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recognised:
    """What models recognised in one part; empty where they recognised nothing."""

    lines: tuple[WordLine, ...] = ()
    """Words that stand in the picture, in reading order."""
    caption: Metadata | None = None
    """`text`, `model`, and `machine`: true."""
    transcript: Transcript | None = None
    """Times count from the beginning of the part."""
    warning: str | None = None


NOTHING_RECOGNISED = Recognised()


class Recogniser:
    """Runs the enrichment models over the parts of one file, in order. Used by one thread."""

    def __init__(self, models: ModelSet, *, language: str | None) -> None:
        """`language`: of all speech; None detects it."""
        self._models = models
        self._language = language
        self._speakers: SpeakerTracker | None = None

    def recognise(self, part: Part) -> Recognised:
        """Raises ModelError; CaptionError if there are no captions to be had at all."""
        match part:
            case ImagePart() | FramePart():
                words = self._words(part.picture)
                return replace(words, caption=self._caption(part.thumbnail))
            case PagePart():
                return self._words(part.picture)
            case AudioPart():
                return Recognised(transcript=self._transcript(part))
            case _:
                return NOTHING_RECOGNISED

    def _words(self, picture: npt.NDArray[np.uint8] | None) -> Recognised:
        """OCR. A failure becomes a warning: the rest of the file is indexed."""
        if picture is None or self._models.ocr is None:
            return NOTHING_RECOGNISED
        try:
            return Recognised(lines=tuple(self._models.ocr.read(picture)))
        except ModelError as error:
            logger.warning("%s", error)
            return Recognised(warning=f"The words in it could not be read: {error}.")

    def _caption(self, thumbnail: bytes | None) -> Metadata | None:
        if thumbnail is None or self._models.captioner is None:
            return None
        (caption,) = self._models.captioner.caption([thumbnail])
        if caption is None:
            return None
        return {"text": caption, "model": self._models.captioner.name, "machine": True}

    def _transcript(self, part: AudioPart) -> Transcript:
        transcript = self._models.transcriber.transcribe(part.samples, language=self._language)
        if transcript.utterances and self._models.diariser is not None:
            if self._speakers is None:
                self._speakers = self._models.diariser.begin()
            turns = self._speakers.turns(part.samples)
            utterances = with_speakers(transcript.utterances, turns)
            transcript = replace(transcript, utterances=tuple(utterances))
        return transcript
