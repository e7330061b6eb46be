"""How the values of a request are read: base64, channels' weights, fields to sort by and so on.

Each reader takes the JSON value or the value itself, so that a `Query` can be checked, too. What is
wrong is raised with the name of the field in it (see `mmsearch.search.parse.problems`).
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictStr
from pydantic_core import PydanticCustomError

from mmsearch.errors import LimitError, QueryError
from mmsearch.query import SortKey
from mmsearch.types import Modality

MAX_WEIGHT = 10
MAX_TERM_WEIGHT = 100
"""Of a term, in either direction."""
MAX_TEXT = 4000
"""Characters of one text of a query."""
MAX_SORT_KEYS = 8

FOLD_COSINE = 0.95
"""What `"fold": true` takes for the same: pictures sent on, made smaller or saved anew are mostly
above it, and different ones of like subjects below (measured: docs/queries.md)."""


def wrong(message: str) -> PydanticCustomError:
    """An error whose `{label}` becomes the name of the field."""
    return PydanticCustomError("query", message)


def check_characters(value: Any, name: str = "query") -> None:
    """Raise QueryError for a string in a JSON value, or key of it, that no database stores.

    These are strings with NUL or with half of a surrogate pair. `name` is the field in the error.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "\0" in item or any("\ud800" <= character <= "\udfff" for character in item):
                raise QueryError(
                    f"{name} is not valid Unicode text: it has a NUL or half a surrogate pair.",
                    param=name,
                )
        elif isinstance(item, Mapping):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            waiting += item


def check_text(text: str, name: str) -> None:
    """Raise LimitError for a text of a query that is too long, QueryError for its characters."""
    if len(text) > MAX_TEXT:
        raise LimitError(f"{name} has at most {MAX_TEXT} characters, not {len(text)}.", param=name)
    check_characters(text, name)


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise wrong("{label} is not base64.") from None


def _strings(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise wrong("{label} must be a list of strings.")
    if not all(isinstance(text, str) and text.strip() for text in value):
        raise wrong("{label} must be a list of strings that are not blank.")
    return tuple(value)


def _texts(value: Any) -> Any:
    texts = _strings([value] if isinstance(value, str) else value)
    if any(len(text) > MAX_TEXT for text in texts):
        raise wrong(f"{{label}} has at most {MAX_TEXT} characters in each text.")
    return texts


def _modalities(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise wrong("{label} must be a list.")
    try:
        return tuple(Modality(name) for name in value)
    except ValueError:
        known = ", ".join(Modality)
        names = repr(list(value)).replace("{", "(")
        raise wrong(f"Unknown modality in {names}. Modalities: {known}.") from None


def _object(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise wrong("{label} must be an object.")
    return dict(value)


def _vector(value: Any) -> Any:
    if not isinstance(value, list | tuple) or not all(
        isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in value
    ):
        raise wrong("{label} must be a list of finite numbers.")
    return tuple(float(x) for x in value)


def _sort_keys(value: Any) -> Any:
    if not isinstance(value, list | tuple | str | Mapping | SortKey):
        raise wrong("{label} must be a list of fields.")
    several = isinstance(value, list | tuple)
    keys: list[SortKey] = []
    for n, one in enumerate(list(value) if isinstance(value, list | tuple) else [value]):
        if isinstance(one, SortKey):
            keys.append(one)
        elif isinstance(one, str) and one.removeprefix("-"):
            keys.append(SortKey(one.removeprefix("-"), one.startswith("-")))
        elif isinstance(one, Mapping) and one and all(v in ("asc", "desc") for v in one.values()):
            keys += [SortKey(str(name), order == "desc") for name, order in one.items()]
        else:
            where = f"sort[{n}]" if several else "sort"
            raise QueryError(f'{where} must be like {{"taken_at": "desc"}}.', param=where)
    if len(keys) > MAX_SORT_KEYS:
        raise LimitError(f"At most {MAX_SORT_KEYS} fields to sort by.", param="sort")
    return tuple(keys)


def _cosine(value: Any) -> Any:
    if isinstance(value, bool):
        return FOLD_COSINE if value else None
    if not isinstance(value, int | float):
        raise wrong("{label} must be true, false or a number.")
    return value


def check_weight(name: str, weight: Any) -> None:
    """Raise LimitError unless it can be the weight of a channel, QueryError for its name."""
    space, colon, modality = name.partition(":")
    if not space or (colon and modality not in set(Modality)):
        raise QueryError(
            f"'{name}' is no channel. A channel is a space (clip, text, sound, lexical), or a "
            f"space and one of {', '.join(Modality)} after a colon.",
            param="weights",
        )
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 <= weight <= MAX_WEIGHT:
        raise LimitError(
            f"The weight of a channel is from 0 to {MAX_WEIGHT}, not {weight!r}.", param="weights"
        )


def _weights(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise wrong("{label} must be an object.")
    for name, weight in value.items():
        check_weight(name, weight)
    return dict(value)


Text = Annotated[StrictStr, Field(max_length=MAX_TEXT)]
"""Words of a query."""
Content = Annotated[bytes, BeforeValidator(_decoded, json_schema_input_type=str)]
"""Base64 in JSON. Bytes pass as they are."""
Strings = Annotated[tuple[str, ...], BeforeValidator(_strings, json_schema_input_type=list[str])]
Modalities = Annotated[
    tuple[Modality, ...], BeforeValidator(_modalities, json_schema_input_type=list[Modality])
]
Object = Annotated[dict[str, Any], BeforeValidator(_object, json_schema_input_type=dict[str, Any])]
Vector = Annotated[tuple[float, ...], BeforeValidator(_vector, json_schema_input_type=list[float])]
OneOrMore = Annotated[
    tuple[str, ...],
    BeforeValidator(
        _texts,
        json_schema_input_type=Annotated[str, Field(max_length=MAX_TEXT)]
        | list[Annotated[str, Field(max_length=MAX_TEXT)]],
    ),
]
SortKeys = Annotated[
    tuple[SortKey, ...],
    BeforeValidator(
        _sort_keys, json_schema_input_type=list[str | dict[str, Literal["asc", "desc"]]]
    ),
]
Weights = Annotated[
    dict[str, float],
    BeforeValidator(
        _weights, json_schema_input_type=dict[str, Annotated[float, Field(ge=0, le=MAX_WEIGHT)]]
    ),
]
Cosine = Annotated[
    Annotated[float, Field(strict=True, ge=0, le=1)] | None,
    BeforeValidator(_cosine, json_schema_input_type=bool | Annotated[float, Field(ge=0, le=1)]),
]
