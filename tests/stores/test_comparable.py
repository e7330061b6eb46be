"""Comparison keys are the same in Python and in SQL; dates have their times."""

from __future__ import annotations

import pytest
from sqlalchemy import func, literal, select

from mmsearch.stores.comparable import comparison_key, sortable_text, times_of
from mmsearch.stores.store import SqlStore

TEXTS = [
    "Plain ASCII 100%",
    "MÜLLER Mu\u0308ller",
    "Straße STRAẞE ſtrafe",
    "ΣΊΣΥΦΟΣ σίσυφος",
    "ВСТРЕЧА Ёлка",
    "İstanbul ısı ISI",
    "\u212b \u2126 \u212a",
    "ԱՐԱՐԱՏ ᲗᲑᲘᲚᲘᲡᲘ Ꮳ 𐐀",
    "Ǆ ǅ ﬁ ＡＢＣ Ⅷ",
    "أحمد 東京 한국 \u1112\u1161\u11ab",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_sql_folds_as_python_does(store: SqlStore, text: str) -> None:
    """PostgreSQL's own function and SQLite's make the key that the index stores."""
    with store.database.read() as connection:
        assert connection.scalar(select(func.mmsearch_fold(text))) == comparison_key(text)
        folded = store.dialect.fold(literal(text))
        assert connection.scalar(select(folded)) == comparison_key(text)


@pytest.mark.parametrize(
    "text",
    ["2024", "2024-13", "2024-02-30", "2024-02-03T25:00", "0000-01", "beach", "2024-1-2", ""],
)
def test_other_texts_have_no_times(text: str) -> None:
    """Neither has a year alone, which is as often a title."""
    assert times_of(text) is None


def test_times_of_periods_and_moments() -> None:
    """In seconds since 1970; a day and a month have an end, an offset moves the instant."""
    day, month = times_of("1970-01-02"), times_of("1972-02")
    assert day is not None
    assert (day.local, day.instant, day.local_end) == (86_400, 86_400, 172_800)
    assert month is not None
    assert month.local_end - month.local == 29 * 86_400
    moment = times_of("1970-01-01T09:00:00.5+09:00")
    assert moment is not None
    assert (moment.local, moment.instant, moment.has_offset) == (9 * 3600 + 0.5, 0.5, True)


def test_sorting_is_by_instant() -> None:
    """Tokyo writes first, then London, then New York; days come before their times."""
    tokyo, london = "2024-03-05T01:00:00+09:00", "2024-03-04T17:00:00Z"
    york = "2024-03-04T13:00:00-05:00"
    assert sorted([york, "2024-03-04", london, "a", tokyo, "2024"], key=sortable_text) == [
        *["2024", "2024-03-04", tokyo, london, york, "a"]
    ]
