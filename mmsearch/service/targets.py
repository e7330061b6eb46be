"""The collection that uploads and jobs are for: an existing one, or one that is made on purpose."""

from __future__ import annotations

from mmsearch.errors import NotFoundError, QueryError
from mmsearch.stores.collections import check_name
from mmsearch.stores.store import SqlStore

TRUE, FALSE = frozenset({"true", "1", "yes"}), frozenset({"", "false", "0", "no"})


def target_collection(store: SqlStore, name: str | None, *, create: bool) -> str | None:
    """The collection's name as it is stored; None for the default one.

    Raises QueryError for a name that no collection can have, NotFoundError for an unknown one
    unless `create`.
    """
    if name is None:
        return None
    name = check_name(name)
    known = [collection.name for collection in store.collections.list()]
    if name not in known and not create:
        listed = ", ".join(map(repr, known)) or "none yet"
        raise NotFoundError(
            f"there is no collection '{name}' in this library (collections: {listed}). "
            "To make it, send `create` with the value true.",
            param="collection",
        )
    return name


def read_flag(text: str, name: str) -> bool:
    """A flag of a form or of tus metadata. QueryError if it is neither true nor false."""
    value = text.strip().lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise QueryError(f"{name} is true or false, not '{text[:40]}'.", param=name)
