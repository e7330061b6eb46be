"""Films through the sandbox: shots, soundtracks, subtitles; broken ones with a reason."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmsearch.errors import MediaError
from mmsearch.media.formats import subtitles
from mmsearch.media.parts import AudioPart, Cue, DecodeRequest, FramePart, Part, SubtitlePart
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.types import Preprocess
from tests.support.films import a_film


def parts_of(sandbox: Sandbox, film: bytes | Path, **wanted: Any) -> list[Part]:
    place: dict[str, Any] = {"path": str(film)} if isinstance(film, Path) else {"content": film}
    return list(sandbox.decode(DecodeRequest(**place, **wanted)))


def shots_of(sandbox: Sandbox, film: bytes | Path, **wanted: Any) -> list[FramePart]:
    return [p for p in parts_of(sandbox, film, **wanted) if isinstance(p, FramePart)]


def colour_of(part: FramePart) -> tuple[int, ...]:
    assert part.thumbnail is not None
    picture = Image.open(io.BytesIO(part.thumbnail)).convert("RGB")
    return tuple(np.asarray(picture).reshape(-1, 3).mean(axis=0).round().astype(int).tolist())


def test_a_film_is_cut_where_its_pictures_change(sandbox: Sandbox, spec: Preprocess) -> None:
    """Each shot with its time, a picture of it, and what the model sees of it."""
    film = a_film([("red", 4), ("blue", 3), ("white", 5)])
    shots = shots_of(sandbox, film, preprocess=spec, thumbnail=100)
    starts = [shot.start for shot in shots]
    assert starts == pytest.approx([0, 4, 7], abs=0.6)
    assert [shot.end for shot in shots[:2]] == starts[1:]
    assert shots[-1].end == pytest.approx(12, abs=0.3)
    for shot, (red, green, blue) in zip(
        shots, [(255, 0, 0), (0, 0, 255), (255, 255, 255)], strict=True
    ):
        assert colour_of(shot) == pytest.approx((red, green, blue), abs=25)
        assert shot.pixels is not None
        assert shot.pixels.shape == (224, 224, 3)
    assert shots[-1].metadata["duration"] == pytest.approx(12, abs=0.3)
    assert shots[-1].metadata["video_codec"] == "mpeg4"


@pytest.mark.parametrize(
    "name", ["made", "asl_bird.mkv", "flower.mp4", "Big_Buck_Bunny_180_10s.webm", "video-3s.avi"]
)
def test_the_frame_of_a_shot_is_found_again(sandbox: Sandbox, data: Path, name: str) -> None:
    """By its second, in another size; of real films too, whose frames depend on each other."""
    film: bytes | Path = a_film([("red", 4), ("blue", 3), ("white", 5)])
    if name != "made":
        film = next((data / "video").glob(name), None) or pytest.skip(f"no {name}")
    for shot in shots_of(sandbox, film, thumbnail=100):
        assert shot.start <= shot.moment <= shot.end
        place: dict[str, Any] = {"path": str(film)} if isinstance(film, Path) else {"content": film}
        again = sandbox.picture(DecodeRequest(**place, moment=shot.moment, thumbnail=100))
        assert again is not None
        assert again.thumbnail == shot.thumbnail


def test_there_is_no_frame_after_the_end(sandbox: Sandbox) -> None:
    """The last one is as near as can be had."""
    again = sandbox.picture(
        DecodeRequest(content=a_film([("red", 1), ("blue", 1)]), moment=60.0, thumbnail=100)
    )
    assert again is not None
    assert again.thumbnail is not None
    picture = Image.open(io.BytesIO(again.thumbnail)).convert("RGB")
    assert picture.getpixel((50, 50))[2] > 150  # type: ignore[index]


def test_a_long_shot_is_given_in_pieces(sandbox: Sandbox) -> None:
    shots = shots_of(sandbox, a_film([("green", 45)]))
    assert 2 <= len(shots) <= 4
    assert shots[0].end - shots[0].start > 15


def test_there_are_only_so_many_shots(sandbox: Sandbox) -> None:
    """With more cuts than that they are joined; all of the film is in one of them."""
    scenes = [("red" if n % 2 else "blue", 2.0) for n in range(12)]
    shots = shots_of(sandbox, a_film(scenes), max_shots=4)
    assert len(shots) <= 4
    assert shots[-1].end == pytest.approx(24, abs=0.3)
    assert all(a.end == b.start for a, b in itertools.pairwise(shots))


def test_the_soundtrack_comes_after_the_pictures(sandbox: Sandbox) -> None:
    parts = parts_of(sandbox, a_film([("red", 3)], tone=[(1, 2)]))
    (sound,) = [p for p in parts if isinstance(p, AudioPart)]
    assert isinstance(parts[0], FramePart)
    assert len(sound.samples) == pytest.approx(3 * 16_000, abs=1600)
    loud = np.flatnonzero(np.abs(sound.samples) > 0.1) / 16_000
    assert (loud[0], loud[-1]) == pytest.approx((1, 2), abs=0.05)


def test_subtitles_in_the_film_stand_for_its_sound(sandbox: Sandbox, data: Path) -> None:
    parts = parts_of(sandbox, (data / "video/slideshow_en.mp4").read_bytes())
    (part,) = [p for p in parts if isinstance(p, SubtitlePart)]
    assert part.cues[1] == Cue(9.655, 11.555, "in being comparatively modern.")
    assert part.metadata["subtitles"] == "embedded"
    assert not any(isinstance(p, AudioPart) for p in parts)


def test_a_subtitle_file_beside_the_film(sandbox: Sandbox, tmp_path: Path) -> None:
    film = tmp_path / "trip.mkv"
    film.write_bytes(a_film([("red", 2)]))
    (tmp_path / "trip.en.srt").write_text("1\n00:00:00,250 --> 00:00:01,000\nHello\nthere.\n")
    (tmp_path / "tripod.srt").write_text("1\n00:00:00,250 --> 00:00:01,000\nSomeone else's.\n")
    (part,) = [p for p in parts_of(sandbox, film) if isinstance(p, SubtitlePart)]
    assert part.cues == (Cue(0.25, 1.0, "Hello there."),)
    assert part.metadata["subtitles"] == "trip.en.srt"


def test_webvtt_and_what_is_no_cue() -> None:
    text = (
        "WEBVTT\n\nNOTE not said\n\nSTYLE\n::cue { color: red }\n\n"
        "intro\n00:02.500 --> 00:04.000 align:start\n<v Ada>Tea &amp; cake?\n\n"
        "00:00:01.000 --> 00:00:02.000\n{\\an8}First\n\n"
        "00:00:09.000 --> 00:00:08.000\nbackwards\n"
    )
    assert subtitles.parse(text) == [Cue(1.0, 2.0, "First"), Cue(2.5, 4.0, "Tea & cake?")]


def test_a_film_longer_than_allowed(sandbox: Sandbox) -> None:
    with pytest.raises(MediaError) as caught:
        parts_of(sandbox, a_film([("red", 5)]), max_audio_seconds=3)
    assert caught.value.code == "too_large"


def test_a_film_with_more_pixels_than_allowed(sandbox: Sandbox) -> None:
    with pytest.raises(MediaError) as caught:
        parts_of(sandbox, a_film([("red", 1)]), max_image_pixels=1000)
    assert caught.value.code == "too_large"


def test_a_film_cut_off_in_the_middle(sandbox: Sandbox) -> None:
    """What can be decoded is there, and ends where it was cut."""
    rng = np.random.default_rng(1)
    noise = [(Image.fromarray(rng.integers(0, 255, (48, 80, 3), np.uint8)), 2.0) for _ in range(10)]
    film = a_film(noise)
    shots = shots_of(sandbox, film[: len(film) // 2])
    assert 5 < shots[-1].end < 15


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("made_truncated_half.mp4", "corrupt"),
        ("made_empty.mp4", "empty"),
        ("made_zero_filled.mp4", "unsupported"),
        ("mp4parse_invalid_userdata.mp4", "corrupt"),
        ("mutagen_64bit.mp4", "unsupported"),
    ],
)
def test_films_that_cannot_be_read(sandbox: Sandbox, data: Path, name: str, code: str) -> None:
    with pytest.raises(MediaError) as caught:
        parts_of(sandbox, data / "hostile" / name)
    assert caught.value.code == code


def test_damaged_films_that_can(sandbox: Sandbox, data: Path) -> None:
    for name in ("made_bitrot.mkv", "made_bitrot.mp4", "made_truncated_half.webm", "corkami_qt.mov",
                 "made_wrong_film.jpg"):  # fmt: skip
        (shot, *_) = shots_of(sandbox, data / "hostile" / name)
        assert shot.mime.startswith("video/"), name


def test_the_shots_of_a_slide_show(sandbox: Sandbox, data: Path) -> None:
    shots = shots_of(sandbox, data / "video/slideshow_en.mp4")
    wanted = [4.0 * n for n in range(9)]
    assert [shot.start for shot in shots] == pytest.approx(wanted, abs=0.5)
