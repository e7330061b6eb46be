"""Pictures of segments, for reranking and for heat maps.

Originals are decoded in the sandbox and come back as an upright RGB JPEG of bounded size, or as a
model's input. The thumbnail, which shows what was indexed, is used instead if the file has
changed since, and if it is as large as what is requested: pages and frames cost more to decode
than pictures.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MediaError
from mmsearch.media.parts import ImagePart
from mmsearch.media.requests import decode_request
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.media.thumbnails import FOLDER
from mmsearch.settings import Settings
from mmsearch.stores.places import content_of, local_path
from mmsearch.types import Modality, Place, Preprocess, Segment, Source

MAX_THUMBNAIL_BYTES = 4 * 2**20
MAX_MEMBER_BYTES = 32 * 2**20
"""Of a picture in a shard, which is read whole."""


class Pictures:
    """Pictures of segments. Thread-safe."""

    def __init__(self, settings: Settings, sandbox: Sandbox) -> None:
        self._settings = settings
        self._sandbox = sandbox

    def jpeg(self, segment: Segment, source: Source, max_pixels: int) -> bytes | None:
        """An upright RGB JPEG of at most `max_pixels`; None if there is no picture."""
        longest = longest_side(source.metadata, max_pixels)
        part = self._decoded(segment, source, thumbnail=longest)
        return part.thumbnail if part is not None else None

    def pixels(
        self, segment: Segment, source: Source, spec: Preprocess
    ) -> npt.NDArray[np.uint8] | None:
        """The whole picture as a model's input, (height, width, 3); None if there is none."""
        part = self._decoded(segment, source, preprocess=spec)
        return part.pixels if part is not None else None

    def _decoded(self, segment: Segment, source: Source, **wanted: Any) -> ImagePart | None:
        for origin in self._origins(segment, source, wanted.get("thumbnail", 0)):
            request = decode_request(self._settings, **origin, **wanted)
            with suppress(MediaError):
                if (part := self._sandbox.picture(request)) is not None:
                    return part
        return None

    def thumbnails(self, segment: Segment, source: Source) -> list[Path]:
        """Where a picture of the segment's place may be, and that of its source."""
        library = self._settings.library
        return [
            thumbnail_path(library, source.sha256, segment.place),
            thumbnail_path(library, source.sha256),
        ]

    def _origins(self, segment: Segment, source: Source, longest: int) -> list[dict[str, Any]]:
        """Where the picture can be read from, the best first."""
        origins: list[dict[str, Any]] = []
        inside = self._inside(segment, longest)
        original = _original(source) if inside is not None else None
        if original is not None and inside is not None:
            origins.append(original | inside)
        for path in self.thumbnails(segment, source):
            thumbnail = _small_file(path)
            if thumbnail is not None:
                origins.append({"content": thumbnail, "kinds": ("image",)})
                break
        return origins

    def _inside(self, segment: Segment, longest: int) -> dict[str, Any] | None:
        """What of the original the segment shows; None where its thumbnail is as good."""
        small = self._settings.thumbnail_pixels
        match segment.modality:
            case Modality.IMAGE:
                return {"kinds": ("image",)}
            case Modality.PAGE if longest > 2 * small:  # so large are those of pages
                return {"kinds": ("document", "image"), "page": segment.place.page}
            case Modality.VIDEO if longest > small and "frame_at" in segment.metadata:
                return {"kinds": ("video",), "moment": segment.metadata["frame_at"]}
            case _:
                return None


def _original(source: Source) -> dict[str, Any] | None:
    """The source's own bytes, if they are on this machine and still those that were indexed."""
    content = content_of(source)
    if content is None:
        return None
    if content.size is None:
        return {"path": content.path} if unchanged(source) else None
    if content.size > MAX_MEMBER_BYTES:
        return None
    try:
        with open(content.path, "rb") as shard:  # noqa: PTH123  # may hold undecodable bytes
            shard.seek(content.offset)
            return {"content": shard.read(content.size)}
    except OSError:
        return None


def thumbnail_path(library: Path, sha256: str, place: Place | None = None) -> Path:
    """Thumbnails (JPEG) are addressed by the content they show: copies share one.

    With a `place`, that of its page, or of the frame at its start.
    """
    name = sha256
    if place is not None and place.page is not None:
        name += f"-p{place.page}"
    elif place is not None and place.start is not None:
        name += f"-t{round(place.start * 1000)}"
    return library / FOLDER / sha256[:2] / f"{name}.jpg"


def longest_side(metadata: Mapping[str, Any], max_pixels: int) -> int:
    """The longer side, in pixels, of a picture that is shrunk to `max_pixels`."""
    width, height = metadata.get("width"), metadata.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or min(width, height) < 1:
        return math.isqrt(max_pixels)
    longest = math.sqrt(max_pixels * max(width, height) / min(width, height))
    # A thread of a picture is not worth more than four times the side of a square one.
    return max(1, min(int(longest), 4 * math.isqrt(max_pixels)))


def unchanged(source: Source) -> bool:
    """Whether the file still is what was indexed, as far as size and time tell."""
    try:
        status = os.stat(local_path(source.uri))  # noqa: PTH116  # a single call, no wrapper
    except (OSError, ValueError):
        return False
    return status.st_size == source.size and status.st_mtime_ns == source.mtime_ns


def _small_file(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_THUMBNAIL_BYTES + 1)
    except OSError:
        return None
    return content if 0 < len(content) <= MAX_THUMBNAIL_BYTES else None
