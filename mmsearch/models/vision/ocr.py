"""Words in pictures: RapidOCR (PP-OCR models, ONNX Runtime) or Tesseract, as an `Ocr`.

Only decoded pixels ever come here; files are opened in the sandbox. RapidOCR's models come
with its package, and nothing is downloaded.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import threading
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.errors import ConfigurationError, ModelError
from mmsearch.protocols import Ocr
from mmsearch.types import Box, WordLine

Name = Literal["auto", "none", "rapidocr", "tesseract"]

# What a detector takes for a line in grass or in a face is read as a letter or two, unsurely.
_MIN_PROBABILITY = 0.75
_MIN_LETTERS = 3
# The detector sees the picture at no more than this; a page's smallest print is still told.
_DETECT_SIDE = 1600
_SMALLEST_SIDE = 12
# Two columns: at least so many lines in each, at least so wide; a scan may be a little crooked.
_COLUMN_LINES, _COLUMN_WIDTH, _SLACK = 5, 0.25, 0.01


def resolve(name: Name) -> Literal["none", "rapidocr", "tesseract"]:
    """What "auto" is here: RapidOCR, else Tesseract, else none. Nothing is imported.

    Raises ConfigurationError if the one asked for is not installed.
    """
    if name in ("auto", "rapidocr") and find_spec("rapidocr") is not None:
        return "rapidocr"
    if name == "rapidocr":
        raise ConfigurationError("RapidOCR is not installed: pip install rapidocr", param="ocr")
    if name in ("auto", "tesseract") and shutil.which("tesseract") is not None:
        return "tesseract"
    if name == "tesseract":
        raise ConfigurationError(
            "Tesseract is not installed: there is no program 'tesseract' on the PATH", param="ocr"
        )
    return "none"


def from_name(name: Name, *, threads: int = 0) -> Ocr | None:
    """The engine of that name. Raises as `resolve`."""
    chosen = resolve(name)
    if chosen == "rapidocr":
        return RapidOcr(threads)
    return TesseractOcr(shutil.which("tesseract") or chosen) if chosen == "tesseract" else None


class RapidOcr:
    """PP-OCR by RapidOCR: detects lines at any place, reads Latin, Chinese and Japanese script."""

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads
        # Its parts keep state between calls; ONNX Runtime uses all cores for one call anyway.
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        return f"rapidocr {version('rapidocr')}"

    @cached_property
    def _engine(self) -> Any:
        import rapidocr

        models = Path(rapidocr.__file__).parent / "models"
        detector = _only(models, "*_det_*.onnx")
        reader = _only(models, "*_rec_*.onnx")
        params = {
            "Global.log_level": "critical",
            # Upside-down lines are rare, and telling them costs a third model.
            "Global.use_cls": False,
            "Det.limit_type": "max",
            "Det.limit_side_len": _DETECT_SIDE,
            # Named, so that it looks for no download.
            "Det.model_path": str(detector),
            "Rec.model_path": str(reader),
        }
        if self._threads:
            params["EngineConfig.onnxruntime.intra_op_num_threads"] = self._threads
        return rapidocr.RapidOCR(params=params)

    def read(self, picture: npt.NDArray[np.uint8]) -> list[WordLine]:
        height, width = picture.shape[:2]
        if min(height, width) < _SMALLEST_SIDE:
            return []
        # The library takes arrays as OpenCV has them: blue first.
        turned = np.ascontiguousarray(picture[:, :, ::-1])
        with self._lock:
            try:
                found = self._engine(turned)
            except Exception as error:  # whatever the runtime raises
                raise ModelError(f"RapidOCR failed on a picture ({error})") from error
        if not getattr(found, "txts", None) or found.boxes is None:
            return []
        corners = np.asarray(found.boxes, np.float64) / (width, height)
        lines = [
            WordLine(" ".join(text.split()), _around(box), float(score))
            for text, box, score in zip(found.txts, corners, found.scores, strict=True)
        ]
        return by_columns(_sensible(lines))

    def release(self) -> None:
        with self._lock:
            self.__dict__.pop("_engine", None)


class TesseractOcr:
    """Tesseract's command line, version 4 or later, with the languages that are installed."""

    def __init__(self, program: str, *, seconds: float = 120.0) -> None:
        self._program = program
        self._seconds = seconds

    @cached_property
    def _languages(self) -> str:
        listed = self._run(["--list-langs"], b"").decode("utf-8", "replace").split("\n")[1:]
        names = sorted({name.strip() for name in listed} - {"", "osd", "equ", "snum"})
        # Each costs time; the order says what is tried first.
        return "+".join(sorted(names, key=lambda name: name != "eng")[:6]) or "eng"

    @property
    def fingerprint(self) -> str:
        first = self._run(["--version"], b"").decode("utf-8", "replace").split("\n")[0]
        return f"{first} {self._languages}"

    def read(self, picture: npt.NDArray[np.uint8]) -> list[WordLine]:
        height, width = picture.shape[:2]
        if min(height, width) < _SMALLEST_SIDE:
            return []
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
        table = self._run(
            ["stdin", "stdout", "-l", self._languages, "--psm", "3", "tsv"], buffer.getvalue()
        )
        lines: dict[tuple[str, ...], list[dict[str, str]]] = {}
        reader = csv.DictReader(
            io.StringIO(table.decode("utf-8", "replace")), delimiter="\t", quoting=csv.QUOTE_NONE
        )
        for row in reader:
            if row.get("level") == "5" and (row.get("text") or "").strip():
                key = (row["page_num"], row["block_num"], row["par_num"], row["line_num"])
                lines.setdefault(key, []).append(row)
        return _sensible([_line_of(words, width, height) for words in lines.values()])

    def _run(self, arguments: Sequence[str], content: bytes) -> bytes:
        try:
            done = subprocess.run(  # noqa: S603  # the program that the user has on the PATH
                [self._program, *arguments],
                input=content,
                capture_output=True,
                timeout=self._seconds,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"Tesseract took longer than {self._seconds:g} seconds") from None
        except (OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", b"") or b""
            last = told.decode("utf-8", "replace").strip().split("\n")[-1]
            raise ModelError(f"Tesseract failed ({last or error})") from None
        return done.stdout

    def release(self) -> None:
        """There is nothing to free: it is a program of its own."""


def by_columns(lines: list[WordLine]) -> list[WordLine]:
    """Lines from the top to the bottom, but those of two columns of print one after the other.

    Lines that run across both (a title) stay where they are: between what is above and below.
    """
    cut = _gutter(lines)
    if cut is None:
        return lines
    ordered: list[WordLine] = []
    left: list[WordLine] = []
    right: list[WordLine] = []
    for line in sorted(lines, key=lambda line: line.box[1]):
        if line.box[2] <= cut + _SLACK:
            left.append(line)
        elif line.box[0] >= cut - _SLACK:
            right.append(line)
        else:
            ordered += [*left, *right, line]
            left, right = [], []
    return ordered + left + right


def _gutter(lines: Sequence[WordLine]) -> float | None:
    """Where the page divides into two columns of prose, if it does."""
    best: tuple[int, float, float] | None = None
    for step in range(30, 71):
        cut = step / 100
        left = [line for line in lines if line.box[2] <= cut + _SLACK]
        right = [line for line in lines if line.box[0] >= cut - _SLACK]
        across = len(lines) - len(left) - len(right)
        if min(len(left), len(right)) < _COLUMN_LINES or across > len(lines) // 5:
            continue
        # Prose fills its column; the cells of a table and the names beside a form do not.
        widths = [median(line.box[2] - line.box[0] for line in side) for side in (left, right)]
        if min(widths) < _COLUMN_WIDTH:
            continue
        found = (across, abs(cut - 0.5), cut)
        best = found if best is None else min(best, found)
    return None if best is None else best[2]


def words_of(lines: Sequence[WordLine]) -> list[dict[str, Any]]:
    """Segment metadata "words": each word and its box, shared out along the line by length."""
    words: list[dict[str, Any]] = []
    for line in lines:
        left, top, right, bottom = line.box
        length = max(1, len(line.text))
        at = 0
        for word in line.text.split(" "):
            start = left + (right - left) * at / length
            end = left + (right - left) * (at + len(word)) / length
            if word:
                box = [round(value, 4) for value in (start, top, end, bottom)]
                words.append({"text": word, "box": box})
            at += len(word) + 1
    return words


def _line_of(words: Sequence[dict[str, str]], width: int, height: int) -> WordLine:
    lefts = [int(word["left"]) for word in words]
    tops = [int(word["top"]) for word in words]
    rights = [int(word["left"]) + int(word["width"]) for word in words]
    bottoms = [int(word["top"]) + int(word["height"]) for word in words]
    box = _clipped(
        min(lefts) / width, min(tops) / height, max(rights) / width, max(bottoms) / height
    )
    certain = sum(float(word["conf"]) for word in words) / len(words) / 100
    return WordLine(" ".join(word["text"].strip() for word in words), box, certain)


def _around(corners: npt.NDArray[np.float64]) -> Box:
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return _clipped(left, top, right, bottom)


def _clipped(*edges: float) -> Box:
    left, top, right, bottom = (round(min(1.0, max(0.0, float(edge))), 4) for edge in edges)
    return left, top, right, bottom


def _sensible(lines: Sequence[WordLine]) -> list[WordLine]:
    """Without what was read unsurely; nothing at all where hardly a letter is left."""
    sure = [
        line
        for line in lines
        if line.probability >= _MIN_PROBABILITY and any(map(str.isalnum, line.text))
    ]
    letters = sum(sum(map(str.isalnum, line.text)) for line in sure)
    return sure if letters >= _MIN_LETTERS else []


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise ModelError(f"RapidOCR's models are not in {folder}: install the package again")
    return found[0]
