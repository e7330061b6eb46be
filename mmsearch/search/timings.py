"""How long each stage of a search takes."""

from __future__ import annotations

import time
from collections.abc import Mapping


class StageTimer:
    """Attributes the time since the last call to the stage that `done` names."""

    def __init__(self, began: float) -> None:
        """`began` is a `time.perf_counter`."""
        self._began = began
        self._last = began
        self._milliseconds: dict[str, float] = {}

    def done(self, name: str) -> None:
        """The stage `name` ends now."""
        now = time.perf_counter()
        self._milliseconds[name] = self._milliseconds.get(name, 0.0) + (now - self._last) * 1e3
        self._last = now

    def for_query(self) -> StageTimer:
        """A timer for one query of a batch.

        It starts with the stages that the batch shared. The time that the query waits for other
        queries of the batch belongs to no stage.
        """
        timer = StageTimer(self._began)
        timer._milliseconds = dict(self._milliseconds)
        timer._last = time.perf_counter()
        return timer

    @property
    def milliseconds(self) -> Mapping[str, float]:
        """By stage, in order."""
        return dict(self._milliseconds)

    @property
    def took_ms(self) -> float:
        """Milliseconds since the search began."""
        return (time.perf_counter() - self._began) * 1e3
