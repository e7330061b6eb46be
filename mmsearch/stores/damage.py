"""Recognises a database that is damaged, empty or missing, before anything is written to it."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from mmsearch.errors import LibraryDamagedError, LibraryNotFoundError, StorageError
from mmsearch.stores.tables import Base

logger = logging.getLogger(__name__)

BESIDE_DATABASE = ("indexes", "thumbnails", "media")
"""Folders of a library that are worth nothing without its database."""

REMEDY = (
    "Restore it from a backup, or move the library's folder away and index again "
    "(files that were uploaded are in its folder media)."
)

_DAMAGED = ("malformed", "not a database", "file is encrypted", "is_corrupt")
_HEADER = b"SQLite format 3\0"


def is_damage(error: DBAPIError) -> bool:
    """Whether a database error says that the database file is damaged."""
    message = str(error.orig)
    # A row with malformed JSON is a row's damage, not the file's.
    return "malformed JSON" not in message and any(sign in message for sign in _DAMAGED)


def is_outage(error: DBAPIError) -> bool:
    """Whether a database error says that the server is away or has closed the connection."""
    return error.connection_invalidated or (
        isinstance(error, OperationalError | InterfaceError)
        and type(error.orig).__module__.startswith("psycopg")
        and getattr(error.orig, "sqlstate", None) in {None, "57P01", "57P02", "57P03"}
    )


def check_file(path: Path, *, create: bool) -> None:
    """Check an SQLite database before it is opened. A new one must be wanted (`create`).

    Raises LibraryNotFoundError, LibraryDamagedError, StorageError.
    """
    if path.is_dir():
        raise LibraryDamagedError(f"{path} is a folder, not a database. {REMEDY}")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        size, header = -1, b""
    except OSError as error:
        raise StorageError(f"the database {path} cannot be read: {error.strerror}") from None
    if size <= 0:
        _check_new(path, create=create, there=size == 0)
        return
    if len(header) < 100 or not header.startswith(_HEADER):
        raise LibraryDamagedError(f"{path} is not an SQLite database. {REMEDY}")
    page = int.from_bytes(header[16:18], "big")
    expected = (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
    # A write-ahead log may hold pages that are not in the file yet.
    log = path.with_name(f"{path.name}-wal")
    if size < expected and not (log.exists() and log.stat().st_size):
        raise LibraryDamagedError(
            f"the database {path} is truncated: it has {size} of {expected} bytes. {REMEDY}"
        )


def _check_new(path: Path, *, create: bool, there: bool) -> None:
    if not create and not there:
        raise LibraryNotFoundError(
            f"there is no mmsearch library in {path.parent}. Make one with: "
            f"mmsearch index FOLDER --library {path.parent}",
            param="library",
        )
    check_lone(path.parent, f"the database {path} is {'empty' if there else 'missing'}")
    if not create:
        raise LibraryDamagedError(f"the database {path} is empty. {REMEDY}")


def check_lone(folder: Path, what: str) -> None:
    """Raise LibraryDamagedError if indexes, thumbnails or media lie beside a new database."""
    for name in BESIDE_DATABASE:
        with suppress(OSError):
            if any((folder / name).iterdir()):
                raise LibraryDamagedError(
                    f"{what}, but {folder / name} is not empty: a new database would not know "
                    f"what is there. {REMEDY}"
                )


def check_schema(engine: Engine, folder: Path, *, create: bool) -> None:
    """Check that an open database is a library's, or a new one that is wanted (`create`).

    Raises LibraryDamagedError.
    """
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        return
    sqlite = engine.dialect.name == "sqlite"
    # A database on a server may have other programs' tables.
    if tables & set(Base.metadata.tables) or (tables and sqlite):
        raise LibraryDamagedError(
            "the library's database has tables but no schema revision (table alembic_version): "
            f"it is damaged or belongs to another program. {REMEDY}"
        )
    check_lone(folder, "the library's database is empty")
    if sqlite and not create:
        raise LibraryDamagedError(f"the library's database in {folder} is empty. {REMEDY}")


def read_json(value: str | bytes) -> Any:
    """A JSON column's value. Broken JSON is an empty object, with a log message."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        logger.warning(
            "a row of the library's database has broken JSON, which is read as empty: "
            "`mmsearch status --verify` names it"
        )
        return {}
