"""The rows of full text, written in the same transaction as their segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from mmsearch.stores.dialects import dialect_of
from mmsearch.stores.lexical.analysis import BREAK, name_tokens, segment_tokens
from mmsearch.stores.rows import object_of
from mmsearch.stores.tables import SegmentRow, SegmentWordsRow, SourceRow

BATCH = 500

_WHAT = (
    SegmentRow.id,
    SegmentRow.source_id,
    SegmentRow.modality,
    SegmentRow.text,
    SourceRow.collection_id,
    SourceRow.path,
    SourceRow.meta,
)


def add_words(
    connection: Connection,
    collection_id: int,
    path: str,
    metadata: Mapping[str, Any],
    segments: Iterable[tuple[int, str, str | None]],
) -> None:
    """Write the words of one source's segments, each (id, modality, text), in order.

    The source's name is added to its first segment of each modality.
    """
    named = name_tokens(path, metadata)
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    for segment_id, modality, body in segments:
        words = segment_tokens(body, [] if modality in seen else named)
        seen.add(modality)
        length = sum(token != BREAK for token in words)
        if length:
            rows.append(
                {
                    "segment_id": segment_id,
                    "collection_id": collection_id,
                    "modality": modality,
                    "length": length,
                    "words": words,
                }
            )
    if rows:
        connection.execute(insert(SegmentWordsRow), rows)


def rename_words(connection: Connection, source_id: int) -> None:
    """Tokenize a source again, after its name or its metadata has changed."""
    of_source = select(SegmentRow.id).where(SegmentRow.source_id == source_id)
    connection.execute(
        delete(SegmentWordsRow)
        .where(SegmentWordsRow.segment_id.in_(of_source))
        .execution_options(synchronize_session=False)
    )
    _write(connection, connection.execute(_segments(SegmentRow.source_id == source_id)))


def write_all_words(connection: Connection) -> None:
    """Tokenize the whole library again."""
    # First of all: rows cannot be deleted from a full-text index that is damaged.
    dialect_of(connection).rebuild_full_text(connection)
    connection.execute(delete(SegmentWordsRow))
    after = 0
    while True:
        sources = connection.scalars(
            select(SourceRow.id).where(SourceRow.id > after).order_by(SourceRow.id).limit(BATCH)
        ).all()
        if not sources:
            break
        last = sources[-1]
        rows = connection.execute(
            _segments((SegmentRow.source_id > after) & (SegmentRow.source_id <= last))
        )
        _write(connection, rows)
        after = last
    dialect_of(connection).rebuild_full_text(connection)


def rewrite_words(connection: Connection, affected: Callable[[str], bool]) -> None:
    """Tokenize the sources again of which a text, the name or the metadata is `affected`."""
    after = 0
    while True:
        rows = connection.execute(
            select(SourceRow.id, SourceRow.path, SourceRow.meta)
            .where(SourceRow.id > after)
            .order_by(SourceRow.id)
            .limit(BATCH)
        ).all()
        if not rows:
            return
        last = rows[-1].id
        sources = {
            row.id
            for row in rows
            if affected(row.path) or affected(" ".join(_strings(row.metadata)))
        }
        texts = connection.execute(
            select(SegmentRow.source_id, SegmentRow.text).where(
                SegmentRow.source_id > after, SegmentRow.source_id <= last
            )
        )
        sources |= {source_id for source_id, text in texts if text and affected(text)}
        for source_id in sorted(sources):
            rename_words(connection, source_id)
        after = last


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def expected_lengths(
    connection: Connection, source_ids: Sequence[int]
) -> Iterator[tuple[int, dict[int, int]]]:
    """For each source, how many words each of its segments should have in full text."""
    rows = connection.execute(_segments(SegmentRow.source_id.in_(source_ids))).all()
    for source_id, group in groupby(rows, key=lambda row: row.source_id):
        some = list(group)
        named = name_tokens(some[0].path, object_of(some[0].metadata))
        seen: set[str] = set()
        lengths: dict[int, int] = {}
        for row in some:
            words = segment_tokens(row.text, [] if row.modality in seen else named)
            seen.add(row.modality)
            lengths[row.id] = sum(token != BREAK for token in words)
        yield source_id, lengths


def _segments(where: Any) -> Any:
    return (
        select(*_WHAT)
        .join(SourceRow, SourceRow.id == SegmentRow.source_id)
        .where(where)
        .order_by(SegmentRow.source_id, SegmentRow.ordinal)
    )


def _write(connection: Connection, rows: Iterable[Any]) -> None:
    for _, group in groupby(list(rows), key=lambda row: row.source_id):
        some = list(group)
        first = some[0]
        add_words(
            connection,
            first.collection_id,
            first.path,
            object_of(first.metadata),
            [(row.id, row.modality, row.text) for row in some],
        )
