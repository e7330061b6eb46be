"""Checks of tables: rows without a parent, broken JSON and times, SQLite's own checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import JSON, Column, Connection, Select, Table, text, update

from mmsearch.stores.database import now
from mmsearch.stores.rows import STALE_RECIPE
from mmsearch.stores.tables import Base, SourceRow, UtcDateTime

_ARRAYS = frozenset({"segment_ids", "box"})
"""JSON columns that hold a list; the others hold an object."""
_TIME = "[0-9][0-9][0-9][0-9]-[0-1][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]*"


@dataclass(frozen=True, slots=True)
class Finding:
    """A kind of fault."""

    message: str
    repair: Callable[[Connection], None] | None = None
    """None: it cannot be mended row by row."""


def marked(connection: Connection, source_ids: Select[Any]) -> None:
    """Mark sources to be indexed again."""
    connection.execute(
        update(SourceRow)
        .where(SourceRow.id.in_(source_ids))
        .values(recipe=STALE_RECIPE)
        .execution_options(synchronize_session=False)
    )


def table_findings(connection: Connection) -> Iterator[Finding]:
    """Faults that each table shows. PostgreSQL's types and constraints admit only some of them."""
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        for row in connection.execute(text("PRAGMA quick_check(10)")).scalars():
            if row != "ok":
                yield Finding(f"the database file is damaged: {row}")
    for table in Base.metadata.sorted_tables:
        if sqlite:
            yield from _orphans(connection, table)
        for column in table.columns:
            if isinstance(column.type, JSON):
                yield from _broken_json(connection, table, column, sqlite=sqlite)
            elif isinstance(column.type, UtcDateTime) and sqlite:
                yield from _broken_times(connection, table, column)
    if sqlite:
        broken = connection.execute(text("PRAGMA foreign_key_check")).all()
        if broken:
            tables = ", ".join(sorted({row[0] for row in broken}))
            yield Finding(f"{len(broken)} references of the database lead nowhere ({tables})")


def _orphans(connection: Connection, table: Table) -> Iterator[Finding]:
    for key in table.foreign_keys:
        parent = key.column.table
        where = (
            f"NOT EXISTS (SELECT 1 FROM {parent.name} AS parent "  # noqa: S608  # our own names
            f"WHERE parent.{key.column.name} = {table.name}.{key.parent.name})"
        )
        if count := _count(connection, table, where):
            yield Finding(
                f"{count} rows of {table.name} have no row of {parent.name}",
                partial(_run, statement=f"DELETE FROM {table.name} WHERE {where}"),  # noqa: S608
            )


def _broken_json(
    connection: Connection, table: Table, column: Column[Any], *, sqlite: bool
) -> Iterator[Finding]:
    kind, empty = ("array", "[]") if column.name in _ARRAYS else ("object", "{}")
    name = f'"{column.name}"'
    type_of = (
        f"CASE WHEN json_valid({name}) THEN json_type({name}) ELSE 'broken' END"
        if sqlite
        else f"jsonb_typeof({name})"
    )
    where = f"{name} IS NOT NULL AND {type_of} NOT IN ('{kind}', 'null')"
    if count := _count(connection, table, where):
        yield Finding(
            f"{count} rows of {table.name} have broken JSON in {column.name}",
            partial(_mend, table=table, column=name, where=where, value=empty),
        )


def _broken_times(connection: Connection, table: Table, column: Column[Any]) -> Iterator[Finding]:
    name = f'"{column.name}"'
    where = (
        f"{name} IS NOT NULL AND "
        f"(typeof({name}) != 'text' OR {name} NOT GLOB '{_TIME}' OR julianday({name}) IS NULL)"
    )
    if count := _count(connection, table, where):
        moment = now().replace(tzinfo=None).isoformat(" ", "microseconds")
        yield Finding(
            f"{count} rows of {table.name} have a broken time in {column.name}",
            partial(_mend, table=table, column=name, where=where, value=moment),
        )


def _mend(connection: Connection, *, table: Table, column: str, where: str, value: str) -> None:
    """Replace broken values, and mark the sources that they belong to."""
    own = {"sources": "id", "segments": "source_id"}.get(table.name)
    if own is not None:
        connection.execute(
            text(
                f"UPDATE sources SET recipe = :recipe WHERE id IN "  # noqa: S608
                f"(SELECT {own} FROM {table.name} WHERE {where})"
            ),
            {"recipe": STALE_RECIPE},
        )
    connection.execute(
        text(f"UPDATE {table.name} SET {column} = :value WHERE {where}"),  # noqa: S608
        {"value": value},
    )


def _count(connection: Connection, table: Table, where: str) -> int:
    query = f"SELECT count(*) FROM {table.name} WHERE {where}"  # noqa: S608
    return int(connection.scalar(text(query)) or 0)


def _run(connection: Connection, *, statement: str) -> None:
    connection.execute(text(statement))
