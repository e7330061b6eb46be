"""The values that are written to and read from SQL, and the conversion of rows to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
from sqlalchemy import Table
from sqlalchemy.engine import Row

from mmsearch.errors import SpaceMismatchError
from mmsearch.stores.tables import SegmentRow, SourceRow
from mmsearch.types import (
    VERBAL,
    VISUAL,
    Collection,
    Failure,
    Metadata,
    Modality,
    Place,
    Segment,
    SegmentDraft,
    Source,
    SourceFile,
    Space,
)

T = TypeVar("T")


EXPECTED_IN: Mapping[str, frozenset[Modality]] = {
    "clip": VISUAL | VERBAL,
    "text": VISUAL | VERBAL,
    "sound": frozenset({Modality.SOUND}),
}
"""Which modalities have a vector in which space. `status --verify` checks it."""

NEEDS_TEXT = frozenset({"text"})
"""Spaces in which a segment without words has no vector."""

STALE_RECIPE = ""
"""The recipe of a source that the next run indexes again, whatever models it uses."""

MAX_ID = 2**63 - 1
"""The largest integer that SQL holds; no id is larger."""

IN_CHUNK = 500
"""Parameters of one IN (...): below SQLite's limit of every build."""


@dataclass(frozen=True, slots=True)
class SourceWrite:
    """What indexing a file resulted in: its segments and their vectors, or its failure.

    `vectors[space_id]` is (ordinals int (n,), float16 (n, dimension)): which of `segments`
    have a vector in that space.
    """

    file: SourceFile
    sha256: str
    mime: str
    recipe: str
    metadata: Metadata = field(default_factory=dict)
    segments: tuple[SegmentDraft, ...] = ()
    vectors: Mapping[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]] = field(
        default_factory=dict
    )
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class KnownFile:
    """The record of a file: enough to decide whether it changed."""

    id: int
    uri: str
    path: str
    sha256: str
    size: int
    mtime_ns: int
    recipe: str
    status: str
    indexed_at: datetime


@dataclass(frozen=True, slots=True)
class StoredSpace:
    """A space as a collection uses it."""

    id: int
    collection_id: int
    space: Space
    state: Literal["building", "active", "retired"]


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the change log."""

    id: int
    source_id: int
    op: Literal["add", "remove"]
    segment_ids: tuple[int, ...]


def check_same_space(stored: Space, requested: Space) -> None:
    """Raise SpaceMismatchError unless both are the same space."""
    if stored.fingerprint == requested.fingerprint:
        return
    raise SpaceMismatchError(
        f"this collection's '{stored.name}' vectors were made with {stored.model} "
        f"({stored.revision}, fingerprint {stored.fingerprint}), and now {requested.model} "
        f"({requested.revision}, fingerprint {requested.fingerprint}) was requested. Use the "
        "models the collection was made with, index into another collection or library, or "
        "change the models of this one with: mmsearch models switch --profile NAME",
        param="profile",
    )


SOURCES = cast("Table", SourceRow.__table__)
SEGMENTS = cast("Table", SegmentRow.__table__)

KNOWN_FILE = (
    SourceRow.id,
    SourceRow.uri,
    SourceRow.path,
    SourceRow.sha256,
    SourceRow.size,
    SourceRow.mtime_ns,
    SourceRow.recipe,
    SourceRow.status,
    SourceRow.indexed_at,
)


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices small enough for one IN (...)."""
    for start in range(0, len(items), IN_CHUNK):
        yield items[start : start + IN_CHUNK]


def little_endian(vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float16]:
    """Vectors as SQL holds them, shape (n, dimension)."""
    return np.ascontiguousarray(vectors, dtype="<f2")


def matrix(blobs: Sequence[bytes]) -> npt.NDArray[np.float16]:
    """Stored vectors of one space as (n, dimension)."""
    return np.frombuffer(b"".join(blobs), dtype="<f2").reshape(len(blobs), -1)


def usable(
    rows: Sequence[tuple[int, bytes]], dimension: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float16], list[int]]:
    """Stored vectors that can be searched: ids (n,), float16 (n, dimension), and the other ids.

    A vector cannot be searched if its length is wrong, or if it is zero or not finite.
    """
    right = [row for row in rows if len(row[1]) == 2 * dimension]
    ids = np.array([row[0] for row in right], np.int64)
    vectors = matrix([row[1] for row in right]) if right else np.empty((0, dimension), np.float16)
    good = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    bad = {row[0] for row in rows} - set(ids[good].tolist())
    return (ids, vectors, []) if not bad else (ids[good], vectors[good], sorted(bad))


def object_of(value: Any) -> Metadata:
    """Metadata as an object, whatever JSON a damaged row holds."""
    return value if isinstance(value, dict) else {}


def segment_values(source_id: int, ordinal: int, draft: SegmentDraft) -> dict[str, Any]:
    """Column values of a new segment."""
    place = draft.place
    return {
        "source_id": source_id,
        "ordinal": ordinal,
        "modality": draft.modality.value,
        "text": draft.text,
        "start": place.start,
        "end": place.end,
        "page": place.page,
        "char_start": place.char_start,
        "char_end": place.char_end,
        "box": list(place.box) if place.box else None,
        "metadata": dict(draft.metadata),
    }


def _place(row: Row[Any]) -> Place:
    return Place(
        row.start,
        row.end,
        row.page,
        row.char_start,
        row.char_end,
        tuple(row.box) if row.box else None,
    )


def to_draft(row: Row[Any]) -> SegmentDraft:
    """A stored segment as the segmenter made it."""
    return SegmentDraft(Modality(row.modality), _place(row), row.text, object_of(row.metadata))


def to_segment(row: Row[Any]) -> Segment:
    """A row of segments."""
    return Segment(
        row.id,
        row.source_id,
        Modality(row.modality),
        _place(row),
        row.text,
        object_of(row.metadata),
    )


def to_source(row: Row[Any]) -> Source:
    """A row of sources."""
    failure = (
        Failure(row.path, row.failure_code, row.failure_reason or "")
        if row.failure_code is not None
        else None
    )
    return Source(
        row.id,
        row.collection_id,
        row.uri,
        row.path,
        row.sha256,
        row.size,
        row.mtime_ns,
        row.mime,
        row.status,
        failure,
        object_of(row.metadata),
        row.indexed_at,
    )


def to_collection(row: Row[Any]) -> Collection:
    """A row of collections."""
    settings = row.settings or {}
    models, weights = settings.get("models", {}), settings.get("weights", {})
    return Collection(
        row.id,
        row.name,
        row.profile,
        tuple(sorted(models.items())),
        tuple(sorted(weights.items())),
    )


def to_stored_space(row: Row[Any]) -> StoredSpace:
    """A row of spaces."""
    space = Space(row.name, row.model, row.revision, row.fingerprint, row.dimension, row.metric)
    return StoredSpace(row.id, row.collection_id, space, row.state)
