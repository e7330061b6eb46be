"""Everything that SQLite and PostgreSQL do differently, behind one interface.

`dialect_of(engine or connection)` returns the object for a database. Both classes have the same
methods; `Dialect` is their union, so mypy checks every call against both.
"""

from __future__ import annotations

import logging
import operator
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import orjson
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Engine,
    String,
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
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH, TSVECTOR

from mmsearch.errors import LibraryVersionError

logger = logging.getLogger(__name__)

Scalar: TypeAlias = str | float | bool
TimeUnit = Literal["year", "month", "day"]

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "in": lambda column, values: column.in_(values),
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
"""Filter operators that are the same SQL for every kind of column."""

CHANGE_LOG_LOCK = 0x6D6D7365
"""The advisory lock of change-log writers on PostgreSQL ("mmse")."""

_MAX_POSITIONS = 256
"""Positions that PostgreSQL stores of one lexeme."""
_LEXEME = re.compile(r"'([^']*)':([0-9,]+)")


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

    def json_date(self, value: ColumnElement[Any]) -> ColumnElement[str]:
        """The first column of `json_values` as text, for values that are dates."""
        return value

    def json_compares(
        self, column: ColumnElement[Any], key: str, op: str, value: Scalar | Sequence[Scalar]
    ) -> ColumnElement[bool]:
        """Whether some value of a key compares: in lt lte gt gte like starts."""
        each = _each(column, key)
        first = value if isinstance(value, str | float | bool) else value[0]
        kind = str if isinstance(first, str) else bool if isinstance(first, bool) else float
        return exists(
            select(literal(1))
            .select_from(each)
            .where(
                each.c.type.in_(_JSON_TYPES[kind]),
                _single_or_element(each),
                _JSON_COMPARISONS[op](each.c.value, value),
            )
        )


