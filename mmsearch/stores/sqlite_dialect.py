"""SQLite: what it does otherwise than PostgreSQL."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    Text,
    and_,
    case,
    event,
    exists,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy import cast as cast_to
from sqlalchemy.dialects import sqlite

from mmsearch.errors import LibraryVersionError
from mmsearch.stores.comparable import comparison_key
from mmsearch.stores.operators import COMPARISONS_OF_TEXT, Scalar, TimeUnit

logger = logging.getLogger(__name__)

_STRFTIME = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d"}
_GLOB = {
    "year": "[0-9][0-9][0-9][0-9]-[0-9][0-9]*",
    "month": "[0-9][0-9][0-9][0-9]-[0-9][0-9]*",
    "day": "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*",
}
_JSON_TYPES: Mapping[type, tuple[str, ...]] = {
    str: ("text",),
    bool: ("true", "false"),
    float: ("integer", "real"),
}
"""SQLite's names of JSON types."""


class SqliteDialect:
    """SQLite, with FTS5 and the JSON functions."""

    name: Literal["sqlite"] = "sqlite"
    insert = staticmethod(sqlite.insert)
    """INSERT with `on_conflict_do_nothing` and `on_conflict_do_update`."""

    # ------------------------------------------------------------------ connections

    def configure(self, engine: Engine) -> None:
        """Open connections in WAL mode, durable, with foreign keys enforced."""

        @event.listens_for(engine, "connect")
        def configure(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None  # SQLAlchemy's BEGIN below, not the driver's own
            connection.execute("PRAGMA busy_timeout = 30000")
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: an acknowledged commit survives power loss, not only a crash of the process.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.create_function("mmsearch_fold", 1, _fold, deterministic=True)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A read transaction that turns into a write fails at once while another one writes.
            immediate = connection.get_execution_options().get("mmsearch_write", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    def lock_change_log(self, connection: Connection) -> None:
        """Nothing to do: SQLite has one writer at a time."""

    # ------------------------------------------------------------------ migrations

    @contextmanager
    def migrating(self, connection: Connection) -> Iterator[None]:
        """A transaction for migrations, with foreign keys off until it ends.

        A batch migration drops and recreates tables; with foreign keys on, dropping a parent
        would cascade into its children's rows. LibraryVersionError, and a rollback, if references
        are broken at the end.
        """
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        raw.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                yield
                if connection.execute(text("PRAGMA foreign_key_check")).first():
                    raise LibraryVersionError("the migration would break references; undone")
        finally:
            raw.execute("PRAGMA foreign_keys = ON")

    def back_up(self, engine: Engine, revision: str) -> Path | None:
        """Write a consistent copy beside the database; None for one in memory."""
        database = engine.url.database
        if not database or database == ":memory:":
            return None
        target = Path(f"{database}.before-upgrade-from-{revision}")
        original = sqlite3.connect(database)
        try:
            copy = sqlite3.connect(target)
            try:
                original.backup(copy)
            finally:
                copy.close()
        finally:
            original.close()
        logger.warning("upgrading the library; its database was backed up to %s", target)
        return target

    # ------------------------------------------------------------------ full text

    def tokens_type(self) -> Any:
        """The column type of a segment's tokens."""
        return Text()

    def tokens_to_sql(self, tokens: Sequence[str]) -> str:
        """Tokens in order, as the column stores them: separated by spaces."""
        return " ".join(tokens)

    def tokens_from_sql(self, value: str) -> list[str]:
        """The tokens of a stored value, in order."""
        return value.split(" ")

    def rebuild_full_text(self, connection: Connection) -> None:
        """Rebuild FTS5 from the rows: triggers do not repair an index that was damaged before."""
        connection.execute(text("INSERT INTO segment_fts (segment_fts) VALUES ('rebuild')"))

    # ------------------------------------------------------------------ expressions

    def joined(self, ids: ColumnElement[int]) -> ColumnElement[str]:
        """Aggregate: the ids of a group as text, separated by commas."""
        return func.group_concat(ids)

    def without_index(self, column: ColumnElement[int]) -> ColumnElement[int]:
        """The same number, in a form that keeps the planner from using the column's index."""
        return column + 0

    def by_code_point(self, column: ColumnElement[str]) -> ColumnElement[str]:
        """A text column, compared by code points as Python does."""
        return column

    def fold(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        """The comparison key of a text column (see `mmsearch.stores.comparable`)."""
        # SQLite's own lower suffices for ASCII, which it recognises by its bytes.
        is_ascii = func.length(column) == func.length(cast_to(column, LargeBinary))
        return case((is_ascii, func.lower(column)), else_=func.mmsearch_fold(column))

    def like(self, column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
        """Whether a folded text is like a folded pattern, in which only % and _ are special."""
        return column.like(pattern)

    def is_date(self, value: ColumnElement[str], unit: TimeUnit) -> ColumnElement[bool]:
        """Whether a text begins like a date that has a year, a month or a day."""
        return value.op("GLOB")(_GLOB[unit])

    def truncated_time(self, moment: ColumnElement[Any], unit: TimeUnit) -> ColumnElement[str]:
        """A datetime column in UTC as "2024", "2024-05" or "2024-05-31"."""
        return func.strftime(_STRFTIME[unit], moment)

    def truncated_nanoseconds(self, column: ColumnElement[int], unit: TimeUnit) -> Any:
        """The same of a column of nanoseconds since 1970."""
        return func.strftime(_STRFTIME[unit], column / 10**9, "unixepoch")

    # ------------------------------------------------------------------ JSON

    def json_keys(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        """A row for each key of a JSON object."""
        key: ColumnElement[str] = (
            func.json_each(_valid(column)).table_valued("key", joins_implicitly=True).c.key
        )
        return key

    def json_has_key(self, column: ColumnElement[Any], key: str) -> ColumnElement[bool]:
        """Whether a JSON object has a key with a value other than null."""
        return func.coalesce(func.json_type(_valid(column), _path(key)), "null") != "null"

    def json_values(
        self, column: ColumnElement[Any], key: str
    ) -> tuple[list[ColumnElement[Any]], ColumnElement[bool]]:
        """A row for each value of a key: columns that are the value, and whether it is a scalar.

        `json_value` turns a row of the columns into the value.
        """
        each = _each(column, key, implicit=True)
        scalar = [name for names in _JSON_TYPES.values() for name in names]
        # 640 and 640.0 are the same value.
        kind = case((each.c.type == "real", "integer"), else_=each.c.type)
        return [each.c.value, kind], and_(each.c.type.in_(scalar), _single_or_element(each))

    def json_value(self, row: Sequence[Any]) -> Scalar:
        """The value in a row of `json_values`, or in a row of one other column."""
        value: Scalar = row[0]
        return bool(value) if len(row) == 2 and row[1] in _JSON_TYPES[bool] else value

    def json_order(self, columns: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
        """What orders the columns of `json_values`: numbers, texts by code point, booleans."""
        value, kind = columns
        return [case((kind == "integer", 0), (kind == "text", 1), else_=2), value]

    def json_date(self, value: ColumnElement[Any]) -> ColumnElement[str]:
        """The first column of `json_values` as text, for values that are dates."""
        return value

    def json_compares(
        self, column: ColumnElement[Any], key: str, op: str, value: Scalar | Sequence[Scalar]
    ) -> ColumnElement[bool]:
        """Whether some value of a key compares: in lt lte gt gte like starts. Texts are folded."""
        each = _each(column, key)
        first = value if isinstance(value, str | float | bool) else value[0]
        kind = str if isinstance(first, str) else bool if isinstance(first, bool) else float
        each_value = self.fold(each.c.value) if kind is str else each.c.value
        return exists(
            select(literal(1))
            .select_from(each)
            .where(
                each.c.type.in_(_JSON_TYPES[kind]),
                _single_or_element(each),
                _compares(self, op, each_value, value),
            )
        )


def _valid(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A JSON column, empty where a row is damaged: else that row would fail every query."""
    return case((func.json_valid(column), column), else_="{}")


def _each(column: ColumnElement[Any], key: str, *, implicit: bool = False) -> Any:
    columns = ("value", "type", "key", "path")
    return func.json_each(_valid(column), _path(key)).table_valued(
        *columns, joins_implicitly=implicit
    )


def _single_or_element(each: Any) -> ColumnElement[bool]:
    """A single value, or an element of a list; json_each also returns an object's members."""
    return or_(each.c.path == "$", func.typeof(each.c.key) != "text")


def _path(key: str) -> str:
    return f'$."{key}"'


def _fold(text: Any) -> Any:
    """`comparison_key` for SQLite, which calls it with values of every type."""
    return comparison_key(text) if isinstance(text, str) else text


def _compares(dialect: SqliteDialect, op: str, column: Any, value: Any) -> ColumnElement[bool]:
    if op == "like":
        return dialect.like(column, value)
    compared: ColumnElement[bool] = COMPARISONS_OF_TEXT[op](column, value)
    return compared
