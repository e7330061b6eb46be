"""Numbers and dates of spreadsheet cells, as their number format shows them.

The language of ECMA-376 part 1, 18.8.30 ("#,##0.00 €", "dd.mm.yyyy", "0%"), with English names of
months and English separators: which ones are shown depends on the reader's system, not the file.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|_.|\*.|\[(?P<bracket>[^\]]*)\]|(?P<ampm>AM/PM|A/P|am/pm)|'
    r"(?P<general>General)|(?P<exponent>[eE][+-])|(?P<date>y+|m+|d+|h+|s+)|(?P<digits>[0#?]+)|"
    r"(?P<other>.)",
    re.DOTALL | re.IGNORECASE,
)
_CURRENCY = re.compile(r"\$([^-\]]*)")
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)(-?\d+(?:\.\d+)?)$")
_ELAPSED = re.compile(r"(h+|m+|s+)$", re.IGNORECASE)
_LOCALE_DATE = "mm-dd-yy"
"""Format 14 of a workbook: the system's own short date."""
_MAX_FORMAT = 500

_Token = tuple[str, str]


def shown(value: Any, number_format: str) -> str:
    """A cell's value as text."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, (datetime, date, time, timedelta)):
        return _shown_date(value, number_format)
    if not isinstance(value, (int, float)):
        return str(value)
    if number_format == "General":
        return _general(value)
    try:
        sections = _sections(number_format[:_MAX_FORMAT])
        section, amount = _chosen(sections, float(value))
        if not section and len(sections) > 1:
            return ""  # a section that hides: "0;;"
        return _shown_number(amount, value, section)
    except (ValueError, OverflowError, IndexError, ZeroDivisionError, InvalidOperation):
        return _general(value)


def _general(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.15g}"


@lru_cache(maxsize=256)
def _sections(number_format: str) -> tuple[tuple[_Token, ...], ...]:
    """(kind, text) of each element, in the sections between semicolons."""
    sections: list[list[_Token]] = [[]]
    for match in _TOKEN.finditer(number_format):
        kind, text = match.lastgroup or "space", match[0]
        if kind == "other" and text == ";":
            sections.append([])
        elif kind in ("quoted", "escaped"):
            sections[-1].append(("literal", match[kind]))
        elif kind == "bracket":
            currency = _CURRENCY.match(match["bracket"])
            if currency:
                sections[-1].append(("literal", currency[1]))
            elif _ELAPSED.match(match["bracket"]):
                sections[-1].append(("elapsed", match["bracket"].lower()))
            elif _CONDITION.match(match["bracket"]):
                sections[-1].append(("condition", match["bracket"]))
        elif kind == "space":
            sections[-1].append(("literal", " " if text[0] == "_" else ""))
        else:
            sections[-1].append((kind, text))
    return tuple(map(tuple, sections))


def _chosen(
    sections: tuple[tuple[_Token, ...], ...], value: float
) -> tuple[tuple[_Token, ...], float]:
    """The section for a value, and the amount that it shows."""
    for section in sections:
        for kind, text in section:
            match = _CONDITION.match(text) if kind == "condition" else None
            if match and _holds(value, match[1], float(match[2])):
                return section, value
    plain = [s for s in sections if not any(kind == "condition" for kind, _ in s)]
    if not plain:
        raise ValueError("no section fits")
    if len(plain) == 1 or len(plain) < len(sections):
        return plain[-1], value
    if value > 0 or (value == 0 and len(plain) < 3):
        return plain[0], value
    # The second section shows the sign itself, if at all.
    return (plain[1], -value) if value < 0 else (plain[2], value)


def _holds(value: float, operator: str, limit: float) -> bool:
    return {
        "<": value < limit, ">": value > limit, "=": value == limit, "<>": value != limit,
        "<=": value <= limit, ">=": value >= limit,
    }[operator]  # fmt: skip


def _shown_number(amount: float, value: float, section: tuple[_Token, ...]) -> str:
    kinds = [kind for kind, _ in section]
    if "general" in kinds or not section:
        return "".join(
            _general(value if amount == value else amount) if kind == "general"
            else text if kind in ("literal", "other") else ""
            for kind, text in section
        ) or _general(value)  # fmt: skip
    if "date" in kinds or "elapsed" in kinds:
        return _general(value)  # a number that is no date, or too large for one
    if "digits" not in kinds:
        return "".join(
            _general(value) if text == "@" else text
            for kind, text in section
            if kind in ("literal", "other")
        )
    first, last = kinds.index("digits"), len(kinds) - 1 - kinds[::-1].index("digits")
    before, after = section[:first], section[last + 1 :]
    middle = list(section[first : last + 1])
    percent = sum(text == "%" for kind, text in section if kind == "other")
    # Commas behind the last digit divide by a thousand each.
    thousands = 0
    while thousands < len(after) and after[thousands] == ("other", ","):
        thousands += 1
    amount = amount * 100**percent / 1000**thousands
    after = after[thousands:]
    return (
        ("-" if amount < 0 and not _rounds_to_zero(amount, middle) else "")
        + _literals(before) + _digits(abs(amount), middle) + _literals(after)
    )  # fmt: skip


def _literals(tokens: tuple[_Token, ...]) -> str:
    return "".join(text for kind, text in tokens if kind in ("literal", "other", "ampm"))


def _rounds_to_zero(amount: float, middle: list[_Token]) -> bool:
    if any(kind == "exponent" or text == "/" for kind, text in middle):
        return False
    return round(abs(amount), len(_after_point(middle))) == 0


def _after_point(middle: list[_Token]) -> str:
    if ("other", ".") not in middle:
        return ""
    behind = middle[middle.index(("other", ".")) + 1 :]
    return "".join(text for kind, text in behind if kind == "digits")


def _digits(amount: float, middle: list[_Token]) -> str:
    if any(text == "/" for _, text in middle):
        return _fraction(amount, middle)
    exponent = next((i for i, (kind, _) in enumerate(middle) if kind == "exponent"), None)
    if exponent is not None:
        decimals = len(_after_point(middle[:exponent]))
        mantissa, _, power = f"{amount:.{decimals}E}".partition("E")
        width = sum(len(text) for kind, text in middle[exponent:] if kind == "digits")
        sign = "-" if power.startswith("-") else "+" if middle[exponent][1].endswith("+") else ""
        return f"{mantissa}E{sign}{power.lstrip('+-0').rjust(width, '0')}"
    after = _after_point(middle)
    point = middle.index(("other", ".")) if ("other", ".") in middle else len(middle)
    whole_tokens = middle[:point]
    # Halves are rounded up, as decimal fractions: 1.005 to 1.01.
    places = Decimal(1).scaleb(-len(after))
    rounded = Decimal(f"{amount:.15g}").quantize(places, ROUND_HALF_UP)
    whole, _, part = f"{rounded:f}".partition(".")
    while part and after[len(part) - 1] in "#?" and part.endswith("0"):
        part = part[:-1]
    pattern = "".join(text for kind, text in whole_tokens if kind == "digits")
    if whole == "0" and "0" not in pattern:
        whole = ""
    whole = whole.rjust(pattern.count("0"), "0")
    literals = [text for kind, text in whole_tokens if kind in ("literal", "other") and text != ","]
    if ("other", ",") in whole_tokens:
        whole = f"{int(whole or 0):,}".rjust(pattern.count("0"), "0") if whole else ""
    elif literals:
        whole = _with_literals(whole, whole_tokens)
    return f"{whole}.{part}" if part or after[:1] == "0" else whole


def _with_literals(whole: str, tokens: list[_Token]) -> str:
    """Signs between the digits: "000-00-0000"."""
    parts: list[str] = []
    left = whole
    for kind, text in reversed(tokens):
        if kind == "digits":
            left, taken = left[: -len(text)], left[-len(text) :]
            parts.append(taken)
        elif kind in ("literal", "other"):
            parts.append(text)
    return left + "".join(reversed(parts))


def _fraction(amount: float, middle: list[_Token]) -> str:
    slash = next(i for i, (_, text) in enumerate(middle) if text == "/")
    behind = "".join(text for kind, text in middle[slash + 1 :] if kind in ("digits", "other"))
    before = [text for kind, text in middle[:slash] if kind == "digits"]
    whole = int(amount) if len(before) > 1 else 0
    rest = Fraction(amount - whole)
    if behind.isdecimal() and int(behind) > 0:
        numerator, denominator = round(rest * int(behind)), int(behind)
    else:
        near = rest.limit_denominator(10 ** min(4, max(1, len(behind))) - 1)
        numerator, denominator = near.numerator, near.denominator
    if len(before) > 1 and numerator == denominator:
        whole, numerator = whole + 1, 0
    if not numerator and len(before) > 1:
        return str(whole)
    return f"{whole or ''} {numerator}/{denominator}".strip()


# ------------------------------------------------------------------ dates


def _shown_date(value: date | time | timedelta, number_format: str) -> str:
    section = _sections(number_format[:_MAX_FORMAT])[0]
    kinds = {kind for kind, _ in section}
    if number_format == _LOCALE_DATE or not kinds & {"date", "elapsed"}:
        return str(value).removesuffix(" 00:00:00")
    day = value if isinstance(value, date) else None
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    else:
        clock = value if isinstance(value, (time, datetime)) else time()
        seconds = clock.hour * 3600 + clock.minute * 60 + clock.second + clock.microsecond / 1e6
    return "".join(_date_parts(section, day, seconds))


def _date_parts(section: tuple[_Token, ...], day: date | None, seconds: float) -> list[str]:
    twelve = any(kind == "ampm" for kind, _ in section)
    total = round(seconds)
    parts: list[str] = []
    last = ""
    for index, (kind, text) in enumerate(section):
        code = text.lower()
        if kind == "date":
            following = next(
                (t.lower() for k, t in section[index + 1 :] if k in ("date", "elapsed")), ""
            )
            minutes = code[0] == "m" and len(code) < 3 and (last == "h" or following[:1] == "s")
            parts.append(_date_part(code, day, total, minutes=minutes, twelve=twelve))
            last = code[0]
        elif kind == "elapsed":
            unit = {"h": 3600, "m": 60, "s": 1}[code[0]]
            parts.append(str(total // unit).rjust(len(code), "0"))
            last = code[0]
        elif kind == "ampm":
            parts.append("PM" if total // 3600 % 24 >= 12 else "AM")
        elif kind in ("literal", "other", "digits"):
            parts.append(text if kind != "digits" else "0" * len(text))
    return parts


def _date_part(code: str, day: date | None, total: int, *, minutes: bool, twelve: bool) -> str:
    if code[0] == "h":
        hour = total // 3600 % 24
        return str((hour % 12 or 12) if twelve else hour).rjust(len(code[:2]), "0")
    if code[0] == "s" or minutes:
        amount = total % 60 if code[0] == "s" else total // 60 % 60
        return str(amount).rjust(len(code[:2]), "0")
    if day is None:
        return ""
    if code[0] == "y":
        return f"{day.year:04}" if len(code) > 2 else f"{day.year % 100:02}"
    number, name = (day.day, f"{day:%A}") if code[0] == "d" else (day.month, f"{day:%B}")
    if len(code) <= 2:
        return str(number).rjust(len(code), "0")
    return name[:3] if len(code) == 3 else name[:1] if len(code) == 5 else name
