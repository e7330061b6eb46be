"""Upgrades a library's schema to this version's, after a backup.

The steps themselves are Alembic migrations (`migrations/`, shipped inside the wheel).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text

from mmsearch.errors import LibraryVersionError
from mmsearch.stores.database import connected, storage_errors
from mmsearch.stores.dialects import dialect_of

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0006"
"""The schema revision of this version. A test compares it with the newest migration."""


def current_revision(engine: Engine) -> str | None:
    """The schema revision of a database, None for an empty one."""
    with storage_errors(), connected(engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return str(revision) if revision is not None else None


def upgrade(engine: Engine, *, revision: str = HEAD) -> Path | None:
    """Create or upgrade the schema. Returns the backup, if one was needed.

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
    copy = dialect_of(engine).back_up(engine, current) if current is not None else None
    _run(engine, "upgrade", revision)
    return copy


def downgrade(engine: Engine, revision: str) -> None:
    """Step back to an older schema revision, or to "base"."""
    _run(engine, "downgrade", revision)


def known_revisions() -> set[str]:
    """Every schema revision that this version knows."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config())
    return {step.revision for step in script.walk_revisions()}


def _run(engine: Engine, direction: str, revision: str) -> None:
    from alembic import command

    with (
        storage_errors(),
        engine.connect().execution_options(mmsearch_write=True) as connection,
        dialect_of(engine).migrating(connection),
    ):
        config = _config()
        config.attributes["connection"] = connection
        getattr(command, direction)(config, revision)


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
