"""The metadata store: everything that is true about a library, in SQL.

`SqlStore` has one small store per subject. Every method that writes is one transaction. Changes of
segments are logged in the same transaction; vector indexes follow that log (`ChangeLog`).
"""

from __future__ import annotations

import uuid
from functools import cached_property

from sqlalchemy import URL, insert, select

from mmsearch.stores.calibrations import CalibrationStore
from mmsearch.stores.change_log import ChangeLog
from mmsearch.stores.collections import CollectionStore
from mmsearch.stores.database import Database, now
from mmsearch.stores.dialects import Dialect
from mmsearch.stores.jobs import JobStore
from mmsearch.stores.lexical.choice import lexical_index
from mmsearch.stores.lexical.index import SqlLexicalIndex
from mmsearch.stores.names import NameStore
from mmsearch.stores.rerank_scores import RerankScoreStore
from mmsearch.stores.runs import RunStore
from mmsearch.stores.segments import SegmentStore
from mmsearch.stores.sources import SourceStore
from mmsearch.stores.spaces import SpaceStore
from mmsearch.stores.status import StatusStore
from mmsearch.stores.switches import SwitchStore
from mmsearch.stores.tables import LibraryRow
from mmsearch.stores.vectors import VectorStore
from mmsearch.stores.verification import Verification


class SqlStore:
    """SQL over SQLite (default) or PostgreSQL. Thread-safe; `url` is a URL of SQLAlchemy."""

    def __init__(self, url: str | URL) -> None:
        self.database = database = Database(url)
        self.changes = ChangeLog(database)
        self.collections = CollectionStore(database, self.changes)
        self.sources = SourceStore(database, self.collections, self.changes)
        self.segments = SegmentStore(database)
        self.vectors = VectorStore(database)
        self.spaces = SpaceStore(database)
        self.switches = SwitchStore(database, self.spaces, self.changes)
        self.calibrations = CalibrationStore(database)
        self.rerank_scores = RerankScoreStore(database)
        self.runs = RunStore(database)
        self.jobs = JobStore(database)
        self.names = NameStore(database, self.changes)
        self.status = StatusStore(database, self.spaces)
        self.verification = Verification(database, self.spaces)

    @cached_property
    def lexical(self) -> SqlLexicalIndex:
        """Full text over the words of segments and the names of their sources."""
        return lexical_index(self.database.engine)

    @property
    def dialect(self) -> Dialect:
        """What is particular to this database, for building conditions."""
        return self.database.dialect

    def library_uuid(self) -> str:
        """The identity of the library; assigned at the first call."""
        query = select(LibraryRow.uuid)
        with self.database.read() as connection:
            known = connection.scalar(query)
        if known is not None:
            return str(known)
        with self.database.write() as connection:
            known = connection.scalar(query)
            if known is None:
                known = str(uuid.uuid4())
                connection.execute(insert(LibraryRow).values(id=1, uuid=known, created_at=now()))
        return str(known)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
