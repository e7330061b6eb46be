"""Dates as files write them."""

from __future__ import annotations

import pytest

from mmsearch.media.dates import iso_date, iso_timestamp, iso_zone


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2023:07:14 18:05:33", "", "2023-07-14T18:05:33"),
        ("2023:07:14 18:05:33", "+02:00", "2023-07-14T18:05:33+02:00"),
        ("2023:07:14 18:05:33", "Z", "2023-07-14T18:05:33Z"),
        ("2023-07-14T18:05:33Z", "", "2023-07-14T18:05:33Z"),
        ("2023-07-14T18:05:33.25-0330", "+02:00", "2023-07-14T18:05:33-03:30"),
        ("2023-07-14 18:05:33", "", "2023-07-14T18:05:33"),
        ("2023/7/14 8:05", "", "2023-07-14T08:05:00"),
        ("2023: 7:14 18: 5:33", "", "2023-07-14T18:05:33"),
        ("2023:07:14 18:05", "", "2023-07-14T18:05:00"),
        ("2023:07:14", "+02:00", "2023-07-14"),
        ("2023.07.14", "", "2023-07-14"),
        ("1904:01:01 00:00:00", "", "1904-01-01T00:00:00"),
        ("0000:00:00 00:00:00", "", None),
        ("    :  :     :  :  ", "", None),
        ("2023:13:14 18:05:33", "", None),
        ("2023:02:30", "", None),
        ("2023:07:14 24:05:33", "", None),
        ("2023", "", None),
        ("soon", "", None),
        ("", "", None),
    ],
)
def test_spellings(text: str, zone: str, expected: str | None) -> None:
    """As exact as the file is, with its own time zone first; None for what is no date."""
    assert iso_date(text, zone) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+02:00", "+02:00"),
        ("+0200", "+02:00"),
        ("-7", "-07:00"),
        ("z", "Z"),
        ("+15:00", ""),
        ("CET", ""),
    ],
)
def test_zones(text: str, expected: str) -> None:
    """ISO 8601, or nothing."""
    assert iso_zone(text) == expected


def test_timestamps() -> None:
    """Before 1970 too; what has no date has none."""
    assert iso_timestamp(1563198245) == "2019-07-15T13:44:05Z"
    assert iso_timestamp(-86400) == "1969-12-31T00:00:00Z"
    assert iso_timestamp(1e18) is None
