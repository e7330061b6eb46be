"""Finds rows that cannot be right, and mends them: `mmsearch status --verify --repair`.

A finding that loses something, such as a vector of the wrong length, marks the source: the next run
indexes it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, delete, or_, select

from mmsearch.stores.database import Database
from mmsearch.stores.lexical.rows import expected_lengths, rename_words
from mmsearch.stores.row_checks import Finding, marked, table_findings
from mmsearch.stores.rows import EXPECTED_IN, StoredSpace, chunks, object_of, usable
from mmsearch.stores.source_values import value_rows, write_values
from mmsearch.stores.spaces import SpaceStore
from mmsearch.stores.tables import (
    SegmentRow,
    SegmentWordsRow,
    SourceRow,
    SourceValueRow,
    SpaceRow,
    VectorRow,
)
from mmsearch.types import Modality

_BATCH = 2000
_VALUES = SourceValueRow.__table__.c


class Verification:
    """Checks of the tables against each other. The indexes have checks of their own."""

    def __init__(self, database: Database, spaces: SpaceStore) -> None:
        self._database = database
        self._spaces = spaces

    def problems(self) -> list[str]:
        """What is wrong, one message for each kind of fault and table or space."""
        with self._database.read() as connection:
            return [finding.message for finding in self._findings(connection)]

    def repair(self) -> list[str]:
        """Mend what `problems` names, as far as SQL can; returns the messages of what was mended.

        Words and vector indexes are rebuilt by `Library.reindex`.
        """
        mended: list[str] = []
        with self._database.write() as connection:
            # Rows cannot be deleted from a full-text index that is damaged.
            self._database.dialect.rebuild_full_text(connection)
        # Deleting rows of one table can leave others without their parents.
        for _ in range(2):
            with self._database.write() as connection:
                for finding in list(self._findings(connection)):
                    if finding.repair is not None:
                        finding.repair(connection)
                        mended.append(finding.message)
        return list(dict.fromkeys(mended))

    def _findings(self, connection: Connection) -> Iterator[Finding]:
        yield from table_findings(connection)
        spaces = [*self._spaces.active(), *self._spaces.building()]
        for stored in spaces:
            yield from _vector_findings(connection, stored)
        yield from _foreign_vectors(connection)
        yield from _unknown_modalities(connection)
        yield from _word_findings(connection)
        yield from _value_findings(connection)


# ------------------------------------------------------------------ vectors


def _vector_findings(connection: Connection, stored: StoredSpace) -> Iterator[Finding]:
    """Vectors of a wrong length, and such as have no direction."""
    short: list[int] = []
    useless: list[int] = []
    after = 0
    while True:
        rows = connection.execute(
            select(VectorRow.segment_id, VectorRow.data)
            .where(VectorRow.space_id == stored.id, VectorRow.segment_id > after)
            .order_by(VectorRow.segment_id)
            .limit(_BATCH)
        ).all()
        if not rows:
            break
        after = rows[-1][0]
        right = [row for row in rows if len(row[1]) == 2 * stored.space.dimension]
        short += sorted({row[0] for row in rows} - {row[0] for row in right})
        _, _, bad = usable([(row[0], row[1]) for row in right], stored.space.dimension)
        useless += bad
    name = stored.space.name
    for ids, what in ((short, "have a wrong size"), (useless, "are zero or not finite")):
        if ids:
            repair = partial(_drop_vectors, space_id=stored.id, ids=ids)
            yield Finding(f"{len(ids)} vectors of space '{name}' {what}", repair)


def _drop_vectors(connection: Connection, *, space_id: int, ids: Sequence[int]) -> None:
    for chunk in chunks(ids):
        connection.execute(
            delete(VectorRow)
            .where(VectorRow.space_id == space_id, VectorRow.segment_id.in_(chunk))
            .execution_options(synchronize_session=False)
        )
        marked(connection, _sources_of(chunk))


def _sources_of(segment_ids: Sequence[int]) -> Select[Any]:
    return select(SegmentRow.source_id).where(SegmentRow.id.in_(segment_ids))


def _foreign_vectors(connection: Connection) -> Iterator[Finding]:
    """Vectors in a space of another collection, or of a space that is not for their modality."""
    unexpected = [
        (SpaceRow.name == name) & SegmentRow.modality.not_in([m.value for m in modalities])
        for name, modalities in EXPECTED_IN.items()
    ]
    rows = connection.execute(
        select(VectorRow.space_id, VectorRow.segment_id, SpaceRow.name)
        .join(SpaceRow, SpaceRow.id == VectorRow.space_id)
        .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
        .join(SourceRow, SourceRow.id == SegmentRow.source_id)
        .where(or_(SpaceRow.collection_id != SourceRow.collection_id, *unexpected))
        .order_by(VectorRow.space_id)
    ).all()
    for (space_id, name), group in groupby(rows, key=lambda row: (row.space_id, row.name)):
        ids = [row.segment_id for row in group]
        repair = partial(_drop_vectors, space_id=space_id, ids=ids)
        yield Finding(
            f"{len(ids)} vectors of space '{name}' belong to segments of another collection or "
            "modality",
            repair,
        )


def _unknown_modalities(connection: Connection) -> Iterator[Finding]:
    ids = connection.scalars(
        select(SegmentRow.id).where(SegmentRow.modality.not_in([m.value for m in Modality]))
    ).all()
    if ids:
        yield Finding(
            f"{len(ids)} segments have an unknown modality", partial(_drop_segments, ids=ids)
        )


def _drop_segments(connection: Connection, *, ids: Sequence[int]) -> None:
    for chunk in chunks(ids):
        marked(connection, _sources_of(chunk))
        connection.execute(delete(SegmentRow).where(SegmentRow.id.in_(chunk)))


# ------------------------------------------------------------------ words and filter values


def _word_findings(connection: Connection) -> Iterator[Finding]:
    """Segments whose words are not in full text, or are in that of another collection."""
    lacking = connection.scalars(
        select(SegmentRow.source_id)
        .outerjoin(SegmentWordsRow, SegmentWordsRow.segment_id == SegmentRow.id)
        .where(SegmentWordsRow.segment_id.is_(None))
        .distinct()
    ).all()
    stored = select(SegmentWordsRow.segment_id)
    missing: dict[int, int] = {}
    for chunk in chunks(lacking):
        known = set(
            connection.scalars(
                stored.join(SegmentRow, SegmentRow.id == SegmentWordsRow.segment_id).where(
                    SegmentRow.source_id.in_(chunk)
                )
            )
        )
        for source_id, lengths in expected_lengths(connection, chunk):
            absent = sum(length > 0 and i not in known for i, length in lengths.items())
            if absent:
                missing[source_id] = absent
    if missing:
        yield Finding(
            f"the words of {sum(missing.values())} segments are missing in full text",
            partial(_each, rename_words, list(missing)),
        )
    foreign = connection.scalars(
        select(SegmentRow.source_id)
        .join(SegmentWordsRow, SegmentWordsRow.segment_id == SegmentRow.id)
        .join(SourceRow, SourceRow.id == SegmentRow.source_id)
        .where(
            or_(
                SegmentWordsRow.collection_id != SourceRow.collection_id,
                SegmentWordsRow.modality != SegmentRow.modality,
            )
        )
    ).all()
    if foreign:
        yield Finding(
            f"the words of {len(foreign)} segments are stored for another collection or modality",
            partial(_each, rename_words, sorted(set(foreign))),
        )


def _value_findings(connection: Connection) -> Iterator[Finding]:
    """Sources whose values for filters are not those of their metadata."""
    wrong: list[int] = []
    after = 0
    while True:
        batch = connection.execute(
            select(SourceRow.id, SourceRow.meta)
            .where(SourceRow.id > after)
            .order_by(SourceRow.id)
            .limit(_BATCH)
        ).all()
        if not batch:
            break
        stored: dict[int, set[Any]] = {}
        within = (_VALUES.source_id > after) & (_VALUES.source_id <= batch[-1][0])
        columns = (_VALUES.source_id, _VALUES.key, _VALUES.kind, _VALUES.text, _VALUES.number)
        for source_id, *value in connection.execute(select(*columns).where(within)):
            stored.setdefault(source_id, set()).add(tuple(value))
        after = batch[-1][0]
        for source_id, metadata in batch:
            rows = value_rows(source_id, object_of(metadata))
            expected = {(row["key"], row["kind"], row["text"], row["number"]) for row in rows}
            if expected != stored.get(source_id, set()):
                wrong.append(source_id)
    if wrong:
        yield Finding(
            f"the filter values of {len(wrong)} sources are not those of their metadata",
            partial(_rewrite_values, ids=wrong),
        )


def _rewrite_values(connection: Connection, *, ids: Sequence[int]) -> None:
    for chunk in chunks(ids):
        rows = connection.execute(
            select(SourceRow.id, SourceRow.meta).where(SourceRow.id.in_(chunk))
        ).all()
        for source_id, metadata in rows:
            write_values(connection, source_id, object_of(metadata))


def _each(
    mend: Callable[[Connection, int], None], ids: Sequence[int], connection: Connection
) -> None:
    for i in ids:
        mend(connection, i)
