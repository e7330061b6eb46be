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
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.errors import ConfigurationError, ModelError
from mmsearch.models import loading
from mmsearch.models.runtime import Runtime
from mmsearch.models.vision.reading_order import by_columns
from mmsearch.protocols import Ocr
from mmsearch.types import Box, WordLine

Name = Literal["auto", "none", "rapidocr", "tesseract"]

# False lines in grass or faces are recognised as a letter or two with low probability.
_MIN_PROBABILITY = 0.75
_MIN_LETTERS = 3
# Longest side of the detector's input; it still detects the smallest print of a page.
_DETECT_SIDE = 1600
_SMALLEST_SIDE = 12
# Lines of a page in another orientation: least number and letters, and highest mean probability.
_TURNED_LINES, _TURNED_LETTERS, _POOR = 2, 6, 0.8
# Share of the letters that another orientation must have to be preferred.
_ALMOST = 0.9
# Lines that are read again to check another orientation.
_PROBES = 3


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
        return f"rapidocr {version('rapidocr')} adapter/2 {self.weights[:16]}"

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
            # Single upside-down lines are rare, and detecting them costs a third model.
            "Global.use_cls": False,
            # Lines that are read badly are a sign that the picture is turned.
            "Global.text_score": 0.0,
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
        with self._lock:
            upright = self._lines(picture)
            turns = self._turns(picture, upright)
            if turns:
                turned = self._lines(np.rot90(picture, turns))
                if _letters_read(turned) >= _ALMOST * _letters_read(upright):
                    lines = by_columns(_reliable([line for line, _ in turned]))
                    return [replace(line, box=_turned_back(line.box, turns)) for line in lines]
        return by_columns(_reliable([line for line, _ in upright]))

    def _lines(self, picture: npt.NDArray[np.uint8]) -> list[tuple[WordLine, bool]]:
        """All lines that are detected, and whether each is taller than wide."""
        height, width = picture.shape[:2]
        result = self._run(picture)
        if not getattr(result, "txts", None) or result.boxes is None:
            return []
        corners = np.asarray(result.boxes, np.float64)
        lines: list[tuple[WordLine, bool]] = []
        for text, box, score in zip(result.txts, corners, result.scores, strict=True):
            across, down = box.max(axis=0) - box.min(axis=0)
            around = _around(box / (width, height))
            lines.append((WordLine(" ".join(text.split()), around, float(score)), down > across))
        return lines

    def _turns(self, picture: npt.NDArray[np.uint8], lines: Sequence[tuple[WordLine, bool]]) -> int:
        """Quarter turns, counter-clockwise, after which the lines stand upright; mostly 0.

        The recogniser turns lines that are taller than wide by a quarter. So lines of a page that
        has to be turned so are read well, in a wrong order; those of the other two orientations
        stand on their heads and are read badly. A few of these are read again, upside down.
        """
        words = [(line, tall) for line, tall in lines if len(line.text) > 1]
        letters = sum(len(line.text) for line, _ in words)
        if len(words) < _TURNED_LINES or letters < _TURNED_LETTERS:
            return 0
        tall = sum(len(line.text) for line, is_tall in words if is_tall) > letters / 2
        mean = sum(line.probability * len(line.text) for line, _ in words) / letters
        if mean >= _POOR:
            return 1 if tall else 0
        longest = sorted(words, key=lambda pair: -_area(pair[0].box))[:_PROBES]
        scores = [self._upside_down(picture, line.box, is_tall) for line, is_tall in longest]
        if sum(scores) / len(scores) < max(_POOR, mean):
            return 0
        return 3 if tall else 2

    def _upside_down(self, picture: npt.NDArray[np.uint8], box: Box, tall: bool) -> float:
        """The probability of a line that is turned upside down before it is read."""
        height, width = picture.shape[:2]
        left, top, right, bottom = np.asarray(box) * (width, height, width, height)
        line = picture[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
        result = self._run(np.rot90(line, 3 if tall else 2), detect=False)
        scores = getattr(result, "scores", None)
        return float(np.mean(scores)) if scores else 0.0

    def _run(self, picture: npt.NDArray[np.uint8], *, detect: bool = True) -> Any:
        # The library takes BGR, as OpenCV does.
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        try:
            # The engine remembers the steps of the call before.
            return self._engine(bgr, use_det=detect, use_cls=False, use_rec=True)
        except Exception as error:  # whatever the runtime raises
            raise ModelError(f"RapidOCR failed on a picture ({error})") from error

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


def _turned_back(box: Box, turns: int) -> Box:
    """A box of a picture that was turned, in the picture as it was."""
    left, top, right, bottom = box
    for _ in range(turns):
        left, top, right, bottom = 1 - bottom, left, 1 - top, right
    return _clipped(left, top, right, bottom)


def _area(box: Box) -> float:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def _letters_read(lines: Sequence[tuple[WordLine, bool]]) -> int:
    return sum(len(line.text) for line in _reliable([line for line, _ in lines]))


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
