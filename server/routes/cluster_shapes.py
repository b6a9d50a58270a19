"""What the routes of clusters give. Rates are shares of the sessions of which it is known whether they failed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

RunStatusText = Literal["waiting", "running", "done", "failed", "cancelled"]


class Stage(BaseModel):
    """One stage of a run: `done` of `total` steps (0: not known) in `seconds` until now."""

    name: str
    done: int
    total: int
    seconds: float


class Between(BaseModel):
    """A time window."""

    start: str
    end: str


class ClusterRun(BaseModel):
    """A run and how far it is. `scope`: all sessions of the window, or only those that `waiting` fitted nowhere.
    `used`: what `auto` and null of `params` became. It knew of `n_known` of its sessions whether they failed, and
    `n_failed` did (null: not kept). `noise_share`: of its sessions, those in no cluster.
    `peak_mib` of its process. `says`: what a person should know of it, in words."""

    id: str
    app: str
    scope: Literal["window", "waiting"]
    status: RunStatusText
    stage: str | None
    stages: list[Stage]
    window: Between
    failure: str | None
    n_sessions: int | None
    n_known: int | None
    n_failed: int | None
    n_clusters: int | None
    n_noise: int | None
    noise_share: float | None
    embedder: str | None
    params: dict[str, Any]
    params_hash: str
    used: dict[str, Any]
    asked_by: str
    asked_at: str
    started_at: str | None
    ended_at: str | None
    error: str | None
    n_tries: int
    peak_mib: float | None
    says: list[str]


class ClusterRuns(BaseModel):
    """Runs, newest first."""

    items: list[ClusterRun]
    next_cursor: None = None


class ClusterForecast(BaseModel):
    """What a run would do: `n_to_embed` of `n_sessions` have no embedding yet; of `n_known` an outcome (or a score of
    `failure`) says whether they failed. `method` null: there are too few."""

    dry_run: Literal[True] = True
    app: str
    window: Between
    n_sessions: int
    n_known: int
    n_to_embed: int
    embedder: str
    method: str | None
    min_cluster_size: int
    params: dict[str, Any]
    params_hash: str
    says: list[str]


class Term(BaseModel):
    """A word or two of its sessions; weights compare within one cluster only."""

    term: str
    weight: float


class OfRelease(BaseModel):
    """Sessions of a release."""

    release: str
    n: int


class Topic(BaseModel):
    """A group of clusters that are near one another, of the newest run."""

    id: int
    title: str


class Day(BaseModel):
    """Sessions that began on a day (UTC); of `n_known` it is known whether they failed."""

    day: str
    n: int
    n_failed: int
    n_known: int


class Emerging(BaseModel):
    """That it is new or grows: of its newest finding."""

    kind: str
    q_value: float
    rate_ratio: float
    low: float
    high: float | None


class Cluster(BaseModel):
    """A cluster now. Counts, rates, shares and `trend` are as of `counted_at`, of the list's window up to then, by the
    newest membership and the newest outcome of each session. `cost_usd` (mean of a session), `score`, `releases`,
    `stability`, title and terms are as of `run_at`, the end of the run `run_id` that saw it last (null: it is not kept
    any more).

    `failure_rate` is of `n_known` of its `n_sessions`, `rest_rate` (of the app's other sessions) of `rest_n_known` of
    `rest_n_sessions`; null where none is known. `failure_scarce`, `rest_scarce`: it is of too few of them to speak for
    the others. `fails_more`: whether its interval lies above the rest's rate; null where that cannot be said.
    `excess`: failures beyond those of as many sessions at the rest's rate; `growth`: sessions of the last 14 days above
    those of the 14 before. `stable` null: not known."""

    id: str
    app: str
    title: str
    title_by: Literal["terms", "model"]
    sentence: str | None
    terms: list[Term]
    state: str
    alive: bool
    stable: bool | None
    stability: float | None
    counted_at: str
    run_id: str
    run_at: str | None
    n_sessions: int
    n_failed: int
    n_known: int
    failure_rate: float | None
    failure_low: float | None
    failure_high: float | None
    failure_scarce: bool
    rest_rate: float | None
    rest_n_sessions: int
    rest_n_known: int
    rest_scarce: bool
    fails_more: bool | None
    excess: float | None
    growth: int
    share: float
    cost_usd: float | None
    score: float | None
    n_users: int
    first_seen: str
    last_seen: str
    releases: list[OfRelease]
    topic: Topic | None
    trend: list[Day]
    emerging: Emerging | None
    watched: bool


class NoiseShare(BaseModel):
    """The share of a run's sessions that were in no cluster."""

    run_id: str
    at: str
    share: float


class Noise(BaseModel):
    """Sessions in no cluster now, and their share in the runs before, oldest first."""

    n: int
    share: float | None
    history: list[NoiseShare]


class Clusters(BaseModel):
    """The clusters of an app, counted at `counted_at`. `run`: the newest one, that may be under way; `n_all` before
    `state` and `limit`, `n_by_state` of all that ever were; of `n_known` of `n_sessions` it is known whether they
    failed; `n_waiting`: sessions that fitted nowhere and are clustered again with the next ones; `lag_ms`: the longest
    time from a session's last span to its place in the last piece of work, which ended at `lag_at` (null: none yet);
    `says`: what to do, where there is nothing yet, and what to know of the figures."""

    items: list[Cluster]
    run: ClusterRun | None
    window: Between | None
    n_all: int
    n_by_state: dict[str, int]
    n_sessions: int
    n_known: int
    counted_at: str
    noise: Noise
    n_waiting: int
    lag_ms: float | None
    lag_at: str | None
    says: list[str]
    next_cursor: None = None


class Exemplar(BaseModel):
    """A session that stands for a cluster."""

    session_id: str
    started_at: str
    first_input: str
    outcome_text: str
    failed: bool | None
    confidence: float


class Figure(BaseModel):
    """A figure of the cluster's sessions beside the rest of the app, each with its 95 % interval, as of `as_of`
    (`live`: now, when the cluster was counted; else the end of the run that saw it last, null: not kept any more)."""

    name: str
    as_of: str | None
    live: bool
    unit: str
    value: float | None
    low: float | None
    high: float | None
    rest: float | None
    rest_low: float | None
    rest_high: float | None
    note: str | None


class Level(BaseModel):
    """How often a release, a tool, a model and so on occurs in the `n_known` sessions of the cluster of which it is
    known, against the rest's. `high` null beside `low`: no upper bound. `q_value`: of levels that are as sure, so many
    differ by chance; `differs`: at most 5% of those that are said to. Those that do come first, the surest of all."""

    attribute: str
    level: str
    n: int
    n_known: int
    share: float
    share_rest: float
    ratio: float | None
    low: float | None
    high: float | None
    q_value: float | None
    differs: bool


class WrongAt(BaseModel):
    """Where the cluster's traces go wrong surely more often than others: a `tool` or `span` that ended in an error, or
    a `sign` that is no error of any span; the share of its sessions in which it is."""

    kind: str
    name: str
    n: int
    share: float
    share_rest: float


class LineageEvent(BaseModel):
    """What became of it in a run. `others`: what it came from or went to."""

    at: str
    run_id: str
    kind: str
    n_sessions: int
    n_failed: int
    n_known: int
    others: list[str]
    text: str


class Sibling(BaseModel):
    """A cluster of the same topic."""

    id: str
    title: str


class ClusterWhole(Cluster):
    """A cluster with all that is known of it. Exemplars are those of now; `figures` say each as of when they are;
    `profile` and `wrong_at` are as of `run_at`; each event of `lineage` has its own time."""

    exemplars: list[Exemplar]
    figures: list[Figure]
    profile: list[Level]
    wrong_at: list[WrongAt]
    lineage: list[LineageEvent]
    siblings: list[Sibling]
    embedder: str
    watch: dict[str, Any] | None
    says: list[str]


class Points(BaseModel):
    """Columns of equal length. `cluster` null: noise, or waiting."""

    session_id: list[str]
    x: list[float]
    y: list[float]
    cluster: list[str | None]
    failed: list[bool | None]
    confidence: list[float]


class ClusterMap(BaseModel):
    """Sessions on the map: `n_shown` of `n`. Distances on it are not distances in meaning."""

    run: ClusterRun | None
    points: Points
    n: int
    n_shown: int
    says: list[str]


class ClusterSession(BaseModel):
    """A session of a cluster."""

    session_id: str
    started_at: str
    failed: bool | None
    confidence: float
    first_input: str


class ClusterSessions(BaseModel):
    """A page of a cluster's sessions, the latest first."""

    items: list[ClusterSession]
    next_cursor: str | None


class OfCluster(BaseModel):
    """Which cluster."""

    id: str
    title: str
    state: str
    app: str
