"""Damaged variants of each kind of document and film: parts or a reason, never a crash."""

from __future__ import annotations

import io
import time

import docx
import numpy as np
import openpyxl
import pptx
import pytest

from mmsearch.errors import MediaError
from mmsearch.media.parts import DecodeRequest
from mmsearch.media.sandbox import Sandbox
from mmsearch.types import Preprocess

from .documents import a_pdf, a_picture_of, an_epub, an_opendocument
from .films import a_film
from .test_hostile import CODES, check_part

KINDS = ("pdf", "docx", "pptx", "xlsx", "odt", "epub", "eml", "rtf", "png", "jpg", "mkv", "mp4")
SECONDS = 20.0


def a_file(kind: str) -> bytes:
    buffer = io.BytesIO()
    match kind:
        case "pdf":
            return a_pdf(["A page about otters\nand their rivers", "A second one"])
        case "docx":
            document = docx.Document()
            document.add_heading("Otters")
            document.add_paragraph("They live in rivers. " * 20)
            document.save(buffer)
        case "pptx":
            deck = pptx.Presentation()
            deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "Otters"
            deck.save(buffer)
        case "xlsx":
            book = openpyxl.Workbook()
            for row in range(20):
                book.active.append([row, "otter", row * row])
            book.save(buffer)
        case "odt":
            return an_opendocument("text", "<text:p>Otters live in rivers.</text:p>" * 20)
        case "epub":
            return an_epub([("Otters", "<p>They live in rivers.</p>" * 20)])
        case "eml":
            return b"From: a@b.c\nTo: d@e.f\nSubject: Otters\nMIME-Version: 1.0\n\nThey are well."
        case "rtf":
            return rb"{\rtf1\ansi\ansicpg1252{\fonttbl\f0 Arial;}\f0 Otters live in rivers.\par}"
        case "png" | "jpg":
            a_picture_of(["otters"]).save(buffer, "PNG" if kind == "png" else "JPEG")
        case _:
            return a_film(
                [("red", 1), ("blue", 2)],
                kind="matroska" if kind == "mkv" else "mp4",
                size=(96, 64),
            )
    return buffer.getvalue()


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bits flipped, a piece cut off, left out or doubled."""
    made = bytearray(content)
    how = rng.integers(5)
    if how == 0:
        return bytes(made[: rng.integers(1, len(made))])
    if how == 1:
        start, end = sorted(rng.integers(0, len(made), 2).tolist())
        return bytes(made[:start] + made[end:]) or b"\0"
    if how == 2:
        start, end = sorted(rng.integers(0, len(made), 2).tolist())
        return bytes(made[:end] + made[start:])
    for at in rng.integers(0, len(made), int(rng.integers(1, 40))).tolist():
        made[at] = int(rng.integers(256)) if how == 3 else made[at] ^ (1 << int(rng.integers(8)))
    return bytes(made)


def survive(kind: str, variants: int, spec: Preprocess) -> None:
    whole = a_file(kind)
    names = [f"file.{other}" for other in KINDS]
    with Sandbox(1, seconds=SECONDS, memory_mb=3072) as sandbox:
        for seed in range(variants):
            rng = np.random.default_rng([seed, len(kind)])
            request = DecodeRequest(
                content=damaged(whole, rng), name=names[seed % len(names)], preprocess=spec,
                thumbnail=64, ocr="likely",
            )  # fmt: skip
            began = time.monotonic()
            try:
                for part in sandbox.decode(request):
                    check_part(part)
                failure = None
            except MediaError as error:
                failure = error
            if failure is not None:
                assert failure.code in CODES - {"crashed", "timeout"}, f"{kind} {seed}: {failure}"
                assert failure.reason.endswith("."), failure.reason
            assert time.monotonic() - began < SECONDS, f"{kind} {seed}"


@pytest.mark.parametrize("kind", KINDS)
def test_some_damaged_variants(kind: str, spec: Preprocess) -> None:
    survive(kind, 3, spec)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_damaged_variants(kind: str, spec: Preprocess) -> None:
    survive(kind, 100, spec)
