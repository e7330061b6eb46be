"""What the routes about sources, segments and the library answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from mmsearch.service.schemas import Links, Schema, SegmentPlace, SourceBrief


class Failure(Schema):
    """Why a file could not be indexed."""

    path: str
    code: str
    reason: str


class Source(SourceBrief):
    """A file of the library."""

    sha256: str
    size: int = Field(description="Bytes.")
    status: str = Field(description="indexed or failed.")
    failure: Failure | None
    indexed_at: datetime
    links: Links


class SourcePage(Schema):
    """Some sources in the order of their ids."""

    sources: list[Source]
    next: int | None = Field(description="Send it as `after` for the next page; null at the end.")


class SourceWithSegments(Schema):
    """A source and its segments."""

    source: Source
    segments: list[SegmentPlace]


class SegmentWithSource(Schema):
    """A segment and the source it lies in."""

    segment: SegmentPlace
    source: Source


class IndexState(Schema):
    """The vector index of one space."""

    model_config = ConfigDict(extra="allow")

    type: str
    size: int
    generation: int = Field(description="Counts up with every published snapshot.")


class LibraryStatus(Schema):
    """How much the library holds."""

    model_config = ConfigDict(extra="allow")

    sources: int
    segments: int
    vectors: dict[str, int] = Field(description="By space.")
    index: dict[str, IndexState] = Field(description="By space.")
    switching: dict[str, Any] = Field(
        {}, description="Collections on their way to other models, and how far each space is."
    )
    warnings: list[str] = Field([], description="Warnings of the indexes; each is returned once.")


class CollectionBrief(Schema):
    """A named set of sources."""

    id: int
    name: str
    profile: str


class Collections(Schema):
    """The library's collections."""

    collections: list[CollectionBrief]
