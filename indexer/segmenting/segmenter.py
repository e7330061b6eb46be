"""From the parts of one file, as they are decoded, to its segments.

What is seen (pictures, pages, frames) waits as pixels to be embedded together with that of
other files; a file with many pages is embedded on the way, so that a book or a film costs no
more memory than a few batches.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.inputs.content import write_thumbnail
from indexer.segmenting.passages import image_segment, passages, speech_segments
from indexer.segmenting.sounds import SoundCutter
from indexer.segmenting.speakers import with_speakers
from mmsearch.errors import ModelError
from mmsearch.media.parts import (
    AudioPart,
    FramePart,
    ImagePart,
    PagePart,
    Part,
    SoundPart,
    SubtitlePart,
    TextLine,
    TextPart,
)
from mmsearch.models.sets import ModelSet
from mmsearch.models.vision.ocr import words_of
from mmsearch.protocols import SpeakerTracker
from mmsearch.search.pictures import thumbnail_path
from mmsearch.settings import Settings
from mmsearch.types import (
    Box,
    Modality,
    Place,
    SegmentDraft,
    Transcript,
    Utterance,
    Vectors,
    WordLine,
)

logger = logging.getLogger(__name__)

Rows = tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]
"""(ordinals (n,), unit vectors (n, dimension)) of some segments of one file."""

_WAITING_BATCHES = 2
_CUT_WORD = re.compile(r"[^\W\d_]-$")


@dataclass(frozen=True, slots=True)
class Cut:
    """One file, decoded and cut."""

    mime: str
    metadata: Mapping[str, object]
    segments: tuple[SegmentDraft, ...]
    pixels: Mapping[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    """By ordinal: what is still to be embedded in `clip`, each (height, width, 3)."""
    made: Mapping[str, Rows] = field(default_factory=dict)
    """Vectors that were made on the way, by space name."""


class Cutter:
    """Takes the parts of one file in order. Used by one thread; the models by several."""

    def __init__(self, settings: Settings, models: ModelSet, sha256: str) -> None:
        self._settings = settings
        self._models = models
        self._sha256 = sha256
        self._mime = ""
        self._metadata: dict[str, object] = {}
        self._segments: list[SegmentDraft] = []
        self._waiting: dict[int, npt.NDArray[np.uint8]] = {}
        self._embedded: list[Rows] = []
        self._heard: SoundCutter | None = None
        self._voices: SpeakerTracker | None = None
        self._characters = 0
        """Of the pages so far; form feeds between them count."""

    def add(self, part: Part) -> None:
        """Raises ModelError."""
        self._mime = part.mime
        if isinstance(part, SubtitlePart):
            # Of several languages the first is the film's; that of signs need not be.
            known = dict(part.metadata)
            if known.get("forced"):
                known.pop("language", None)
            self._metadata = known | self._metadata
        else:
            self._metadata |= part.metadata
        match part:
            case ImagePart():
                self._image(part)
            case PagePart():
                self._page(part)
            case FramePart():
                self._frame(part)
            case SubtitlePart():
                self._subtitles(part)
            case TextPart():
                self._segments += self._passages(part.text)
            case AudioPart():
                self._speech(part)
            case SoundPart():
                self._sound(part)

    def finish(self) -> Cut:
        """What came of it."""
        made: dict[str, Rows] = {}
        if self._heard is not None:
            spans, vectors = self._heard.segments()
            if spans:
                first = len(self._segments)
                made["sound"] = (
                    np.arange(first, first + len(spans), dtype=np.int64),
                    checked(vectors),
                )
                self._segments += spans
        if self._embedded:
            ordinals, rows = zip(*self._embedded, strict=True)
            made["clip"] = (np.concatenate(ordinals), np.concatenate(rows))
        return Cut(self._mime, self._metadata, tuple(self._segments), dict(self._waiting), made)

    # ------------------------------------------------------------------ what is seen

    def _image(self, part: ImagePart) -> None:
        lines = self._read(part.picture)
        draft = self._captioned(_with_words(image_segment(), lines), part.thumbnail)
        self._seen(draft, part.pixels)
        self._thumbnail(part.thumbnail, None)

    def _captioned(self, draft: SegmentDraft, picture: bytes | None) -> SegmentDraft:
        """With a caption in front of the words that stand in it. Raises CaptionError."""
        if picture is None or self._models.captioner is None:
            return draft
        (caption,) = self._models.captioner.caption([picture])
        if caption is None:
            return draft
        about = {"text": caption, "model": self._models.captioner.name, "machine": True}
        text = f"{caption}\n{draft.text}" if draft.text else caption
        return replace(draft, text=text, metadata=dict(draft.metadata) | {"caption": about})

    def _page(self, part: PagePart) -> None:
        self._thumbnail(part.thumbnail, Place(page=part.number))
        if part.number == 1:
            self._thumbnail(part.thumbnail, None)
        about = {"title": part.title} if part.title else {}
        if part.pixels is not None:
            page = SegmentDraft(Modality.PAGE, Place(page=part.number), metadata=about)
            self._seen(page, part.pixels)
        text, lines = part.text, part.lines
        read = self._read(part.picture)
        if _letters(" ".join(line.text for line in read)) > _letters(text):
            text, lines = _as_text(read)
            about = about | {"origin": "ocr"}
        for draft in self._passages(text):
            self._segments.append(_on_page(draft, part.number, lines, self._characters, about))
        self._characters += len(text) + 1

    def _frame(self, part: FramePart) -> None:
        place = Place(start=part.start, end=part.end)
        self._thumbnail(part.thumbnail, place)
        if not self._segments:
            self._thumbnail(part.thumbnail, None)
        shot = SegmentDraft(Modality.VIDEO, place, metadata={"frame_at": part.moment})
        shot = _with_words(shot, self._read(part.picture))
        self._seen(self._captioned(shot, part.thumbnail), part.pixels)

    def _seen(self, draft: SegmentDraft, pixels: npt.NDArray[np.uint8] | None) -> None:
        if pixels is not None:
            self._waiting[len(self._segments)] = pixels
        self._segments.append(draft)
        if len(self._waiting) >= _WAITING_BATCHES * self._settings.batch_size:
            self._embed_waiting()

    def _embed_waiting(self) -> None:
        ordinals = np.array(list(self._waiting), np.int64)
        pixels = list(self._waiting.values())
        size = self._settings.batch_size
        rows = [
            checked(self._models.clip.encode_pixels(np.stack(pixels[at : at + size])))
            for at in range(0, len(pixels), size)
        ]
        self._embedded.append((ordinals, np.concatenate(rows)))
        self._waiting.clear()

    def _thumbnail(self, content: bytes | None, place: Place | None) -> None:
        if content is not None:
            write_thumbnail(thumbnail_path(self._settings.library, self._sha256, place), content)

    def _read(self, picture: npt.NDArray[np.uint8] | None) -> list[WordLine]:
        """The words in a picture. That they cannot be read takes nothing else from the file."""
        if picture is None or self._models.ocr is None:
            return []
        try:
            return self._models.ocr.read(picture)
        except ModelError as error:
            logger.warning("%s", error)
            self._metadata["warning"] = f"The words in it could not be read: {error}."
            return []

    # ------------------------------------------------------------------ what is written or heard

    def _passages(self, text: str) -> list[SegmentDraft]:
        most = min(
            self._settings.passage_tokens,
            self._models.clip.max_tokens,
            self._models.text.max_tokens,
        )
        return passages(text, self._count_tokens, most)

    def _count_tokens(self, texts: Sequence[str]) -> list[int]:
        """A passage must fit both text towers."""
        counts = (self._models.clip.count_tokens(texts), self._models.text.count_tokens(texts))
        return [max(pair) for pair in zip(*counts, strict=True)]

    def _speech(self, part: AudioPart) -> None:
        transcript = self._models.transcriber.transcribe(
            part.samples, language=self._settings.language
        )
        if transcript.language is not None:
            self._metadata.setdefault("language", transcript.language)
        if transcript.utterances and self._models.diariser is not None:
            if self._voices is None:
                self._voices = self._models.diariser.begin()
            turns = self._voices.turns(part.samples)
            told = with_speakers(transcript.utterances, turns)
            transcript = replace(transcript, utterances=tuple(told))
        self._segments += speech_segments(transcript, part.start)

    def _subtitles(self, part: SubtitlePart) -> None:
        language = {n: part.metadata[n] for n in ("language",) if n in part.metadata}
        said = tuple(Utterance(cue.start, cue.end, cue.text) for cue in part.cues)
        for draft in speech_segments(Transcript(None, 0.0, said), 0.0):
            metadata = dict(draft.metadata) | {"origin": "subtitles"} | language
            self._segments.append(replace(draft, metadata=metadata))

    def _sound(self, part: SoundPart) -> None:
        if self._heard is None:
            assert self._models.sound is not None, "only then are sounds asked for"
            self._heard = SoundCutter(
                self._models.sound,
                similarity=self._settings.sound_similarity,
                longest_seconds=self._settings.sound_span_seconds,
                starts_at=part.start,
            )
        self._heard.add(part.samples, last=part.last)


def checked(vectors: Vectors) -> npt.NDArray[np.float16]:
    """Vectors as they are stored. Raises ModelError."""
    if not np.isfinite(vectors).all():
        raise ModelError("a model gave vectors that are not numbers; nothing was written")
    return vectors.astype(np.float16)


def _with_words(draft: SegmentDraft, lines: Sequence[WordLine]) -> SegmentDraft:
    """A picture with the words that stand in it."""
    if not lines:
        return draft
    metadata = dict(draft.metadata) | {"words": words_of(lines)}
    return replace(draft, text="\n".join(line.text for line in lines), metadata=metadata)


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _as_text(read: Sequence[WordLine]) -> tuple[str, tuple[TextLine, ...]]:
    """Lines that were read as one text, and where each stands; a word that a line's end cuts in
    two is one."""
    text = ""
    lines: list[TextLine] = []
    for line in read:
        if _CUT_WORD.search(text) and line.text[:1].islower():
            text = text[:-1]
        elif text:
            text += "\n"
        lines.append(TextLine(len(text), len(text) + len(line.text), line.box))
        text += line.text
    return text, tuple(lines)


def _on_page(
    draft: SegmentDraft,
    page: int,
    lines: Sequence[TextLine],
    offset: int,
    about: Mapping[str, Any],
) -> SegmentDraft:
    """A passage of a page's text with its page, its place in the whole text, and its box."""
    start, end = draft.place.char_start, draft.place.char_end
    assert start is not None
    assert end is not None
    boxes = [line.box for line in lines if line.start < end and start < line.end]
    place = Place(page=page, char_start=offset + start, char_end=offset + end, box=_union(boxes))
    return replace(draft, place=place, metadata=dict(draft.metadata) | dict(about))


def _union(boxes: Sequence[Box]) -> Box | None:
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
