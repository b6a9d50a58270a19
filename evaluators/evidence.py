"""What a comparison and a gate read of a run: one row per example, trial and metric."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from core.errors import InvalidInput, NotFound
from core.ids import TenantId
from evaluators.datasets.records import line_of, read_version
from evaluators.records import Reason
from evaluators.runs.judged import judged_in
from evaluators.runs.reading import scores_of_run
from store.control.control import Control
from store.control.run_records import RunRecord, TrialRecord, TrialStatus
from store.tenant import TenantStore

COLUMNS: Final = pl.Schema(
    {
        "example_id": pl.String(),
        "trial": pl.Int32(),
        "metric": pl.String(),
        "value": pl.Float64(),  # null: there is none, and `unscored` says why
        "unscored": pl.String(),
        "stratum": pl.String(),
        "session_id": pl.String(),  # of the trial; null when it has none
        "trace_id": pl.String(),
    }
)
REQUIRED: Final = ("example_id", "trial", "metric", "value")
MEASURED: Final = ("latency_ms", "cost_usd", "tokens")  # of every trial, where any tells
NOT_SCORED: Final = "not_scored"  # the trial ended, and the lake has no score of it
NO_VALUE: Final = "no_value"  # a label alone
NOT_JUDGED: Final = "not_judged"  # a judge looked at others of the run's trials
_UNDER_WAY: Final = tuple(
    f"{Reason.NOT_FINISHED.value}: the trial is {one.value}" for one in TrialStatus if not one.ended
)


@dataclass(frozen=True, kw_only=True)
class RunScores:
    """A run and all that was scored in it.

    `rows` has COLUMNS; of these only REQUIRED must be given, the others are filled with null. A metric is the name of
    an evaluator, or latency_ms, cost_usd and tokens of a trial. `examples` are the ids of the dataset's version with
    the hash of each one's content, as far as they are known: two runs over different versions may be compared where
    these are the same. Raises InvalidInput for rows without a required column, and for two rows of one example, trial
    and metric.
    """

    run_id: str
    app: str
    release: str | None
    dataset: str
    dataset_version: int
    content_hash: str
    k: int  # trials per example
    finished_at_ns: int | None
    status: str  # waiting | running | done | failed | cancelled
    evaluators: Mapping[str, str]  # name -> version
    rows: pl.DataFrame
    examples: Mapping[str, str] = field(default_factory=dict)  # example id -> hash of its content
    judges: frozenset[str] = frozenset()  # of the evaluators, those that are judges

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED if name not in self.rows.columns]
        if missing:
            raise InvalidInput(f"scores of a run have columns {', '.join(missing)}", field="rows")
        whole = self.rows.select(
            pl.col(name).cast(kind) if name in self.rows.columns else pl.lit(None, dtype=kind).alias(name)
            for name, kind in COLUMNS.items()
        )
        key = ["example_id", "trial", "metric"]
        if whole.select(pl.struct(key).is_duplicated().any()).item():
            twice = whole.filter(pl.struct(key).is_duplicated()).row(0)
            raise InvalidInput(f"two scores of {twice[2]} for example {twice[0]}, trial {twice[1]}", field="rows")
        object.__setattr__(self, "rows", whole)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, in alphabetical order."""
        return tuple(self.rows["metric"].unique().sort().to_list())

    @property
    def finished(self) -> bool:
        """Whether all its trials were asked."""
        return self.status == "done"


def pending() -> pl.Expr:
    """Of rows of a RunScores: whether the score is still to come, as the trial or its scoring has not ended."""
    return pl.col("unscored").is_in([*_UNDER_WAY, NOT_SCORED]).fill_null(value=False)


def read_run(
    control: Control, store: TenantStore, tenant: TenantId, run_id: str, *, with_examples: bool = False
) -> RunScores:
    """What was scored in a run so far: a row for every example, trial and metric, also where there is no value. What a
    judge said of its trials afterwards is a metric of the judge's name, of the version that judged last.

    `with_examples` hashes the contents of the run's examples, which reads the dataset. Raises NotFound for an unknown
    run, Conflict when trials are missing.
    """
    run, trials = control.run(tenant, run_id), control.trials(tenant, run_id)
    spec = run.spec
    asked = frozenset(one.example_id for one in trials)
    names = {one.partition("@")[0]: one.partition("@")[2] for one in spec.evaluators}
    judged, judges = judged_in(store, run, trials)
    judges = {name: version for name, version in judges.items() if name not in (*names, *MEASURED)}
    rows = _rows(store, run, trials)
    if judges:
        rows = pl.concat([rows, _of_judges(_known(trials), judged.filter(pl.col("metric").is_in([*judges])))])
    return RunScores(
        run_id=run.run_id,
        app=spec.app,
        release=spec.release,
        dataset=spec.dataset,
        dataset_version=spec.dataset_version,
        content_hash=spec.content_hash,
        k=spec.k,
        finished_at_ns=run.finished_at_ns,
        status=run.status.value,
        evaluators=names | judges,
        rows=rows,
        examples=_hashes(control, tenant, run, asked) if with_examples else {},
        judges=frozenset(judges),
    )


