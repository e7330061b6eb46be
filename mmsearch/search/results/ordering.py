"""Other orders of hits than the best first: by fields, or with diversity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmsearch.query import SortKey
from mmsearch.search.parse.filters import FIELDS, check_field, known_fields
from mmsearch.search.results.similarity import Likeness
from mmsearch.stores.metadata_values import whole_value
from mmsearch.stores.store import SqlStore

SORT_POOL = 1000
"""First-stage candidates per channel that a sorted answer is taken from."""

DIVERSITY_POOL = 10
"""Candidates per hit among which diversity chooses."""


def sort_order(
    store: SqlStore,
    scores: Mapping[int, float],
    keys: Sequence[SortKey],
    metadata_keys: Sequence[str],
) -> list[int]:
    """Segment ids sorted by fields; those without a value come last, ties keep their order.

    `scores` are those of the segments, in the order of relevance. Raises FilterError, which lists
    the fields, for an unknown one.
    """
    order = list(scores)
    for key in reversed(keys):
        check_field(key.field, ["score", *known_fields(metadata_keys)], "sort field")
        values: Mapping[int, Any]
        if key.field == "score":
            values = scores
        else:
            is_column = key.field in FIELDS
            column = FIELDS[key.field].column if is_column else whole_value(key.field)
            values = store.segments.column_values(list(scores), column)
        comparable = {i: _comparable(values.get(i), last=key.descending) for i in order}
        with_value = [i for i in order if comparable[i] is not None]
        with_value.sort(key=lambda i, c=comparable: c[i], reverse=key.descending)  # type: ignore[misc]
        order = with_value + [i for i in order if comparable[i] is None]
    return order


def diverse_order(
    scores: Mapping[int, float],
    shown: Sequence[int],
    likeness: Likeness,
    *,
    diversity: float,
    limit: int,
) -> list[int]:
    """Segment ids by maximal marginal relevance (Carbonell and Goldstein, 1998).

    `scores` come best first. `shown`, from earlier pages, count as chosen already. The first
    `limit` are chosen; the others follow by relevance.
    """
    if not scores:
        return []
    ids = list(scores)
    values = np.array(list(scores.values()))
    relevance = (values - values.min()) / (float(np.ptp(values)) or 1.0)
    nearest = np.zeros(len(ids))
    for segment in shown:
        nearest = np.maximum(nearest, likeness.of(segment, ids))
    remaining = list(range(len(ids)))
    order: list[int] = []
    while remaining and len(order) < limit:
        gain = (1 - diversity) * relevance[remaining] - diversity * nearest[remaining]
        best = remaining.pop(int(np.argmax(gain)))
        order.append(best)
        nearest = np.maximum(nearest, likeness.of(ids[best], ids))
    return [ids[i] for i in [*order, *remaining]]


def _comparable(value: Any, *, last: bool) -> tuple[int, Any] | None:
    """Something that sorts whatever the type; None for no value.

    Of a list the first value in the wanted order counts; numbers come before texts.
    """
    if isinstance(value, list):
        each = [item for entry in value if (item := _comparable(entry, last=last)) is not None]
        return (max(each) if last else min(each)) if each else None
    if isinstance(value, bool | int | float):
        return (0, float(value))
    if isinstance(value, str):
        return (1, value)
    # Times of the library's own fields; objects have no order.
    return (2, value) if value is not None and not isinstance(value, dict) else None
