"""Metadata in a file beside the file: `photo.jpg.json`, `photo.json`, `photo.xmp`.

A sidecar is a JSON object or an XMP packet. Its content is added to the metadata of the file
that it belongs to; it is not a source itself. `takeout` knows the names that Google gives.
`caption` (or `captions`) becomes a caption.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from indexer.inputs import takeout
from indexer.inputs.content import as_captions, clean_text
from indexer.inputs.takeout import is_takeout, takeout_metadata
from mmsearch.errors import MediaError
from mmsearch.media import companions
from mmsearch.media.formats.xmp import xmp_metadata
from mmsearch.media.sandbox.files import open_regular
from mmsearch.stores.places import OFFSET_KEY

MAX_BYTES = 2**20
MAX_DEPTH = 6
MAX_TEXT = 4000
CAPTIONS = ("caption", "captions", "top_caption", "alt_text")

# `name.json` belongs to `name.jpg`, but not to `name.py`: only media have such companions.
_MEDIA = frozenset(
    (
        ".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
        ".bmp", ".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf",
        ".pef", ".srw", ".mp3", ".wav", ".flac", ".ogg",
        ".opus", ".m4a", ".aac", ".wma", ".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".pdf",
    )
)  # fmt: skip
_FILMS = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts",
     ".ogv", ".wmv", ".flv", ".3gp")
)  # fmt: skip


def sidecars_of(path: str) -> list[str]:
    """The sidecars beside a file, the weakest first; all of them exist."""
    folder, name = os.path.split(path)
    names = _names(folder)
    stem, extension = os.path.splitext(name)  # noqa: PTH122
    wanted = [f"{name}.xmp", f"{name}.json"]
    if extension.lower() in _MEDIA:
        wanted[:0] = [f"{stem}.xmp", f"{stem}.XMP", f"{stem}.json"]
    present = [sidecar for sidecar in wanted if sidecar in names and sidecar != name]
    takeouts = _takeout(folder).get(name)
    if takeouts is not None and takeouts not in present:
        present.append(takeouts)
    return [os.path.join(folder, sidecar) for sidecar in present]  # noqa: PTH118


def is_sidecar(path: str) -> bool:
    """Whether a file belongs to another one beside it, and is what a sidecar is."""
    folder, name = os.path.split(path)
    stem, extension = os.path.splitext(name)  # noqa: PTH122
    if extension.lower() in companions.SUBTITLES:
        return any(companions.belongs(stem, film) for film in _films(folder))
    if extension.lower() not in {".json", ".xmp"}:
        return False
    names = _names(folder)
    if name in _takeout(folder).values():
        return True
    owned = stem in names or any(
        PurePath(other).stem == stem and PurePath(other).suffix.lower() in _MEDIA for other in names
    )
    # A JSON list beside a picture is somebody's data, not the picture's.
    return owned and (extension.lower() == ".xmp" or _json_object(path) is not None)


def read_sidecars(path: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(metadata, captions) of all sidecars of a file; what cannot be read is left out."""
    metadata: dict[str, Any] = {}
    captions: tuple[str, ...] = ()
    for sidecar in sidecars_of(path):
        if sidecar.lower().endswith(".json"):
            record = _json_object(sidecar) or {}
            record = takeout_metadata(record) if is_takeout(record) else record
        else:
            record = xmp_metadata(_content(sidecar) or b"")
        more, captions_here = split_captions(record)
        metadata |= more
        captions = captions_here or captions
    return metadata | _subtitles(path), captions


def _subtitles(path: str) -> dict[str, Any]:
    """Which subtitle files go with a film: with others it has other segments."""
    film = Path(path)
    if film.suffix.lower() not in _FILMS or film.name not in _films(str(film.parent)):
        return {}
    files = companions.subtitle_files(film)
    contents = [content for file in files if (content := _content(os.fspath(file)))]
    if not contents:
        return {}
    digest = hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]
    return {"subtitles": files[0].name, "subtitles_sha256": digest}


def _films(folder: str) -> list[str]:
    return [name for name in _names(folder) if PurePath(name).suffix.lower() in _FILMS]


def split_captions(record: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(bounded metadata, captions) of a sidecar or a record."""
    captions = next((c for name in CAPTIONS if (c := as_captions(record.get(name)))), ())
    rest = {name: value for name, value in record.items() if name not in CAPTIONS}
    return bounded(rest), captions


def bounded(record: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values of a sane size only: anybody may have written them."""
    kept: dict[str, Any] = {}
    budget = 64 * 1024
    for name, value in record.items():
        if not isinstance(name, str) or name == OFFSET_KEY or value is None:
            continue
        small = _bounded(value, MAX_DEPTH)
        size = len(str(small)) + len(name)
        if small is None or size > budget:
            continue
        budget -= size
        kept[clean_text(name)[:200]] = small
    return kept


def _bounded(value: Any, depth: int) -> Any:
    match value:
        case bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            return value if value - value == 0 else None  # no NaN, no infinity: not JSON
        case str():
            return clean_text(value[:MAX_TEXT])
        case list() | tuple() if depth:
            bounded_value = (_bounded(element, depth - 1) for element in value[:1000])
            return [element for element in bounded_value if element is not None]
        case dict() if depth:
            return {
                clean_text(str(name))[:200]: bounded_value
                for name, element in list(value.items())[:1000]
                if (bounded_value := _bounded(element, depth - 1)) is not None
            }
    return None


def _takeout(folder: str) -> dict[str, str]:
    """The JSON files of Google Takeout in a folder, by the name of what each is about."""
    try:
        return _takeout_of(folder, os.stat(folder or ".").st_mtime_ns)  # noqa: PTH116
    except OSError:
        return {}


@lru_cache(64)
def _takeout_of(folder: str, _changed: int) -> dict[str, str]:
    return takeout.owned(
        _names(folder),
        _MEDIA,
        lambda name: _json_object(os.path.join(folder, name)),  # noqa: PTH118
    )


@lru_cache(64)
def _listed(folder: str, _changed: int) -> frozenset[str]:
    return frozenset(os.listdir(folder or "."))  # noqa: PTH208  # names are what is wanted


def _names(folder: str) -> frozenset[str]:
    """What is in a folder; looked up once for all of its files."""
    try:
        return _listed(folder, os.stat(folder or ".").st_mtime_ns)  # noqa: PTH116
    except OSError:
        return frozenset()


def _content(path: str) -> bytes | None:
    try:
        with open(open_regular(path), "rb") as file:  # noqa: PTH123  # a descriptor
            content = file.read(MAX_BYTES + 1)
    except (OSError, MediaError):
        return None
    return content if len(content) <= MAX_BYTES else None


def _json_object(path: str) -> dict[str, Any] | None:
    try:
        value = json.loads(_content(path) or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
