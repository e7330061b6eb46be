"""What crosses the border between a decoding worker and its parent: plain, frozen values.

A request goes in, parts come out. Everything here can be written as a JSON header with raw
buffers behind it (see `wire.py`); nothing is ever pickled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mmsearch.types import Box, Metadata, Preprocess

SAMPLE_RATE = 16_000
"""Of every `AudioPart`, in Hz."""

Kind: TypeAlias = Literal["image", "text", "audio", "document", "video"]

KINDS: tuple[Kind, ...] = ("image", "text", "audio", "document", "video")


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One file, by path or by content, and what is wanted of it."""

    path: str | None = None
    """As the operating system gave it (`os.fsdecode`); made absolute before it is sent."""
    content: bytes | None = field(default=None, repr=False)
    """The file itself, for queries and uploads."""
    name: str = ""
    """A file name whose extension may decide between kinds of text; default: that of `path`."""
    kinds: tuple[Kind, ...] = KINDS
    """What is welcome; anything else is refused as unsupported."""
    preprocess: Preprocess | None = None
    """What the image model sees; None: no pixels."""
    thumbnail: int | None = None
    """Longest side in pixels; None: no thumbnail."""
    ocr: Literal["none", "likely", "all"] = "none"
    """Whose pixels come along for reading the words in them (`picture` of the parts): pictures
    and frames that look as if they held any, or all of them; pages without a text of their own."""
    page: int | None = None
    """Of a PDF: only this page (1-based), as an `ImagePart`."""
    moment: float | None = None
    """Of a film: only the frame that is shown at this second, as an `ImagePart`."""
    page_images: bool = True
    """Whether pages come with `pixels` and a thumbnail."""
    max_pages: int = 5000
    max_archive_bytes: int = 512 * 2**20
    """What a zipped document may unpack to."""
    max_image_pixels: int = 200_000_000
    max_text_bytes: int = 64 * 2**20
    max_audio_seconds: float = 6 * 3600.0
    """Of recordings and films."""
    max_shots: int = 2000
    """Shots of one film; with more, they are made longer."""
    audio_chunk_seconds: float = 1200.0
    sounds: bool = False
    """Whether recordings also come as `SoundPart`s, for what is heard besides words."""

    def __post_init__(self) -> None:
        if (self.path is None) == (self.content is None):
            raise ValueError("a request has either a path or content")


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture."""

    mime: str
    metadata: Metadata
    pixels: npt.NDArray[np.uint8] | None = None
    """(height, width, 3) RGB, as `DecodeRequest.preprocess` asked."""
    thumbnail: bytes | None = None
    """JPEG."""
    picture: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    """(height, width, 3) RGB, upright, to read words in; see `DecodeRequest.ocr`."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """A stretch of a page's text and where it stands."""

    start: int
    """Characters into the page's text."""
    end: int
    box: Box


@dataclass(frozen=True, slots=True)
class PagePart:
    """One page of a document; also a slide, a sheet, a chapter, a letter in a mailbox."""

    mime: str
    metadata: Metadata
    """Of the document: "pages", "page_kind" (page, slide, sheet, chapter, message), title and so
    on."""
    number: int
    """1-based."""
    text: str = ""
    title: str | None = None
    """Of a slide, a sheet, a chapter, a letter."""
    lines: tuple[TextLine, ...] = ()
    """Where the text stands, if the format knows; in the order of the text."""
    pixels: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    """The page as a picture, as `DecodeRequest.preprocess` asked."""
    thumbnail: bytes | None = field(default=None, repr=False)
    """JPEG."""
    picture: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    """(height, width, 3) RGB, where the page has no text of its own and seems to show some."""
    about: Metadata = field(default_factory=dict)
    """What it says of itself: of a letter in a mailbox "sent_at", "author" and so on."""


@dataclass(frozen=True, slots=True)
class FramePart:
    """A shot of a film: a stretch without a cut, and the frame that stands for it."""

    mime: str
    metadata: Metadata
    """Of the film; complete with the last shot."""
    start: float
    """Seconds from the film's beginning."""
    end: float
    moment: float
    """When its frame is shown."""
    pixels: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    """(height, width, 3) RGB, as `DecodeRequest.preprocess` asked."""
    thumbnail: bytes | None = field(default=None, repr=False)
    """JPEG."""
    picture: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    """(height, width, 3) RGB, to read words in; see `DecodeRequest.ocr`."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What a subtitle says; seconds from the film's beginning."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class SubtitlePart:
    """A film's subtitles, in the order of time."""

    mime: str
    metadata: Metadata
    cues: tuple[Cue, ...] = ()


@dataclass(frozen=True, slots=True)
class TextPart:
    """A whole text; a segment's `char_start` and `char_end` count characters of `text`.

    `text` is a function of the file's bytes alone (see `media.text`), so that decoding the same
    file again gives the same offsets.
    """

    mime: str
    metadata: Metadata
    text: str = ""


@dataclass(frozen=True, slots=True)
class AudioPart:
    """One stretch of a recording: mono, SAMPLE_RATE, -1..1."""

    mime: str
    metadata: Metadata
    """Tags and technical facts; with the last part also "duration" and perhaps "warning"."""
    samples: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.zeros(0, np.float32), repr=False
    )
    start: float = 0.0
    """Seconds from the beginning of the recording."""
    last: bool = True


@dataclass(frozen=True, slots=True)
class SoundPart:
    """One stretch of a recording as a sound model hears it: mono, SOUND_RATE, -1..1.

    Stretches follow each other without a gap and before the `AudioPart` of the same seconds ends.
    """

    mime: str
    metadata: Metadata
    samples: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.zeros(0, np.float32), repr=False
    )
    start: float = 0.0
    """Seconds from the beginning of the recording."""
    last: bool = True


Part: TypeAlias = ImagePart | PagePart | FramePart | SubtitlePart | TextPart | AudioPart | SoundPart
