"""Where the frames of a recording stand in time, by the stream's time stamps.

Recorders leave out what they did not hear: a muted microphone, a lost connection, a paused call.
Without the silence in between, everything behind such a gap would be found too early.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

_GAP_SECONDS = 0.2
"""Less is jitter: silence in the middle of a word would be heard as a click."""
_MAX_SILENCE = 3600.0
"""Seconds of inserted silence in one recording, whatever its time stamps claim."""
_SLACK_SECONDS = 1.0
_FOLLOWERS = 3
"""Frames after a jump that must go on from there: a single mad time stamp is no gap."""


def timed(
    frames: Iterator[Any], *, origin: float | None, length: float
) -> Iterator[tuple[float, Any]]:
    """(second to begin at or -1, frame). -1: the frame follows the one before without a gap.

    `origin` is the time stamp of second 0, by default that of the first frame. `length` bounds the
    recording in seconds: a gap that would lead beyond it is not believed. None, the end of the
    frames, is passed on.
    """
    clock = _Clock(origin, length)
    waiting: deque[Any] = deque()
    for frame in frames:
        waiting.append(frame)
        while len(waiting) > _FOLLOWERS or (waiting and frame is None):
            first = waiting.popleft()
            yield (-1.0 if first is None else clock.place(first, waiting)), first
    while waiting:
        first = waiting.popleft()
        yield (-1.0 if first is None else clock.place(first, waiting)), first


class _Clock:
    def __init__(self, origin: float | None, length: float) -> None:
        self._origin = origin
        self._length = length
        self._reached = 0.0
        """Seconds so far, with the silence."""
        self._silence = 0.0

    def place(self, frame: Any, followers: deque[Any]) -> float:
        seconds = frame.samples / (frame.sample_rate or 1)
        begin = -1.0
        stamp = frame.time
        if stamp is not None:
            if self._origin is None:
                self._origin = stamp
            gap = stamp - self._origin - self._reached
            if gap > _GAP_SECONDS and _goes_on(stamp + seconds, followers):
                if self._is_believable(gap):
                    self._silence += gap
                    self._reached += gap
                    begin = self._reached
                else:
                    self._origin += gap
            elif gap < -_SLACK_SECONDS and _goes_on(stamp + seconds, followers):
                # Joined recordings begin again: go on from here.
                self._origin += gap
        self._reached += seconds
        return begin

    def _is_believable(self, gap: float) -> bool:
        end = self._reached + gap
        return self._silence + gap <= _MAX_SILENCE and end <= self._length + _SLACK_SECONDS


def _goes_on(end: float, followers: deque[Any]) -> bool:
    """Whether the next frames come after second `end` of their clock, in order."""
    stamped = False
    for frame in followers:
        if frame is None:
            break
        if frame.time is None:
            continue
        if frame.time < end - _GAP_SECONDS:
            return False
        stamped = True
        end = frame.time + frame.samples / (frame.sample_rate or 1)
    return stamped
