"""How long each stage of a search takes."""

from __future__ import annotations

import time
from collections.abc import Mapping


class Stages:
    """A stop watch: `done` names what the time since the last mark was spent on."""

    def __init__(self, began: float) -> None:
        """`began` is a `time.perf_counter`."""
        self._began = began
        self._mark = began
        self._milliseconds: dict[str, float] = {}

    def done(self, name: str) -> None:
        """The stage `name` ends now."""
        now = time.perf_counter()
        self._milliseconds[name] = self._milliseconds.get(name, 0.0) + (now - self._mark) * 1e3
        self._mark = now

    def own(self) -> Stages:
        """A watch for one query of a batch: it begins with what the batch shared, and goes on
        now (what it waited for the batch's other queries is no stage of its own)."""
        other = Stages(self._began)
        other._milliseconds = dict(self._milliseconds)
        other._mark = time.perf_counter()
        return other

    @property
    def milliseconds(self) -> Mapping[str, float]:
        """By stage, in order."""
        return dict(self._milliseconds)

    @property
    def took_ms(self) -> float:
        """Since the beginning."""
        return (time.perf_counter() - self._began) * 1e3
