"""The SQL schema. SQL is the truth: every vector index can be rebuilt from it.

One schema for SQLite and PostgreSQL. The migrations in `migrations/` build it step by step; a
test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from mmsearch.stores.dialects import dialect_named

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite gives AUTOINCREMENT, and with it never-reused ids, to INTEGER only."""

Json = JSON().with_variant(JSONB(), "postgresql")

Head = String(200).with_variant(String(200, collation="C"), "postgresql")
"""The beginning of a text, in order of code points, as SQLite and Python have it."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in, aware UTC datetimes out, on databases that forget the zone too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None]:
        """As the base class's; a text that is no time is the beginning of 1970."""
        read = super().result_processor(dialect, coltype)

        def process(value: Any) -> datetime | None:
            try:
                return value if read is None else read(value)
            except (ValueError, TypeError):
                return datetime.fromtimestamp(0, UTC)

        return process

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


class Tokens(TypeDecorator[Sequence[str]]):
    """The tokens of a segment in order: words and spaces, or a tsvector with positions.

    Made by `mmsearch.stores.lexical.analysis`, which leaves nothing in a token that would
    have to be quoted.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(dialect_named(dialect.name).tokens_type())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> str | None:
        return None if value is None else dialect_named(dialect.name).tokens_to_sql(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[str] | None:
        return None if value is None else dialect_named(dialect.name).tokens_from_sql(value)


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
    """One row: the identity of this library, by which a foreign snapshot is recognised."""

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
    settings: Mapped[dict[str, Any]] = mapped_column(Json, server_default="{}")
    """Settings of this collection that differ from the library's, for example channel weights."""


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
    """A file or record that was indexed, or failed."""

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
    """Fingerprint of everything that made the segments: models, loaders, segmenting settings."""
    status: Mapped[str] = mapped_column(String(20))
    failure_code: Mapped[str | None] = mapped_column(String(50))
    failure_reason: Mapped[str | None] = mapped_column(Text)
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    indexed_at: Mapped[datetime]


class SourceValueRow(Base):
    """A value of a source's metadata, for filters (see `mmsearch.stores.source_values`)."""

    __tablename__ = "source_values"
    __table_args__ = (
        *(
            Index(
                f"ix_source_values_{name}",
                *("key", "kind", name, "source_id"),
                sqlite_where=text(f"{name} IS NOT NULL"),
                postgresql_where=text(f"{name} IS NOT NULL"),
            )
            for name in ("text", "number")
        ),
        {"sqlite_with_rowid": False},
    )

    source_id: Mapped[int] = mapped_column(
        ForeignKey("sources.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    place: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(10))
    """text, number or bool"""
    text: Mapped[str | None] = mapped_column(Head)
    number: Mapped[float | None] = mapped_column(Double)


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


class CalibrationRow(Base):
    """How similar unrelated items are in a space, per target modality and kind of query."""

    __tablename__ = "calibrations"

    space_id: Mapped[int] = mapped_column(
        ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True
    )
    modality: Mapped[str] = mapped_column(String(20), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    """The kind of query: "words" or "picture"."""
    size: Mapped[int] = mapped_column(BigInteger)
    """Vectors of the modality when it was measured. It is measured again after much growth."""
    data: Mapped[dict[str, Any]] = mapped_column(Json)
    made_at: Mapped[datetime]


class SegmentWordsRow(Base):
    """The tokens of a segment, indexed for full-text search (FTS5 or GIN).

    Segments have a row if they have words: their own text, or the name of their source, which
    the first segment of each modality carries.
    """

    __tablename__ = "segment_words"
    # Both indexes are covering: the rows themselves are as long as the texts.
    __table_args__ = (
        Index("ix_segment_words_collection_id", "collection_id", "modality", "length"),
        Index("ix_segment_words_segment_id", "segment_id", "collection_id", "modality"),
    )

    segment_id: Mapped[int] = mapped_column(
        ForeignKey("segments.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    collection_id: Mapped[int] = mapped_column(BigId)
    modality: Mapped[str] = mapped_column(String(20))
    length: Mapped[int] = mapped_column(Integer)
    """Tokens in `words`."""
    words: Mapped[Sequence[str]] = mapped_column(Tokens)


class RerankScoreRow(Base):
    """A reranker's score, saved so that the same pair is not scored twice."""

    __tablename__ = "rerank_scores"

    key: Mapped[str] = mapped_column(CHAR(64), primary_key=True)
    """SHA-256 of query, content hash, model and prompt."""
    score: Mapped[float]
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]


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
    """An indexing run, or a job in the queue (see `mmsearch.stores.jobs`), with its progress."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled', "
            "'interrupted')",
            name="state",
        ),
        Index("ix_runs_queue", "state", "priority", "id"),
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
    task: Mapped[dict[str, Any]] = mapped_column(Json, server_default="{}")
    """What a worker has to index."""
    priority: Mapped[int] = mapped_column(Integer, server_default="0")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    max_attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    """0: not a job, but a run in the foreground."""
    not_before: Mapped[datetime | None]
    lease: Mapped[str | None] = mapped_column(String(36))
    """The token of the worker that holds it."""
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(Text)
    wanted: Mapped[str | None] = mapped_column(String(20))
    """"cancel" or "pause", until its worker stops."""
    claimed_at: Mapped[datetime | None]


class RunItemRow(Base):
    """What a run did with one file. Unchanged files are only counted."""

    __tablename__ = "run_items"
    __table_args__ = (Index("ix_run_items_run_id", "run_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(20))
    code: Mapped[str | None] = mapped_column(String(50))
    reason: Mapped[str | None] = mapped_column(Text)
