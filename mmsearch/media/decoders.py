"""Which decoder takes which media type. Runs in a worker process (see `worker.py`).

To add a kind of file: teach `detect.sniff` its signature, write a function from a `File` to
parts, and add its line to DECODERS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MediaError
from mmsearch.media.detect import DOCUMENTS, sniff
from mmsearch.media.formats.encodings import without_invisible
from mmsearch.media.formats.sections import Section
from mmsearch.media.formats.text import without_encoded_files
from mmsearch.media.opened import Content, OpenFile
from mmsearch.media.parts import (
    AudioPart,
    DecodeRequest,
    FramePart,
    ImagePart,
    PagePart,
    Part,
    SoundPart,
    SubtitlePart,
    TextPart,
)
from mmsearch.types import SOUND_RATE

if TYPE_CHECKING:
    from PIL import Image

    PillowImage: TypeAlias = Image.Image

_FOUND_AS = {
    "image": "a picture", "text": "text", "audio": "a recording", "document": "a document",
    "video": "a film",
}  # fmt: skip

_MAX_FRAMES_READ = 300
"""Of one film: reading costs a second where the frame is full of words."""
_READ_SIDE = 3000
"""Longest side, in pixels, of a picture whose words are read."""


@dataclass(frozen=True, slots=True)
class File:
    """What a decoder gets."""

    source: OpenFile | bytes
    mime: str
    request: DecodeRequest
    beside: Callable[[], Sequence[OpenFile]]
    """Opens the files that go with this one: the subtitles of a film."""

    def read(self, max_bytes: int | None = None) -> bytes:
        """The whole content, or no more than one byte over `max_bytes`."""
        if isinstance(self.source, bytes):
            return self.source
        try:
            with self.source.open("rb") as file:
                return file.read(-1 if max_bytes is None else max_bytes + 1)
        except OSError as error:
            reason = f"The file cannot be read: {error.strerror}."
            raise MediaError("unreadable", reason) from None


def decode(
    request: DecodeRequest, source: OpenFile | bytes, beside: Callable[[], Sequence[OpenFile]]
) -> Iterator[Part]:
    """The parts of one file, in order. Raises MediaError."""
    mime = sniff(source, request.name)
    kind = _kind(mime)
    if kind not in request.kinds:
        wanted = " or ".join(_FOUND_AS[kind] for kind in request.kinds)
        raise MediaError("unsupported", f"This is {_FOUND_AS[kind]}; {wanted} is needed here.")
    yield from DECODERS[kind](File(source, mime, request, beside))


def _kind(mime: str) -> str:
    if mime in DOCUMENTS:
        return "document"
    kind = mime.split("/", 1)[0]
    return "text" if kind == "application" else kind


def _image(file: File) -> Iterator[Part]:
    from PIL import Image

    from mmsearch.media.formats import exif, image

    request = file.request
    # Also for the frames and layers that Pillow opens by itself. The process is ours alone.
    Image.MAX_IMAGE_PIXELS = request.max_image_pixels
    picture = image.open_image(
        file.read(),
        request.max_image_pixels,
        draft_for=(request.preprocess, request.thumbnail or 1),
    )
    yield ImagePart(
        image.mime_of(picture) or file.mime,
        exif.image_metadata(picture),
        *_seen(request, picture, request.thumbnail),
        _to_read(file, picture),
    )


def _to_read(file: File, picture: PillowImage) -> npt.NDArray[np.uint8] | None:
    """The picture large enough to read it, where it looks as if it held words."""
    from mmsearch.media import textness
    from mmsearch.media.formats import image

    if file.request.ocr == "none":
        return None
    seen = image.upright(picture)
    if file.request.ocr == "likely" and not textness.looks_written(seen):
        return None
    if picture.size != picture.info.get("full_size", picture.size):
        # It was decoded small, as the model needs it.
        picture = image.open_image(
            file.read(), file.request.max_image_pixels, draft_for=(None, _READ_SIDE)
        )
    return image.at_most(image.to_rgb(picture), _READ_SIDE)


def _seen(
    request: DecodeRequest, picture: PillowImage, longest: int | None
) -> tuple[npt.NDArray[np.uint8] | None, bytes | None]:
    """What the model sees of a picture, and its thumbnail, as far as they are asked for."""
    from mmsearch.media.formats import image

    pixels = None
    if request.preprocess is not None:
        pixels = image.preprocess_pixels(picture, request.preprocess)
    return pixels, image.thumbnail(picture, longest) if longest else None


def _picture_of(file: File, picture: PillowImage) -> ImagePart:
    """One page, one frame."""
    return ImagePart(file.mime, {}, *_seen(file.request, picture, file.request.thumbnail))


def _text(file: File) -> Iterator[Part]:
    from mmsearch.media.formats import text

    limit = file.request.max_text_bytes
    content, metadata = text.read(file.read(limit), file.mime, limit)
    yield TextPart(file.mime, metadata, content)


def _audio(file: File) -> Iterator[Part]:
    from mmsearch.media.formats import audio

    request = file.request
    for chunk in audio.chunks(
        file.source, request.audio_chunk_seconds, request.max_audio_seconds, sounds=request.sounds
    ):
        part = SoundPart if chunk.rate == SOUND_RATE else AudioPart
        yield part(file.mime, chunk.metadata, chunk.samples, chunk.start, chunk.last)


def _video(file: File) -> Iterator[Part]:
    if file.request.moment is not None:
        from mmsearch.media.formats import video

        yield _picture_of(
            file,
            video.frame_at(
                file.source, file.request.moment, max_pixels=file.request.max_image_pixels
            ),
        )
        return
    some = False
    damage: MediaError | None = None
    for frames in (_frames, _heard):
        try:
            for part in frames(file):
                some = True
                yield part
        except MediaError as error:
            # What is seen may be damaged and what is heard not, or the other way round.
            if error.code not in ("corrupt", "unsupported", "empty"):
                raise
            damage = damage or error
    if damage is not None:
        if not some:
            raise damage
        yield SubtitlePart(file.mime, {"warning": damage.reason})


def _frames(file: File) -> Iterator[Part]:
    from mmsearch.media import textness
    from mmsearch.media.formats import image, video

    request = file.request
    shots = video.shots(
        file.source,
        max_seconds=request.max_audio_seconds,
        max_shots=request.max_shots,
        max_pixels=request.max_image_pixels,
    )
    left = _MAX_FRAMES_READ
    for metadata, shot in shots:
        frame = shot.frame
        pixels, small = _seen(request, frame, request.thumbnail)
        picture = None
        if left and (
            request.ocr == "all" or (request.ocr == "likely" and textness.looks_written(frame))
        ):
            picture = image.at_most(frame, _READ_SIDE)
            left -= 1
        yield FramePart(
            file.mime, metadata, shot.start, shot.end, shot.moment, pixels, small, picture
        )


def _heard(file: File) -> Iterator[Part]:
    """What is said in a film, by its subtitles if it has any, else its soundtrack."""
    from mmsearch.media.formats import audio, subtitles, video

    request = file.request
    cues, name = subtitles.of_files(file.beside())
    with audio.opened(file.source) as container:
        has_sound = audio.info_of(container).has_audio
        late = video.sound_delay(container)
        if not cues:
            cues, name = subtitles.of_stream(container, video.beginning(container)), "embedded"
    if cues:
        yield SubtitlePart(file.mime, {"subtitles": name}, tuple(cues))
    if not has_sound or (cues and not request.sounds):
        return
    stretches = audio.chunks(
        file.source, request.audio_chunk_seconds, request.max_audio_seconds, sounds=request.sounds
    )
    for chunk in stretches:
        if chunk.rate == SOUND_RATE:
            yield SoundPart(file.mime, {}, chunk.samples, chunk.start + late, chunk.last)
        elif not cues:
            yield AudioPart(file.mime, {}, chunk.samples, chunk.start + late, chunk.last)


def _document(file: File) -> Iterator[Part]:
    request = file.request
    if file.mime == "application/pdf":
        yield from _pdf(file)
        return
    if request.page is not None:
        raise MediaError("unsupported", "Only the pages of a PDF can be drawn.")
    try:
        metadata, sections = _reader(file.mime)(file)
    except (MediaError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # as in `_careful`
        raise _damaged(error) from None
    pages, kind = metadata.get("pages", 0), metadata.get("page_kind")
    if pages > request.max_pages:
        metadata["warning"] = f"Only the first {request.max_pages} of {pages} {kind}s were read."
    left = request.max_text_bytes
    some = False
    for section in _careful(sections):
        left -= len(section.text)
        if left < 0:
            raise MediaError(
                "too_large", f"The document has more than {request.max_text_bytes} characters."
            )
        text = without_encoded_files(without_invisible(section.text))
        some = some or bool(text.strip())
        if section.number is None:
            if some:
                yield TextPart(file.mime, metadata, text)
        elif section.number <= request.max_pages or kind == "message":
            yield PagePart(
                file.mime, metadata, section.number, text, section.title, about=section.about
            )
    if not some:
        raise MediaError("empty", "The document holds no text.")


def _careful(sections: Iterable[Section]) -> Iterator[Section]:
    """The libraries raise anything where a document's parts do not fit together."""
    try:
        yield from sections
    except (MediaError, MemoryError, GeneratorExit):
        raise
    except Exception as error:  # noqa: BLE001
        raise _damaged(error) from None


