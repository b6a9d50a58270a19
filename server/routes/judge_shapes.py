"""What the routes of judges take and tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from judges.records import OwnFamily, ScaleKind
from judges.stored import rubric_of
from server.routes.keys import rfc3339
from server.routes.scores import Name
from store.control.certificates import JudgeFacts
from store.control.judge_records import (
    CalibrationState,
    JobRecord,
    JobStatus,
    JudgeRecord,
    JudgeSchedule,
    RubricRecord,
    VerdictRecord,
)

MOST_RUBRIC: Final = 200_000
Usd = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Concurrency = Annotated[int, Field(ge=1, le=64)]
PerMinute = Annotated[float | None, Field(gt=0, le=1e6, allow_inf_nan=False)]
JudgeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


class NewRubric(BaseModel):
    """A rubric's file: markdown with front matter (docs/judges.md)."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=MOST_RUBRIC)]


class RubricShown(BaseModel):
    """A version of a rubric, which never changes. `digest` is in every verdict; `file` is the file that says the
    same."""

    name: str
    version: int
    digest: str
    kind: ScaleKind
    target: str
    labels: list[str]
    passing: list[str]
    anchors: dict[str, str]
    aliases: dict[str, str]
    text: str
    file: str
    made_by: str
    made_at: str


class Rubrics(BaseModel):
    """Versions of rubrics, by name and then newest first."""

    items: list[RubricShown]
    next_cursor: None = None


