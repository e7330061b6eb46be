"""Where the frames of a recording stand in time, by the stream's time stamps.

Recorders leave out what they did not hear: a muted microphone, a lost connection, a paused call.
Without the silence in between, everything behind such a gap would be found too early.
"""

from __future__ import annotations

import itertools
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
    recording in seconds: a gap that would end beyond it is ignored. None, the end of the
    frames, is passed on.
    """
    ahead: deque[Any] = deque()
    # Seconds so far, with the silence; of the silence alone.
    reached = silence = 0.0
    while (frame := ahead.popleft() if ahead else next(frames, None)) is not None:
        begin, seconds, stamp = -1.0, frame.samples / (frame.sample_rate or 1), frame.time
        if stamp is not None:
            if origin is None:
                origin = stamp
            gap = stamp - origin - reached
            if not -_SLACK_SECONDS <= gap <= _GAP_SECONDS:
                ahead.extend(itertools.islice(_until_none(frames), _FOLLOWERS - len(ahead)))
                if _goes_on(stamp + seconds, ahead):
                    total = silence + gap
                    if total <= _MAX_SILENCE and 0 < gap <= length + _SLACK_SECONDS - reached:
                        silence = total
                        reached += gap
                        begin = reached
                    else:
                        # Joined recordings begin again, and mad ones jump: go on from here.
                        origin += gap
        reached += seconds
        yield begin, frame
    yield -1.0, None


def _until_none(frames: Iterator[Any]) -> Iterator[Any]:
    return iter(lambda: next(frames, None), None)


def _goes_on(end: float, followers: deque[Any]) -> bool:
    """Whether the next frames come after second `end` of their clock, in order."""
    stamped = False
    for frame in followers:
        if frame.time is None:
            continue
        if frame.time < end - _GAP_SECONDS:
            return False
        stamped = True
        end = frame.time + frame.samples / (frame.sample_rate or 1)
    return stamped
