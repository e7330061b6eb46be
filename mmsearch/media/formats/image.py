"""Still pictures: opening them safely, what a model sees of them, what a person sees of them.

`preprocess_pixels` repeats open_clip's inference transform (torchvision's resize and centre crop
on a PIL image, converted to RGB last) without importing torch, so that a decoding worker can
run it. It differs from open_clip where open_clip's model would not see what a person sees: the
EXIF orientation is applied first, transparency is put on white (open_clip drops alpha, so that
black on transparent is all black), and pictures of more than 8 bits are scaled to 8 (open_clip
clips them at 255). Thumbnails (`to_rgb`, `thumbnail`) are made in the same way.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageCms,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    QoiImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    XpmImagePlugin,
)

from mmsearch.errors import MediaError
from mmsearch.media.formats.depth import is_deep, to_8_bits
from mmsearch.media.opened import Content, reader
from mmsearch.types import Preprocess

Pixels = npt.NDArray[np.uint8]
"""Shape (height, width, 3), RGB."""

# An explicit list: Pillow's others call external programs (EPS), have no reliable signature
# (TGA, SPIDER) or are not pictures a person keeps.
_PLUGINS = (
    (AvifImagePlugin, "AVIF"),
    (BmpImagePlugin, "BMP"),
    (GifImagePlugin, "GIF"),
    (IcoImagePlugin, "ICO"),
    (Jpeg2KImagePlugin, "JPEG2000"),
    (JpegImagePlugin, "JPEG"),
    (PngImagePlugin, "PNG"),
    (PpmImagePlugin, "PPM"),
    (QoiImagePlugin, "QOI"),
    (TiffImagePlugin, "TIFF"),
    (WebPImagePlugin, "WEBP"),
    (XpmImagePlugin, "XPM"),
)
FORMATS = tuple(name for _, name in _PLUGINS)
"""The Pillow formats that are ever opened, and HEIF, whose plug-in is loaded when needed."""

# A JPEG is decoded at a reduced scale (1/2, 1/4, 1/8, in the DCT) only while it stays at least
# this many times larger than the model's input. At 2 the cosine to the full decode is > 0.999.
DRAFT_FACTOR = 2

# Here a nearest pixel jumps: up to this size they are resized in whole, as open_clip does.
_SENSITIVE = ("1", "P")
_WHOLE_PIXELS = 16_000_000

_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Which upright axes (x, y) run against the stored ones.
_FLIPPED = {2: (True, False), 3: (True, True), 4: (False, True), 6: (True, False),
            7: (True, True), 8: (False, True)}  # fmt: skip
_SWAPPED = (5, 6, 7, 8)


def open_image(
    source: Content,
    max_pixels: int,
    *,
    draft_for: tuple[Preprocess | None, int] | None = None,
) -> Image.Image:
    """A fully decoded picture, its first frame if it has several.

    `draft_for` (a model's input, a thumbnail's longest side) lets a JPEG come back smaller, but
    large enough for both; `image.info["full_size"]` says what its (width, height) was.
    Raises MediaError: missing, unreadable, empty, too_large, corrupt, memory.
    """
    content = source if isinstance(source, bytes) else _read(source)
    if not content:
        raise MediaError("empty", "The file is empty.")
    formats = FORMATS
    if content[4:8] == b"ftyp":
        _register_heif()
        formats = (*FORMATS, "HEIF")
    with _errors(max_pixels):
        image = Image.open(io.BytesIO(content), formats=formats)
    load(image, max_pixels, draft_for=draft_for)
    return image


def load(
    image: Image.Image,
    max_pixels: int,
    *,
    draft_for: tuple[Preprocess | None, int] | None = None,
) -> None:
    """Decode an opened picture, or the frame at which it stands. As `open_image`."""
    with _errors(max_pixels):
        width, height = image.size
        if width < 1 or height < 1:
            raise MediaError("corrupt", "The picture has no pixels.")
        if width * height > max_pixels:
            raise _too_large(f"{width} x {height}", max_pixels)
        image.info["full_size"] = (width, height)
        if draft_for is not None and image.format in ("JPEG", "MPO"):
            # No mode: that would also turn CMYK or grey into RGB.
            image.draft(None, draft_size((width, height), *draft_for))
        image.load()


@contextmanager
def _errors(max_pixels: int) -> Iterator[None]:
    """Whatever Pillow raises, as MediaError."""
    with warnings.catch_warnings():
        # Damaged EXIF and the like: what matters is whether there is a picture.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except MediaError:
            raise
        except Exception as error:  # noqa: BLE001  # decoders raise anything on hostile bytes
            raise _reason(error, max_pixels) from None


def _reason(error: Exception, max_pixels: int) -> MediaError:
    match error:
        case Image.DecompressionBombWarning() | Image.DecompressionBombError():
            return _too_large("too many", max_pixels)
        case MemoryError():
            return MediaError("memory", "Decoding the picture needs too much memory.")
        case UnidentifiedImageError():
            return MediaError("corrupt", "The picture is damaged: no reader accepts it.")
    reason = str(error).split("\n", 1)[0][:200] or type(error).__name__
    return MediaError("corrupt", f"The picture is damaged or cut off: {reason}.")


def _too_large(what: str, max_pixels: int) -> MediaError:
    reason = f"The picture has {what} pixels; {max_pixels} in all are allowed."
    return MediaError("too_large", reason)


def _read(source: Content) -> bytes:
    try:
        with reader(source) as file:
            return file.read()
    except FileNotFoundError:
        raise MediaError("missing", "There is no such file.") from None
    except OSError as error:
        raise MediaError("unreadable", f"The file cannot be read: {error.strerror}.") from None


def _register_heif() -> None:
    import pillow_heif

    if "HEIF" not in Image.OPEN:
        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.register_heif_opener()


# ------------------------------------------------------------------ orientation


def exif_of(image: Image.Image) -> Image.Exif:
    """The picture's EXIF; empty where it is absent or cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return image.getexif()
    except Exception:  # noqa: BLE001  # hostile EXIF raises anything
        return Image.Exif()


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where absent or invalid."""
    value = exif_of(image).get(_ORIENTATION, 1)
    return value if isinstance(value, int) and value in _TRANSPOSE else 1


def upright(image: Image.Image) -> Image.Image:
    """The picture as it is meant to be seen: EXIF orientation applied, once."""
    orientation = orientation_of(image)
    if orientation == 1:
        return image
    turned = image.transpose(_TRANSPOSE[orientation])
    for key in ("exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"):
        turned.info.pop(key, None)
    return turned


# ------------------------------------------------------------------ for models


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the model's input comes from: `region` of the resized picture, then padding.

    All in pixels of the resized picture, whose size is `resized` (width, height).
    """

    resized: tuple[int, int]
    region: tuple[int, int, int, int]
    """(left, top, right, bottom), inside the resized picture."""
    offset: tuple[int, int]
    """Where the region's corner lies in the model's input; not (0, 0) means padding."""