def _damaged(error: Exception) -> MediaError:
    detail = f"{type(error).__name__}: {error}".split("\n", 1)[0][:150]
    return MediaError("corrupt", f"The document is damaged: {detail}.")


def _pdf(file: File) -> Iterator[Part]:
    from mmsearch.media.formats import pdf

    request = file.request
    # Twice what is wanted: resampling needs something to choose from.
    draw = 2 * (request.thumbnail or 0)
    if request.preprocess is not None:
        draw = max(draw, 2 * max(request.preprocess.size))
    if request.page is not None:
        yield _picture_of(file, pdf.page_image(file.source, request.page, max(1, draw)))
        return
    if not request.page_images:
        draw = 0
    pages = pdf.pages(
        file.source, max_pages=request.max_pages, draw=draw or None, read=request.ocr != "none"
    )
    for metadata, page in pages:
        pixels = small = None
        if page.image is not None:
            # A page needs more than a photo to be told from another.
            pixels, small = _seen(request, page.image, 2 * (request.thumbnail or 0))
        yield PagePart(
            file.mime, metadata, page.number, page.text, None, page.lines, pixels, small,
            page.unread,
        )  # fmt: skip


def _reader(mime: str) -> Callable[[File], tuple[dict[str, Any], Iterable[Section]]]:
    """The reader of a document."""
    if mime in ("message/rfc822", "application/rtf", "application/x-fictionbook+xml"):
        return _whole_text
    if mime == "application/mbox":
        return _mailbox
    if mime == "application/vnd.ms-outlook":
        return _outlook_letter
    return _zipped_reader(mime)


