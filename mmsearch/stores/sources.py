"""Sources: the files and records of a library, written with their segments and vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from mmsearch.errors import LibraryBusyError, NotFoundError
from mmsearch.stores.change_log import ChangeLog
from mmsearch.stores.collections import CollectionStore
from mmsearch.stores.database import Database, now
from mmsearch.stores.lexical.rows import add_words, rename_words, write_all_words
from mmsearch.stores.rows import (
    IN_CHUNK,
    KNOWN_FILE,
    SEGMENTS,
    SOURCES,
    KnownFile,
    SourceWrite,
    chunks,
    little_endian,
    object_of,
    segment_values,
    to_draft,
    to_source,
    usable,
)
from mmsearch.stores.source_values import write_all_values, write_values
from mmsearch.stores.tables import SegmentRow, SourceRow, SpaceRow, VectorRow
from mmsearch.types import Failure, Metadata, SegmentDraft, Source, SourceFile


class SourceStore:
    """The table `sources`, and all that is written with a source."""

    def __init__(
        self, database: Database, collections: CollectionStore, changes: ChangeLog
    ) -> None:
        self._database = database
        self._collections = collections
        self._changes = changes

    # ------------------------------------------------------------------ writing

    def write(self, collection_id: int, writes: Sequence[SourceWrite]) -> list[int]:
        """Add or replace sources with their segments and vectors; returns their ids.

        LibraryBusyError if the collection was switched to other models meanwhile.
        """
        with self._database.write() as connection:
            _check_writable(connection, sorted({i for write in writes for i in write.vectors}))
            return [self._write(connection, collection_id, write) for write in writes]

    def _write(self, connection: Connection, collection_id: int, write: SourceWrite) -> int:
        values = {
            "path": write.file.path,
            "sha256": write.sha256,
            "size": write.file.size,
            "mtime_ns": write.file.mtime_ns,
            "mime": write.mime,
            "recipe": write.recipe,
            "status": "failed" if write.failure else "indexed",
            "failure_code": write.failure.code if write.failure else None,
            "failure_reason": write.failure.reason if write.failure else None,
            "metadata": dict(write.metadata),
            "indexed_at": now(),
        }
        source_id = connection.scalar(
            select(SourceRow.id).where(
                SourceRow.collection_id == collection_id, SourceRow.uri == write.file.uri
            )
        )
        if source_id is None:
            source_id = connection.scalar(
                insert(SOURCES)
                .values(collection_id=collection_id, uri=write.file.uri, **values)
                .returning(SOURCES.c.id)
            )
            assert source_id is not None
        else:
            self._drop_segments(connection, collection_id, source_id)
            connection.execute(update(SOURCES).where(SOURCES.c.id == source_id).values(**values))
        write_values(connection, source_id, write.metadata)
        if write.segments:
            self._add_segments(connection, collection_id, source_id, write)
        return int(source_id)

    def _add_segments(
        self, connection: Connection, collection_id: int, source_id: int, write: SourceWrite
    ) -> None:
        ids = list(
            connection.scalars(
                insert(SEGMENTS).returning(SEGMENTS.c.id, sort_by_parameter_order=True),
                [
                    segment_values(source_id, ordinal, draft)
                    for ordinal, draft in enumerate(write.segments)
                ],
            )
        )
        rows = [
            {"space_id": space_id, "segment_id": ids[ordinal], "data": vector.tobytes()}
            for space_id, (ordinals, vectors) in write.vectors.items()
            for ordinal, vector in zip(ordinals.tolist(), little_endian(vectors), strict=True)
        ]
        if rows:
            connection.execute(insert(VectorRow), rows)
        add_words(
            connection,
            collection_id,
            write.file.path,
            write.metadata,
            [(i, d.modality.value, d.text) for i, d in zip(ids, write.segments, strict=True)],
        )
        self._changes.append(connection, collection_id, source_id, "add", ids)

    def _drop_segments(self, connection: Connection, collection_id: int, source_id: int) -> None:
        ids = list(
            connection.scalars(select(SegmentRow.id).where(SegmentRow.source_id == source_id))
        )
        if ids:
            connection.execute(delete(SegmentRow).where(SegmentRow.source_id == source_id))
            self._changes.append(connection, collection_id, source_id, "remove", ids)

    def update_recipes(self, recipes: Mapping[int, str]) -> None:
        """Record other recipes for sources, by id; their segments stay."""
        with self._database.write() as connection:
            for source_id, recipe in recipes.items():
                connection.execute(
                    update(SourceRow).where(SourceRow.id == source_id).values(recipe=recipe)
                )

    def move(self, source_id: int, file: SourceFile) -> None:
        """Record that the same content has another name, or was saved again.

        A source that had this name before is replaced by the moved one.
        """
        with self._database.write() as connection:
            collection_id = connection.scalar(
                select(SourceRow.collection_id).where(SourceRow.id == source_id)
            )
            overwritten = connection.scalar(
                select(SourceRow.id).where(
                    SourceRow.collection_id == collection_id,
                    SourceRow.uri == file.uri,
                    SourceRow.id != source_id,
                )
            )
            if collection_id is not None and overwritten is not None:
                self._delete(connection, collection_id, overwritten)
            connection.execute(
                update(SourceRow)
                .where(SourceRow.id == source_id)
                .values(
                    uri=file.uri,
                    path=file.path,
                    size=file.size,
                    mtime_ns=file.mtime_ns,
                    indexed_at=now(),
                )
            )
            rename_words(connection, source_id)

    def rewrite_words(self) -> None:
        """Tokenize all segments again, as this version does, and rebuild the full-text index.

        The values for filters are rewritten from the metadata, too.
        """
        with self._database.write() as connection:
            write_all_values(connection)
            write_all_words(connection)

    def delete(self, ids: Sequence[int]) -> int:
        """Delete sources with their segments, vectors and words; returns how many existed."""
        deleted = 0
        with self._database.write() as connection:
            for source_id in ids:
                collection_id = connection.scalar(
                    select(SourceRow.collection_id).where(SourceRow.id == source_id)
                )
                if collection_id is None:
                    continue
                self._delete(connection, collection_id, source_id)
                deleted += 1
        return deleted

    def _delete(self, connection: Connection, collection_id: int, source_id: int) -> None:
        self._drop_segments(connection, collection_id, source_id)
        connection.execute(delete(SourceRow).where(SourceRow.id == source_id))

    # ------------------------------------------------------------------ reading

    def get(self, source_id: int) -> Source:
        """The source with this id. NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(
                select(SourceRow).where(SourceRow.id == source_id)
            ).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no source {source_id}", param="id")
        return to_source(row)

    def by_uri(self, collection_id: int, uris: Sequence[str]) -> dict[str, KnownFile]:
        """By URI, those of `uris` that the collection has."""
        files: dict[str, KnownFile] = {}
        with self._database.read() as connection:
            for chunk in chunks(uris):
                rows = connection.execute(
                    select(*KNOWN_FILE).where(
                        SourceRow.collection_id == collection_id, SourceRow.uri.in_(chunk)
                    )
                )
                files |= {row.uri: KnownFile(*row) for row in rows}
        return files

    def by_content(self, collection_id: int, sha256: str) -> list[KnownFile]:
        """The indexed sources with this content."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(*KNOWN_FILE).where(
                    SourceRow.collection_id == collection_id,
                    SourceRow.sha256 == sha256,
                    SourceRow.status == "indexed",
                )
            )
            return [KnownFile(*row) for row in rows]

    def contents_of(self, ids: Sequence[int]) -> set[str]:
        """The SHA-256 of the sources with these ids."""
        digests: set[str] = set()
        with self._database.read() as connection:
            for chunk in chunks(ids):
                digests |= set(
                    connection.scalars(select(SourceRow.sha256).where(SourceRow.id.in_(chunk)))
                )
        return digests

    def exists(self, uri: str) -> bool:
        """Whether some collection has a source with this URI."""
        query = select(SourceRow.id).where(SourceRow.uri == uri).limit(1)
        with self._database.read() as connection:
            return connection.scalar(query) is not None

    def iterate(self, collection_id: int) -> Iterator[list[KnownFile]]:
        """All sources of a collection in batches, by id. They may be deleted meanwhile."""
        after = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(
                    select(*KNOWN_FILE)
                    .where(SourceRow.collection_id == collection_id, SourceRow.id > after)
                    .order_by(SourceRow.id)
                    .limit(IN_CHUNK)
                )
                batch = [KnownFile(*row) for row in rows]
            if not batch:
                return
            yield batch
            after = batch[-1].id

    def contents(
        self, source_id: int
    ) -> tuple[
        Metadata,
        tuple[SegmentDraft, ...],
        dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]],
    ]:
        """Metadata, segments and vectors of a source, as the `SourceWrite` of a copy takes them."""
        with self._database.read() as connection:
            meta = connection.scalar(select(SourceRow.meta).where(SourceRow.id == source_id))
            rows = connection.execute(
                select(SegmentRow)
                .where(SegmentRow.source_id == source_id)
                .order_by(SegmentRow.ordinal)
            ).all()
            ordinal_of = {row.id: ordinal for ordinal, row in enumerate(rows)}
            pairs: dict[int, list[tuple[int, bytes]]] = {}
            dimensions: dict[int, int] = {}
            for row in connection.execute(
                select(VectorRow.space_id, VectorRow.segment_id, VectorRow.data, SpaceRow.dimension)
                .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
                .join(SpaceRow, SpaceRow.id == VectorRow.space_id)
                .where(SegmentRow.source_id == source_id, SpaceRow.state != "retired")
                .order_by(VectorRow.segment_id)
            ):
                dimensions[row.space_id] = row.dimension
                pairs.setdefault(row.space_id, []).append((ordinal_of[row.segment_id], row.data))
        drafts = tuple(to_draft(row) for row in rows)
        vectors = {
            space_id: usable(stored, dimensions[space_id])[:2] for space_id, stored in pairs.items()
        }
        return dict(object_of(meta)), drafts, vectors

    def failures(self, collection_id: int | None = None, limit: int = 1000) -> list[Failure]:
        """Why sources failed, by path."""
        query = select(SourceRow).where(SourceRow.status == "failed").order_by(SourceRow.path)
        if collection_id is not None:
            query = query.where(SourceRow.collection_id == collection_id)
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit))
            return [f for row in rows if (f := to_source(row).failure) is not None]

    def ids_below(self, collection_id: int, uris: Sequence[str]) -> list[int]:
        """Ids of the sources at these URIs, below them (folders), and inside them (shards)."""
        ids: set[int] = set()
        with self._database.read() as connection:
            for uri in uris:
                # LIKE may ignore case; Python does not.
                rows = connection.execute(
                    select(SourceRow.id, SourceRow.uri).where(
                        SourceRow.collection_id == collection_id,
                        SourceRow.uri.startswith(uri, autoescape=True),
                    )
                )
                ends = (f"{uri}/", f"{uri}::")
                ids |= {row.id for row in rows if row.uri == uri or row.uri.startswith(ends)}
        return sorted(ids)

    def failed_uris(self, collection_id: int) -> list[str]:
        """URIs of the sources that could not be indexed."""
        query = (
            select(SourceRow.uri)
            .where(SourceRow.collection_id == collection_id, SourceRow.status == "failed")
            .order_by(SourceRow.id)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def metadata_keys(self, collection_id: int) -> list[str]:
        """Every metadata key that some source of the collection has, sorted."""
        key = self._database.dialect.json_keys(SOURCES.c.metadata)
        query = select(key).where(SourceRow.collection_id == collection_id).distinct()
        with self._database.read() as connection:
            return sorted(str(key) for key in connection.scalars(query))

    def list(
        self,
        collection: str | None = None,
        *,
        after_id: int = 0,
        limit: int = 50,
        where: ColumnElement[bool] | None = None,
    ) -> list[Source]:
        """A page of sources by id, of all collections or the named one.

        `where`, a compiled filter, has to hold for the source or for the source with one of its
        segments. NotFoundError for the collection.
        """
        query = select(SourceRow).where(SourceRow.id > after_id).order_by(SourceRow.id).limit(limit)
        if collection is not None:
            query = query.where(SourceRow.collection_id == self._collections.get(collection).id)
        if where is not None:
            matching = (
                select(SourceRow.id)
                .outerjoin(SegmentRow, SegmentRow.source_id == SourceRow.id)
                .where(where)
                .correlate(None)
            )
            query = query.where(SourceRow.id.in_(matching))
        with self._database.read() as connection:
            return [to_source(row) for row in connection.execute(query)]


def _check_writable(connection: Connection, space_ids: Sequence[int]) -> None:
    """Lock the spaces that a transaction writes to. LibraryBusyError if one is not in use."""
    rows = connection.execute(
        select(SpaceRow.id, SpaceRow.state)
        .where(SpaceRow.id.in_(space_ids))
        .with_for_update(read=True)
    ).all()
    if len(rows) < len(space_ids) or any(row.state == "retired" for row in rows):
        raise LibraryBusyError(
            "the collection was switched to other models meanwhile, so nothing was written. Run "
            "this again."
        )
