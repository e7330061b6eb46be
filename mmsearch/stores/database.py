"""The database of a library: connections, transactions, and its errors as ours."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import DBAPIError

from mmsearch.errors import LibraryBusyError, LibraryDamagedError, StorageError
from mmsearch.stores import damage
from mmsearch.stores.dialects import dialect_of

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0
"""Between the two attempts to reach a database server."""


class Database:
    """Opens transactions. Thread-safe; `url` is any SQLAlchemy URL of SQLite or PostgreSQL."""

    def __init__(self, url: str | URL) -> None:
        self.engine = connect(url)
        self.dialect = dialect_of(self.engine)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[SharedRead]:
        """All reads of this thread inside the block share one connection and one transaction."""
        with shared_read(self.engine) as shared:
            yield shared

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with: that of this thread's `reading` block, if there is one."""
        with read(self.engine) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction. LibraryBusyError; StorageError for a full or failing disk."""
        with storage_errors(), connected(self.engine) as connection:
            connection = connection.execution_options(mmsearch_write=True)
            with connection.begin():
                yield connection


class SharedRead:
    """A connection that several reads of one thread share. It is opened by the first of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = connected(self.engine)
        return self._connection

    def release(self) -> None:
        """End the transaction and return the connection; the next read begins another one.

        To be called before anything slow, so that no transaction stays open meanwhile.
        """
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_local = threading.local()


def _shared_reads() -> list[SharedRead]:
    """The open `shared_read` blocks of this thread, outermost first."""
    if not hasattr(_local, "shared_reads"):
        _local.shared_reads = []
    blocks: list[SharedRead] = _local.shared_reads
    return blocks


@contextmanager
def shared_read(engine: Engine) -> Iterator[SharedRead]:
    """See `Database.reading`. A nested block shares the connection of the outer one."""
    blocks = _shared_reads()
    shared = next((block for block in blocks if block.engine is engine), None)
    if shared is not None:
        yield shared
        return
    shared = SharedRead(engine)
    blocks.append(shared)
    try:
        yield shared
    finally:
        blocks.remove(shared)
        shared.release()


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """The connection of this thread's `shared_read` block, or a new one for this read alone."""
    shared = next((block for block in _shared_reads() if block.engine is engine), None)
    if shared is None:
        with storage_errors(), connected(engine) as connection:
            yield connection
        return
    try:
        with storage_errors():
            yield shared.connection
    except (LibraryDamagedError, StorageError):
        shared.release()
        raise
    except DBAPIError:
        # PostgreSQL refuses every further statement of a transaction in which one has failed.
        shared.release()
        raise


def connected(engine: Engine) -> Connection:
    """A connection. A server that is away, perhaps restarting, is tried once more."""
    try:
        return engine.connect()
    except DBAPIError as error:
        if not damage.is_outage(error):
            raise
    time.sleep(RECONNECT_SECONDS)
    try:
        return engine.connect()
    except DBAPIError as error:
        # Only for the log: the message of the error may be read by clients of the service.
        logger.error("the database cannot be reached: %s", error.orig)  # noqa: TRY400
        raise


def release_read(engine: Engine) -> None:
    """End the transaction of this thread's `shared_read` block, if there is one."""
    for block in _shared_reads():
        if block.engine is engine:
            block.release()


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def connect(url: str | URL) -> Engine:
    """An engine whose connections are configured for mmsearch. ValueError for other databases."""
    engine = create_engine(
        url,
        pool_pre_ping=make_url(url).get_backend_name() != "sqlite",
        # Unescaped: SQLite compares the keys of a JSON path with the text as it is stored.
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=damage.read_json,
        # Parameters are contents of the library: they belong into no log.
        hide_parameters=True,
    )
    dialect_of(engine).configure(engine)
    return engine


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raises database errors as ours.

    LibraryBusyError for a lock, LibraryDamagedError for a damaged file, StorageError for the disk
    or a server that is away. Others are raised as they are.
    """
    try:
        yield
    except DBAPIError as error:
        message = str(error.orig)
        if "locked" in message:
            raise LibraryBusyError("another process is writing to this library") from error
        if damage.is_damage(error):
            raise LibraryDamagedError(
                f"the library's database is damaged ({message}). {damage.REMEDY}"
            ) from error
        if damage.is_outage(error):
            raise StorageError("the library's database cannot be reached at the moment") from error
        if any(sign in message for sign in ("full", "readonly", "disk I/O", "unable to open")):
            raise StorageError(f"the library's database cannot be written: {message}") from error
        raise
