"""Segments of one file, made of its parts as they are decoded and of what was recognised in them.

No model runs here; only the tokenizers of the text models are used, to measure passages. What is
to be embedded waits as pixels and sound windows, which a long file gives up on the way (see
`indexer.embed`), so that a book or a film costs no more memory than a few batches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from indexer.segmenting.passages import image_segment, passages, speech_segments
from indexer.segmenting.recognition import NOTHING_RECOGNISED, Recognised
from indexer.segmenting.sounds import SoundSegmenter, SoundWindow, SoundWindows
from indexer.segmenting.thumbnails import save_thumbnail
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
from mmsearch.search.pictures import thumbnail_path
from mmsearch.settings import Settings
from mmsearch.types import (
    Box,
    Metadata,
    Modality,
    Place,
    SegmentDraft,
    Transcript,
    Utterance,
    Vectors,
    WordLine,
)

SegmentVectors: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]
"""(ordinals (n,), unit vectors (n, dimension)) of some segments of one file."""

_HYPHENATED = re.compile(r"[^\W\d_]-$")


@dataclass(frozen=True, slots=True)
class Segmented:
    """One file, decoded and segmented."""

    mime: str = ""
    metadata: Metadata = field(default_factory=dict)
    segments: tuple[SegmentDraft, ...] = ()
    pixels: Mapping[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    """By ordinal: what is still to be embedded in the `clip` space, each (height, width, 3)."""
    vectors: Mapping[str, SegmentVectors] = field(default_factory=dict)
    """By space name: vectors that exist already."""


class Segmenter:
    """Takes the parts of one file in order. Used by one thread. Not reused."""

    def __init__(self, settings: Settings, models: ModelSet, sha256: str) -> None:
        self._settings = settings
        self._models = models
        self._sha256 = sha256
        self._mime = ""
        self._metadata: dict[str, object] = {}
        self._segments: list[SegmentDraft] = []
        self._pixels: dict[int, npt.NDArray[np.uint8]] = {}
        self._embedded: list[SegmentVectors] = []
        self._windows: SoundWindows | None = None
        self._waiting_windows: list[SoundWindow] = []
        self._sounds = SoundSegmenter(
            similarity=settings.sound_similarity, longest_seconds=settings.sound_span_seconds
        )
        self._characters = 0
        """Of the pages so far; form feeds between them count."""

    def add(self, part: Part, recognised: Recognised = NOTHING_RECOGNISED) -> None:
        """The next part, and what was recognised in it."""
        self._mime = part.mime
        if isinstance(part, SubtitlePart):
            # Of several languages the first is the film's; that of signs need not be.
            known = dict(part.metadata)
            if known.get("forced"):
                known.pop("language", None)
            self._metadata = known | self._metadata
        else:
            self._metadata |= part.metadata
        if self.is_full and not isinstance(part, SoundPart):
            self._warn_full()
            return
        if recognised.warning is not None:
            self._metadata["warning"] = recognised.warning
        match part:
            case ImagePart():
                self._thumbnail(part.thumbnail, None)
                self._add_picture(_enriched(image_segment(), recognised), part.pixels)
            case PagePart():
                self._page(part, recognised.lines)
            case FramePart():
                self._frame(part, recognised)
            case SubtitlePart():
                self._subtitles(part)
            case TextPart():
                self._segments += self._passages(part.text)
            case AudioPart():
                self._speech(part, recognised.transcript)
            case SoundPart():
                self._sound(part)
        if len(self._segments) > self._settings.max_segments:
            self._drop_rest()

    @property
    def is_full(self) -> bool:
        """Whether there are as many segments as a file may have: what else is in it is left out.
        (Sounds are not counted: their number follows from the length of the recording.)"""
        return len(self._segments) >= self._settings.max_segments

    def _drop_rest(self) -> None:
        limit = self._settings.max_segments
        del self._segments[limit:]
        self._pixels = {ordinal: p for ordinal, p in self._pixels.items() if ordinal < limit}
        self._warn_full()

    def _warn_full(self) -> None:
        limit = self._settings.max_segments
        self._metadata["warning"] = f"Only the first {limit} segments of it were indexed."

    def finish(self) -> Segmented:
        """All segments. Sound windows must have been taken and their vectors added."""
        vectors: dict[str, SegmentVectors] = {}
        spans, rows = self._sounds.segments()
        if spans:
            first = len(self._segments)
            ordinals = np.arange(first, first + len(spans), dtype=np.int64)
            vectors["sound"] = (ordinals, rows.astype(np.float16))
            self._segments += spans
        if self._embedded:
            some, parts = zip(*self._embedded, strict=True)
            vectors["clip"] = (np.concatenate(some), np.concatenate(parts))
        return Segmented(
            self._mime, self._metadata, tuple(self._segments), dict(self._pixels), vectors
        )

    # ------------------------------------------------------------------ embedding on the way

    @property
    def waiting_pixels(self) -> int:
        """How many pictures wait to be embedded."""
        return len(self._pixels)

    def take_pixels(self) -> dict[int, npt.NDArray[np.uint8]]:
        """The pictures that wait, by ordinal: whoever takes them adds their vectors."""
        pixels, self._pixels = self._pixels, {}
        return pixels

    def add_picture_vectors(self, vectors: SegmentVectors) -> None:
        self._embedded.append(vectors)

    def take_sound_windows(self) -> list[SoundWindow]:
        """The sound windows that wait: whoever takes them adds their vectors."""
        windows, self._waiting_windows = self._waiting_windows, []
        return windows

    def add_sound_vectors(self, windows: Sequence[SoundWindow], vectors: Vectors) -> None:
        """Vectors of windows, (len(windows), dimension) float32, in order."""
        self._sounds.add(windows, vectors)

    # ------------------------------------------------------------------ pictures, pages, frames

    def _page(self, part: PagePart, recognised: Sequence[WordLine]) -> None:
        self._thumbnail(part.thumbnail, Place(page=part.number))
        if part.number == 1:
            self._thumbnail(part.thumbnail, None)
        metadata = dict(part.about) | ({"title": part.title} if part.title else {})
        if part.pixels is not None:
            page = SegmentDraft(Modality.PAGE, Place(page=part.number), metadata=metadata)
            self._add_picture(page, part.pixels)
        text, lines = part.text, part.lines
        if _letters(" ".join(line.text for line in recognised)) > _letters(text):
            text, lines = _as_text(recognised)
            metadata = metadata | {"origin": "ocr"}
        for draft in self._passages(text):
            self._segments.append(_on_page(draft, part.number, lines, self._characters, metadata))
        self._characters += len(text) + 1

    def _frame(self, part: FramePart, recognised: Recognised) -> None:
        place = Place(start=part.start, end=part.end)
        self._thumbnail(part.thumbnail, place)
        if not self._segments:
            self._thumbnail(part.thumbnail, None)
        shot = SegmentDraft(Modality.VIDEO, place, metadata={"frame_at": part.moment})
        self._add_picture(_enriched(shot, recognised), part.pixels)

    def _add_picture(self, draft: SegmentDraft, pixels: npt.NDArray[np.uint8] | None) -> None:
        if pixels is not None:
            self._pixels[len(self._segments)] = pixels
        self._segments.append(draft)

    def _thumbnail(self, content: bytes | None, place: Place | None) -> None:
        if content is not None:
            save_thumbnail(thumbnail_path(self._settings.library, self._sha256, place), content)

    # ------------------------------------------------------------------ texts and recordings

    def _passages(self, text: str) -> list[SegmentDraft]:
        max_tokens = min(
            self._settings.passage_tokens,
            self._models.clip.max_tokens,
            self._models.text.max_tokens,
        )
        return passages(text, self._count_tokens, max_tokens)

    def _count_tokens(self, texts: Sequence[str]) -> list[int]:
        """A passage must fit both text towers."""
        counts = (self._models.clip.count_tokens(texts), self._models.text.count_tokens(texts))
        return [max(pair) for pair in zip(*counts, strict=True)]

    def _speech(self, part: AudioPart, transcript: Transcript | None) -> None:
        if transcript is None:
            return
        if transcript.language is not None:
            self._metadata.setdefault("language", transcript.language)
        self._segments += speech_segments(transcript, part.start)

    def _subtitles(self, part: SubtitlePart) -> None:
        language = {n: part.metadata[n] for n in ("language",) if n in part.metadata}
        cues = tuple(Utterance(cue.start, cue.end, cue.text) for cue in part.cues)
        for draft in speech_segments(Transcript(None, 0.0, cues), 0.0):
            metadata = dict(draft.metadata) | {"origin": "subtitles"} | language
            self._segments.append(replace(draft, metadata=metadata))

    def _sound(self, part: SoundPart) -> None:
        if self._windows is None:
            assert self._models.sound is not None, "sounds are decoded only for a sound model"
            self._windows = SoundWindows(self._models.sound.window_seconds, starts_at=part.start)
        self._waiting_windows += self._windows.add(part.samples, last=part.last)


def _enriched(draft: SegmentDraft, recognised: Recognised) -> SegmentDraft:
    """A picture with its caption and the words that stand in it as its text."""
    text = "\n".join(line.text for line in recognised.lines) if recognised.lines else None
    metadata = dict(draft.metadata)
    if recognised.lines:
        metadata["words"] = words_of(recognised.lines)
    if recognised.caption is not None:
        caption = recognised.caption["text"]
        text = f"{caption}\n{text}" if text else caption
        metadata["caption"] = recognised.caption
    return replace(draft, text=text, metadata=metadata)


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _as_text(recognised: Sequence[WordLine]) -> tuple[str, tuple[TextLine, ...]]:
    """Recognised lines as one text, and where each stands. A word hyphenated at a line's end is
    joined."""
    text = ""
    lines: list[TextLine] = []
    for line in recognised:
        if _HYPHENATED.search(text) and line.text[:1].islower():
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
    metadata: Mapping[str, Any],
) -> SegmentDraft:
    """A passage of a page's text with its page, its place in the whole text, and its box."""
    start, end = draft.place.char_start, draft.place.char_end
    assert start is not None
    assert end is not None
    boxes = [line.box for line in lines if line.start < end and start < line.end]
    place = Place(page=page, char_start=offset + start, char_end=offset + end, box=_union(boxes))
    return replace(draft, place=place, metadata=dict(draft.metadata) | dict(metadata))


def _union(boxes: Sequence[Box]) -> Box | None:
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
