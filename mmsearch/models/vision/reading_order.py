"""Reading order of the lines of a page: column by column, under headlines that cross columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from mmsearch.types import WordLine

# Of a column of prose: least lines and width. Narrower or shorter columns need longer lines, so
# that tables and forms, which are read row by row, are not taken for columns.
_LINES, _WIDTH = 5, 0.25
_FEW_LINES, _NARROW_WIDTH, _LETTERS = 3, 0.14, 12
_WIDE = 1.5
"""Times the width of a column: a headline across columns."""
_GAP = 0.4
"""Of the height of a line."""
_SLACK = 0.01
"""Tolerance for scans that are not straight."""


def by_columns(lines: list[WordLine]) -> list[WordLine]:
    """Lines in reading order: from top to bottom, but one column after the other.

    A line across two columns (a headline) separates what is above it from what is below.
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
            ordered += [*by_columns(left), *by_columns(right), line]
            left, right = [], []
    return ordered + by_columns(left) + by_columns(right)


def _gutter(lines: Sequence[WordLine]) -> float | None:
    """The x between two columns of prose, 0..1; None without two columns."""
    best: tuple[int, int, float, float] | None = None
    for step in range(15, 86):
        x = step / 100
        left = [line for line in lines if line.box[2] <= x + _SLACK]
        right = [line for line in lines if line.box[0] >= x - _SLACK]
        if not (_is_prose(left) and _is_prose(right)):
            continue
        # Headlines above and footers below the columns may cross the gutter; in between, few.
        top = max(min(line.box[1] for line in side) for side in (left, right))
        bottom = min(max(line.box[3] for line in side) for side in (left, right))
        crossing = [line for line in lines if line.box[0] < x - _SLACK and x + _SLACK < line.box[2]]
        across = sum(top < line.box[3] and line.box[1] < bottom for line in crossing)
        if across > len(lines) // 5:
            continue
        # The last line of a column may be its longest; a headline is far wider than a column.
        column = median(line.box[2] - line.box[0] for line in left)
        headlines = sum(line.box[2] - line.box[0] > _WIDE * column for line in crossing)
        candidate = (across, -headlines, abs(x - 0.5), x)
        best = candidate if best is None else min(best, candidate)
    return None if best is None else best[3]


def _is_prose(lines: Sequence[WordLine]) -> bool:
    """Prose fills its column; cells of a table and labels of a form do not."""
    if len(lines) < _FEW_LINES:
        return False
    width = median(line.box[2] - line.box[0] for line in lines)
    letters = median(sum(map(str.isalpha, line.text)) for line in lines)
    if len(lines) >= _LINES and width >= _WIDTH:
        return True
    return width >= _NARROW_WIDTH and letters >= _LETTERS and _are_close(lines)


def _are_close(lines: Sequence[WordLine]) -> bool:
    """Whether the gaps between lines are far smaller than the lines, unlike those of a form."""
    boxes = sorted((line.box for line in lines), key=lambda box: box[1])
    gaps = median(below[1] - above[3] for above, below in pairwise(boxes))
    return gaps < _GAP * median(box[3] - box[1] for box in boxes)
