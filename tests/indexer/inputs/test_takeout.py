"""Photos of Google Takeout with what stands in the JSON files beside them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from indexer.inputs.sidecars import is_sidecar, read_sidecars, sidecars_of
from indexer.inputs.takeout import takeout_metadata

TAKEN = {"timestamp": "1563198245", "formatted": "15.07.2019, 13:44:05 UTC"}
LONG = "IMG_20190715_a_very_long_original_name_of_my_h"


def record(title: str | None, **fields: Any) -> str:
    named = {"title": title} if title else {}
    return json.dumps(
        named | {"photoTakenTime": TAKEN, "creationTime": {"timestamp": "1"}} | fields
    )


@pytest.mark.parametrize(
    ("photo", "sidecar", "title"),
    [
        ("a.jpg", "a.jpg.supplemental-metadata.json", "a.jpg"),
        ("a.jpg", "a.jpg.json", "a.jpg"),
        *(("a.jpg", f"a.jpg{'.supplemental-metadata'[:n]}.json", "a.jpg") for n in (1, 2, 9, 21)),
        ("a(2).jpg", "a.jpg(2).json", "a.jpg"),
        ("a(2).jpg", "a.jpg.supplemental-metadata(2).json", "a.jpg"),
        ("a(12).jpg", "a.jpg.supplemen(12).json", "a.jpg"),
        ("a-edited.jpg", "a.jpg.supplemental-metadata.json", "a.jpg"),
        ("a-bearbeitet.jpg", "a.jpg.json", "a.jpg"),
        ("a-modifi\u00e9.jpg", "a.jpg.json", "a.jpg"),
        (unicodedata.normalize("NFD", "a-modifi\u00e9.jpg"), "a.jpg.json", "a.jpg"),
        ("a-edited(1).jpg", "a.jpg(1).json", "a.jpg"),
        ("a(1)-edited.jpg", "a.jpg.supplemental-metadata(1).json", "a.jpg"),
        ("a_b.jpg", "a_b.jpg.supplemental-metadata.json", "a&b.jpg"),
        (LONG + "olid.jpg", LONG + ".json", LONG + "oliday.jpg"),
        (LONG + "o(1).jpg", LONG + "(1).json", LONG + "oliday.jpg"),
        (LONG[:40] + ".jpg", LONG[:40] + ".jpg.s.json", LONG[:40] + ".jpg"),
        ("a.MP4", "a.HEIC.supplemental-metadata.json", "a.HEIC"),
        ("a.mp4", "a.mp4.supplemental-metadata.json", "a.mp4"),
        ("a.jpg", "a.jpg.supplemental-meta.json", None),
    ],
)
def test_names_of_takeout(tmp_path: Path, photo: str, sidecar: str, title: str | None) -> None:
    """Each photo has the file that Takeout means for it, and that is no source of its own."""
    (tmp_path / photo).write_bytes(b"x")
    (tmp_path / sidecar).write_text(record(title))
    assert sidecars_of(str(tmp_path / photo)) == [str(tmp_path / sidecar)]
    assert is_sidecar(str(tmp_path / sidecar))
    assert read_sidecars(str(tmp_path / photo))[0]["taken_at"] == "2019-07-15T13:44:05Z"


@pytest.mark.parametrize(
    ("photo", "other", "content"),
    [
        ("a.jpg", "a.jpg.json", "[1, 2]"),
        ("a.jpg", "a.jpg.s.json", '{"rows": []}'),
        ("a.jpg", "a.jpg.supplemental-metadata.json", record("b.jpg")),
        ("a(1).jpg", "a.jpg(2).json", record("a.jpg")),
        ("a.jpg", "a.jpg(1).json", record("a.jpg")),
        ("a1.jpg", "a.jpg.supplemental-metadata.json", record("a.jpg")),
        ("a-sunset.jpg", "a.jpg.supplemental-metadata.json", record("a.jpg")),
        ("a.py", "a.py.supplemental-metadata.json", record("a.py")),
        ("a.jpg", "a.jpg.supplemental-data.json", record("a.jpg")),
        ("photographs.jpg", "photograph.json", record("photograph.jpg")),
        (LONG + "a.jpg", LONG + ".json", record(LONG + "b.jpg")),
        (LONG + "olid.jpg", LONG + ".json", json.dumps({"title": LONG})),
        ("a.jpg", "metadata.json", record("Summer")),
        ("a.jpg", "a.jpg.supp.json", "{" * 5000),
    ],
)
def test_files_of_others(tmp_path: Path, photo: str, other: str, content: str) -> None:
    """A JSON file that belongs to nothing here is a source, and tells nothing about a photo."""
    (tmp_path / photo).write_bytes(b"x")
    (tmp_path / other).write_text(content)
    assert not is_sidecar(str(tmp_path / other))
    assert "taken_at" not in read_sidecars(str(tmp_path / photo))[0]


def test_duplicates_do_not_mix(tmp_path: Path) -> None:
    """A photo, its edited copy, and another photo of the same name."""
    photos = {"a.jpg": "first", "a-edited.jpg": "first", "a(1).jpg": "second", "a.mov": "third"}
    for name in photos:
        (tmp_path / name).write_bytes(b"x")
    sidecars = {"a.jpg.supplemental-metadata.json": ("a.jpg", "first"),
                "a.jpg.supplemental-metadata(1).json": ("a.jpg", "second"),
                "a.mov.supplemental-metadata.json": ("a.mov", "third")}  # fmt: skip
    for name, (title, text) in sidecars.items():
        (tmp_path / name).write_text(record(title, description=text))
    said = {name: read_sidecars(str(tmp_path / name))[0]["description"] for name in photos}
    assert said == photos
    assert all(is_sidecar(str(tmp_path / name)) for name in sidecars)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"photoTakenTime": {"timestamp": 1563198245}}, {"taken_at": "2019-07-15T13:44:05Z"}),
        ({"photoTakenTime": {"timestamp": "-86400"}}, {"taken_at": "1969-12-31T00:00:00Z"}),
        ({"photoTakenTime": {"timestamp": "0"}, "creationTime": TAKEN},
         {"taken_at": "2019-07-15T13:44:05Z"}),
        ({"creationTime": {"timestamp": "soon"}}, {}),
        ({"geoData": {"latitude": 47.65, "longitude": 9.5}}, {"latitude": 47.65, "longitude": 9.5}),
        ({"geoData": {"latitude": 0.0, "longitude": 0.0},
          "geoDataExif": {"latitude": -1, "longitude": 2}}, {"latitude": -1.0, "longitude": 2.0}),
        ({"geoData": {"latitude": 0.0, "longitude": 0.0}}, {}),
        ({"geoData": {"latitude": "x", "longitude": 900}}, {}),
        ({"people": [{"name": "Irma"}, {"name": "Irma"}, {}, 5, {"name": "Jörg"}]},
         {"people": ["Irma", "Jörg"]}),
        ({"favorited": True, "description": "", "url": "https://example.org/x"},
         {"favorited": True, "url": "https://example.org/x"}),
        ({"photoTakenTime": "x", "geoData": [], "people": {}, "favorited": 1}, {}),
    ],
)  # fmt: skip
def test_what_takeout_says(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert takeout_metadata(fields) == expected
