"""The metadata store: everything that is true about a library, in SQL.

One class, `SqlStore`, over SQLite (default) or PostgreSQL. Every method is one
transaction. Writers log what they did in the change log inside the same transaction;
vector indexes follow that log and are never written to directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, true, update

from mmsearch.errors import NotFoundError
from mmsearch.stores.calibrations import CalibrationStore
from mmsearch.stores.candidates import CandidateStore
from mmsearch.stores.change_log import log_change
from mmsearch.stores.collections import CollectionStore
from mmsearch.stores.database import now
from mmsearch.stores.jobs import JobStore
from mmsearch.stores.lexical.index import SqlLexicalIndex, lexical_index
from mmsearch.stores.lexical.rows import add_words, rename_words, write_all_words
from mmsearch.stores.rerank_scores import RerankScoreStore
from mmsearch.stores.rows import (
    EXPECTED_IN,
    IN_CHUNK,
    KNOWN,
    MAX_ID,
    NEEDS_TEXT,
    SEGMENTS,
    SOURCES,
    TAKE_AGAIN,
    Change,
    KnownFile,
    SourceWrite,
    chunks,
    little_endian,
    matrix,
    segment_values,
    to_draft,
    to_segment,
    to_source,
)
from mmsearch.stores.source_values import write_values
from mmsearch.stores.spaces import SpaceStore, check_writable, forgone_notes
from mmsearch.stores.tables import (
    ChangeRow,
    SegmentRow,
    SourceRow,
    SpaceRow,
    VectorRow,
)
from mmsearch.types import (
    Failure,
    Ids,
    Metadata,
    Modality,
    Segment,
    SegmentDraft,
    Source,
    SourceFile,
)


class SqlStore(
    CollectionStore, JobStore, SpaceStore, RerankScoreStore, CandidateStore, CalibrationStore
):
    """See the module. Thread-safe; `url` is any SQLAlchemy URL of SQLite or PostgreSQL."""

    @cached_property
    def lexical(self) -> SqlLexicalIndex:
        """Full text over the words of segments and the names of their sources."""
        return lexical_index(self.engine)

    # ------------------------------------------------------------------ writing sources

    def write_sources(self, collection_id: int, writes: Sequence[SourceWrite]) -> list[int]:
        """Add or replace sources with their segments and vectors; returns their ids.

        LibraryBusyError if the collection was switched to other models meanwhile.
        """
        with self._write() as connection:
            check_writable(connection, sorted({i for write in writes for i in write.vectors}))
            return [self._write_source(connection, collection_id, write) for write in writes]

    def _write_source(self, connection: Connection, collection_id: int, write: SourceWrite) -> int:
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
        table = SOURCES
        if source_id is None:
            source_id = connection.scalar(
                insert(table)
                .values(collection_id=collection_id, uri=write.file.uri, **values)
                .returning(table.c.id)
            )
            assert source_id is not None
        else:
            self._drop_segments(connection, collection_id, source_id)
            connection.execute(update(table).where(table.c.id == source_id).values(**values))
        write_values(connection, source_id, write.metadata)
        if write.segments:
            self._add_segments(connection, collection_id, source_id, write)
        return int(source_id)

    def _add_segments(
        self, connection: Connection, collection_id: int, source_id: int, write: SourceWrite
    ) -> None:
        table = SEGMENTS
        ids = list(
            connection.scalars(
                insert(table).returning(table.c.id, sort_by_parameter_order=True),
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
        log_change(connection, collection_id, source_id, "add", ids)

    def _drop_segments(self, connection: Connection, collection_id: int, source_id: int) -> None:
        ids = list(
            connection.scalars(select(SegmentRow.id).where(SegmentRow.source_id == source_id))
        )
        if ids:
            connection.execute(delete(SegmentRow).where(SegmentRow.source_id == source_id))
            log_change(connection, collection_id, source_id, "remove", ids)

    def update_recipes(self, recipes: Mapping[int, str]) -> None:
        """Record other recipes for sources, by id; their segments stay."""
        with self._write() as connection:
            for source_id, recipe in recipes.items():
                connection.execute(
                    update(SourceRow).where(SourceRow.id == source_id).values(recipe=recipe)
                )

    def move_source(self, source_id: int, file: SourceFile) -> None:
        """The same content under another name, or saved again: only the record changes.

        A source that had this name before is replaced by the moved one.
        """
        with self._write() as connection:
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
                self._delete_source(connection, collection_id, overwritten)
            connection.execute(
                update(SourceRow)
                .where(SourceRow.id == source_id)
                .values(uri=file.uri, path=file.path, size=file.size, mtime_ns=file.mtime_ns)
            )
            rename_words(connection, source_id)

    def rewrite_words(self) -> None:
        """Cut the words of all segments again, as this version does."""
        with self._write() as connection:
            write_all_words(connection)

    def delete_sources(self, ids: Sequence[int]) -> int:
        """Remove sources with everything that hangs on them; returns how many were there."""
        removed = 0
        with self._write() as connection:
            for source_id in ids:
                collection_id = connection.scalar(
                    select(SourceRow.collection_id).where(SourceRow.id == source_id)
                )
                if collection_id is None:
                    continue
                self._delete_source(connection, collection_id, source_id)
                removed += 1
        return removed

    def _delete_source(self, connection: Connection, collection_id: int, source_id: int) -> None:
        self._drop_segments(connection, collection_id, source_id)
        connection.execute(delete(SourceRow).where(SourceRow.id == source_id))

    # ------------------------------------------------------------------ reading sources

    def known_files(self, collection_id: int, uris: Sequence[str]) -> dict[str, KnownFile]:
        """By uri, those of `uris` that the collection has."""
        found: dict[str, KnownFile] = {}
        with self._read() as connection:
            for chunk in chunks(uris):
                rows = connection.execute(
                    select(*KNOWN).where(
                        SourceRow.collection_id == collection_id, SourceRow.uri.in_(chunk)
                    )
                )
                found |= {row.uri: KnownFile(*row) for row in rows}
        return found

    def known_content(self, collection_id: int, sha256: str) -> list[KnownFile]:
        """Indexed sources with this content."""
        with self._read() as connection:
            rows = connection.execute(
                select(*KNOWN).where(
                    SourceRow.collection_id == collection_id,
                    SourceRow.sha256 == sha256,
                    SourceRow.status == "indexed",
                )
            )
            return [KnownFile(*row) for row in rows]

    def iterate_files(self, collection_id: int) -> Iterator[list[KnownFile]]:
        """All sources of a collection in batches, by id; safe while they are being deleted."""
        after = 0
        while True:
            with self._read() as connection:
                rows = connection.execute(
                    select(*KNOWN)
                    .where(SourceRow.collection_id == collection_id, SourceRow.id > after)
                    .order_by(SourceRow.id)
                    .limit(IN_CHUNK)
                )
                batch = [KnownFile(*row) for row in rows]
            if not batch:
                return
            yield batch
            after = batch[-1].id

    def source_content(
        self, source_id: int
    ) -> tuple[
        Metadata,
        tuple[SegmentDraft, ...],
        dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]],
    ]:
        """Metadata, segments and vectors of a source, ready for a `SourceWrite` of a copy."""
        with self._read() as connection:
            meta = connection.scalar(select(SourceRow.meta).where(SourceRow.id == source_id))
            rows = connection.execute(
                select(SegmentRow)
                .where(SegmentRow.source_id == source_id)
                .order_by(SegmentRow.ordinal)
            ).all()
            ordinal_of = {row.id: ordinal for ordinal, row in enumerate(rows)}
            pairs: dict[int, list[tuple[int, bytes]]] = {}
            for row in connection.execute(
                select(VectorRow.space_id, VectorRow.segment_id, VectorRow.data)
                .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
                .join(SpaceRow, SpaceRow.id == VectorRow.space_id)
                .where(SegmentRow.source_id == source_id, SpaceRow.state != "retired")
                .order_by(VectorRow.segment_id)
            ):
                pairs.setdefault(row.space_id, []).append((ordinal_of[row.segment_id], row.data))
        drafts = tuple(to_draft(row) for row in rows)
        vectors = {
            space_id: (np.array([o for o, _ in some], np.int64), matrix([d for _, d in some]))
            for space_id, some in pairs.items()
        }
        return dict(meta or {}), drafts, vectors

    def source(self, source_id: int) -> Source:
        with self._read() as connection:
            row = connection.execute(
                select(SourceRow).where(SourceRow.id == source_id)
            ).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no source {source_id}", param="id")
        return to_source(row)

    def sources(
        self,
        collection: str | None = None,
        *,
        after_id: int = 0,
        limit: int = 50,
        where: ColumnElement[bool] | None = None,
    ) -> list[Source]:
        """A page of sources by id."""
        query = select(SourceRow).where(SourceRow.id > after_id).order_by(SourceRow.id).limit(limit)
        if collection is not None:
            query = query.where(SourceRow.collection_id == self.collection(collection).id)
        if where is not None:
            query = query.where(where)
        with self._read() as connection:
            return [to_source(row) for row in connection.execute(query)]

    def failures(self, collection_id: int | None = None, limit: int = 1000) -> list[Failure]:
        query = select(SourceRow).where(SourceRow.status == "failed").order_by(SourceRow.path)
        if collection_id is not None:
            query = query.where(SourceRow.collection_id == collection_id)
        with self._read() as connection:
            rows = connection.execute(query.limit(limit))
            return [f for row in rows if (f := to_source(row).failure) is not None]

    def ids_below(self, collection_id: int, uris: Sequence[str]) -> list[int]:
        """Sources at these URIs, below them (folders), and inside of them (shards)."""
        found: set[int] = set()
        with self._read() as connection:
            for uri in uris:
                # LIKE may not tell upper from lower case; Python does.
                rows = connection.execute(
                    select(SourceRow.id, SourceRow.uri).where(
                        SourceRow.collection_id == collection_id,
                        SourceRow.uri.startswith(uri, autoescape=True),
                    )
                )
                ends = (f"{uri}/", f"{uri}::")
                found |= {row.id for row in rows if row.uri == uri or row.uri.startswith(ends)}
        return sorted(found)

    def failed_uris(self, collection_id: int) -> list[str]:
        """URIs of the sources that could not be taken in."""
        query = (
            select(SourceRow.uri)
            .where(SourceRow.collection_id == collection_id, SourceRow.status == "failed")
            .order_by(SourceRow.id)
        )
        with self._read() as connection:
            return list(connection.scalars(query))

    # ------------------------------------------------------------------ reading segments

    def segment(self, segment_id: int) -> Segment:
        found = self.segments([segment_id])
        if not found:
            raise NotFoundError(f"there is no segment {segment_id}", param="segment")
        return found[segment_id]

    def segments(self, ids: Sequence[int]) -> dict[int, Segment]:
        """By id; ids that are not there are left out."""
        found: dict[int, Segment] = {}
        with self._read() as connection:
            for chunk in chunks([one for one in ids if one <= MAX_ID]):
                rows = connection.execute(select(SegmentRow).where(SegmentRow.id.in_(chunk)))
                found |= {row.id: to_segment(row) for row in rows}
        return found

    def segments_of(self, source_id: int) -> list[Segment]:
        with self._read() as connection:
            rows = connection.execute(
                select(SegmentRow)
                .where(SegmentRow.source_id == source_id)
                .order_by(SegmentRow.ordinal)
            )
            return [to_segment(row) for row in rows]

    def segment_ids(
        self, collection_id: int, modality: Modality, where: ColumnElement[bool]
    ) -> Ids:
        """Ascending ids of the segments of one modality that a compiled filter lets through."""
        query = (
            select(SegmentRow.id)
            .join(SourceRow, SourceRow.id == SegmentRow.source_id)
            .where(
                SourceRow.collection_id == collection_id,
                SegmentRow.modality == modality.value,
                where,
            )
            .order_by(SegmentRow.id)
        )
        with self._read() as connection:
            return np.fromiter(connection.scalars(query), dtype=np.int64)

    def metadata_keys(self, collection_id: int) -> list[str]:
        """Every metadata key that some source of the collection has."""
        if self.engine.dialect.name == "postgresql":
            key: ColumnElement[Any] = func.jsonb_object_keys(SourceRow.meta)
        else:
            each = func.json_each(SourceRow.meta)
            key = each.table_valued("key", joins_implicitly=True).c.key
        query = select(key).where(SourceRow.collection_id == collection_id).distinct()
        with self._read() as connection:
            return sorted(str(key) for key in connection.scalars(query))

    # ------------------------------------------------------------------ vectors and changes

    def vectors(
        self, space_id: int, modality: Modality, *, after_id: int = 0, batch: int = 10_000
    ) -> Iterator[tuple[Ids, npt.NDArray[np.float16]]]:
        """All vectors of one channel by ascending segment id: ids (n,), float16 (n, d)."""
        while True:
            query = (
                select(VectorRow.segment_id, VectorRow.data)
                .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
                .where(
                    VectorRow.space_id == space_id,
                    VectorRow.segment_id > after_id,
                    SegmentRow.modality == modality.value,
                )
                .order_by(VectorRow.segment_id)
                .limit(batch)
            )
            with self._read() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            yield np.array([r[0] for r in rows], np.int64), matrix([r[1] for r in rows])
            after_id = rows[-1][0]

    def vectors_of(
        self, space_id: int, ids: Sequence[int]
    ) -> dict[Modality, tuple[Ids, npt.NDArray[np.float16]]]:
        """The vectors of some segments in one space, by modality; missing ids are left out."""
        grouped: dict[Modality, list[tuple[int, bytes]]] = {}
        with self._read() as connection:
            for chunk in chunks(ids):
                rows = connection.execute(
                    select(VectorRow.segment_id, SegmentRow.modality, VectorRow.data)
                    .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
                    .where(VectorRow.space_id == space_id, VectorRow.segment_id.in_(chunk))
                )
                for segment_id, modality, data in rows:
                    grouped.setdefault(Modality(modality), []).append((segment_id, data))
        return {
            modality: (np.array([i for i, _ in some], np.int64), matrix([d for _, d in some]))
            for modality, some in grouped.items()
        }

    def vector_ids(self, space_id: int, modality: Modality) -> Ids:
        """Ascending ids of all segments of a channel."""
        query = (
            select(VectorRow.segment_id)
            .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
            .where(VectorRow.space_id == space_id, SegmentRow.modality == modality.value)
            .order_by(VectorRow.segment_id)
        )
        with self._read() as connection:
            return np.fromiter(connection.scalars(query), dtype=np.int64)

    def last_change(self) -> int:
        """Id of the newest committed change, 0 if there is none."""
        with self._read() as connection:
            return int(connection.scalar(select(func.max(ChangeRow.id))) or 0)

    def changes(self, collection_id: int, after: int, limit: int = 1000) -> list[Change]:
        """The next changes of a collection, in commit order."""
        query = (
            select(ChangeRow)
            .where(ChangeRow.collection_id == collection_id, ChangeRow.id > after)
            .order_by(ChangeRow.id)
            .limit(limit)
        )
        with self._read() as connection:
            return [
                Change(row.id, row.source_id, row.op, tuple(row.segment_ids))
                for row in connection.execute(query)
            ]

    # ------------------------------------------------------------------ counts and checks

    def counts(self) -> dict[str, Any]:
        """{"sources", "failed", "segments", "vectors": {space name: n}}."""
        with self._read() as connection:
            rows = connection.execute(
                select(SourceRow.status, func.count()).group_by(SourceRow.status)
            )
            by_status: dict[str, int] = {row[0]: row[1] for row in rows}
            segments = connection.scalar(select(func.count()).select_from(SegmentRow))
            rows = connection.execute(
                select(SpaceRow.name, func.count(VectorRow.segment_id))
                .join(VectorRow, VectorRow.space_id == SpaceRow.id, isouter=True)
                .where(SpaceRow.state == "active")
                .group_by(SpaceRow.name)
            )
            vectors: dict[str, int] = {row[0]: row[1] for row in rows}
        return {
            "sources": by_status.get("indexed", 0),
            "failed": by_status.get("failed", 0),
            "segments": int(segments or 0),
            "vectors": vectors,
        }

    def problems(self) -> list[str]:
        """What SQL itself lacks: segments without an expected vector, vectors of a bad size."""
        found: list[str] = []
        for stored in self.spaces():
            expected = [m.value for m in EXPECTED_IN.get(stored.space.name, ())]
            wordless_too = stored.space.name not in NEEDS_TEXT
            with self._read() as connection:
                missing = connection.scalar(
                    select(func.count())
                    .select_from(SegmentRow)
                    .join(SourceRow, SourceRow.id == SegmentRow.source_id)
                    .join(
                        VectorRow,
                        (VectorRow.segment_id == SegmentRow.id) & (VectorRow.space_id == stored.id),
                        isouter=True,
                    )
                    .where(
                        SourceRow.collection_id == stored.collection_id,
                        SegmentRow.modality.in_(expected),
                        VectorRow.segment_id.is_(None),
                        SourceRow.recipe != TAKE_AGAIN,  # told by `notes`
                        true() if wordless_too else func.coalesce(SegmentRow.text, "") != "",
                    )
                )
                damaged = connection.scalar(
                    select(func.count())
                    .select_from(VectorRow)
                    .where(
                        VectorRow.space_id == stored.id,
                        func.length(VectorRow.data) != 2 * stored.space.dimension,
                    )
                )
            if missing:
                found.append(f"{missing} segments have no vector in space '{stored.space.name}'")
            if damaged:
                found.append(f"{damaged} vectors of space '{stored.space.name}' have a wrong size")
        return found

    def notes(self) -> list[str]:
        """What is not as it should be, but known and agreed to."""
        with self._read() as connection:
            return [note for one in self.spaces() for note in forgone_notes(connection, one)]
