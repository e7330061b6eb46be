"""What several routes answer, for OpenAPI; a route's own schemas stand beside it.

Answers are written by orjson straight from the values. These models document them, and tests hold
real answers against them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mmsearch.types import Modality

JsonObject = dict[str, Any]


class Schema(BaseModel):
    """Base: an unknown key is an error, so that tests report a key that is not documented."""

    model_config = ConfigDict(extra="forbid")


class SourceBrief(Schema):
    """The source of a hit."""

    id: int
    path: str
    uri: str
    mime: str
    metadata: JsonObject = {}


class SpeechContext(Schema):
    """The speech just before and just after."""

    before: str | None
    after: str | None


class Caption(Schema):
    """A description by a model, not checked by a person."""

    text: str
    model: str
    machine: bool


class SegmentPlace(Schema):
    """A segment and where it lies; what does not apply is null."""

    id: int
    modality: Modality
    start: float | None = Field(description="Seconds.")
    end: float | None
    page: int | None = Field(description="1-based.")
    text: str | None
    char_start: int | None = Field(None, description="Characters into the decoded text.")
    char_end: int | None = None
    box: list[float] | None = Field(None, description="Left, top, right, bottom; each 0..1.")
    context: SpeechContext | None = Field(None, description="Of a hit in speech.")
    speaker: int | None = Field(None, description="1 for who speaks first in the recording.")
    language: str | None = Field(None, description="Spoken, ISO 639-1.")
    translated: bool | None = Field(None, description="`text` is an English translation.")
    caption: Caption | None = Field(None, description="Of a picture or frame.")


class Links(Schema):
    """Where a source's content and preview are."""

    thumbnail: str
    media: str


class ErrorBody(Schema):
    """What went wrong."""

    type: str
    code: str
    message: str
    param: str | None
    request_id: str | None


class ErrorResponse(Schema):
    """The one shape of every error."""

    error: ErrorBody
