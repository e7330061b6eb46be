"""Collections: named sets of sources, each with a profile and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import insert, select, update

from mmsearch.errors import NotFoundError
from mmsearch.stores.database import Database, now
from mmsearch.stores.rows import to_collection
from mmsearch.stores.tables import CollectionRow
from mmsearch.types import Collection


class CollectionStore:
    """The table `collections`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str | None = None) -> Collection:
        """The named one; without a name the only one, or "default". NotFoundError if none."""
        return named_collection(self.list(), name)

    def get_or_create(
        self, name: str, profile: str, models: Mapping[str, str] | None = None
    ) -> Collection:
        """The named collection. A new one gets `profile`, with `models` in place of its own."""
        with self._database.write() as connection:
            row = connection.execute(
                select(CollectionRow).where(CollectionRow.name == name)
            ).one_or_none()
            if row is not None:
                return to_collection(row)
            new = connection.scalar(
                insert(CollectionRow)
                .values(
                    name=name,
                    profile=profile,
                    created_at=now(),
                    settings={"models": dict(models)} if models else {},
                )
                .returning(CollectionRow.id)
            )
            assert new is not None
            return Collection(new, name, profile, tuple(sorted((models or {}).items())))

    def set_weights(self, collection_id: int, weights: Mapping[str, float]) -> None:
        """Replace the channel weights that all queries of a collection use."""
        with self._database.write() as connection:
            settings = connection.scalar(
                select(CollectionRow.settings).where(CollectionRow.id == collection_id)
            )
            connection.execute(
                update(CollectionRow)
                .where(CollectionRow.id == collection_id)
                .values(settings={**(settings or {}), "weights": dict(weights)})
            )

    def list(self) -> list[Collection]:
        """All collections, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(CollectionRow).order_by(CollectionRow.name))
            return [to_collection(row) for row in rows]


def named_collection(collections: Sequence[Collection], name: str | None = None) -> Collection:
    """The named one; without a name the only one, or "default". NotFoundError if none."""
    if name is None and len(collections) == 1:
        return collections[0]
    for collection in collections:
        if collection.name == (name or "default"):
            return collection
    known = ", ".join(repr(c.name) for c in collections) or "none yet: index something first"
    raise NotFoundError(
        f"there is no collection '{name or 'default'}' in this library (collections: {known})",
        param="collection",
    )
