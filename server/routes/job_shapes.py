"""What the routes of jobs give. Times are RFC 3339, UTC."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class JobRun(BaseModel):
    """One run that is over. failed: it was tried again, or at its next time; dead: it was the last of its tries.
    `took_ms` is null where the server ended before the run did."""

    number: int
    at: str
    state: Literal["succeeded", "failed", "dead"]
    took_ms: float | None
    error: str | None


class Job(BaseModel):
    """Something that servers do by the clock. `told`: what its last run that was done found, `said` the same in words;
    `runs`: the newest that are over, the last one last."""

    name: str
    title: str
    schedule: str
    state: Literal["queued", "running", "succeeded", "failed", "retrying", "dead"]
    due: str
    tries: int
    n_runs: int
    started_at: str | None
    ended_at: str | None
    succeeded_at: str | None
    took_ms: float | None
    error: str | None
    said: str
    told: dict[str, Any]
    owner: str | None
    runs: list[JobRun]


class Jobs(BaseModel):
    """Jobs, by name."""

    items: list[Job]
    next_cursor: None = None


class AskedWork(BaseModel):
    """Work that somebody, or a job, asked for and that is not over. `n_all` null: it is not known yet."""

    kind: Literal["evaluation", "judging", "clusters"]
    id: str
    what: str
    app: str | None
    state: Literal["queued", "running"]
    asked_at: str
    asked_by: str
    started_at: str | None
    n_done: int | None
    n_all: int | None


class Asked(BaseModel):
    """Work that is not over, the oldest first."""

    items: list[AskedWork]
    next_cursor: None = None
