"""The composition root: the one place that turns settings into wired parts.

A new model, store or index is plugged in here, with one line.
"""

from __future__ import annotations

from sqlalchemy import URL

from mmsearch.errors import StorageError
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.models.rerankers.choice import rerankers_of
from mmsearch.models.wiring import models_of
from mmsearch.protocols import VectorBackend
from mmsearch.settings import Settings, decoding_workers
from mmsearch.stores import damage, migrate
from mmsearch.stores.database import storage_errors
from mmsearch.stores.store import SqlStore
from mmsearch.vectors.channels import ChannelIndexes
from mmsearch.vectors.faiss.backend import FaissBackend
from mmsearch.vectors.memory import MemoryBackend

__all__ = [
    "models_of",
    "open_indexes",
    "open_sandbox",
    "open_store",
    "rerankers_of",
    "vector_backend",
]


def open_sandbox(settings: Settings) -> Sandbox:
    """The pool of decoding workers, within the settings' limits."""
    return Sandbox(
        decoding_workers(settings),
        seconds=settings.decode_seconds,
        memory_mb=settings.decode_memory_mb,
        require_confinement=settings.require_confinement,
    )


def open_indexes(settings: Settings, store: SqlStore) -> ChannelIndexes:
    """The vector indexes of all channels, not loaded yet."""
    return ChannelIndexes(
        store, vector_backend(settings, store), save_every=settings.snapshot_every
    )


def vector_backend(settings: Settings, store: SqlStore) -> VectorBackend:
    """Where the vector indexes of a library are stored."""
    if settings.vector_backend == "memory":
        return MemoryBackend()
    return FaissBackend.from_settings(settings, store)


def open_store(settings: Settings, *, create: bool = False) -> SqlStore:
    """The metadata store, its schema brought up to date."""
    folder = settings.library
    url: str | URL | None = settings.database_url
    if url is None:
        file = folder / "library.sqlite"
        # Not a string: a folder's name may hold what a URL reads as something else (? % #).
        url = URL.create("sqlite", database=str(file))
        damage.check_file(file, create=create)
    try:
        # Its media and thumbnails are private; a folder that exists stays as it is.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the library folder {folder} cannot be made: {error}") from None
    store = SqlStore(url)
    try:
        with storage_errors():
            damage.check_schema(store.database.engine, folder, create=create)
        migrate.upgrade(store.database.engine)
    except BaseException:
        store.close()
        raise
    return store