def _known(trials: Sequence[TrialRecord]) -> pl.DataFrame:
    """The trials with what is known of each."""
    kinds = {name: pl.String() for name in ("example_id", "stratum", "session_id", "trace_id", "unasked")}
    return pl.DataFrame(
        [
            (one.example_id, one.stratum, one.session_id, next(iter(one.trace_ids), None), _unasked(one), one.trial)
            for one in trials
        ],
        schema={**kinds, "trial": pl.Int32()},
        orient="row",
    )


def _of_judges(known: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Rows of every trial and judge."""
    rows = known.join(judged.select("metric").unique(maintain_order=True), how="cross")
    said = judged.with_columns(there=True)
    rows = rows.join(said, on=["example_id", "trial", "metric"], how="left").with_columns(
        unscored=pl.when(pl.col("value").is_null()).then(
            pl.coalesce("unscored", "unasked", pl.when("there").then(pl.lit(NO_VALUE)).otherwise(pl.lit(NOT_JUDGED)))
        )
    )
    return rows.select(COLUMNS.names())


def _rows(store: TenantStore, run: RunRecord, trials: Sequence[TrialRecord]) -> pl.DataFrame:
    known = _known(trials)
    names = [one.partition("@")[0] for one in run.spec.evaluators]
    scores = scores_of_run(store, run, trials).select("example_id", "trial", "metric", "value", "unscored", there=True)
    scored = known.join(pl.DataFrame({"metric": names}, schema={"metric": pl.String()}), how="cross")
    scored = scored.join(scores, on=["example_id", "trial", "metric"], how="left").with_columns(
        unscored=pl.when(pl.col("value").is_null()).then(
            pl.coalesce("unscored", "unasked", pl.when("there").then(pl.lit(NO_VALUE)).otherwise(pl.lit(NOT_SCORED)))
        )
    )
    return pl.concat([scored.select(COLUMNS.names()), *_measured(known, trials, names)])


def _measured(known: pl.DataFrame, trials: Sequence[TrialRecord], scored: Sequence[str]) -> list[pl.DataFrame]:
    """Rows of MEASURED; where an evaluator of that name scored the run, its scores are the metric."""
    found = []
    for name in (one for one in MEASURED if one not in scored):
        values = pl.Series("value", [_figure(one, name) for one in trials], dtype=pl.Float64())
        if values.is_not_null().any():
            missing = pl.coalesce("unasked", pl.lit(Reason.NOT_RECORDED.value))
            rows = known.with_columns(values, metric=pl.lit(name)).with_columns(
                unscored=pl.when(pl.col("value").is_null()).then(missing)
            )
            found.append(rows.select(COLUMNS.names()))
    return found


def _figure(trial: TrialRecord, name: str) -> float | None:
    if trial.status is not TrialStatus.DONE:
        return None
    if name != "tokens":
        found: float | None = getattr(trial, name)
        return found
    known = [one for one in (trial.input_tokens, trial.output_tokens) if one is not None]
    return float(sum(known)) if known else None


def _unasked(trial: TrialRecord) -> str | None:
    """Why a trial has no score, where it lies with the trial."""
    if trial.status is TrialStatus.DONE:
        return None
    return f"{Reason.NOT_FINISHED.value}: the trial is {trial.status.value}"


def _hashes(control: Control, tenant: TenantId, run: RunRecord, asked: frozenset[str]) -> dict[str, str]:
    """Example id -> hash of its content; empty when the version is gone."""
    try:
        found = read_version(control, tenant, run.spec.dataset, run.spec.dataset_version)
    except NotFound:
        return {}
    return {
        one.example_id: hashlib.sha256(line_of(one)).hexdigest() for one in found.examples if one.example_id in asked
    }
