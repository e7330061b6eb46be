"""Collections: named sets of sources with a profile and settings of their own."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import insert, select, update

from mmsearch.errors import NotFoundError
from mmsearch.stores.database import Database, now
from mmsearch.stores.rows import to_collection
from mmsearch.stores.tables import CollectionRow, LibraryRow
from mmsearch.types import Collection


class CollectionStore(Database):
    """The part of the store that knows the library and its collections."""

    def library_uuid(self) -> str:
        with self._read() as connection:
            found = connection.scalar(select(LibraryRow.uuid))
        if found is not None:
            return str(found)
        with self._write() as connection:
            found = connection.scalar(select(LibraryRow.uuid))
            if found is None:
                found = str(uuid.uuid4())
                connection.execute(insert(LibraryRow).values(id=1, uuid=found, created_at=now()))
        return str(found)

    def collections(self) -> list[Collection]:
        with self._read() as connection:
            rows = connection.execute(select(CollectionRow).order_by(CollectionRow.name))
            return [to_collection(row) for row in rows]

    def collection(self, name: str | None = None) -> Collection:
        """The named one; without a name the only one, or "default". NotFoundError if none."""
        return named_collection(self.collections(), name)

    def ensure_collection(
        self, name: str, profile: str, models: Mapping[str, str] | None = None
    ) -> Collection:
        """The named collection, made with `profile` if it is new, and `models` in place of its."""
        with self._write() as connection:
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
        """Weights of channels for all queries of a collection, in place of those it had."""
        with self._write() as connection:
            own = connection.scalar(
                select(CollectionRow.settings).where(CollectionRow.id == collection_id)
            )
            connection.execute(
                update(CollectionRow)
                .where(CollectionRow.id == collection_id)
                .values(settings={**(own or {}), "weights": dict(weights)})
            )


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
