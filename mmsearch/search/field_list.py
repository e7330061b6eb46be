"""The fields that filters, sort and facets may name in a library, and what is known of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mmsearch.search.parse.fields import WELL_KNOWN, FieldType
from mmsearch.search.parse.filters import FIELDS, OPERATORS, Field, known_fields
from mmsearch.stores.source_values import value_kinds
from mmsearch.stores.store import SqlStore
from mmsearch.types import Collection

SAMPLE = 1000
"""Values of a field that are read."""


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """A field, as `GET /v1/fields` describes it."""

    name: str
    type: FieldType
    description: str
    operators: tuple[str, ...]
    has_values: bool
    """Whether any source has it; always true of built-in fields."""
    sampled: int
    """Values that were counted, at most `SAMPLE` a collection; 0 of built-in fields."""


def list_fields(store: SqlStore, collections: Sequence[Collection]) -> list[FieldInfo]:
    """Every built-in and well-known field, and the other metadata keys of the collections."""
    keys = {c.id: frozenset(store.sources.metadata_keys(c.id)) for c in collections}
    fields: list[FieldInfo] = []
    for name in known_fields(frozenset().union(*keys.values())):
        if name in FIELDS:
            fields.append(_built_in(name, FIELDS[name]))
            continue
        kinds: Counter[str] = Counter()
        with store.database.read() as connection:
            for collection_id, its_keys in keys.items():
                if name in its_keys:
                    kinds.update(value_kinds(connection, collection_id, name, SAMPLE))
        known = WELL_KNOWN.get(name)
        values = sum(kinds[kind] for kind in ("text", "number", "bool"))
        fields.append(
            FieldInfo(
                name,
                known.type if known else _type_of(kinds),
                known.description if known else "A key of the sources' metadata.",
                OPERATORS,
                values > 0,
                values,
            )
        )
    return fields


def _built_in(name: str, field: Field) -> FieldInfo:
    is_text = field.text is not None
    operators = tuple(op for op in OPERATORS if is_text or op != "like")
    kind: FieldType = "date" if field.is_moment else "text" if is_text else "number"
    if name == "modality":
        kind = "text"
    return FieldInfo(name, kind, f"Built in; takes {field.wants}.", operators, True, 0)


def _type_of(kinds: Counter[str]) -> FieldType:
    """The type of most values; dates are texts that have times beside them."""
    if kinds["text"] and kinds["time"] + kinds["local"] >= kinds["text"]:
        return "date"
    if kinds["number"] > max(kinds["text"], kinds["bool"]):
        return "number"
    return "boolean" if kinds["bool"] > kinds["text"] else "text"
