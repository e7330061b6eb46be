"""Markdown: what its front matter says, and its title."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from mmsearch.media.formats.exif import clean
from mmsearch.media.formats.records import leaves

_FRONT_MATTER = re.compile(
    r"\s*(?:---[ \t]*\n(.*?)\n(?:---|\.\.\.)|\+\+\+[ \t]*\n(.*?)\n\+\+\+)[ \t]*(?:\n|$)", re.DOTALL
)
_MAX_FRONT_MATTER = 2**16
_MAX_ITEMS = 200
_KEYS = {
    "title": "title", "author": "author", "authors": "author", "description": "description",
    "summary": "description", "lang": "language", "language": "language", "date": "date",
    "created": "date", "published": "date",
}  # fmt: skip
_LISTS = {
    "tags": "tags", "tag": "tags", "keywords": "tags", "categories": "categories",
    "category": "categories", "aliases": "aliases", "alias": "aliases",
}  # fmt: skip
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}#[ \t]+(.+?)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}=+[ \t]*$")


def read(text: str) -> tuple[str, dict[str, Any]]:
    """(text, metadata): title, date, author, description, language, tags, categories, aliases.

    Front matter (YAML between "---", TOML between "+++") becomes metadata, and "name: value"
    lines at the beginning of the text.
    """
    metadata: dict[str, Any] = {}
    match = _FRONT_MATTER.match(text[:_MAX_FRONT_MATTER])
    if match:
        fields = _yaml(match[1]) if match[1] is not None else _toml(match[2])
        if fields is not None:
            metadata = _metadata(fields)
            body = text[match.end() :]
            if "title" not in metadata:
                metadata |= _title(body)
            return "\n".join(leaves(_plain(fields), "")) + "\n\n" + body.lstrip("\n"), metadata
    return text, _title(text)


def _title(text: str) -> dict[str, Any]:
    """The first heading of the first level, outside of blocks of code."""
    fence = ""
    before: str | None = None
    first = True
    for line in text[:10_000].split("\n"):
        marks = _FENCE.match(line)
        if fence:
            if marks and marks[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if marks:
            fence = marks[1]
            continue
        heading = _HEADING.match(line)
        if heading:
            return {"title": clean(heading[1])[:500]}
        if before is not None and _UNDERLINE.match(line):
            return {"title": clean(before)[:500]}
        if line.strip():
            # Further down, such lines separate rather than underline.
            before = line if first else None
            first = False
    return {}


def _yaml(text: str) -> dict[str, Any] | None:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped
        """Without aliases: a few lines of them stand for billions of values."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not read")
            return super().compose_node(parent, index)

    try:
        fields = yaml.load(text, Loader)  # noqa: S506  # a safe loader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        fields = dict(_lines(text))
    return fields if isinstance(fields, dict) and fields else None


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """ "name: value" lines of what is no valid YAML (a colon in an unquoted title)."""
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if colon and re.fullmatch(r"[A-Za-z_][\w -]{0,40}", name) and value.strip():
            yield name, value.strip().strip("\"'")


def _toml(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text) or None
    except (tomllib.TOMLDecodeError, RecursionError):
        return dict(_lines(text.replace("=", ":"))) or None


def _metadata(fields: dict[Any, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for name, value in fields.items():
        key = str(name).strip().lower()
        if key in _LISTS:
            items = _items(value)
            if items:
                metadata.setdefault(_LISTS[key], items)
        elif key in _KEYS:
            values = value if isinstance(value, list) else [value]
            text = clean(", ".join(map(_scalar, values[:_MAX_ITEMS])))
            if text:
                metadata.setdefault(_KEYS[key], text)
    return metadata


def _items(value: Any) -> list[str]:
    """Of a list, or of text with commas or (as in Obsidian, with "#") spaces between them."""
    if isinstance(value, str):
        value = value.split(",") if "," in value else value.split()
    values = value if isinstance(value, list) else [value]
    texts = (clean(_scalar(item)).lstrip("#") for item in values[:_MAX_ITEMS])
    return [text for text in texts if text]


def _scalar(value: Any) -> str:
    if isinstance(value, dict):
        return _scalar(value.get("name", ""))
    if isinstance(value, datetime) and not (value.hour or value.minute or value.second):
        value = value.date()
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return (
        value if isinstance(value, (int, float)) and not isinstance(value, bool) else _scalar(value)
    )
