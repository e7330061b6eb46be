"""Damaged variants of each kind of file: flipped bits, cut ends, wrong names. None may do harm.

A few of each run always; a hundred of each with `-m slow`.
"""

from __future__ import annotations

import json
import random
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmsearch.errors import FAILURES, MediaError
from mmsearch.media.parts import DecodeRequest
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.types import Preprocess

SECONDS = 30.0
MEMORY_MB = 3072
MAX_BYTES = 600_000
"""Larger originals are left out: what is wanted is many variants, not long decoding."""

ORIGINALS = {
    "jpeg": (".jpg", ".jpeg"),
    "png": (".png",),
    "gif": (".gif",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "heif": (".heic", ".heif", ".avif"),
    "other pictures": (".bmp", ".jp2", ".ico", ".ppm", ".tga", ".psd", ".svg"),
    "wav": (".wav",),
    "mp3": (".mp3",),
    "ogg": (".ogg", ".opus", ".oga"),
    "flac": (".flac",),
    "m4a": (".m4a", ".aac"),
    "video": (".mp4", ".webm", ".mkv", ".mov", ".avi"),
    "pdf": (".pdf",),
    "word": (".docx",),
    "slides": (".pptx",),
    "sheets": (".xlsx",),
    "books": (".epub",),
    "open document": (".odt", ".ods", ".odp"),
    "letters": (".eml", ".msg"),
    "html": (".html", ".htm"),
    "json": (".json", ".ipynb"),
    "rtf": (".rtf",),
    "text": (".txt", ".md", ".csv"),
}
FOLDERS = ("images", "audio", "sounds", "video", "documents")


def originals(data: Path, kind: str) -> list[Path]:
    found = [
        path
        for folder in FOLDERS
        for path in sorted((data / folder).rglob("*"))
        if path.suffix.lower() in ORIGINALS[kind] and path.is_file()
    ]
    return [path for path in found if path.stat().st_size <= MAX_BYTES] or found[:1]


def variant(content: bytes, rng: random.Random) -> bytes:
    """One way or another not what it was."""
    data = bytearray(content)
    match rng.randrange(5):
        case 0:  # a few bits anywhere
            for _ in range(rng.randint(1, 20)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:  # where the structure is
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(min(len(data), 600))] = rng.randrange(256)
        case 2:  # cut off
            del data[rng.randrange(1, len(data)) :]
        case 3:  # a piece twice, or missing
            start = rng.randrange(len(data))
            piece = data[start : start + rng.randint(1, 4000)]
            data[start : start + (len(piece) if rng.random() < 0.5 else 0)] = b""
            data[start:start] = piece if rng.random() < 0.5 else b""
        case 4:  # numbers that are too large
            for _ in range(rng.randint(1, 4)):
                start = rng.randrange(len(data))
                data[start : start + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
    return bytes(data)


def variants(data: Path, kind: str, count: int) -> Iterator[tuple[str, bytes]]:
    """(name, content); every tenth has a name of another kind."""
    rng = random.Random(f"{kind}-1")
    files = originals(data, kind)
    assert files, kind
    for n in range(count):
        path = files[n % len(files)]
        suffix = rng.choice([".jpg", ".mp4", ".pdf", ".txt", ".zip", ""]) if n % 10 == 9 else None
        name = f"{n}{path.suffix if suffix is None else suffix}"
        yield name, variant(path.read_bytes(), rng)


def check(data: Path, folder: Path, spec: Preprocess, kind: str, count: int) -> Counter[str]:
    """Each ends in parts or in a failure with a sentence, in time; the sandbox works on."""
    outcomes: Counter[str] = Counter()
    reasons: list[str] = []
    with Sandbox(2, seconds=SECONDS, memory_mb=MEMORY_MB) as sandbox:
        for name, content in variants(data, kind, count):
            path = folder / name
            path.write_bytes(content)
            began = time.monotonic()
            try:
                parts = sum(1 for _ in sandbox.decode(
                    DecodeRequest(path=str(path), preprocess=spec, thumbnail=320)
                ))  # fmt: skip
                assert parts, name
                outcomes["read"] += 1
            except MediaError as error:
                outcomes[error.code] += 1
                reasons.append(error.reason)
            # Each step has its own limit; no file of these has many.
            assert time.monotonic() - began < 4 * SECONDS, name
            path.unlink()
        assert len(list(sandbox.decode(DecodeRequest(content=b"Still here.")))) == 1
    assert set(outcomes) <= {"read", *FAILURES}
    for reason in reasons:
        assert reason.rstrip().endswith((".", "?")), reason
        json.dumps(reason).encode()  # no half characters
    return outcomes


@pytest.mark.parametrize("kind", ORIGINALS)
def test_some_variants(data: Path, tmp_path: Path, spec: Preprocess, kind: str) -> None:
    if not originals(data, kind):
        pytest.skip(f"there is no {kind} in the data")
    check(data, tmp_path, spec, kind, 4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ORIGINALS)
def test_a_hundred_variants(data: Path, tmp_path: Path, spec: Preprocess, kind: str) -> None:
    """Prints what became of them, and the memory that the largest worker needed."""
    if not originals(data, kind):
        pytest.skip(f"there is no {kind} in the data")
    outcomes = check(data, tmp_path, spec, kind, 100)
    assert sum(outcomes.values()) == 100
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\n{kind}: {dict(outcomes.most_common())}, largest worker so far {peak:.0f} MiB")
    assert peak < MEMORY_MB
