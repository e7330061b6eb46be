"""OCR: RapidOCR (PP-OCR models, ONNX Runtime) or Tesseract, as an `Ocr`.

The input is decoded pixels; files are opened in the sandbox only. RapidOCR's models are part of
its package, and nothing is downloaded.
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
from mmsearch.models import loading
from mmsearch.models.runtime import Runtime
from mmsearch.protocols import Ocr
from mmsearch.types import Box, WordLine

Name = Literal["auto", "none", "rapidocr", "tesseract"]

# False lines in grass or faces are recognised as a letter or two with low probability.
_MIN_PROBABILITY = 0.75
_MIN_LETTERS = 3
# Longest side of the detector's input; it still detects the smallest print of a page.
_DETECT_SIDE = 1600
_SMALLEST_SIDE = 12
# Two columns: least lines in each, least width, and tolerance for scans that are not straight.
_COLUMN_LINES, _COLUMN_WIDTH, _SLACK = 5, 0.25, 0.01


def resolve(name: Name) -> Literal["none", "rapidocr", "tesseract"]:
    """ "auto" resolves to RapidOCR, else Tesseract, else none. Imports nothing.

    Raises ConfigurationError if the requested engine is not installed.
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


def from_name(name: Name, runtime: Runtime) -> Ocr | None:
    """The engine of that name. Raises as `resolve`."""
    engine = resolve(name)
    if engine == "rapidocr":
        return RapidOcr(runtime)
    return TesseractOcr(shutil.which("tesseract") or engine) if engine == "tesseract" else None


class RapidOcr:
    """PP-OCR by RapidOCR: detects lines anywhere; reads Latin, Chinese and Japanese script."""

    def __init__(self, runtime: Runtime = Runtime()) -> None:  # noqa: B008  # frozen
        self._threads = runtime.threads
        # The engine keeps state between calls. ONNX Runtime uses all cores for one call anyway.
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        return f"rapidocr {version('rapidocr')} {self.weights[:16]}"

    @property
    def weights(self) -> str:
        """A digest of the package's models."""
        return loading.weights_digest(_rapidocr_models())

    @cached_property
    def _engine(self) -> Any:
        import rapidocr

        detector, recogniser = _rapidocr_models()
        params = {
            "Global.log_level": "critical",
            # Upside-down lines are rare, and detecting them costs a third model.
            "Global.use_cls": False,
            "Det.limit_type": "max",
            "Det.limit_side_len": _DETECT_SIDE,
            # Explicit paths, so that it downloads nothing.
            "Det.model_path": str(detector),
            "Rec.model_path": str(recogniser),
        }
        if self._threads:
            params["EngineConfig.onnxruntime.intra_op_num_threads"] = self._threads
        return rapidocr.RapidOCR(params=params)

    def read(self, picture: npt.NDArray[np.uint8]) -> list[WordLine]:
        height, width = picture.shape[:2]
        if min(height, width) < _SMALLEST_SIDE:
            return []
        # The library takes BGR, as OpenCV does.
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        with self._lock:
            try:
                result = self._engine(bgr)
            except Exception as error:  # whatever the runtime raises
                raise ModelError(f"RapidOCR failed on a picture ({error})") from error
        if not getattr(result, "txts", None) or result.boxes is None:
            return []
        corners = np.asarray(result.boxes, np.float64) / (width, height)
        lines = [
            WordLine(" ".join(text.split()), _around(box), float(score))
            for text, box, score in zip(result.txts, corners, result.scores, strict=True)
        ]
        return by_columns(_reliable(lines))

    def release(self) -> None:
        with self._lock:
            self.__dict__.pop("_engine", None)


class TesseractOcr:
    """Tesseract's command line, version 4 or later, with the languages that are installed."""

    def __init__(self, program: str, *, seconds: float = 120.0) -> None:
        self._program = program
        self._seconds = seconds

    @cached_property
    def _installed(self) -> tuple[Path | None, str]:
        """The folder of trained data, if it is known, and the languages, joined by +."""
        title, *listed = self._run(["--list-langs"], b"").decode("utf-8", "replace").split("\n")
        names = sorted({name.strip() for name in listed} - {"", "osd", "equ", "snum"})
        # Each language costs time; the first is preferred.
        languages = "+".join(sorted(names, key=lambda name: name != "eng")[:6]) or "eng"
        folder = title.split('"')[1] if title.count('"') == 2 else None
        return Path(folder) if folder else None, languages

    @property
    def fingerprint(self) -> str:
        first = self._run(["--version"], b"").decode("utf-8", "replace").split("\n")[0]
        return f"{first} {self._installed[1]} {self.weights[:16]}"

    @property
    def weights(self) -> str:
        """A digest of the trained data of the installed languages; "" if its folder is unknown."""
        folder, languages = self._installed
        if folder is None:
            return ""
        files = [folder / f"{name}.traineddata" for name in languages.split("+")]
        return loading.weights_digest(file for file in files if file.is_file())

    def read(self, picture: npt.NDArray[np.uint8]) -> list[WordLine]:
        height, width = picture.shape[:2]
        if min(height, width) < _SMALLEST_SIDE:
            return []
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
        table = self._run(
            ["stdin", "stdout", "-l", self._installed[1], "--psm", "3", "tsv"], buffer.getvalue()
        )
        lines: dict[tuple[str, ...], list[dict[str, str]]] = {}
        reader = csv.DictReader(
            io.StringIO(table.decode("utf-8", "replace")), delimiter="\t", quoting=csv.QUOTE_NONE
        )
        for row in reader:
            if row.get("level") == "5" and (row.get("text") or "").strip():
                key = (row["page_num"], row["block_num"], row["par_num"], row["line_num"])
                lines.setdefault(key, []).append(row)
        return _reliable([_line_of(words, width, height) for words in lines.values()])

    def _run(self, arguments: Sequence[str], content: bytes) -> bytes:
        try:
            process = subprocess.run(  # noqa: S603  # the program on the user's PATH
                [self._program, *arguments],
                input=content,
                capture_output=True,
                timeout=self._seconds,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"Tesseract took longer than {self._seconds:g} seconds") from None
        except (OSError, subprocess.CalledProcessError) as error:
            output = getattr(error, "stderr", b"") or b""
            last = output.decode("utf-8", "replace").strip().split("\n")[-1]
            raise ModelError(f"Tesseract failed ({last or error})") from None
        return process.stdout

    def release(self) -> None:
        """Nothing to free: each call runs a process."""


