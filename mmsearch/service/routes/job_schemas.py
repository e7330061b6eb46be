"""What the routes about jobs take and answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from mmsearch.service.schemas import JsonObject, Schema


class JobItem(Schema):
    """What a job did with one file."""

    path: str
    outcome: str
    code: str | None
    reason: str | None


class JobProgress(Schema):
    """Progress of a job."""

    done: int = Field(description="Files that are finished.")
    total: int | None = Field(description="Files in all, where that is known.")
    rate: float | None = Field(description="Files per second.")


class JobBrief(Schema):
    """Work in the background. It is over when `finished_at` is set."""

    id: int
    kind: str
    state: str = Field(
        description="queued, running, paused, done, failed, cancelled or interrupted."
    )
    started_at: datetime
    heartbeat_at: datetime
    finished_at: datetime | None
    counts: JsonObject
    error: str | None = Field(description="Why it failed, or why it is retried.")
    progress: JobProgress
    priority: int = Field(description="Higher goes first.")
    attempts: int
    max_attempts: int = Field(description="0 for a run of `mmsearch index`, which is no job.")
    retry_at: datetime | None = Field(description="Not before then.")
    worker: str | None
    wanted: str | None = Field(description="cancel or pause, until its worker acts on it.")
    links: dict[str, str]


class Job(JobBrief):
    """A job and what it did with its files."""

    items: list[JobItem]


class JobList(Schema):
    """Jobs, the newest first."""

    jobs: list[JobBrief]
    next: int | None = Field(description="Send it as `before` for the next page; null at the end.")


class JobRequest(Schema):
    """Files to download and index."""

    urls: list[str] = Field(min_length=1, max_length=1000, description="http(s) addresses.")
    collection: str | None = None
    create: bool = Field(False, description="Make the collection if it does not exist.")


class JobAnswer(Schema):
    """A job."""

    job: Job