def geometry(size: tuple[int, int], spec: Preprocess) -> Geometry:
    """What open_clip's `image_transform` does to a picture of `size` (width, height)."""
    width, height = size
    target_height, target_width = spec.size
    if spec.resize_mode == "squash":
        resized = (target_width, target_height)
    elif spec.resize_mode == "shortest" and target_width == target_height:
        # torchvision.transforms.Resize(int): the long side is cut down, not rounded.
        if width <= height:
            resized = (target_width, int(target_width * height / width))
        else:
            resized = (int(target_height * width / height), target_height)
    else:
        # open_clip.transform.ResizeKeepRatio; max(1, ...) where it would fail.
        choose = max if spec.resize_mode == "longest" else min
        ratio = choose(height / target_height, width / target_width)
        resized = (max(1, round(width / ratio)), max(1, round(height / ratio)))
    left, right, x = _crop_or_pad(resized[0], target_width)
    top, bottom, y = _crop_or_pad(resized[1], target_height)
    return Geometry(resized, (left, top, right, bottom), (x, y))


def _crop_or_pad(length: int, target: int) -> tuple[int, int, int]:
    """(first, last + 1, offset) along one axis, as torchvision's center_crop."""
    if length < target:
        return 0, length, (target - length) // 2
    first = round((length - target) / 2.0)
    return first, first + target, 0


def preprocess_pixels(image: Image.Image, spec: Preprocess) -> Pixels:
    """What a model of `spec` sees: (height, width, 3) uint8, before `mean` and `std`.

    As open_clip: resize in the picture's own mode, crop, and only then convert to RGB. Pictures
    with transparency or more than 8 bits are converted first. Only the part inside the crop is
    resampled: the same pixels but for rounding, and a strip of 1 x 100000 stays harmless.
    """
    orientation = orientation_of(image)
    picture = upright(image)
    if is_deep(picture) or picture.has_transparency_data:
        picture = _flatten(_eye_mode(picture))
    stored = image.info.get("full_size", image.size)
    full: tuple[int, int] = stored[::-1] if orientation in _SWAPPED else stored
    plan = geometry(full, spec)
    left, top, right, bottom = plan.region
    size = (right - left, bottom - top)
    if picture.mode in _SENSITIVE and plan.resized[0] * plan.resized[1] <= _WHOLE_PIXELS:
        part = picture.resize(plan.resized, _resampling(spec)).crop(plan.region)
    else:
        (x0, x1), (y0, y1) = (
            _source_span(axis, plan, full, picture.size, orientation) for axis in (0, 1)
        )
        part = picture.resize(size, _resampling(spec), box=(x0, y0, x1, y1))
    target_height, target_width = spec.size
    if size != (target_width, target_height):
        part = _pad(part, (target_width, target_height), plan.offset, spec)
    # np.array copies: the result must not depend on the picture's life.
    return np.array(_plain_rgb(part), dtype=np.uint8)


