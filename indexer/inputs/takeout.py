"""JSON files of Google Takeout: to which photo each belongs, and what it says.

Takeout names them after the photo, but cuts names off at 46 characters, puts the number of a
duplicate elsewhere, and gives none to the edited copy of a photo or the film of a live photo.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

from mmsearch.media.dates import iso_timestamp

_SUFFIX = ".supplemental-metadata"
_LEAST_CUT = 40
"""Characters of a name that may have been cut off; Google counts to 46, not always in the same
units."""
_NUMBER = re.compile(r"(.+)\((\d{1,4})\)")
_EDITED = (
    "edited", "bearbeitet", "modifié", "modifie", "editado", "editada", "edytowane", "modificato",
    "bewerkt", "redigerad", "redigeret", "redigert", "muokattu", "upravené", "upraveno",
    "düzenlendi", "отредактировано", "изменено", "編集済み", "已修改", "已編輯", "수정됨",
    "effects",
)  # fmt: skip
_PICTURES = (".heic", ".jpg", ".jpeg", ".png", ".webp")
_FILMS = (".mp4", ".mov", ".m4v", ".mp")
_USED = frozenset(
    ("photoTakenTime", "creationTime", "geoData", "geoDataExif", "people", "favorited")
)

Read = Callable[[str], dict[str, Any] | None]
"""The JSON object in a file of this name; None if there is none."""


def owned(names: AbstractSet[str], media: frozenset[str], read: Read) -> dict[str, str]:
    """The JSON file of each media file of a folder, by the media file's name.

    Only names that are not simply `photo.jpg.json`; what is in the file must agree.
    """
    if not any(name.lower().endswith(".json") for name in names):
        return {}
    owners: dict[str, str] = {}
    records: dict[str, dict[str, Any] | None] = {}
    for name in sorted(names):
        if PurePath(name).suffix.lower() not in media:
            continue
        for candidate in _candidates(name, names):
            if candidate not in names:
                continue
            if candidate not in records:
                records[candidate] = read(candidate)
            if _fits(records[candidate], name):
                owners[name] = candidate
                break
    return owners


def _candidates(name: str, names: AbstractSet[str]) -> Iterator[str]:
    for base, number in _originals(name, names):
        for stem in _stems(base):
            yield f"{stem}{number}.json"


def _originals(name: str, names: AbstractSet[str]) -> Iterator[tuple[str, str]]:
    """(name, number) of the photo that a JSON file may be named after: the file's own, then
    that of which it is an edited copy, then the photo beside a film."""
    path = PurePath(name)
    plain = [(path.stem, "")]
    numbered = _NUMBER.fullmatch(path.stem)
    if numbered is not None:
        plain.append((numbered[1], f"({numbered[2]})"))
    for stem, number in plain:
        yield stem + path.suffix, number
    for stem, number in plain:
        for original in _unedited(stem):
            yield original + path.suffix, number
            if number == "" and (inner := _NUMBER.fullmatch(original)):
                yield inner[1] + path.suffix, f"({inner[2]})"
    if path.suffix.lower() in _FILMS:
        for stem, number in plain:
            for suffix in _PICTURES:
                for spelled in (suffix, suffix.upper()):
                    whole = f"{stem}{number}{spelled}"
                    # The photo may be in another part of the archive.
                    if whole in names or f"{stem}{spelled}{_SUFFIX}{number}.json" in names:
                        yield stem + spelled, number


def _unedited(stem: str) -> Iterator[str]:
    original, dash, note = stem.rpartition("-")
    lower = unicodedata.normalize("NFC", note.lower())
    cut = len(stem) >= _LEAST_CUT and len(note) > 1
    words = (lower == word or (cut and word.startswith(lower)) for word in _EDITED)
    if dash and original and any(words):
        yield original


def _stems(base: str) -> Iterator[str]:
    """What may stand before the number: from the whole to the shortest."""
    whole = base + _SUFFIX
    yield from (whole[:length] for length in range(len(whole), len(base) - 1, -1))
    yield from (base[:length] for length in range(len(base) - 1, _LEAST_CUT - 1, -1))


def is_takeout(record: Mapping[str, Any]) -> bool:
    """Whether a JSON object is one of Takeout's about a photo."""
    return any(
        isinstance(record.get(name), Mapping) and "timestamp" in record[name]
        for name in ("photoTakenTime", "creationTime")
    )


def _fits(record: dict[str, Any] | None, name: str) -> bool:
    """Whether a JSON file is Takeout's, and its title is the media file's name but for what
    Takeout changes: the number, the note of an edited copy, signs, and what was cut off."""
    if record is None or not is_takeout(record):
        return False
    title = record.get("title")
    if not isinstance(title, str) or not title:
        return True
    first, second = _bare(title), _bare(name)
    if first == second:
        return True
    shorter, longer = sorted((first, second), key=len)
    return len(shorter) >= _LEAST_CUT - 5 and longer.startswith(shorter)


def _bare(name: str) -> str:
    stem = PurePath(name).stem
    for _ in range(2):
        numbered = _NUMBER.fullmatch(stem)
        stem = numbered[1] if numbered else stem
        stem = next(_unedited(stem), stem)
    return re.sub(r"[\W_]+", "_", unicodedata.normalize("NFC", stem.lower())).strip("_")


def takeout_metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    """What Takeout says, in the words of photos: taken_at (ISO 8601, UTC), latitude, longitude,
    people, favorited; the rest as it is."""
    fields = {name: value for name, value in record.items() if name not in _USED and value != ""}
    taken = _moment(record.get("photoTakenTime")) or _moment(record.get("creationTime"))
    if taken is not None:
        fields["taken_at"] = taken
    place = _place(record.get("geoData")) or _place(record.get("geoDataExif"))
    if place is not None:
        fields["latitude"], fields["longitude"] = place
    people = record.get("people")
    if isinstance(people, list):
        named = [person.get("name") for person in people if isinstance(person, Mapping)]
        names = [name for name in named if isinstance(name, str) and name]
        if names:
            fields["people"] = list(dict.fromkeys(names))
    if record.get("favorited") is True:
        fields["favorited"] = True
    return fields


def _moment(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    try:
        seconds = int(value.get("timestamp", ""))
    except (ValueError, TypeError):
        return None
    # 0 is what Google writes where it knows nothing.
    return iso_timestamp(seconds) if seconds else None


def _place(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, Mapping):
        return None
    latitude, longitude = value.get("latitude"), value.get("longitude")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180) or latitude == longitude == 0:
        return None
    return float(latitude), float(longitude)
