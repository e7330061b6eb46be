"""Collections: named sets of sources, each with a profile and settings."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from mmsearch.errors import ConflictError, NotFoundError, QueryError
from mmsearch.stores.change_log import ChangeLog
from mmsearch.stores.database import Database, now
from mmsearch.stores.rows import to_collection
from mmsearch.stores.tables import CollectionRow, RunRow, SegmentRow, SourceRow
from mmsearch.types import Collection

MAX_NAME = 100
ALIVE_SECONDS = 300.0
"""A run that has not reported for so long was killed."""


def check_name(name: str) -> str:
    """The name of a collection in NFC, without surrounding spaces.

    Raises QueryError for a name that is empty, too long, not printable, or begins or ends with a
    slash.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise QueryError(
            f"The name of a collection has 1 to {MAX_NAME} printable characters.",
            param="collection",
        )
    if name.startswith(("/", "\\")) or name.endswith(("/", "\\")):
        raise QueryError(
            "The name of a collection neither begins nor ends with a slash.", param="collection"
        )
    return name


class CollectionStore:
    """The table `collections`."""

    def __init__(self, database: Database, changes: ChangeLog) -> None:
        self._database = database
        self._changes = changes

    def get(self, name: str | None = None) -> Collection:
        """The named one; without a name the only one, or "default". NotFoundError if none."""
        return named_collection(self.list(), name)

    def get_or_create(
        self, name: str, profile: str, models: Mapping[str, str] | None = None
    ) -> Collection:
        """The named collection. A new one gets `profile`, with `models` in place of its own.

        QueryError for a new one whose name is not allowed (`check_name`).
        """
        with self._database.write() as connection:
            rows = {row.name: row for row in connection.execute(select(CollectionRow))}
            row = rows.get(name) or rows.get(name := check_name(name))
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

    def rename(self, name: str, new_name: str) -> None:
        """Give a collection another name. NotFoundError, QueryError, ConflictError."""
        new_name = check_name(new_name)
        with self._database.write() as connection:
            collection_id = _existing(connection, name)
            taken = connection.scalar(
                select(CollectionRow.id).where(CollectionRow.name == new_name)
            )
            if taken not in {None, collection_id}:
                raise ConflictError(
                    f"there is a collection '{new_name}' already", param="collection"
                )
            connection.execute(
                update(CollectionRow).where(CollectionRow.id == collection_id).values(name=new_name)
            )

    def count_sources(self, name: str) -> int:
        """How many sources a collection has. NotFoundError."""
        with self._database.read() as connection:
            query = select(func.count()).where(
                SourceRow.collection_id == _existing(connection, name)
            )
            return int(connection.scalar(query) or 0)

    def remove(self, name: str) -> None:
        """Delete a collection with its sources, segments, vectors, jobs and settings.

        Files stay. NotFoundError; ConflictError while a run or job works on it.
        """
        with self._database.write() as connection:
            collection_id = _existing(connection, name)
            running = select(RunRow.id).where(
                RunRow.collection_id == collection_id,
                RunRow.state == "running",
                RunRow.heartbeat_at > now() - timedelta(seconds=ALIVE_SECONDS),
            )
            if connection.scalar(running.limit(1)) is not None:
                raise ConflictError(
                    f"collection '{name}' is being indexed: wait, or cancel its job "
                    "(mmsearch jobs cancel)",
                    param="collection",
                )
            segments: dict[int, list[int]] = {}
            for source_id, segment_id in connection.execute(
                select(SegmentRow.source_id, SegmentRow.id)
                .join(SourceRow, SourceRow.id == SegmentRow.source_id)
                .where(SourceRow.collection_id == collection_id)
            ):
                segments.setdefault(source_id, []).append(segment_id)
            for source_id, ids in segments.items():
                self._changes.append(connection, collection_id, source_id, "remove", ids)
            if not segments:
                # Whoever follows the log must see that the collection's spaces are gone.
                self._changes.append(connection, collection_id, 0, "remove", [])
            connection.execute(delete(CollectionRow).where(CollectionRow.id == collection_id))

    def list(self) -> list[Collection]:
        """All collections, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(CollectionRow).order_by(CollectionRow.name))
            return [to_collection(row) for row in rows]


def _existing(connection: Connection, name: str) -> int:
    """The id of the collection of this name. NotFoundError."""
    found = connection.execute(select(CollectionRow).order_by(CollectionRow.name)).all()
    return named_collection([to_collection(row) for row in found], name).id


def named_collection(collections: Sequence[Collection], name: str | None = None) -> Collection:
    """The named one; without a name the only one, or "default". NotFoundError if none."""
    if name is None and len(collections) == 1:
        return collections[0]
    wanted = name or "default"
    # Keyboards and file systems spell the same letters in two ways; new names are in NFC.
    for spelling in (wanted, unicodedata.normalize("NFC", wanted)):
        for collection in collections:
            if collection.name == spelling:
                return collection
    known = ", ".join(repr(c.name) for c in collections) or "none yet: index something first"
    raise NotFoundError(
        f"there is no collection '{name or 'default'}' in this library (collections: {known})",
        param="collection",
    )
