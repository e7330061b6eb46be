"""The SQL schema. SQL is the truth: a FAISS index can always be made again from here.

Written for SQLite and PostgreSQL alike. The migrations in `migrations/` build the same
schema step by step; a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite gives AUTOINCREMENT, and with it never-reused ids, to INTEGER only."""

Json = JSON().with_variant(JSONB(), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in, aware UTC datetimes out, on databases that forget the zone too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The declarative base: how constraints are named, how Python types are stored."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: Json, list[int]: Json}  # noqa: RUF012  # SQLAlchemy reads it off the class


class LibraryRow(Base):
    """One row: the identity of this library, so that a foreign snapshot is recognised."""

    __tablename__ = "library"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36))
    created_at: Mapped[datetime]


class CollectionRow(Base):
    """A collection."""

    __tablename__ = "collections"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    profile: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]


class SpaceRow(Base):
    """A vector space in use by a collection (see `mmsearch.types.Space`)."""

    __tablename__ = "spaces"
    __table_args__ = (
        UniqueConstraint("collection_id", "fingerprint"),
        CheckConstraint("state IN ('building', 'active', 'retired')", name="state"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(50))
    model: Mapped[str] = mapped_column(Text)
    revision: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64))
    dimension: Mapped[int] = mapped_column(Integer)
    metric: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20))


class SourceRow(Base):
    """A file that came in, or failed to."""

    __tablename__ = "sources"
    __table_args__ = (
        UniqueConstraint("collection_id", "uri"),
        Index("ix_sources_content", "collection_id", "sha256"),
        CheckConstraint("status IN ('indexed', 'failed')", name="status"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    uri: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    mime: Mapped[str] = mapped_column(String(200))
    recipe: Mapped[str] = mapped_column(String(64))
    """Fingerprint of everything that made the segments: models, loaders, cutting settings."""
    status: Mapped[str] = mapped_column(String(20))
    failure_code: Mapped[str | None] = mapped_column(String(50))
    failure_reason: Mapped[str | None] = mapped_column(Text)
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    indexed_at: Mapped[datetime]


class SegmentRow(Base):
    """A segment and its place in its source."""

    __tablename__ = "segments"
    __table_args__ = (
        UniqueConstraint("source_id", "ordinal"),
        Index("ix_segments_modality", "modality", "source_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id", ondelete="CASCADE"))
    ordinal: Mapped[int] = mapped_column(Integer)
    modality: Mapped[str] = mapped_column(String(20))
    text: Mapped[str | None] = mapped_column(Text)
    start: Mapped[float | None]
    end: Mapped[float | None]
    page: Mapped[int | None] = mapped_column(Integer)
    char_start: Mapped[int | None] = mapped_column(Integer)
    char_end: Mapped[int | None] = mapped_column(Integer)
    box: Mapped[list[float] | None] = mapped_column(Json)
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", Json)


class VectorRow(Base):
    """A segment's unit vector in a space, as little-endian float16."""

    __tablename__ = "vectors"
    __table_args__ = (Index("ix_vectors_segment_id", "segment_id"),)

    space_id: Mapped[int] = mapped_column(
        ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True
    )
    segment_id: Mapped[int] = mapped_column(
        ForeignKey("segments.id", ondelete="CASCADE"), primary_key=True
    )
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ChangeRow(Base):
    """The ordered change log that every index follows.

    Rows become visible in the order of their ids: SQLite has one writer, and on PostgreSQL
    writers take an advisory lock before they log, so a reader never steps over a gap.
    """

    __tablename__ = "changes"
    __table_args__ = (
        CheckConstraint("op IN ('add', 'remove')", name="op"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(BigId)
    source_id: Mapped[int] = mapped_column(BigId)
    op: Mapped[str] = mapped_column(String(10))
    segment_ids: Mapped[list[int]] = mapped_column(Json)
    at: Mapped[datetime]


class RunRow(Base):
    """One indexing run or upload job, with its progress."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'interrupted')", name="state"
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20))
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    counts: Mapped[dict[str, Any]] = mapped_column(Json)
    error: Mapped[str | None] = mapped_column(Text)


class RunItemRow(Base):
    """What a run did with one file; files found unchanged are only counted."""

    __tablename__ = "run_items"
    __table_args__ = (Index("ix_run_items_run_id", "run_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(20))
    code: Mapped[str | None] = mapped_column(String(50))
    reason: Mapped[str | None] = mapped_column(Text)
