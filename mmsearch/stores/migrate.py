"""Brings a library's schema to this version's, after a copy has been put aside.

The steps themselves are Alembic migrations (`migrations/`, shipped inside the wheel).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from mmsearch.errors import LibraryVersionError
from mmsearch.stores.database import storage_errors

if TYPE_CHECKING:
    from alembic.config import Config

logger = logging.getLogger(__name__)

HEAD = "0004"
"""The schema revision of this version; a test holds it to the newest migration."""


def current_revision(engine: Engine) -> str | None:
    """The schema revision of a database, None for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return str(found) if found is not None else None


def upgrade(engine: Engine, *, revision: str = HEAD) -> Path | None:
    """Create or upgrade the schema; returns the copy put aside, if one had to be made.

    Raises LibraryVersionError for a library that a newer mmsearch has written.
    """
    current = current_revision(engine)
    if current == revision:
        return None
    if current is not None and current not in known_revisions():
        raise LibraryVersionError(
            f"this library was written by a newer mmsearch (schema {current}; this version "
            f"knows up to {HEAD}). Upgrade mmsearch to open it."
        )
    copy = _put_aside(engine, current) if current is not None else None
    _run(engine, "upgrade", revision)
    return copy


def downgrade(engine: Engine, revision: str) -> None:
    """Step back to an older schema revision, or to "base"."""
    _run(engine, "downgrade", revision)


def known_revisions() -> set[str]:
    """Every schema revision that this version knows."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config())
    return {one.revision for one in script.walk_revisions()}


def _run(engine: Engine, direction: str, revision: str) -> None:
    from alembic import command

    with storage_errors(), _migrating(engine) as connection:
        config = _config()
        config.attributes["connection"] = connection
        getattr(command, direction)(config, revision)


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    """One transaction for all steps, with foreign keys off on SQLite.

    A batch migration there drops and recreates tables; with foreign keys on, dropping a
    parent would cascade into its children's rows.
    """
    with engine.connect().execution_options(mmsearch_write=True) as connection:
        sqlite = connection.dialect.name == "sqlite"
        raw = connection.connection.dbapi_connection
        if sqlite:
            assert isinstance(raw, sqlite3.Connection)
            raw.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                yield connection
                if sqlite and connection.execute(text("PRAGMA foreign_key_check")).first():
                    raise LibraryVersionError("the migration would break references; undone")
        finally:
            if sqlite:
                assert isinstance(raw, sqlite3.Connection)
                raw.execute("PRAGMA foreign_keys = ON")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_script_folder()).replace("%", "%%"))
    return config


def _script_folder() -> Path:
    """Inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _put_aside(engine: Engine, revision: str) -> Path | None:
    """A consistent copy of an SQLite database, beside it. PostgreSQL has its own backups."""
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database or database == ":memory:":
        return None
    target = Path(f"{database}.before-upgrade-from-{revision}")
    source_connection = sqlite3.connect(database)
    try:
        copy = sqlite3.connect(target)
        try:
            source_connection.backup(copy)
        finally:
            copy.close()
    finally:
        source_connection.close()
    logger.warning("upgrading the library; a copy of its database was kept as %s", target)
    return target
