"""JSON, JSON Lines and Jupyter notebooks as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mmsearch.media.formats.encodings import without_invisible


def readable_json(text: str) -> str:
    """ "name: value" lines, a notebook's cells; the text itself where it is not valid JSON."""
    try:
        value = json.loads(text)
        if _is_notebook(value):
            return _notebook(value)
        records = value if isinstance(value, list) else [value]
    except (ValueError, RecursionError):
        try:
            records = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            return text
    try:
        return "\n\n".join("\n".join(leaves(record, "")) for record in records)
    except RecursionError:
        return text


def leaves(value: Any, name: str) -> Iterator[str]:
    """The values of a JSON value that are not lists or objects, each with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        if value and all(isinstance(item, (str, int, float)) for item in value):
            joined = ", ".join(str(item) for item in value)
            yield f"{name}: {joined}" if name else joined
        else:
            for item in value:
                yield from leaves(item, name)
    elif value is not None and value != "":
        clean = without_invisible(str(value))
        yield f"{name}: {clean}" if name else clean


def _is_notebook(value: Any) -> bool:
    return isinstance(value, dict) and "nbformat" in value and (
        isinstance(value.get("cells"), list) or isinstance(value.get("worksheets"), list)
    )  # fmt: skip


def _notebook(value: dict[str, Any]) -> str:
    """What is written in the cells, and what they printed (nbformat 3 and 4)."""
    sheets = [sheet for sheet in value.get("worksheets") or () if isinstance(sheet, dict)]
    cells = value.get("cells") or [cell for sheet in sheets for cell in sheet.get("cells") or ()]
    parts: list[str] = []
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        parts.append(_joined(cell.get("source", cell.get("input", ""))))
        for output in cell.get("outputs") or ():
            if isinstance(output, dict):
                parts += _printed(output)
    return "\n\n".join(filter(None, (without_invisible(part).strip() for part in parts)))


def _printed(output: dict[str, Any]) -> Iterator[str]:
    yield _joined(output.get("text", ""))
    data = output.get("data")
    if isinstance(data, dict):
        # The same result in several forms: the plain one is there always.
        for kind in ("text/markdown", "text/plain"):
            if kind in data:
                yield _joined(data[kind])
                break
    if output.get("output_type") in ("error", "pyerr"):
        yield f"{output.get('ename', '')}: {output.get('evalue', '')}"


def _joined(lines: Any) -> str:
    if isinstance(lines, list):
        return "".join(map(str, lines))
    return lines if isinstance(lines, str) else ""
