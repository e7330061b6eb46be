"""Pydantic's account of what is wrong with a request, as the one `QueryError` that is raised."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mmsearch.errors import LimitError, QueryError

_WANTED = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "model": "an object",
    "bytes": "base64",
}
_OUT_OF_RANGE = frozenset(("greater_than_equal", "less_than_equal", "finite_number"))


def query_error(error: ValidationError, model: type[BaseModel], where: str = "") -> QueryError:
    """The first thing that is wrong, unknown fields before all else.

    `where` names the validated object in messages, if it is not the whole query.
    """
    details = error.errors(include_url=False)
    first = next((detail for detail in details if detail["type"] == "extra_forbidden"), details[0])
    return _query_error(first, model, where)


def _query_error(error: ErrorDetails, model: type[BaseModel], where: str) -> QueryError:
    location, kind = error["loc"], error["type"]
    label = _label(location, where)
    parent = _label(location[:-1], where)
    top = str(location[0]) if location else where
    if kind == "extra_forbidden":
        name = str(location[-1])
        known = tuple(_inner(model, location[:-1]).model_fields)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return QueryError(
            f"Unknown field '{name}' in {parent or 'the query'}.{hint} Fields: {', '.join(known)}.",
            param=name,
        )
    if kind == "query":
        return QueryError(error["msg"].replace("{label}", label), param=label)
    if kind == "missing":
        return QueryError(f"{label} is missing.", param=parent)
    if kind == "literal_error":
        known = typing.get_args(
            _inner(model, location[:-1]).model_fields[str(location[-1])].annotation
        )
        return QueryError(
            f"{label} is one of {', '.join(known)}, not {error['input']!r}.", param=top
        )
    if kind in _OUT_OF_RANGE:
        low, high = _bounds(_inner(model, location[:-1]), str(location[-1]))
        return LimitError(f"{label} is from {low} to {high}, not {error['input']!r}.", param=top)
    if kind == "string_too_long":
        most = error["ctx"]["max_length"]
        return LimitError(
            f"{label} has at most {most} characters, not {len(error['input'])}.", param=label
        )
    wanted = _WANTED.get(kind.partition("_")[0])
    message = f"{label} must be {wanted}." if wanted else f"{label}: {error['msg']}."
    return QueryError(message, param=label)


def _inner(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    """The model of the object at a location."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        model = _model_in(inner)
        if model is not None:
            return model
    return None


def _bounds(model: type[BaseModel], name: str) -> tuple[Any, Any]:
    """The smallest and largest value that the schema allows."""
    schema = model.model_json_schema()["properties"][name]
    for part in (schema, *schema.get("anyOf", ())):
        if "minimum" in part:
            return part["minimum"], part["maximum"]
    return "-infinity", "infinity"


def _label(location: Sequence[int | str], where: str) -> str:
    label = where
    for part in location:
        if isinstance(part, int):
            label += f"[{part}]"
        else:
            label += f".{part}" if label else part
    return label
