"""Which subtitles of a film are read, in which language, and when its speech is heard as well."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from shutil import which

import pytest

from mmsearch.media.companions import SubtitleLabel, label_of, subtitle_files
from mmsearch.media.formats import subtitles
from mmsearch.media.formats.subtitles import Track
from mmsearch.media.languages import language_code
from mmsearch.media.parts import AudioPart, Cue, DecodeRequest, Part, SubtitlePart
from mmsearch.media.sandbox.pool import Sandbox
from tests.support.films import a_film

ENGLISH = ["The pelican lands on the pier.", "Nobody expected the flamingo."]
GERMAN = ["Der Pelikan landet auf dem Steg.", "Niemand erwartete den Flamingo."]
SIGN = ["Sign: Station"]


def srt(lines: Sequence[str], length: float = 2.0) -> str:
    """One line after the other, each shown for so many seconds."""
    times = [f"00:00:0{n * length:.3f} --> 00:00:0{(n + 1) * length - 0.1:.3f}" for n in range(4)]
    return "\n".join(f"{n + 1}\n{times[n]}\n{line}\n" for n, line in enumerate(lines))


def parts_of(sandbox: Sandbox, folder: Path, files: dict[str, Sequence[str]]) -> list[Part]:
    film = folder / "trip.mkv"
    film.write_bytes(a_film([("red", 4)], tone=[(1, 2)]))
    for name, lines in files.items():
        (folder / name).write_text(srt(lines, 2.0 if len(lines) > 1 else 0.5))
    return list(sandbox.decode(DecodeRequest(path=str(film))))


def tracks_of(parts: Sequence[Part]) -> dict[str | None, list[str]]:
    return {
        part.metadata.get("language"): [cue.text for cue in part.cues]
        for part in parts
        if isinstance(part, SubtitlePart)
    }


def has_speech(parts: Sequence[Part]) -> bool:
    return any(isinstance(part, AudioPart) for part in parts)


@pytest.mark.parametrize(
    ("files", "expected", "heard"),
    [
        ({"trip.en.srt": ENGLISH}, {"en": ENGLISH}, False),
        ({"trip.english.srt": ENGLISH, "trip.forced.srt": SIGN}, {"en": ENGLISH}, False),
        ({"trip.en.forced.srt": SIGN, "trip.en.srt": ENGLISH}, {"en": ENGLISH}, False),
        ({"trip.en.forced.srt": SIGN}, {"en": SIGN}, True),
        ({"trip.srt": SIGN}, {None: SIGN}, True),
        ({"trip.de.srt": GERMAN, "trip.eng.srt": ENGLISH}, {"de": GERMAN, "en": ENGLISH}, False),
        ({"trip.en.sdh.srt": ["[music]", *ENGLISH], "trip.en.srt": ENGLISH}, {"en": ENGLISH},
         False),
        ({"trip.en.hi.srt": ENGLISH, "trip.de.cc.srt": GERMAN}, {"en": ENGLISH, "de": GERMAN},
         False),
        ({"trip.srt": ENGLISH, "trip.en.vtt": ENGLISH}, {None: ENGLISH}, False),
        ({"trip.pt-BR.srt": ENGLISH, "trip_german.srt": GERMAN}, {"pt": ENGLISH, "de": GERMAN},
         False),
        ({"TRIP.en.srt": ENGLISH, "trip_two.srt": GERMAN}, {"en": ENGLISH}, False),
        ({"tripod.en.srt": ENGLISH}, {}, True),
    ],
)  # fmt: skip
def test_subtitles_beside_a_film(
    sandbox: Sandbox,
    tmp_path: Path,
    files: dict[str, Sequence[str]],
    expected: dict[str | None, list[str]],
    heard: bool,
) -> None:
    """One track for each language; the soundtrack where none covers the film."""
    parts = parts_of(sandbox, tmp_path, files)
    assert tracks_of(parts) == expected
    assert has_speech(parts) is heard


def test_a_subtitle_file_belongs_to_one_film(tmp_path: Path) -> None:
    for name in ("show.mp4", "show.en.mp4", "show.en.srt", "show.en.forced.srt", "show.de.srt"):
        (tmp_path / name).write_text("x")
    beside = {film: [path.name for path in subtitle_files(tmp_path / film)]
              for film in ("show.mp4", "show.en.mp4")}  # fmt: skip
    assert beside == {
        "show.mp4": ["show.de.srt"],
        "show.en.mp4": ["show.en.srt", "show.en.forced.srt"],
    }


@pytest.mark.parametrize(
    ("notes", "label"),
    [
        (".en", SubtitleLabel("en", False, False)),
        (".english.forced", SubtitleLabel("en", True, False)),
        (".hi", SubtitleLabel("hi", False, False)),
        (".en.hi", SubtitleLabel("en", False, True)),
        ("German (SDH)", SubtitleLabel("de", False, True)),
        ("Signs & Songs", SubtitleLabel(None, True, False)),
        ("English [Forced]", SubtitleLabel("en", True, False)),
        ("zh-Hans", SubtitleLabel("zh", False, False)),
        ("", SubtitleLabel(None, False, False)),
    ],
)
def test_what_a_name_says(notes: str, label: SubtitleLabel) -> None:
    assert label_of(notes) == label


def test_languages() -> None:
    names = ["ger", "deu", "Deutsch", "de-AT", "de_CH", "fre", "und", "xx", "", "mul"]
    assert [language_code(name) for name in names] == ["de"] * 5 + ["fr"] + [None] * 4


def track(*spans: tuple[float, float], forced: bool = False) -> Track:
    cues = tuple(Cue(start, end, f"{start}") for start, end in spans)
    return Track("x", SubtitleLabel("en", forced, False), cues)


def test_what_covers_a_film() -> None:
    """Long ones need less of the time; a half without a word is not covered."""
    hour = 3600.0
    dialogue = [(at, at + 3.0) for at in range(60, 3500, 12)]
    assert subtitles.covers(track(*dialogue), hour)
    assert not subtitles.covers(track(*dialogue, forced=True), hour)
    assert not subtitles.covers(track(*dialogue[::20]), hour)
    assert not subtitles.covers(track(*dialogue), 2 * hour)
    assert not subtitles.covers(track((0, 1)), 10)
    assert subtitles.covers(track((0, 4), (2, 6)), 10)


ASS = r"""[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname
Style: Dialogue: odd,Arial
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:03.00,0:00:04.50,Default,,0,0,0,,{\an8\i1}Second, with a comma{\i0}\NNew\hline
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,a note
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{a remark}First
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\p1}m 0 0 l 100 0 100 100{\p0}
Dialogue: 0,0:00:05.00,0:00:04.00,Default,,0,0,0,,backwards
Dialogue: 0,broken
"""


def test_advanced_substation(sandbox: Sandbox, tmp_path: Path) -> None:
    """Overrides, remarks, drawings and comments are not said."""
    expected = [Cue(1, 2, "First"), Cue(3, 4.5, "Second, with a comma New line")]
    assert subtitles.parse_ass(ASS) == expected
    old = ASS.replace("Layer", "Marked").replace("Dialogue: 0", "Dialogue: Marked=0")
    assert subtitles.parse_ass(old) == expected
    film = tmp_path / "trip.mkv"
    film.write_bytes(a_film([("red", 4)]))
    (tmp_path / "trip.ja.ass").write_text("\ufeff" + ASS, "utf-16")
    (part,) = [
        p
        for p in sandbox.decode(DecodeRequest(path=str(film)))
        if isinstance(p, SubtitlePart)
    ]  # fmt: skip
    assert part.cues == tuple(expected)
    assert part.metadata == {"subtitles": "trip.ja.ass", "language": "ja"}


@pytest.mark.skipif(which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_tracks_inside_a_film(sandbox: Sandbox, tmp_path: Path, kind: str) -> None:
    """The forced one comes first in the file; two languages; markup."""
    (tmp_path / "film.mkv").write_bytes(a_film([("red", 4)], tone=[(1, 2)]))
    for name, lines in (("sign", SIGN), ("de", GERMAN), ("en", [f"<i>{x}</i>" for x in ENGLISH])):
        (tmp_path / f"{name}.srt").write_text(srt(lines, 2.0 if len(lines) > 1 else 0.5))
    film = tmp_path / f"made.{kind}"
    codec = "ass" if kind == "mkv" else "mov_text"
    inputs = [
        part for name in ("film.mkv", "sign.srt", "de.srt", "en.srt") for part in ("-i", name)
    ]
    maps = [part for number in range(4) for part in ("-map", str(number))]
    tags = ["-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=ger",
            "-metadata:s:s:2", "language=eng", "-disposition:s:0", "forced"]  # fmt: skip
    coding = ["-c:v", "copy", "-c:a", "aac", "-c:s", codec]
    subprocess.run(
        ["ffmpeg", "-v", "error", *inputs, *maps, *coding, *tags, film.name],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    parts = list(sandbox.decode(DecodeRequest(content=film.read_bytes())))
    assert tracks_of(parts) == {"de": GERMAN, "en": ENGLISH}
    assert not has_speech(parts)