def by_columns(lines: list[WordLine]) -> list[WordLine]:
    """Lines in reading order: from top to bottom, but one after the other in two columns.

    A line across both columns (a title) separates what is above it from what is below.
    """
    gutter = _gutter(lines)
    if gutter is None:
        return lines
    ordered: list[WordLine] = []
    left: list[WordLine] = []
    right: list[WordLine] = []
    for line in sorted(lines, key=lambda line: line.box[1]):
        if line.box[2] <= gutter + _SLACK:
            left.append(line)
        elif line.box[0] >= gutter - _SLACK:
            right.append(line)
        else:
            ordered += [*left, *right, line]
            left, right = [], []
    return ordered + left + right


def _gutter(lines: Sequence[WordLine]) -> float | None:
    """The x between two columns of prose, 0..1; None without two columns."""
    best: tuple[int, float, float] | None = None
    for step in range(30, 71):
        x = step / 100
        left = [line for line in lines if line.box[2] <= x + _SLACK]
        right = [line for line in lines if line.box[0] >= x - _SLACK]
        across = len(lines) - len(left) - len(right)
        if min(len(left), len(right)) < _COLUMN_LINES or across > len(lines) // 5:
            continue
        # Prose fills its column; cells of a table and labels of a form do not.
        widths = [median(line.box[2] - line.box[0] for line in side) for side in (left, right)]
        if min(widths) < _COLUMN_WIDTH:
            continue
        candidate = (across, abs(x - 0.5), x)
        best = candidate if best is None else min(best, candidate)
    return None if best is None else best[2]


def words_of(lines: Sequence[WordLine]) -> list[dict[str, Any]]:
    """Segment metadata "words": words with boxes, which divide their line by length."""
    words: list[dict[str, Any]] = []
    for line in lines:
        left, top, right, bottom = line.box
        length = max(1, len(line.text))
        offset = 0
        for word in line.text.split(" "):
            start = left + (right - left) * offset / length
            end = left + (right - left) * (offset + len(word)) / length
            if word:
                box = [round(value, 4) for value in (start, top, end, bottom)]
                words.append({"text": word, "box": box})
            offset += len(word) + 1
    return words


def _line_of(words: Sequence[dict[str, str]], width: int, height: int) -> WordLine:
    lefts = [int(word["left"]) for word in words]
    tops = [int(word["top"]) for word in words]
    rights = [int(word["left"]) + int(word["width"]) for word in words]
    bottoms = [int(word["top"]) + int(word["height"]) for word in words]
    box = _clipped(
        min(lefts) / width, min(tops) / height, max(rights) / width, max(bottoms) / height
    )
    probability = sum(float(word["conf"]) for word in words) / len(words) / 100
    return WordLine(" ".join(word["text"].strip() for word in words), box, probability)


def _around(corners: npt.NDArray[np.float64]) -> Box:
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return _clipped(left, top, right, bottom)


def _clipped(*edges: float) -> Box:
    left, top, right, bottom = (round(min(1.0, max(0.0, float(edge))), 4) for edge in edges)
    return left, top, right, bottom


def _reliable(lines: Sequence[WordLine]) -> list[WordLine]:
    """Lines of high probability; none if they have hardly a letter."""
    reliable = [
        line
        for line in lines
        if line.probability >= _MIN_PROBABILITY and any(map(str.isalnum, line.text))
    ]
    letters = sum(sum(map(str.isalnum, line.text)) for line in reliable)
    return reliable if letters >= _MIN_LETTERS else []


def _rapidocr_models() -> tuple[Path, Path]:
    """The package's models for detection and recognition. Raises ModelError."""
    spec = find_spec("rapidocr")
    places = spec.submodule_search_locations if spec else None
    folder = Path(next(iter(places or ()), "")) / "models"
    detectors = sorted(folder.glob("*_det_*.onnx"))
    recognisers = sorted(folder.glob("*_rec_*.onnx"))
    if not detectors or not recognisers:
        raise ModelError(f"RapidOCR's models are not in {folder}: install the package again")
    return detectors[0], recognisers[0]
