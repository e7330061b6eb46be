"""A file of one JSON object in each line, with its place in errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from mmsearch.errors import QueryError


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file:line", object) for each line that is not empty. Raises QueryError."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            where = f"{path.name}:{number}"
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise QueryError(f"{where} is not JSON: {error}", param="dataset") from None
            if not isinstance(row, dict):
                raise QueryError(f"{where} must be a JSON object", param="dataset")
            yield where, row


def text(row: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    """A string of the object; ids may be numbers. Raises QueryError."""
    value = row.get(key, default)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise QueryError(f"{where}: '{key}' must be a string", param="dataset")
    return value