def _resampling(spec: Preprocess) -> Image.Resampling:
    height, width = spec.size
    # open_clip forgets the interpolation where it keeps the ratio of sides that differ.
    forgotten = spec.resize_mode == "shortest" and height != width
    bilinear = spec.interpolation == "bilinear" and not forgotten
    return Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC


def _source_span(
    axis: int,
    plan: Geometry,
    full: tuple[int, int],
    available: tuple[int, int],
    orientation: int,
) -> tuple[float, float]:
    """The stretch of the upright picture that the plan's region covers along one axis.

    `full` is the picture's size, `available` what there is of it: less after `draft`.
    """
    length = available[axis]
    shrink = round(full[axis] / length) or 1
    step = full[axis] / plan.resized[axis] / shrink
    # A reduced JPEG's last column stands for fewer than `shrink` original ones.
    flipped = _FLIPPED.get(orientation, (False, False))[axis]
    shift = length - full[axis] / shrink if flipped else 0.0
    first = plan.region[axis] * step + shift
    last = plan.region[axis + 2] * step + shift
    return max(0.0, first), min(float(length), last)


def _pad(
    part: Image.Image, size: tuple[int, int], offset: tuple[int, int], spec: Preprocess
) -> Image.Image:
    """`part` on a canvas of the fill colour, which torchvision gives in the picture's mode."""
    fill = spec.fill_color if spec.resize_mode == "longest" else 0
    bands = len(part.getbands())
    canvas = Image.new(part.mode, size, fill if bands == 1 else (fill,) * bands)
    palette = part.getpalette() if part.mode == "P" else None
    if palette is not None:
        canvas.putpalette(palette)
    canvas.paste(part, offset)
    return canvas


def _plain_rgb(image: Image.Image) -> Image.Image:
    """PIL's own conversion, which is open_clip's."""
    if image.mode == "RGB":
        return image
    if image.mode == "La":  # nothing but LA is reachable from it
        image = image.convert("LA")
    return image.convert("RGB")


def draft_size(size: tuple[int, int], spec: Preprocess | None, longest: int) -> tuple[int, int]:
    """The smallest (width, height) that a picture of `size` may be decoded at.

    Enough for the model's input (DRAFT_FACTOR times) and for a thumbnail of `longest`.
    """
    width, height = size
    scale = longest / max(width, height)
    if spec is not None:
        # The orientation is not known yet: good for both.
        for seen in (size, size[::-1]):
            resized = geometry(seen, spec).resized
            needed = max(resized[0] / seen[0], resized[1] / seen[1])
            scale = max(scale, DRAFT_FACTOR * needed)
    if scale >= 1:
        return size
    return math.ceil(width * scale), math.ceil(height * scale)


# ------------------------------------------------------------------ for the eye


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture upright and in RGB as a person expects it: transparency on white, deep
    greyscale scaled to 8 bits, CMYK and LAB converted."""
    return _flatten(_eye_mode(upright(image)))


def at_most(image: Image.Image, longest: int) -> Pixels:
    """An RGB picture's pixels, shrunk so that its longer side is at most `longest`."""
    width, height = image.size
    scale = min(1.0, longest / max(width, height))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(image)


def thumbnail(image: Image.Image, longest: int) -> bytes:
    """A JPEG whose longer side is at most `longest` pixels; never enlarged.

    JPEG rather than WebP: it encodes five to ten times faster at this size.
    """
    picture = _eye_mode(upright(image))
    width, height = picture.size
    scale = min(1.0, longest / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    _flatten(picture).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _eye_mode(image: Image.Image) -> Image.Image:
    """The picture as RGB or RGBA."""
    mode = image.mode
    if mode in ("RGB", "RGBA"):
        return image
    if is_deep(image):
        return to_8_bits(image)
    if mode == "LAB":
        with suppress(ImageCms.PyCMSError):
            converted = ImageCms.profileToProfile(
                image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )  # fmt: skip
            if converted is not None:
                return converted
    if mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        with suppress(ValueError):
            return (image.convert("LA") if mode == "La" else image).convert("RGBA")
    return _plain_rgb(image)


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return white


def mime_of(image: Image.Image) -> str | None:
    """The picture's media type, for example "image/webp"."""
    known: Any = Image.MIME.get(image.format or "")
    return "image/jpeg" if known == "image/mpo" else known
