"""Everything that SQLite and PostgreSQL do differently, behind one interface.

`dialect_of(engine or connection)` returns the object for a database. Both classes have the same
methods; `Dialect` is their union, so mypy checks every call against both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from sqlalchemy import Connection, Engine

from mmsearch.stores.postgresql_dialect import PostgresqlDialect
from mmsearch.stores.sqlite_dialect import SqliteDialect

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
