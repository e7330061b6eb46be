"""Models that read and describe pictures, without weights."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.testing.vectors import COLOURS
from mmsearch.types import WordLine


class FakeCaptioner:
    """A `Captioner` that names the mean colour: "A red picture."."""

    def __init__(self) -> None:
        self.seen = 0
        """Pictures captioned."""

    @property
    def name(self) -> str:
        return "fake-captioner"

    @property
    def fingerprint(self) -> str:
        return "fake-captions"

    @property
    def weights(self) -> str:
        return ""

    def caption(self, pictures: Sequence[bytes]) -> list[str | None]:
        self.seen += len(pictures)
        return [self._described(content) for content in pictures]

    def release(self) -> None:
        """There is nothing to free."""

    @staticmethod
    def _described(content: bytes) -> str:
        with Image.open(io.BytesIO(content)) as image:
            mean = np.asarray(image.convert("RGB"), np.float64).mean(axis=(0, 1))
        distance = {name: np.abs(mean - np.array(rgb)).sum() for name, rgb in COLOURS.items()}
        return f"A {min(distance, key=lambda name: float(distance[name]))} picture."


class FakeOcr:
    """An `Ocr` that returns the lines of `script` for every picture that is not of one colour."""

    def __init__(self, script: Sequence[str] = ("words in a picture",)) -> None:
        self._script = tuple(script)
        self.calls = 0
        """Calls of `read`."""

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256("\n".join(self._script).encode()).hexdigest()
        return f"fake-{digest[:12]}"

    @property
    def weights(self) -> str:
        return ""

    def read(self, picture: npt.NDArray[np.uint8]) -> list[WordLine]:
        self.calls += 1
        if int(picture.max()) - int(picture.min()) < 32:
            return []
        height = 1 / max(1, len(self._script))
        return [
            WordLine(line, (0.1, n * height, 0.9, (n + 0.8) * height), 0.99)
            for n, line in enumerate(self._script)
        ]

    def release(self) -> None:
        """There is nothing to free."""
