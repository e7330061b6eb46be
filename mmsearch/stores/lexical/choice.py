"""Which full text goes with a database."""

from __future__ import annotations

from sqlalchemy import Engine

from mmsearch.stores.dialects import dialect_of
from mmsearch.stores.lexical.index import SqlLexicalIndex
from mmsearch.stores.lexical.postgresql import PostgresqlLexicalIndex
from mmsearch.stores.lexical.sqlite import SqliteLexicalIndex


def lexical_index(engine: Engine) -> SqlLexicalIndex:
    """The full text of a database that `mmsearch.stores.migrate` has brought up to date."""
    if dialect_of(engine).name == "postgresql":
        return PostgresqlLexicalIndex(engine)
    return SqliteLexicalIndex(engine)
