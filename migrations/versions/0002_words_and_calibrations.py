"""Full text, calibrations, a cache of reranking scores, settings of collections."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from mmsearch.stores.lexical.rows import write_all_words

revision = "0002"
down_revision = "0001"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
Words = sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql")

# The tokens are cut by us: separated by spaces, and all else but ASCII punctuation is theirs.
FTS5 = (
    """
    CREATE VIRTUAL TABLE segment_fts USING fts5(
        words, content='segment_words', content_rowid='segment_id', tokenize='ascii'
    )
    """,
    """
    CREATE TRIGGER segment_words_added AFTER INSERT ON segment_words BEGIN
        INSERT INTO segment_fts (rowid, words) VALUES (new.segment_id, new.words);
    END
    """,
    """
    CREATE TRIGGER segment_words_removed AFTER DELETE ON segment_words BEGIN
        INSERT INTO segment_fts (segment_fts, rowid, words)
        VALUES ('delete', old.segment_id, old.words);
    END
    """,
    """
    CREATE TRIGGER segment_words_changed AFTER UPDATE ON segment_words BEGIN
        INSERT INTO segment_fts (segment_fts, rowid, words)
        VALUES ('delete', old.segment_id, old.words);
        INSERT INTO segment_fts (rowid, words) VALUES (new.segment_id, new.words);
    END
    """,
)


def upgrade() -> None:
    op.add_column("collections", sa.Column("settings", Json, nullable=False, server_default="{}"))
    op.create_table(
        "calibrations",
        sa.Column("space_id", BigId, nullable=False),
        sa.Column("modality", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["space_id"],
            ["spaces.id"],
            name=op.f("fk_calibrations_space_id_spaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("space_id", "modality", "kind", name=op.f("pk_calibrations")),
    )
    op.create_table(
        "rerank_scores",
        sa.Column("key", sa.CHAR(length=64), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rerank_scores")),
    )
    op.create_table(
        "segment_words",
        sa.Column("segment_id", BigId, nullable=False, autoincrement=False),
        sa.Column("collection_id", BigId, nullable=False),
        sa.Column("modality", sa.String(length=20), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("words", Words, nullable=False),
        sa.ForeignKeyConstraint(
            ["segment_id"],
            ["segments.id"],
            name=op.f("fk_segment_words_segment_id_segments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("segment_id", name=op.f("pk_segment_words")),
    )
    op.create_index(
        "ix_segment_words_collection_id", "segment_words", ["collection_id", "modality", "length"]
    )
    op.create_index(
        "ix_segment_words_segment_id", "segment_words", ["segment_id", "collection_id", "modality"]
    )
    if op.get_bind().dialect.name == "sqlite":
        for statement in FTS5:
            op.execute(statement)
    else:
        op.create_index(
            "ix_segment_words_words", "segment_words", ["words"], postgresql_using="gin"
        )
    write_all_words(op.get_bind())


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in ("added", "removed", "changed"):
            op.execute(f"DROP TRIGGER segment_words_{name}")
        op.execute("DROP TABLE segment_fts")
    op.drop_table("segment_words")
    op.drop_table("rerank_scores")
    op.drop_table("calibrations")
    op.drop_column("collections", "settings")
