"""Hostile files through the sandbox: each ends in parts or in a MediaError, within limits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mmsearch.errors import MediaError
from mmsearch.media.parts import (
    AudioPart,
    DecodeRequest,
    FramePart,
    ImagePart,
    PagePart,
    Part,
    TextPart,
)
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.types import Preprocess

CODES = {"unsupported", "corrupt", "empty", "too_large", "timeout", "memory", "crashed"} | {
    "encrypted"
}
SECONDS = 20.0


def outcome(sandbox: Sandbox, path: Path, spec: Preprocess) -> str:
    """The code of the failure, or the media type."""
    request = DecodeRequest(path=str(path), preprocess=spec, thumbnail=320, ocr="likely")
    found = ""
    failure: MediaError | None = None
    try:
        for part in sandbox.decode(request):
            found = part.mime
            check_part(part)
    except MediaError as error:
        failure = error
    if failure is not None:
        assert failure.code in CODES, path.name
        assert failure.reason.endswith("."), failure.reason
        return failure.code
    assert found, path.name
    return found


def check_part(part: Part) -> None:
    json.dumps(part.metadata, allow_nan=False).encode()
    match part:
        case ImagePart() | FramePart():
            assert part.pixels is not None
            assert part.pixels.shape == (224, 224, 3)
            assert part.thumbnail
        case PagePart():
            part.text.encode()
            assert "\0" not in part.text
            assert all(0 <= edge <= 1 for line in part.lines for edge in line.box)
        case TextPart():
            assert part.text.strip()
            part.text.encode()
            assert "\0" not in part.text
        case AudioPart():
            assert len(part.samples) <= 1200 * 16_000


def rows(data: Path) -> Iterable[dict[str, Any]]:
    return map(json.loads, (data / "hostile/hostile.jsonl").read_text().splitlines())


def check(data: Path, spec: Preprocess, chosen: Iterable[dict[str, Any]]) -> dict[str, str]:
    found = {}
    with Sandbox(2, seconds=SECONDS, memory_mb=3072) as sandbox:
        for row in chosen:
            start = time.monotonic()
            found[row["file"]] = outcome(sandbox, data / "hostile" / row["file"], spec)
            # Recordings, films and documents have several steps.
            if found[row["file"]].startswith(("image/", "text/")):
                assert time.monotonic() - start < SECONDS + 5, row["file"]
        (part,) = sandbox.decode(DecodeRequest(content=b"Still here."))
        assert isinstance(part, TextPart)
    return found


def test_a_sample_of_hostile_files(data: Path, spec: Preprocess) -> None:
    """Every kind of harm: the one slow recording apart, what is likely to go wrong first."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows(data):
        if row["file"] != "made_bomb_silence_3h.flac":
            kinds.setdefault(row["kind"], []).append(row)
    assert len(kinds) >= 12
    check(data, spec, (row for listed in kinds.values() for row in listed[:6]))


EXPECTED = {
    "made_bomb_30000x30000_1bit.png": "too_large",
    "made_bomb_header_only.png": "too_large",
    "made_deep_nesting.html": "empty",
    "made_empty.jpg": "empty",
    "made_blank.txt": "empty",
    "made_latin1.csv": "text/csv",
    "made_long_line.txt": "text/plain",
    "made_utf16.txt": "text/plain",
    "made_random.mp3": "unsupported",
    "made_truncated_half.jpg": "corrupt",
    "made_truncated_half.flac": "audio/flac",
    "made_truncated_half.mp3": "audio/mpeg",
    "made_wav_zero_rate.wav": "corrupt",
    "made_wrong_film.jpg": "video/x-matroska",
    "made_wrong_paper.docx": "application/pdf",
    "made_bomb_xml.docx": "too_large",
    "made_truncated_half.docx": "corrupt",
    "made_truncated_half.pdf": "corrupt",
    "made_truncated_half.mp4": "corrupt",
    "made_truncated_half.webm": "video/webm",
    "pypdf_libreoffice-writer-password.pdf": "encrypted",
    "made_wrong_noextension": "image/png",
    "made_wrong_page.pdf": "text/html",
    "made_wrong_photo.png": "image/jpeg",
    "made_wrong_picture.jpg.txt": "image/jpeg",
    "made_wrong_sound.mp3": "audio/flac",
    "aeneas_mono.zero.wav": "empty",
    "pocketsphinx_bad.wav": "corrupt",
    "azure_missing_wav_header.wav": "unsupported",
    "mutagen_sample.mid": "unsupported",
    "corkami_jp2.jp2": "image/jp2",
}


def test_each_for_its_reason(data: Path, spec: Preprocess) -> None:
    found = check(data, spec, ({"file": name} for name in EXPECTED))
    assert found == EXPECTED


@pytest.mark.slow
def test_all_hostile_files(data: Path, spec: Preprocess) -> None:
    assert len(check(data, spec, rows(data))) == 279


def test_odd_names(sandbox: Sandbox, data: Path, spec: Preprocess) -> None:
    names = [
        path for path in (data / "hostile").iterdir() if path.name.startswith(("-", "oddname"))
    ]
    assert len(names) >= 2
    for path in names:
        assert outcome(sandbox, path, spec)
