"""What the routes of experiments take and give."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from experiments.records import Definition
from experiments.registered import definition_of
from experiments.splits import shares
from server.routes.keys import rfc3339
from server.routes.scores import Name
from store.control.experiment_records import ExperimentRecord

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
LongText = Annotated[str, Field(max_length=2000)]


class WantedArm(BaseModel):
    """A variant; the first is the control. `release` only of what the gateway assigns. Weights sum to 1 or to 100."""

    model_config = ConfigDict(extra="forbid")

    variant: Name
    release: Name | None = None
    weight: Number


class WantedMetric(BaseModel):
    """A metric with its role. What is not said is taken from the table of metrics; a name that is neither there nor an
    evaluator's or a judge's needs `better`."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    role: Literal["primary", "guardrail", "secondary"]
    better: Literal["higher", "lower"] | None = None
    margin: Number | None = None
    relative: bool = False


class WantedHorizon(BaseModel):
    """How long it looks: units over all arms, and the days that they take."""

    model_config = ConfigDict(extra="forbid")

    units: int
    days: int | None = None


class WantedExperiment(BaseModel):
    """An experiment to be registered. `slot`: its part of the layer, `slot_share` instead: any free part of this size.
    `overrides`: unit -> variant, for testers. `start`: at once, with all of its units. `dry_run`: nothing changes."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=200)]
    app: Name
    unit: Literal["user", "session"] = "user"
    assigned_by: Literal["gateway", "app"] = "gateway"
    arms: Annotated[list[WantedArm], Field(max_length=100)]
    metrics: Annotated[list[WantedMetric], Field(max_length=100)]
    horizon: WantedHorizon | None = None
    alpha: Number = 0.05
    strata: Annotated[list[Name], Field(max_length=100)] = []
    layer: Name = "release"
    slot: Annotated[list[Number], Field(min_length=2, max_length=2)] = [0.0, 1.0]
    slot_share: Number | None = None
    holdout: Number = 0.0
    overrides: Annotated[dict[Name, Name], Field(max_length=1000)] = {}
    covariate_days: int = 0
    mature_s: int = 0
    hypothesis: LongText = ""
    owner: Annotated[str, Field(max_length=200)] = ""
    start: bool = False
    dry_run: bool = False


class WantedCoverage(BaseModel):
    """Which share of its units takes part."""

    model_config = ConfigDict(extra="forbid")

    coverage: Share = 1.0
    dry_run: bool = False


class WantedStart(WantedCoverage):
    """With `since`, such as 48h: the app has assigned units for so long already."""

    since: Annotated[str, Field(max_length=20)] | None = None


class WantedStop(BaseModel):
    """Why it ends."""

    model_config = ConfigDict(extra="forbid")

    reason: LongText | None = None
    dry_run: bool = False


class WantedOverrides(BaseModel):
    """Unit -> variant, null: by hash again. Those that are not named stay."""

    model_config = ConfigDict(extra="forbid")

    overrides: Annotated[dict[Name, Name | None], Field(min_length=1, max_length=1000)]


class Arm(BaseModel):
    """A variant. `share`: of the units in the experiment."""

    variant: str
    release: str | None
    weight: float
    share: float


class Metric(BaseModel):
    """A metric as it was registered."""

    name: str
    role: str
    better: str
    kind: str
    quantile: float | None
    margin: float | None
    relative: bool
    binary: bool


class ExperimentRow(BaseModel):
    """The newest version of an experiment. `word`, `headline` and `n_units` are of the last look at it, null before."""

    name: str
    app: str
    version: int
    status: str
    unit: str
    assigned_by: str
    arms: list[Arm]
    primary: str
    design: str
    coverage: float
    n_units: int | None
    word: str | None
    headline: str | None
    looked_at: str | None
    created_at: str
    created_by: str
    started_at: str | None
    stopped_at: str | None


class Experiments(BaseModel):
    """Experiments, those that run first, then by name."""

    items: list[ExperimentRow]
    next_cursor: None = None


class Ramp(BaseModel):
    """From when on which share of the units took part."""

    at: str
    coverage: float


class ExperimentVersion(ExperimentRow):
    """One version, with all that was registered. `definition` is what docs/assignment.md computes with; `n_overrides`
    counts testers, who never count."""

    digest: str
    definition: dict[str, Any]
    metrics: list[Metric]
    horizon: dict[str, int | None] | None
    strata: list[str]
    ramps: list[Ramp]
    n_overrides: int
    started_by: str | None
    stopped_by: str | None
    reason: str | None


class Experiment(ExperimentVersion):
    """The newest version, and every version there was, newest first."""

    versions: list[ExperimentVersion]


class ChangedExperiment(ExperimentVersion):
    """A version as it stands from now on (or would, after a `dry_run`). `is_new`: it was registered by this request.
    `warnings`: what stands in the way of its start; `says`: what to do next."""

    is_new: bool
    dry_run: bool
    warnings: list[str]
    says: list[str]


class Assignment(BaseModel):
    """What an experiment does with a unit. `variant` null: it is not in it. `reason`: override, holdout, other_slot,
    not_covered, or hash, which alone counts; `text` says it in words."""

    experiment: str
    version: int
    variant: str | None
    release: str | None
    reason: str
    counts: bool
    text: str


class Assignments(BaseModel):
    """Every running experiment of the app over units of this kind, by name."""

    items: list[Assignment]
    next_cursor: None = None


def row_told(record: ExperimentRecord) -> dict[str, Any]:
    """ExperimentRow."""
    one = definition_of(record)
    look = record.look
    return {
        "name": record.name,
        "app": record.app,
        "version": record.version,
        "status": record.status,
        "unit": one.unit.value,
        "assigned_by": one.assigned_by.value,
        "arms": _arms(one),
        "primary": one.primary.name,
        "design": one.design.value,
        "coverage": record.coverage,
        "n_units": None if look is None else look.n_units,
        "word": None if look is None else look.word,
        "headline": None if look is None else look.headline,
        "looked_at": None if look is None else rfc3339(look.at_ns),
        "created_at": rfc3339(record.made_at_ns),
        "created_by": record.made_by,
        "started_at": rfc3339(record.started_at_ns),
        "stopped_at": rfc3339(record.stopped_at_ns),
    }


def version_told(record: ExperimentRecord) -> dict[str, Any]:
    """ExperimentVersion."""
    said = record.definition
    key = {"name": record.name, "app": record.app, "version": record.version}
    return {
        **row_told(record),
        "digest": record.digest,
        "definition": {**key, **said},
        **{name: said[name] for name in ("metrics", "horizon", "strata")},
        "ramps": [{"at": rfc3339(at_ns), "coverage": coverage} for at_ns, coverage in record.ramps],
        "n_overrides": len(record.overrides),
        **{name: getattr(record, name) for name in ("started_by", "stopped_by", "reason")},
    }


def next_step(record: ExperimentRecord) -> str:
    """What to do next with a version, in words."""
    match record.status:
        case "draft":
            return f"version {record.version} is a draft; begin with: assay experiments start {record.name}"
        case "running":
            return f"version {record.version} assigns units; look at it with: assay experiments show {record.name}"
        case _:
            return f"version {record.version} was stopped; another create makes the next one"


def _arms(one: Definition) -> list[dict[str, Any]]:
    parts = shares(one)
    return [
        {"variant": arm.variant, "release": arm.release, "weight": arm.weight, "share": parts[arm.variant]}
        for arm in one.arms
    ]
