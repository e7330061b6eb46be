"""When, where and with what films and recordings were made, in the words of photos."""

from __future__ import annotations

from typing import Any

import pytest

from mmsearch.media.formats import audio
from mmsearch.media.formats.origin import iso_6709, origin_of
from mmsearch.media.parts import DecodeRequest, FramePart
from mmsearch.media.sandbox.pool import Sandbox
from tests.support.encoded import a_recording, bursts
from tests.support.films import a_film

UTC = "2024-05-01T22:30:00Z"
LOCAL = "2024-05-02T00:30:00+02:00"
APPLE = "com.apple.quicktime."


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ({"creation_time": "2024-05-01T22:30:00.000000Z"}, {"taken_at": UTC}),
        ({"creation_time": UTC, APPLE + "creationdate": "2024-05-02T00:30:00+0200"},
         {"taken_at": LOCAL, "recorded_at": UTC}),
        ({"date": "2024-05-02T00:30:00+0200", "creation_time": UTC}, {"taken_at": LOCAL}),
        ({"DATE_RECORDED": "2024-05-02"}, {"taken_at": "2024-05-02"}),
        ({"creation_time": UTC, "date": "1999"}, {"taken_at": UTC}),
        ({"creation_time": "1904-01-01T00:00:00.000000Z"}, {"taken_at": None, "recorded_at": None}),
        ({"creation_time": "1970-01-01T00:00:00Z"}, {"taken_at": None, "recorded_at": None}),
        ({"creation_time": "1904-01-01T00:00:00Z", APPLE + "creationdate": LOCAL},
         {"taken_at": LOCAL}),
        ({"creation_time": UTC, "album": "Greatest Hits"}, {"taken_at": None, "recorded_at": UTC}),
        ({"date": "2024-05-02", "creation_time": "00:30:00"}, {"taken_at": "2024-05-02T00:30:00"}),
        ({APPLE + "make": "Apple", APPLE + "model": "iPhone 15"}, {"camera": "Apple iPhone 15"}),
        ({"make": "Canon", "model": "Canon EOS R6"}, {"camera": "Canon EOS R6"}),
        ({"com.android.model": "Pixel 8", "com.android.manufacturer": "Google"},
         {"camera": "Google Pixel 8"}),
        ({APPLE + "location.ISO6709": "+48.1374+011.5755+519.000/"},
         {"latitude": 48.1374, "longitude": 11.5755}),
        ({"location-eng": "+48.1374+011.5755/"}, {"latitude": 48.1374, "longitude": 11.5755}),
        ({"LOCATION": "-33.8688+151.2093/"}, {"latitude": -33.8688, "longitude": 151.2093}),
        ({"location": "+00.0000+000.0000/"}, {"latitude": None, "longitude": None}),
        ({"location": "Munich", "make": "", "creation_time": "soon"}, {"latitude": None}),
    ],
)  # fmt: skip
def test_what_programs_write(tags: dict[str, str], found: dict[str, Any]) -> None:
    made = origin_of([tags])
    assert {name: made.get(name) for name in found} == found


def test_a_stream_knows_what_its_container_does_not() -> None:
    assert origin_of([{}, {"creation_time": UTC}])["taken_at"] == UTC


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("+48.1374+011.5755/", (48.1374, 11.5755)),
        ("+4808.244+01134.530/", (48.1374, 11.5755)),
        ("+480814.64+0113431.8+519CRSWGS_84/", (48.1374, 11.5755)),
        ("-12+134/", (-12, 134)),
        ("+91+011/", None),
        ("+48+181/", None),
        ("48.1374, 11.5755", None),
        ("", None),
        ("+" + "9" * 400 + "+1/", None),
    ],
)
def test_places_of_iso_6709(text: str, place: tuple[float, float] | None) -> None:
    """Degrees, minutes and seconds, told apart by their digits."""
    found = iso_6709(text)
    assert found == (place if place is None else pytest.approx(place, abs=1e-4))


def test_a_film_and_a_voice_memo(sandbox: Sandbox) -> None:
    tags = {"creation_time": "2024-05-01T22:30:00.000000Z", "location": "+48.1374+011.5755/"}
    sound = bursts((0, 1), seconds=2)
    memo = audio.decode(a_recording(sound, "ipod", "aac", tags=tags)).metadata
    assert (memo["taken_at"], memo["latitude"]) == (UTC, 48.1374)
    film = a_recording(sound, "mp4", "aac", tags=tags, pictures=2)
    shot = next(p for p in sandbox.decode(DecodeRequest(content=film)) if isinstance(p, FramePart))
    assert shot.metadata["taken_at"] == UTC
    assert shot.metadata["recorded_at"].startswith("2024-05-01T22:30:00")
    assert shot.metadata["longitude"] == 11.5755


def test_the_size_of_a_film_is_that_of_its_picture(sandbox: Sandbox) -> None:
    """As it is seen: turned by the camera, with pixels that are not square."""
    film = a_film([("red", 1)], size=(160, 96), kind="mp4")
    for turn, size in ((None, (160, 96)), (90, (96, 160)), (180, (160, 96)), (270, (96, 160))):
        content = film if turn is None else _turned(film, turn)
        (shot,) = (p for p in sandbox.decode(DecodeRequest(content=content))
                   if isinstance(p, FramePart))  # fmt: skip
        assert (shot.metadata["width"], shot.metadata["height"]) == size


def _turned(film: bytes, degrees: int) -> bytes:
    """With another matrix in its track header (ISO 14496-12)."""
    matrices = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
    a, b, c, d = (number * 65536 for number in matrices[degrees])
    at = film.index(b"tkhd") + 4 + 40
    values = (a, b, 0, c, d, 0, 0, 0, 2**30)
    matrix = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    return film[:at] + matrix + film[at + 36 :]