class NewJudge(BaseModel):
    """A judge, or another version of one: `rubric` is a rubric's file, or `rubric_name` one that is there (its newest
    version, or `rubric_version`). `models` as provider:model, several are a panel; `url` and `key_env` are for a single
    model and for admins. With `own_family` refuse it grades no models of its own family."""

    model_config = ConfigDict(extra="forbid")

    name: JudgeName
    rubric: Annotated[str, Field(min_length=1, max_length=MOST_RUBRIC)] | None = None
    rubric_name: Name | None = None
    rubric_version: Annotated[int | None, Field(ge=1)] = None
    models: Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=9)]
    url: Annotated[str, Field(max_length=500)] | None = None
    key_env: Annotated[str, Field(max_length=100)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    max_output_tokens: Annotated[int, Field(ge=16, le=100_000)] = 1_000
    repeats: Annotated[int, Field(ge=1, le=20)] = 1
    both_orders: bool = True
    app: Name | None = None
    own_family: OwnFamily = OwnFamily.WARN


class Judge(BaseModel):
    """A judge as it is now. `version` changes whenever the same target could get another verdict; `seq` counts its
    changes. `state` is what its agreement with people is known to be now: undetermined where it was never calibrated,
    or too long ago."""

    name: str
    version: str
    seq: int
    rubric: str
    rubric_version: int
    rubric_digest: str
    models: list[str]
    url: str | None
    key_env: str | None
    temperature: float
    max_output_tokens: int
    repeats: int
    both_orders: bool
    app: str | None
    own_family: OwnFamily
    state: CalibrationState
    calibrated_at: str | None
    kappa_low: float | None
    kappa_high: float | None
    made_by: str
    made_at: str


class Judges(BaseModel):
    """Every judge as it is now, by name."""

    items: list[Judge]
    next_cursor: None = None


class JudgeVersion(BaseModel):
    """A version of a judge."""

    seq: int
    version: str
    rubric: str
    rubric_version: int
    models: list[str]
    made_by: str
    made_at: str


class Schedule(BaseModel):
    """How a judge looks at an app's sessions as they end: at which share, for how much a day (UTC). `n_sessions` were
    given to it, `n_left_out` came when the day's budget was spent; `today` is the day's job."""

    app: str
    share: float
    budget_per_day_usd: float
    idle_s: float
    on: bool
    n_sessions: int
    n_left_out: int
    n_waiting: int
    last_look_at: str | None
    changed_at: str
    changed_by: str


class JudgeRun(BaseModel):
    """A job of a judge and how far it is. Of `n_targets`, `n_done` have a verdict in the scores and `n_missing` the
    reason why there is none (`missing`, by reason); `n_paid` verdicts were paid for by this job, `n_cached` before it.
    `n_unpriced` verdicts cost what nobody knows. `params` say what was chosen, with `warnings`."""

    job_id: str
    judge: str
    version: str
    rubric: str
    rubric_version: int
    rubric_digest: str
    app: str
    status: JobStatus
    n_targets: int
    n_done: int
    n_missing: int
    n_paid: int
    n_cached: int
    n_left: int
    n_calls: int
    n_unpriced: int
    missing: dict[str, int]
    input_tokens: int
    output_tokens: int
    cost_usd: float
    budget_usd: float | None
    created_at: str
    created_by: str
    started_at: str | None
    finished_at: str | None
    reason: str | None
    params: dict[str, Any]


class JudgeRuns(BaseModel):
    """Jobs, newest first."""

    items: list[JudgeRun]
    next_cursor: None = None


class JudgeShown(Judge):
    """A judge with its versions, its schedules, its newest jobs and what all jobs cost."""

    versions: list[JudgeVersion]
    schedules: list[Schedule]
    runs: list[JudgeRun]
    cost_usd: float
    n_verdicts: int


class WantedJudgeRun(BaseModel):
    """What is judged: the sessions (or turns, as the rubric wants) of `app` that begin in the window, or the trials of
    the evaluation run `run_id`, by a rubric of pairs its answers beside those of the run `against`; `share` of them by
    a hash of their ids, at most `limit`, until `budget_usd` is spent. `strict` refuses a judge of the product's own
    family; `batch` asks through the providers' batches."""

    model_config = ConfigDict(extra="forbid")

    app: Name | None = None
    run_id: Name | None = None
    against: Name | None = None
    since: Annotated[str | None, Field(max_length=20)] = None
    start: Annotated[str | None, Field(max_length=40)] = None
    end: Annotated[str | None, Field(max_length=40)] = None
    share: Share = 1.0
    limit: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    budget_usd: Usd | None = None
    concurrency: Concurrency = 8
    per_minute: PerMinute = None
    strict: bool = False
    batch: bool = False


class JudgeForecast(BaseModel):
    """What a job would take, told from `n_read` of its targets: `n_cached` have a verdict already, the others take
    `n_calls`. Money as expected and at the very most, null where no price is known; `n_within_budget` targets are
    expected to fit."""

    judge: str
    version: str
    app: str
    n_targets: int
    n_all: int
    probability: float
    n_read: int
    n_cached: int
    n_calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    usd_most: float | None
    budget_usd: float | None
    n_within_budget: int
    warnings: list[str]


class WantedSchedule(BaseModel):
    """Watch an app's sessions from now on, or no more (`on` false). `dry_run` changes nothing."""

    model_config = ConfigDict(extra="forbid")

    app: Name
    share: Share = 0.1
    budget_per_day_usd: Usd = 1.0
    idle_s: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 30.0
    on: bool = True
    dry_run: bool = False


class Schedules(BaseModel):
    """The schedules of a judge, by app."""

    items: list[Schedule]
    next_cursor: None = None


class ChangedSchedule(Schedule):
    """The schedule from now on. `n_day`: the sessions of the last day it would have looked at, out of `n_day_all`;
    `usd_day` what they would have cost, null where that cannot be told."""

    dry_run: bool
    n_day: int
    n_day_all: int
    usd_day: float | None
    warnings: list[str]


class DeletedJudge(BaseModel):
    """What went, or would go (`dry_run`): rows by table. Scores in the lake stay."""

    name: str
    dry_run: bool
    n: dict[str, int]


class VerdictShown(BaseModel):
    """A verdict as it was paid for: `raw` is the reply as it came, `replies` are those it was made of."""

    key: str
    judge: str
    version: str
    job_id: str
    rubric_digest: str
    target_hash: str
    session_id: str
    labels: list[str]
    missing: str | None
    confidence: float | None
    explanation: str
    raw: str
    repaired: bool
    input_tokens: int
    output_tokens: int
    n_calls: int
    cost_usd: float | None
    at: str
    replies: list[dict[str, Any]]


def rubric_told(record: RubricRecord) -> dict[str, Any]:
    """A rubric as it is answered."""
    from judges.rubrics import rubric_text

    rubric = rubric_of(record.body)
    said = {name: getattr(rubric, name) for name in ("name", "version", "digest", "text")}
    said |= {"kind": rubric.kind.value, "target": rubric.target.value, "labels": list(rubric.labels)}
    said |= {"passing": [label for label in rubric.labels if label in rubric.passing]}
    said |= {"anchors": dict(rubric.anchors), "aliases": dict(rubric.aliases), "file": rubric_text(rubric)}
    return {**said, "made_by": record.made_by, "made_at": rfc3339(record.made_at_ns)}


def judge_told(record: JudgeRecord, found: JudgeFacts | None) -> dict[str, Any]:
    """A judge as it is answered, with what its agreement with people is known to be now."""
    spec = record.spec
    same = ("rubric", "rubric_version", "rubric_digest", "temperature", "max_output_tokens", "repeats", "both_orders")
    models: list[Mapping[str, Any]] = spec["models"]
    return {
        **{name: getattr(record, name) for name in ("name", "version", "seq", "made_by")},
        **{name: spec[name] for name in (*same, "app", "own_family")},
        "models": [f"{one['provider']}:{one['model']}" for one in models],
        "url": models[0]["url"],
        "key_env": models[0]["key_env"],
        "state": (CalibrationState.UNDETERMINED if found is None else found.state).value,
        "calibrated_at": None if found is None or found.at_ns is None else rfc3339(found.at_ns),
        "kappa_low": None if found is None else found.kappa_low,
        "kappa_high": None if found is None else found.kappa_high,
        "made_at": rfc3339(record.made_at_ns),
    }


def version_told(record: JudgeRecord) -> dict[str, Any]:
    """A version of a judge as it is answered."""
    whole = judge_told(record, None)
    return {name: whole[name] for name in JudgeVersion.model_fields}


def job_told(job: JobRecord) -> dict[str, Any]:
    """A job as it is answered."""
    names = JudgeRun.model_fields.keys() & JobRecord.__dataclass_fields__.keys() | {"n_left"}
    times = {name: rfc3339(getattr(job, f"{name}_ns")) for name in ("created_at", "started_at", "finished_at")}
    rubric = {name: job.spec[name] for name in ("rubric", "rubric_version", "rubric_digest")}
    return {**{name: getattr(job, name) for name in names}, **times, **rubric, "status": job.status.value}


def schedule_told(one: JudgeSchedule) -> dict[str, Any]:
    """A schedule as it is answered."""
    counts = {name: int(one.told.get(name, 0)) for name in ("n_sessions", "n_left_out", "n_waiting")}
    looked = one.told.get("at_ns")
    return {
        **{name: getattr(one, name) for name in ("app", "share", "idle_s")},
        "budget_per_day_usd": one.budget_usd,
        **counts,
        "on": one.is_on,
        "last_look_at": None if looked is None else rfc3339(looked),
        "changed_at": rfc3339(one.changed_at_ns),
        "changed_by": one.changed_by,
    }


def verdict_told(one: VerdictRecord) -> dict[str, Any]:
    """A verdict as it is answered."""
    names = VerdictShown.model_fields.keys() & VerdictRecord.__dataclass_fields__.keys()
    return {**{name: getattr(one, name) for name in names}, "at": rfc3339(one.at_ns)}
