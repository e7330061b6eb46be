"""The well-known metadata fields: accepted by filters, sort and facets in every library.

The readers of `mmsearch.media` write most of them; sidecars and callers the others. A field that
no file has yet matches nothing, where a misspelt one is an error. `docs/queries.md` lists them;
a test compares the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FieldType = Literal["text", "texts", "number", "date", "boolean"]


@dataclass(frozen=True, slots=True)
class KnownField:
    """A metadata key that means the same wherever it comes from."""

    type: FieldType
    description: str


WELL_KNOWN: Mapping[str, KnownField] = {
    "album": KnownField("text", "The album of a piece of music, or of a photo."),
    "artist": KnownField("text", "Who made a picture or a piece of music."),
    "author": KnownField("text", "Who wrote a document."),
    "camera": KnownField("text", "Make and model of the camera."),
    "caption": KnownField("text", "A caption from a sidecar file."),
    "city": KnownField("text", "The city where a picture was taken."),
    "country": KnownField("text", "The country where a picture was taken."),
    "created_at": KnownField("date", "When a document was created."),
    "date": KnownField("date", "The date of a letter, or the year of a piece of music."),
    "description": KnownField("text", "What the file says about its content."),
    "duration": KnownField("number", "Seconds of a recording or film."),
    "from": KnownField("text", "The sender of a letter."),
    "genre": KnownField("text", "The genre of a piece of music."),
    "height": KnownField("number", "Pixels of a picture or film, upright."),
    "keywords": KnownField("texts", "Keywords inside the file (EXIF, IPTC, XMP, PDF, HTML)."),
    "language": KnownField("text", "The language of a document or recording: de, en, …"),
    "latitude": KnownField("number", "Decimal degrees, south is negative."),
    "lens": KnownField("text", "The lens of the camera."),
    "location": KnownField("text", "The place in a city where a picture was taken."),
    "longitude": KnownField("number", "Decimal degrees, west is negative."),
    "pages": KnownField("number", "Pages, slides or sheets of a document."),
    "people": KnownField("texts", "Who is in a picture."),
    "rating": KnownField("number", "Stars, 0 to 5; -1 is rejected."),
    "recorded_at": KnownField(
        "date", "When a recording or film was made, as its container has it."
    ),
    "sent_at": KnownField("date", "When a letter was sent."),
    "state": KnownField("text", "The state or province where a picture was taken."),
    "subject": KnownField("text", "The subject of a letter or document."),
    "tags": KnownField(
        "texts", "Tags from sidecar files and uploads. Filters match `keywords` too."
    ),
    "taken_at": KnownField("date", "When a picture or film was taken."),
    "title": KnownField("text", "The title of a document, picture or piece of music."),
    "to": KnownField("text", "The recipients of a letter."),
    "width": KnownField("number", "Pixels of a picture or film, upright."),
}

ALIASES: Mapping[str, tuple[str, ...]] = {"tags": ("tags", "keywords")}
"""The metadata keys that a filter on a field reads: one of them has to match."""
