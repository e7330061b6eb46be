"""What filters mean, in plain Python: the referee of what SQL answers."""

from __future__ import annotations

import datetime as dt
import random
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

TEXTS = [
    *["beach", "snow", "Beach", "2024-01-31", "2024-01-31T10:00:00", "2023-12-01", "", "ü%_"],
    *[
        "MÜLLER",
        "mu\u0308ller",
        "straße",
        "STRASSE",
        "ΣΑΣ",
        "σας",
        "a\\b",
        "2024",
        "2024-01",
    ],
    *["2024-01-31T10:00:00+09:00", "2024-01-31T01:00:00Z", "2024-01-30T23:30:00-05:00"],
]
NUMBERS = [0, 1, -3, 2.5, 640, 1e9]
KEYS = ["tags", "taken_at", "width", "flag", "odd"]
DATE = re.compile(r"\d{4}-\d{2}(-\d{2}(T.*)?)?")
UTC = dt.UTC


def some_metadata(rng: random.Random) -> dict[str, Any]:
    """A record whose keys hold values of every type, lists of several types, and nothing."""

    def scalar() -> Any:
        return rng.choice([rng.choice(TEXTS), rng.choice(NUMBERS), rng.random() < 0.5])

    made: dict[str, Any] = {}
    for key in KEYS:
        kind = rng.random()
        if kind < 0.2:
            continue
        if kind < 0.3:
            made[key] = None
        elif kind < 0.4:
            made[key] = {"in": scalar(), "text": "beach"}
        elif kind < 0.65:
            made[key] = [scalar() for _ in range(rng.randrange(4))]
        else:
            made[key] = scalar()
    return made


def some_filter(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A valid filter over the metadata above, nested a little."""
    if depth < 2 and rng.random() < 0.35:
        name = rng.choice(["and", "or", "not"])
        if name == "not":
            return {"not": some_filter(rng, depth + 1)}
        return {name: [some_filter(rng, depth + 1) for _ in range(rng.randint(1, 3))]}
    key = rng.choice(KEYS)
    op = rng.choice(
        ["eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "like", "exists", "any", "all"]
    )
    value: Any
    if op == "exists":
        value = rng.random() < 0.5
    elif op in {"in", "not_in", "any", "all"}:
        value = [rng.choice([*TEXTS, *NUMBERS, True, False]) for _ in range(rng.randrange(4))]
    elif op == "like":
        value = rng.choice(["beach", "%each", "b_ach", "2024-01%", "%", "ü%", "%(%", ".*",
                            "m_LLER", "%MU\u0308LL%", "%ẞe", "%\\S%", "σ%"])  # fmt: skip
    elif op in {"eq", "ne"}:
        value = rng.choice([*TEXTS, *NUMBERS, True, False])
    else:
        value = rng.choice([*TEXTS, *NUMBERS])
    return {key: {op: value}}


def passes(given: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """A literal reading of the grammar."""
    return all(_one(name, condition, record) for name, condition in given.items())


def _one(name: str, condition: Any, record: Mapping[str, Any]) -> bool:
    if name == "and":
        return all(passes(one, record) for one in condition)
    if name == "or":
        return any(passes(one, record) for one in condition)
    if name == "not":
        return not passes(condition, record)
    if not isinstance(condition, Mapping):
        condition = {"eq": condition}
    return all(_holds(op, value, record.get(name)) for op, value in condition.items())


def _holds(op: str, value: Any, held: Any) -> bool:
    if op == "exists":
        return bool((held is not None) == value)
    if op == "ne":
        return not _holds("eq", value, held)
    if op in {"in", "any"}:
        return any(_holds("eq", one, held) for one in value)
    if op == "not_in":
        return not _holds("in", value, held)
    if op == "all":
        return all(_holds("eq", one, held) for one in value)
    values = held if isinstance(held, list) else [] if isinstance(held, dict) else [held]
    return any(_compare(op, one, value) for one in values)


def _compare(op: str, have: Any, want: Any) -> bool:
    if have is None or isinstance(have, bool) != isinstance(want, bool):
        return False
    if isinstance(have, str) != isinstance(want, str):
        return False
    if op == "like":
        folded = _folded(want)
        pattern = "".join({"%": ".*", "_": "."}.get(c) or re.escape(c) for c in folded)
        return re.fullmatch(pattern, _folded(have), re.DOTALL) is not None
    if isinstance(want, str):
        if DATE.fullmatch(want):
            return _compare_dates(op, have, want)
        have, want = _folded(have), _folded(want)
    return _ordered(op, have, want)


def _ordered(op: str, have: Any, want: Any) -> bool:
    return bool(
        {
            "eq": have == want,
            "lt": have < want,
            "lte": have <= want,
            "gt": have > want,
            "gte": have >= want,
        }[op]
    )


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _compare_dates(op: str, have: str, want: str) -> bool:
    """A day or month is compared by the clock of the value, an offset by the instant."""
    if not DATE.fullmatch(have):
        return False
    if "T" not in want:
        if op == "eq":
            return have.startswith(want)
        start = _moment(want).replace(tzinfo=UTC)
        days = 31 if len(want) == 7 else 1  # the only month is a January
        local, after = _moment(have).replace(tzinfo=UTC), start + dt.timedelta(days=days)
        return {"lt": local < start, "lte": local < after, "gt": local >= after,
                "gte": local >= start}[op]  # fmt: skip
    wanted, held = _moment(want), _moment(have)
    if wanted.tzinfo is None:
        return _ordered(op, held.replace(tzinfo=None), wanted)
    return _ordered(op, held if held.tzinfo else held.replace(tzinfo=UTC), wanted)


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text + "-01" if len(text) == 7 else text)