class PostgresqlDialect:
    """PostgreSQL, with tsvector and JSON paths. Methods as in `SqliteDialect`."""

    name: Literal["postgresql"] = "postgresql"
    insert = staticmethod(postgresql.insert)

    # ------------------------------------------------------------------ connections

    def configure(self, engine: Engine) -> None:
        """Nothing to do."""

    def lock_change_log(self, connection: Connection) -> None:
        """Admit one change-log writer at a time, until its transaction ends.

        PostgreSQL assigns ids before commit: without this a reader could see a later id first
        and step over the gap.
        """
        connection.execute(select(func.pg_advisory_xact_lock(CHANGE_LOG_LOCK)))

    # ------------------------------------------------------------------ migrations

    @contextmanager
    def migrating(self, connection: Connection) -> Iterator[None]:
        """A transaction for migrations."""
        with connection.begin():
            yield

    def back_up(self, engine: Engine, revision: str) -> Path | None:  # noqa: ARG002
        """Always None: PostgreSQL has its own backups."""
        return None

    # ------------------------------------------------------------------ full text

    def tokens_type(self) -> Any:
        """The column type of a segment's tokens."""
        return TSVECTOR()

    def tokens_to_sql(self, tokens: Sequence[str]) -> str:
        """Tokens in order, as a tsvector with positions."""
        positions: dict[str, list[str]] = {}
        for position, token in enumerate(tokens, start=1):
            if len(known := positions.setdefault(token, [])) < _MAX_POSITIONS:
                known.append(str(position))
        return " ".join(f"'{token}':{','.join(known)}" for token, known in positions.items())

    def tokens_from_sql(self, value: str) -> list[str]:
        """The tokens of a tsvector, in order."""
        placed = [
            (int(position), token)
            for token, positions in _LEXEME.findall(value)
            for position in positions.split(",")
        ]
        return [token for _, token in sorted(placed)]

    def rebuild_full_text(self, connection: Connection) -> None:
        """Nothing to do: the GIN index belongs to the column."""

    # ------------------------------------------------------------------ expressions

    def joined(self, ids: ColumnElement[int]) -> ColumnElement[str]:
        """Aggregate: the ids of a group as text, separated by commas."""
        return func.string_agg(cast_to(ids, String), ",")

    def without_index(self, column: ColumnElement[int]) -> ColumnElement[int]:
        """The column as it is: PostgreSQL decides by its statistics."""
        return column

    def by_code_point(self, column: ColumnElement[str]) -> ColumnElement[str]:
        """A text column, compared by code points and not by the server's language."""
        return column.collate("C")

    def truncated_time(self, moment: ColumnElement[Any], unit: TimeUnit) -> ColumnElement[str]:
        """A datetime column in UTC as "2024", "2024-05" or "2024-05-31"."""
        return func.to_char(func.timezone("UTC", moment), _TO_CHAR[unit])

    def truncated_nanoseconds(self, column: ColumnElement[int], unit: TimeUnit) -> Any:
        """The same of a column of nanoseconds since 1970."""
        return self.truncated_time(func.to_timestamp(column / 10**9), unit)

    # ------------------------------------------------------------------ JSON

    def json_keys(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        """A row for each key of a JSON object."""
        return func.jsonb_object_keys(column)

    def json_has_key(self, column: ColumnElement[Any], key: str) -> ColumnElement[bool]:
        """Whether a JSON object has a key with a value other than null."""
        return func.coalesce(func.jsonb_typeof(column[key]), "null") != "null"

    def json_values(
        self, column: ColumnElement[Any], key: str
    ) -> tuple[list[ColumnElement[Any]], ColumnElement[bool]]:
        """A row for each value of a key: the value, and whether it is a scalar."""
        whole = column[key]
        listed = case(
            (func.jsonb_typeof(whole) == "array", whole), else_=func.jsonb_build_array(whole)
        )
        element = func.jsonb_array_elements(listed, type_=JSONB).table_valued(
            "value", joins_implicitly=True
        )
        value = cast_to(element.c.value, JSONB)
        return [value], func.jsonb_typeof(value).in_(["string", "number", "boolean"])

    def json_value(self, row: Sequence[Any]) -> Scalar:
        """The value in a row of `json_values`."""
        value: Scalar = row[0]
        return value

    def json_date(self, value: ColumnElement[Any]) -> ColumnElement[str]:
        """The column of `json_values` as text, for values that are dates."""
        # JSON escapes no character of a date, so only the quotes have to go.
        return func.btrim(cast_to(value, Text), '"')

    def json_compares(
        self, column: ColumnElement[Any], key: str, op: str, value: Scalar | Sequence[Scalar]
    ) -> ColumnElement[bool]:
        """Whether some value of a key compares: in lt lte gt gte like starts.

        Lax mode unwraps lists, and values of another type do not compare.
        """
        variables = "{}"
        if op == "like":
            # The pattern of like_regex cannot be a variable; as JSON text it can hold anything.
            predicate = f'@ like_regex {_json(_regex(str(value)))} flag "is"'
        elif op == "in":
            predicate, variables = "@ == $v[*]", _json({"v": value})
        elif op == "starts":
            predicate, variables = "@ starts with $v", _json({"v": value})
        else:
            predicate, variables = f"@ {_PATH_OPERATORS[op]} $v", _json({"v": value})
        return func.jsonb_path_exists(
            column,
            cast_to(literal(f"$.{_json(key)} ? ({predicate})"), JSONPATH),
            cast_to(literal(variables), JSONB),
            type_=Boolean,
        )


Dialect: TypeAlias = SqliteDialect | PostgresqlDialect

_DIALECTS: Mapping[str, Dialect] = {"sqlite": SqliteDialect(), "postgresql": PostgresqlDialect()}


def dialect_named(name: str) -> Dialect:
    """The dialect of SQLAlchemy's name "sqlite" or "postgresql". ValueError for others."""
    try:
        return _DIALECTS[name]
    except KeyError:
        raise ValueError(f"mmsearch stores libraries in SQLite or PostgreSQL, not {name}") from None


def dialect_of(bind: Engine | Connection) -> Dialect:
    """The dialect of a database."""
    return dialect_named(bind.dialect.name)


_TO_CHAR = {"year": "YYYY", "month": "YYYY-MM", "day": "YYYY-MM-DD"}
_STRFTIME = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d"}
_PATH_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_JSON_TYPES: Mapping[type, tuple[str, ...]] = {
    str: ("text",),
    bool: ("true", "false"),
    float: ("integer", "real"),
}
"""SQLite's names of JSON types."""
_JSON_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    **COMPARISONS,
    "like": lambda column, pattern: column.ilike(pattern),
    "starts": lambda column, start: func.substr(column, 1, len(start)) == start,
}


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


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _regex(pattern: str) -> str:
    """A LIKE pattern as a regular expression of the whole text."""
    parts = {"%": ".*", "_": "."}
    return "^" + "".join(parts.get(c) or re.escape(c) for c in pattern) + "$"
