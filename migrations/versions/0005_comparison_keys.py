"""Values of metadata by comparison key, and the times of dates, for filters."""

import sqlalchemy as sa
from alembic import op

from mmsearch.stores.source_values import write_all_values

revision = "0005"
down_revision = "0004"

_COLLATIONS = ("und-x-icu", "pg_unicode_fast", "pg_c_utf8", "C.utf8", "C.UTF-8")
"""Those that know the lower case of every script, best first."""


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        known = set(connection.scalars(sa.text("SELECT collname FROM pg_collation")))
        collation = next((name for name in _COLLATIONS if name in known), "default")
        # Kept equal to mmsearch.stores.comparable.comparison_key.
        op.execute(
            f"""
            CREATE OR REPLACE FUNCTION mmsearch_fold(value text) RETURNS text
            LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
                SELECT replace(replace(replace(lower(
                    replace(normalize(value, NFC), U&'\\0130', U&'i\\0307') COLLATE "{collation}"
                ), U&'\\00DF', 'ss'), U&'\\03C2', U&'\\03C3'), U&'\\017F', 's') COLLATE "C"
            $$
            """
        )
    write_all_values(connection)


def downgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.execute("DROP FUNCTION IF EXISTS mmsearch_fold(text)")
    op.execute("DELETE FROM source_values WHERE kind IN ('time', 'local', 'instant')")
    sources = sa.table("sources", sa.column("id"), sa.column("metadata", sa.JSON()))
    values = sa.table(
        "source_values", *map(sa.column, ("source_id", "key", "place", "kind", "text"))
    )
    # Earlier versions compare the texts as they are written.
    texts = connection.execute(sa.select(sources.c.id, sources.c.metadata)).all()
    op.execute("DELETE FROM source_values WHERE kind = 'text'")
    for source_id, metadata in texts:
        for key, value in (metadata or {}).items():
            items = value if isinstance(value, list) else [value]
            rows = [
                {
                    "source_id": source_id,
                    "key": key,
                    "place": 1_000_000 + place,
                    "kind": "text",
                    "text": text,
                }
                for place, text in enumerate(
                    dict.fromkeys(item[:200] for item in items if isinstance(item, str))
                )
            ]
            if rows and len(key) <= 200:
                connection.execute(sa.insert(values), rows)
