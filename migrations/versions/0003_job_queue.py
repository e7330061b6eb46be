"""Runs become a queue: tasks, attempts, leases, and the states that go with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

OLD = "state IN ('queued', 'running', 'done', 'failed', 'interrupted')"
NEW = "state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled', 'interrupted')"


def columns() -> list[sa.Column]:
    return [
        sa.Column("task", Json, nullable=False, server_default="{}"),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("max_attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("wanted", sa.String(length=20), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
    ]


def upgrade() -> None:
    _states(NEW, add=columns())
    op.create_index("ix_runs_queue", "runs", ["state", "priority", "id"])


def downgrade() -> None:
    op.drop_index("ix_runs_queue", "runs")
    op.execute("UPDATE runs SET state = 'interrupted' WHERE state IN ('paused', 'cancelled')")
    _states(OLD, drop=[column.name for column in columns()])


def _states(condition: str, *, add=(), drop=()) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_runs_state"), "runs", type_="check")
        for column in add:
            op.add_column("runs", column)
        for name in drop:
            op.drop_column("runs", name)
        op.create_check_constraint(op.f("ck_runs_state"), "runs", condition)
        return
    # SQLite: the table is made anew. Its check is not among what is copied.
    with op.batch_alter_table(
        "runs", recreate="always", table_kwargs={"sqlite_autoincrement": True}
    ) as batch:
        for column in add:
            batch.add_column(column)
        for name in drop:
            batch.drop_column(name)
        batch.create_check_constraint(op.f("ck_runs_state"), condition)