def _whole_text(file: File) -> tuple[dict[str, Any], Iterable[Section]]:
    from mmsearch.media.formats import fictionbook, mail, rtf

    limit = file.request.max_text_bytes
    content = file.read(limit)
    if len(content) > limit:
        raise MediaError("too_large", f"The file is longer than the {limit} bytes allowed.")
    if file.mime == "application/x-fictionbook+xml":
        return fictionbook.read(content)
    text, metadata = mail.eml(content) if file.mime == "message/rfc822" else (rtf.rtf(content), {})
    return metadata, [Section(text)]


def _outlook_letter(file: File) -> tuple[dict[str, Any], Iterable[Section]]:
    from mmsearch.media.formats import outlook

    text, metadata = outlook.msg(file.source)
    return metadata, [Section(text)]


def _mailbox(file: File) -> tuple[dict[str, Any], Iterable[Section]]:
    from mmsearch.media.formats import mail

    return mail.mbox(file.source, file.request.max_text_bytes)


def _zipped_reader(mime: str) -> Callable[[File], tuple[dict[str, Any], Iterable[Section]]]:
    from mmsearch.media.formats import epub, opendocument, sheets, slides, word

    def limits(file: File) -> tuple[Content, int]:
        return file.source, file.request.max_archive_bytes

    if mime == "application/epub+zip":
        return lambda file: epub.read(*limits(file))
    if mime.startswith("application/vnd.oasis."):
        return lambda file: opendocument.read(*limits(file))
    if mime.endswith(".presentation"):
        return lambda file: slides.pptx(*limits(file))
    if mime.endswith(".sheet"):
        return lambda file: sheets.xlsx(*limits(file), file.request.max_text_bytes)
    return lambda file: word.docx(*limits(file))


DECODERS: dict[str, Callable[[File], Iterator[Part]]] = {
    "image": _image,
    "text": _text,
    "audio": _audio,
    "document": _document,
    "video": _video,
}
"""By kind: the first half of the media type ("application/json" is text)."""
