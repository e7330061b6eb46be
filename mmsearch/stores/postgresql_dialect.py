"""PostgreSQL: what it does otherwise than SQLite."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import orjson
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Engine,
    Numeric,
    String,
    Text,
    case,
    exists,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy import cast as cast_to
from sqlalchemy import column as table_column
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH, TSVECTOR

from mmsearch.stores.operators import COMPARISONS_OF_TEXT, Scalar, TimeUnit

CHANGE_LOG_LOCK = 0x6D6D7365
"""The advisory lock of change-log writers on PostgreSQL ("mmse")."""

_MAX_POSITIONS = 256
"""Positions that PostgreSQL stores of one lexeme."""
_LEXEME = re.compile(r"'([^']*)':([0-9,]+)")

_TO_CHAR = {"year": "YYYY", "month": "YYYY-MM", "day": "YYYY-MM-DD"}
_DATE_REGEX = {
    "year": "^[0-9]{4}-[0-9]{2}",
    "month": "^[0-9]{4}-[0-9]{2}",
    "day": "^[0-9]{4}-[0-9]{2}-[0-9]{2}",
}
_PATH_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


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

    def fold(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        """The comparison key of a text column (see `mmsearch.stores.comparable`)."""
        return func.mmsearch_fold(column, type_=Text)

    def like(self, column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
        """Whether a folded text is like a folded pattern, in which only % and _ are special."""
        return column.like(pattern.replace("\\", "\\\\"))

    def is_date(self, value: ColumnElement[str], unit: TimeUnit) -> ColumnElement[bool]:
        """Whether a text begins like a date that has a year, a month or a day."""
        return value.op("~")(_DATE_REGEX[unit])

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
        value = self._json_elements(column, key, implicit=True)
        return [value], func.jsonb_typeof(value).in_(["string", "number", "boolean"])

    def json_value(self, row: Sequence[Any]) -> Scalar:
        """The value in a row of `json_values`."""
        value: Scalar = row[0]
        return value

    def json_order(self, columns: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
        """What orders the column of `json_values`: numbers, texts by code point, booleans."""
        (value,) = columns
        kind = func.jsonb_typeof(value)
        return [
            case((kind == "number", 0), (kind == "string", 1), else_=2),
            case((kind == "number", cast_to(value, Numeric)), else_=None),
            self.by_code_point(_plain_text(value)),
        ]

    def json_date(self, value: ColumnElement[Any]) -> ColumnElement[str]:
        """The column of `json_values` as text, for values that are dates."""
        # JSON escapes no character of a date, so only the quotes have to go.
        return func.btrim(cast_to(value, Text), '"')

    def json_compares(
        self, column: ColumnElement[Any], key: str, op: str, value: Scalar | Sequence[Scalar]
    ) -> ColumnElement[bool]:
        """Whether some value of a key compares: in lt lte gt gte like starts. Texts are folded.

        Lax mode of a JSON path unwraps lists, and values of another type do not compare.
        """
        first = value if isinstance(value, str | float | bool) else value[0]
        if isinstance(first, str):
            element = self._json_elements(column, key, implicit=False)
            folded = self.by_code_point(self.fold(_plain_text(element)))
            return exists(
                select(literal(1))
                .select_from(element.table)
                .where(
                    func.jsonb_typeof(element) == "string",
                    _compares(self, op, folded, value),
                )
            )
        if op == "in":
            predicate, variables = "@ == $v[*]", _json({"v": value})
        else:
            predicate, variables = f"@ {_PATH_OPERATORS[op]} $v", _json({"v": value})
        return func.jsonb_path_exists(
            column,
            cast_to(literal(f"$.{_json(key)} ? ({predicate})"), JSONPATH),
            cast_to(literal(variables), JSONB),
            type_=Boolean,
        )

    @staticmethod
    def _json_elements(column: ColumnElement[Any], key: str, *, implicit: bool) -> Any:
        """A row for each element of a list, or for the single value."""
        whole = column[key]
        listed = case(
            (func.jsonb_typeof(whole) == "array", whole), else_=func.jsonb_build_array(whole)
        )
        return (
            func.jsonb_array_elements(listed, type_=JSONB)
            .table_valued(table_column("value", JSONB), joins_implicitly=implicit)
            .c.value
        )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _plain_text(value: Any) -> ColumnElement[str]:
    """A JSON scalar as text, without the quotes of a string."""
    text: ColumnElement[str] = value.op("#>>", return_type=Text())(literal_column("'{}'::text[]"))
    return text


def _compares(dialect: PostgresqlDialect, op: str, column: Any, value: Any) -> ColumnElement[bool]:
    if op == "like":
        return dialect.like(column, value)
    compared: ColumnElement[bool] = COMPARISONS_OF_TEXT[op](column, value)
    return compared
