"""Which decoder takes which media type. Runs in a worker process (see `worker.py`).

To add a kind of file: teach `detect.sniff` its signature, write a function from a `File` to
parts, and add its line to DECODERS.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import MediaError
from mmsearch.media.detect import sniff
from mmsearch.media.parts import AudioPart, DecodeRequest, ImagePart, Part, TextPart

_FOUND_AS = {
    "image": "a picture", "text": "text", "audio": "a recording",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class File:
    """What a decoder gets."""

    source: Path | bytes
    mime: str
    request: DecodeRequest

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


def decode(request: DecodeRequest) -> Iterator[Part]:
    """The parts of one file, in order. Raises MediaError."""
    source: Path | bytes
    if request.path is None:
        source = request.content or b""
    else:
        source = Path(request.path)
        _check(source)
    mime = sniff(source, request.name)
    kind = _kind(mime)
    if kind not in request.kinds:
        wanted = " or ".join(_FOUND_AS[kind] for kind in request.kinds)
        raise MediaError("unsupported", f"This is {_FOUND_AS[kind]}; {wanted} is needed here.")
    yield from DECODERS[kind](File(source, mime, request))


def _kind(mime: str) -> str:
    kind = mime.split("/", 1)[0]
    return "text" if kind == "application" else kind


def _check(path: Path) -> None:
    """Only regular files: opening a pipe or a device may block, or do something."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  # one call, no wrapper
    except FileNotFoundError:
        raise MediaError("missing", "There is no such file.") from None
    except OSError as error:
        raise MediaError("unreadable", f"The file cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(mode):
        raise MediaError("unsupported", "This is not a regular file.")


def _image(file: File) -> Iterator[Part]:
    from PIL import Image

    from mmsearch.media import exif, image

    request = file.request
    # Also for the frames and layers that Pillow opens by itself. The process is ours alone.
    Image.MAX_IMAGE_PIXELS = request.max_image_pixels
    picture = image.open_image(
        file.read(),
        request.max_image_pixels,
        draft_for=(request.preprocess, request.thumbnail or 1),
    )
    pixels = None
    if request.preprocess is not None:
        pixels = image.preprocess_pixels(picture, request.preprocess)
    small = image.thumbnail(picture, request.thumbnail) if request.thumbnail else None
    yield ImagePart(
        image.mime_of(picture) or file.mime, exif.image_metadata(picture), pixels, small
    )


def _text(file: File) -> Iterator[Part]:
    from mmsearch.media import text

    limit = file.request.max_text_bytes
    content, metadata = text.read(file.read(limit), file.mime, limit)
    yield TextPart(file.mime, metadata, content)


def _audio(file: File) -> Iterator[Part]:
    from mmsearch.media import audio

    request = file.request
    for chunk in audio.chunks(file.source, request.audio_chunk_seconds, request.max_audio_seconds):
        yield AudioPart(file.mime, chunk.metadata, chunk.samples, chunk.start, chunk.last)


DECODERS: dict[str, Callable[[File], Iterator[Part]]] = {
    "image": _image,
    "text": _text,
    "audio": _audio,
}
"""By kind: the first half of the media type ("application/json" is text)."""
