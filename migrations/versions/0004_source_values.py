"""Values of sources' metadata in a table of their own, with indexes for filters."""

import sqlalchemy as sa
from alembic import op

from mmsearch.stores.source_values import write_all_values

revision = "0004"
down_revision = "0003"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# By code point, as SQLite and Python compare.
Head = sa.String(length=200).with_variant(sa.String(length=200, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "source_values",
        sa.Column("source_id", BigId, nullable=False, autoincrement=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("text", Head, nullable=True),
        sa.Column("number", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
            name=op.f("fk_source_values_source_id_sources"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", "key", "place", name=op.f("pk_source_values")),
        sqlite_with_rowid=False,
    )
    for name in ("text", "number"):
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"ix_source_values_{name}",
            "source_values",
            ["key", "kind", name, "source_id"],
            sqlite_where=there,
            postgresql_where=there,
        )
    write_all_values(op.get_bind())


def downgrade() -> None:
    op.drop_table("source_values")
