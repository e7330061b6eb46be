"""Calendars (iCalendar, RFC 5545) and contacts (vCard 2.1, 3.0 and 4.0, RFC 6350) as text.

Both are lines "name;parameter=value:value", folded where they are long. They are read here
leniently, since vCard 2.1 keeps to neither RFC.
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_FOLD = re.compile(r"\r?\n[ \t]")
_NAME = re.compile(
    r"(?:[A-Za-z0-9-]+\.)?([A-Za-z0-9-]+)((?:;(?:[^\":;]|\"[^\"]*\")*)*):", re.DOTALL
)
_PARAMETER = re.compile(r";([A-Za-z0-9-]+)(?:=((?:[^\";]|\"[^\"]*\")*))?")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_TIME = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:T(\d\d):?(\d\d)(?::?\d\d)?(Z)?)?")
_MAX_LINES = 500_000
_MAX_BINARY = 1000

_EVENT = {
    "SUMMARY": "Event", "DTSTART": "Start", "DTEND": "End", "DUE": "Due", "LOCATION": "Location",
    "ORGANIZER": "Organizer", "ATTENDEE": "Attendee", "CATEGORIES": "Categories",
    "STATUS": "Status", "URL": "Link", "CONTACT": "Contact", "COMMENT": "Comment",
    "DESCRIPTION": "Description",
}  # fmt: skip
_CARD = {
    "FN": "Name", "NICKNAME": "Nickname", "ORG": "Organization", "TITLE": "Title", "ROLE": "Role",
    "EMAIL": "Email", "TEL": "Phone", "ADR": "Address", "BDAY": "Birthday", "URL": "Link",
    "CATEGORIES": "Categories", "RELATED": "Related", "NOTE": "Note",
}  # fmt: skip
_ENTRIES = ("VEVENT", "VTODO", "VJOURNAL", "VCARD")
"""The components that are read."""


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    parameters: dict[str, str]
    value: str


def is_calendar(text: str) -> bool:
    """Whether `text` begins as a calendar or a contact does."""
    return bool(re.match(r"\s*BEGIN:(VCALENDAR|VCARD)\s*\n", text, re.IGNORECASE))


def read(text: str) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of a calendar or contacts: a paragraph for each entry; "title" where
    there is only one, or where the calendar has a name."""
    metadata: dict[str, Any] = {}
    paragraphs: list[str] = []
    titles: list[str] = []
    # Components stand inside of others: an alarm inside of an event.
    open_components: list[tuple[str, list[_Line]]] = []
    for line in _lines(text):
        if line.name == "BEGIN":
            open_components.append((line.value.strip().upper(), []))
        elif line.name == "END" and open_components:
            component, lines = open_components.pop()
            if component in _ENTRIES:
                paragraph, title = _paragraph(lines, _CARD if component == "VCARD" else _EVENT)
                paragraphs.append(paragraph)
                titles.append(title)
        elif line.name == "X-WR-CALNAME":
            metadata["title"] = _unescaped(line.value)[:500]
        elif open_components:
            open_components[-1][1].append(line)
    for component, lines in open_components:  # cut off
        if component in _ENTRIES:
            paragraphs.append(_paragraph(lines, _CARD if component == "VCARD" else _EVENT)[0])
    if len(titles) == 1 and titles[0]:
        metadata.setdefault("title", titles[0][:500])
    return "\n\n".join(filter(None, paragraphs)), metadata


def _lines(text: str) -> Iterator[_Line]:
    text = _FOLD.sub("", text)
    pending = ""
    for number, raw in enumerate(text.split("\n")):
        if number >= _MAX_LINES:
            return
        line = pending + raw.rstrip("\r")
        pending = ""
        match = _NAME.match(line)
        if match is None:
            continue
        parameters = {
            name.upper(): (value or "").strip('"') for name, value in _PARAMETER.findall(match[2])
        }
        encoding = parameters.get("ENCODING", "")
        quoted = "QUOTED-PRINTABLE" in parameters or encoding.upper() == "QUOTED-PRINTABLE"
        if quoted and line.endswith("="):
            pending = line[:-1]  # vCard 2.1 folds so
            continue
        value = line[match.end() :]
        if quoted:
            value = _quoted(value, parameters.get("CHARSET", "utf-8"))
        yield _Line(match[1].upper(), parameters, value)


def _quoted(value: str, charset: str) -> str:
    content = quopri.decodestring(value.encode("utf-8", "replace"))
    with suppress(LookupError, UnicodeDecodeError, ValueError):
        return content.decode(charset)
    return content.decode("utf-8", "replace")


def _paragraph(lines: Sequence[_Line], labels: dict[str, str]) -> tuple[str, str]:
    """(one entry as "label: value" lines, its title)."""
    values: dict[str, list[str]] = {}
    for line in lines:
        binary = line.parameters.get("ENCODING", "").upper() in ("B", "BASE64")
        if line.name in labels and not (binary and len(line.value) > _MAX_BINARY):
            value = _shown(line)
            if value:
                values.setdefault(line.name, []).append(value)
    if "FN" in labels and "FN" not in values:
        for line in lines:
            if line.name == "N":
                last, first, *rest = [*_fields(line.value), "", ""]
                values["FN"] = [" ".join(filter(None, (first, *rest[:1], last)))]
    title = next((values[name][0] for name in ("SUMMARY", "FN", "ORG") if name in values), "")
    shown = (
        f"{label}: {', '.join(values[name])}" for name, label in labels.items() if name in values
    )
    return "\n".join(shown), title


def _shown(line: _Line) -> str:
    value = line.value
    if line.name in ("ADR", "ORG", "CATEGORIES"):
        separator = "," if line.name == "CATEGORIES" else ";"
        return ", ".join(filter(None, _fields(value, separator)))
    value = _unescaped(value).strip()
    if line.name in ("DTSTART", "DTEND", "DUE"):
        return _moment(value, line.parameters.get("TZID", ""))
    if line.name in ("ORGANIZER", "ATTENDEE", "EMAIL", "TEL"):
        value = re.sub(r"^(mailto|tel):", "", value, flags=re.IGNORECASE)
        name = line.parameters.get("CN", "")
        return f"{name} <{value}>" if name and name != value else value
    return value


def _moment(value: str, zone: str) -> str:
    match = _TIME.match(value)
    if match is None:
        return value
    year, month, day, hour, minute, utc = match.groups()
    time = f" {hour}:{minute}" if hour else ""
    return f"{year}-{month}-{day}{time}" + (" UTC" if utc else f" {zone}" if time and zone else "")


def _fields(value: str, separator: str = ";") -> list[str]:
    parts = re.split(rf"(?<!\\){separator}", value)
    return [_unescaped(part).strip() for part in parts]


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)
