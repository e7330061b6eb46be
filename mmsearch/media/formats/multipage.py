"""Several pictures in one file: the pages of a TIFF (scans, faxes), the pictures of a HEIC.

What is not a page of its own: reduced copies (thumbnails, the steps of a pyramid), masks. Frames
of an animation are not asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mmsearch.errors import MediaError
from mmsearch.media.formats.image import load, to_rgb

_SUBFILE, _OLD_SUBFILE = 254, 255
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_COMPARED = 64
"""Frames up to which reduced copies are looked for that are not marked as such."""
_SIDE = 48
_ASPECT = 0.02
_MAX_DIFFERENCE = 6.0
"""Mean, of 0..255, between a picture and its reduced copy."""


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of a picture file."""

    frames: tuple[int, ...]
    """Where each is; a single one for a picture."""
    damaged: bool = False
    """Whether the list of frames breaks off."""


def pages(picture: Image.Image, max_pixels: int, limit: int) -> Pages:
    """The frames of an opened TIFF or HEIC that are pages, at most `limit`.

    With more than one frame the picture must be decoded again by `page`.
    """
    first = picture.tell()
    if picture.format not in ("TIFF", "HEIF") or not has_more(picture):
        return Pages((first,))
    if picture.format == "HEIF":
        return Pages(tuple(range(min(limit, int(getattr(picture, "n_frames", 1))))))
    sizes: dict[int, tuple[int, int]] = {}
    damaged = False
    for number in range(limit):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                picture.seek(number)
        except EOFError:
            break
        except Exception:  # noqa: BLE001  # a damaged chain of directories raises anything
            damaged = True
            break
        if not _is_marked(picture):
            sizes[number] = picture.size
    if 1 < len(sizes) <= _COMPARED:
        for copy in list(_unmarked_copies(picture, sizes, max_pixels)):
            del sizes[copy]
    return Pages(tuple(sizes) or (first,), damaged)


def page(picture: Image.Image, number: int, max_pixels: int) -> Image.Image:
    """One of the frames, decoded. Raises MediaError as `image.open_image`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture.seek(number)
        except Exception:  # noqa: BLE001  # as above
            raise MediaError("corrupt", f"Page {number + 1} is damaged.") from None
    load(picture, max_pixels)
    return picture


def has_more(picture: Image.Image) -> bool:
    """Whether there is more than one frame, or the list of frames is damaged."""
    try:
        return int(getattr(picture, "n_frames", 1)) > 1
    except Exception:  # noqa: BLE001  # as above
        return True


def _is_marked(picture: Image.Image) -> bool:
    """Whether a frame says that it is a reduced copy or a mask of another."""
    tags: Any = getattr(picture, "tag_v2", {})
    kind, old = tags.get(_SUBFILE, 0), tags.get(_OLD_SUBFILE, 0)
    marked = isinstance(kind, int) and bool(kind & (_REDUCED | _MASK))
    return marked or old == _OLD_REDUCED


def _unmarked_copies(
    picture: Image.Image, sizes: dict[int, tuple[int, int]], max_pixels: int
) -> Iterator[int]:
    """Frames that show the same as a larger one."""
    small: dict[int, Any] = {}

    def shown(number: int) -> Any:
        if number not in small:
            frame = to_rgb(page(picture, number, max_pixels)).convert("L")
            reduced = frame.resize((_SIDE, _SIDE), Image.Resampling.BOX)
            small[number] = np.asarray(reduced, np.float32)
        return small[number]

    for number, (width, height) in list(sizes.items()):
        larger = (
            other
            for other, (wide, high) in sizes.items()
            if other != number
            and wide > width
            and abs(wide * height - width * high) <= max(_ASPECT * wide * height, wide, high)
        )
        try:
            if any(_alike(shown(number), shown(other)) for other in larger):
                yield number
        except MediaError:
            continue


def _alike(first: Any, second: Any) -> bool:
    """Whether two small pictures are one: pages of text differ in more than their size."""
    spread = max(1.0, float(second.std()))
    return float(np.abs(first - second).mean()) < min(_MAX_DIFFERENCE, 0.2 * spread)
