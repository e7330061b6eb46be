"""Reading order of lines as a detector gives them: row by row."""

from __future__ import annotations

import pytest

from mmsearch.models.vision.reading_order import by_columns
from mmsearch.types import WordLine

PROSE = "the boats came in at night"


def columns(
    count: int, rows: int, *, width: float, text: str = PROSE, gap: float = 0.002
) -> list[WordLine]:
    """Lines of a page, `width` of each in its column."""
    step, height = 0.95 / count, 0.03
    return [
        WordLine(
            f"{text} {column}.{row}",
            (
                0.03 + column * step,
                0.3 + row * (height + gap),
                0.03 + (column + width) * step,
                0.3 + row * (height + gap) + height,
            ),
            1.0,
        )
        for row in range(rows)
        for column in range(count)
    ]


def across(*tops: float, right: float = 0.9) -> list[WordLine]:
    return [WordLine(f"headline {top}", (0.05, top, right, top + 0.04), 1.0) for top in tops]


def names(lines: list[WordLine]) -> list[str]:
    return [line.text.split()[-1] for line in by_columns(lines)]


def by_column(count: int, rows: int) -> list[str]:
    return [f"{column}.{row}" for column in range(count) for row in range(rows)]


@pytest.mark.parametrize(("count", "rows"), [(2, 4), (2, 8), (3, 4), (3, 20)])
def test_columns_are_read_one_after_the_other(count: int, rows: int) -> None:
    assert names(columns(count, rows, width=0.9)) == by_column(count, rows)


@pytest.mark.parametrize("right", [0.6, 0.75, 0.96])
@pytest.mark.parametrize(("count", "rows"), [(2, 4), (2, 8), (3, 6)])
def test_headlines_and_footers_across_columns(count: int, rows: int, right: float) -> None:
    """However many, if they are above or below the columns."""
    page = [*across(0.05, 0.1, 0.15, right=right), *columns(count, rows, width=0.9)]
    page += across(0.95, right=right)
    assert names(page) == ["0.05", "0.1", "0.15", *by_column(count, rows), "0.95"]


def test_a_headline_between_two_blocks_of_columns() -> None:
    upper = columns(2, 6, width=0.9)
    lower = [
        WordLine(f"below {line.text}", (a, b + 0.35, c, d + 0.35), 1.0)
        for line in columns(2, 6, width=0.9)
        for a, b, c, d in [line.box]
    ]
    order = [line.text for line in by_columns([*upper, *across(0.6), *lower])]
    expected = [f"{PROSE} {name}" for name in by_column(2, 6)]
    assert order == [*expected, "headline 0.6", *(f"below {text}" for text in expected)]


@pytest.mark.parametrize(
    "cells",
    [
        columns(2, 8, width=0.25),
        columns(3, 8, width=0.6, text=""),
        columns(4, 6, width=0.6, text="12 pieces"),
        columns(2, 4, width=0.8, gap=0.02),  # a form: its lines are apart
        columns(2, 2, width=0.9),
        [],
    ],
)
def test_tables_and_forms_are_read_row_by_row(cells: list[WordLine]) -> None:
    assert by_columns(cells) == cells
