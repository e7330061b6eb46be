"""Which decoder takes which media type. Runs in a worker process (see `worker.py`).

To add a kind of file: teach `detect.sniff` its signature, write a function from a `File` to
parts, and add its line to DECODERS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MediaError
from mmsearch.media.detect import DOCUMENTS, sniff
from mmsearch.media.documents import File, read_document
from mmsearch.media.formats.encodings import without_invisible
from mmsearch.media.formats.text import without_encoded_files
from mmsearch.media.opened import OpenFile
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

    from mmsearch.media import textness
    from mmsearch.media.formats import exif, image, multipage, raw

    request = file.request
    # Also for the frames and layers that Pillow opens by itself. The process is ours alone.
    Image.MAX_IMAGE_PIXELS = request.max_image_pixels
    camera = raw.read_raw(file.read()) if file.mime in raw.MIMES else None
    if camera is not None:
        file = replace(file, source=camera.preview, mime=camera.mime)
    picture = image.open_image(
        file.read(),
        request.max_image_pixels,
        draft_for=(request.preprocess, request.thumbnail or 1),
    )
    listed = multipage.pages(picture, request.max_image_pixels, request.max_pages)
    frames, warning = listed.frames, _warning("Some of its pages are missing.", listed.damaged)
    if request.page is not None:
        if not 1 <= request.page <= len(frames):
            raise MediaError("missing", f"The picture has no page {request.page}.")
        number = frames[request.page - 1]
        yield _picture_of(file, multipage.page(picture, number, request.max_image_pixels))
        return
    if len(frames) > 1:
        if picture.format == "TIFF" or textness.looks_written(image.upright(picture)):
            yield from _scanned(file, picture, frames, warning)
            return
        warning = _warning(f"Of {len(frames)} pictures in the file only the first is read.")
    elif picture.format == "TIFF" and multipage.has_more(picture):
        picture = multipage.page(picture, frames[0], request.max_image_pixels)
    if camera is not None:
        described = raw.describe(picture, camera)
        metadata, mime = exif.image_metadata(picture) | described, camera.mime
    else:
        metadata, mime = exif.image_metadata(picture), image.mime_of(picture) or file.mime
    yield ImagePart(
        mime,
        metadata | warning,
        *_seen(request, picture, request.thumbnail),
        _to_read(file, picture),
    )


def _warning(sentence: str, holds: bool = True) -> dict[str, Any]:
    return {"warning": sentence} if holds else {}


def _scanned(
    file: File, picture: PillowImage, frames: Sequence[int], warning: dict[str, Any]
) -> Iterator[Part]:
    """The pages of a scan, a fax: as those of a PDF without text."""
    from mmsearch.media.formats import exif, image, multipage

    request = file.request
    mime = image.mime_of(picture) or file.mime
    metadata = dict(warning)
    damage: MediaError | None = None
    left = _MAX_FRAMES_READ
    for number, frame in enumerate(frames, 1):
        try:
            page = multipage.page(picture, frame, request.max_image_pixels)
        except MediaError as error:
            if error.code == "memory":
                raise
            damage = error
            metadata = metadata | {"warning": f"Page {number}: {error.reason}"}
            continue
        if "pages" not in metadata:
            metadata = exif.image_metadata(page) | metadata
            metadata |= {"pages": len(frames), "page_kind": "page"}
        pixels = small = None
        if request.page_images:
            pixels, small = _seen(request, page, 2 * (request.thumbnail or 0))
        read = _to_read(file, page) if left else None
        left -= read is not None
        yield PagePart(
            mime, metadata, number, pixels=pixels, thumbnail=small, picture=read
        )  # fmt: skip
    if damage is not None and "pages" not in metadata:
        raise damage


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
    """What is said in a film: by its subtitles, and by its soundtrack where those do not cover
    it."""
    from mmsearch.media.formats import audio, subtitles, video

    request = file.request
    film = request.name or ("" if isinstance(file.source, bytes) else file.source.name)
    tracks = subtitles.tracks_beside(file.beside(), film)
    with audio.opened(file.source) as container:
        info = audio.info_of(container)
        late = video.sound_delay(container)
        tracks += subtitles.tracks_inside(container, video.beginning(container))
    covered = False
    for track in subtitles.chosen(tracks):
        covered = covered or subtitles.covers(track, info.metadata.get("duration", 0.0))
        language = {"language": track.label.language} if track.label.language else {}
        forced = {"forced": True} if track.label.forced else {}
        yield SubtitlePart(file.mime, {"subtitles": track.name} | language | forced, track.cues)
    if not info.has_audio or (covered and not request.sounds):
        return
    stretches = audio.chunks(
        file.source, request.audio_chunk_seconds, request.max_audio_seconds, sounds=request.sounds
    )
    for chunk in stretches:
        if chunk.rate == SOUND_RATE:
            yield SoundPart(file.mime, {}, chunk.samples, chunk.start + late, chunk.last)
        elif not covered:
            yield AudioPart(file.mime, {}, chunk.samples, chunk.start + late, chunk.last)


def _document(file: File) -> Iterator[Part]:
    request = file.request
    if file.mime == "application/pdf":
        yield from _pdf(file)
        return
    if request.page is not None:
        raise MediaError("unsupported", "Only the pages of a PDF can be drawn.")
    metadata, sections = read_document(file)
    pages, kind = metadata.get("pages", 0), metadata.get("page_kind")
    if pages > request.max_pages:
        metadata["warning"] = f"Only the first {request.max_pages} of {pages} {kind}s were read."
    left = request.max_text_bytes
    some = False
    for section in sections:
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


DECODERS: dict[str, Callable[[File], Iterator[Part]]] = {
    "image": _image,
    "text": _text,
    "audio": _audio,
    "document": _document,
    "video": _video,
}
"""By kind: the first half of the media type ("application/json" is text)."""
