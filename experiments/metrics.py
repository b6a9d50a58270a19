"""Metrics by name: what an experiment or a rollout may be about, as one plain table, and any evaluator besides.

A metric is told by turns alone (errors, cost, latency, tokens), or by scores: then `evaluators` are asked in order, and
the first that scored anything of the app tells it; of a metric that folds to safety all that did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from core.errors import InvalidInput
from core.records import EvaluatorKind, TargetKind
from evaluators.catalogue import BY_NAME, near
from evaluators.records import Direction
from experiments.records import Better, MetricKind, MetricRole, MetricSpec
from store.experiment_moments import Measure
from store.experiment_scores import Fold, Scored, Told

SAFETY: Final = (
    *("pii_leak", "secret_leak", "system_prompt_leak", "injection_success", "policy_caps"),
    *("unauthorised_actions", "confirmation_before_irreversible"),
)
# Of one evaluator's scores the first of these kinds that there are: who saw how it ended, before who worked it out.
# People's labels are of few sessions that were chosen, and what a judge says enters corrected or not at all.
KINDS: Final = (EvaluatorKind.OUTCOME, EvaluatorKind.EVENT, EvaluatorKind.RULE)
LOSS_OF_A_SHARE: Final = 0.02  # margin of a guardrail that says none: so much of a share may be lost ...
LOSS: Final = 0.1  # ... and this part of the control's figure of anything else


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric is. `measure`: what turns tell, None: `evaluators` do. `quantile` is taken over turns. `margin` is
    what a guardrail may lose unless it says otherwise, a share of the control's figure where `relative`."""

    name: str
    text: str
    unit: str
    better: Better
    measure: Measure | None = None
    evaluators: tuple[str, ...] = ()
    fold: Fold = Fold.MEAN
    quantile: float | None = None
    binary: bool = False
    margin: float = LOSS
    relative: bool = True

    @property
    def of_scores(self) -> bool:
        """Whether evaluators tell it."""
        return self.measure is None


def _of_turns(name: str, text: str, unit: str, measure: Measure, **more: Any) -> Metric:
    return Metric(name=name, text=text, unit=unit, better=Better.LOWER, measure=measure, **more)


_SHARE: Final[dict[str, Any]] = {"unit": "share", "binary": True, "margin": LOSS_OF_A_SHARE, "relative": False}
_QUANTILES: Final = {"p50_latency": 0.5, "p95_latency": 0.95, "p99_latency": 0.99}
_TABLE: Final = (
    Metric(
        name="resolution", text="sessions that did what the user wanted", better=Better.HIGHER,
        evaluators=("task_success", "resolution"), **_SHARE,
    ),
    Metric(
        name="safety", text="sessions in which no safety evaluator found a breach", better=Better.HIGHER,
        evaluators=SAFETY, fold=Fold.SAFE, **_SHARE,
    ),
    Metric(
        name="escalation", text="sessions that a person took over", better=Better.LOWER, evaluators=("escalation",),
        **_SHARE,
    ),
    _of_turns("error_rate", "sessions with a turn that failed", measure=Measure.ERRORS, **_SHARE),
    _of_turns("cost", "US dollars of a session's model calls", "usd", Measure.COST_USD),
    _of_turns("latency", "milliseconds of a turn", "ms", Measure.LATENCY_MS),
    *(
        _of_turns(name, f"milliseconds that {q:.0%} of the turns stay within", "ms", Measure.LATENCY_MS, quantile=q)
        for name, q in _QUANTILES.items()
    ),
    _of_turns("tokens", "tokens of a session", "tokens", Measure.TOKENS),
    _of_turns("turns", "turns of a session", "count", Measure.TURNS),
)  # fmt: skip
BUILT_IN: Final[Mapping[str, Metric]] = {one.name: one for one in _TABLE}


def metric_of(name: str) -> Metric:
    """A built-in metric, or an evaluator's. Raises InvalidInput for a name that is neither, with those near it."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    evaluator = BY_NAME.get(name)
    if evaluator is None:
        said = f"there is no metric {name[:60]!r}; built in: {', '.join(BUILT_IN)}; else an evaluator's name"
        raise InvalidInput(f"{said} ({near(name)}), or say which way is better", field="metrics")
    spec = evaluator.spec
    share = spec.unit == "share"
    return Metric(
        name=name,
        text=spec.summary,
        unit=spec.unit,
        better=Better.LOWER if spec.direction is Direction.LOWER else Better.HIGHER,
        evaluators=(name,),
        binary=spec.binary,
        margin=LOSS_OF_A_SHARE if share else LOSS,
        relative=not share,
    )


def metric_or_own(name: str, better: Better | None) -> Metric:
    """As `metric_of`; any other name is that of scores that somebody writes, or of a judge, if it is said which way is
    better."""
    if better is None or name in BUILT_IN or name in BY_NAME:
        return metric_of(name)
    return Metric(
        name=name, text="", unit="", better=better, evaluators=(name,), margin=LOSS_OF_A_SHARE, relative=False
    )


def spec_of(
    name: str,
    role: MetricRole,
    *,
    better: Better | None = None,
    margin: float | None = None,
    relative: bool | None = None,
) -> MetricSpec:
    """A metric as it is registered, with what the table says where nothing else is said. Raises InvalidInput."""
    metric = metric_or_own(name, better)
    spec = MetricSpec(
        name=name,
        role=role,
        better=metric.better if better is None else better,
        kind=MetricKind.MEAN if metric.quantile is None else MetricKind.QUANTILE,
        quantile=metric.quantile,
        margin=margin,
        relative=False if relative is None else relative,
        binary=metric.binary,
    )
    if role is MetricRole.GUARDRAIL and margin is None:
        return replace(spec, margin=metric.margin, relative=metric.relative)
    return spec


def scored_of(metric: Metric, seen: Iterable[Mapping[str, Any]]) -> Scored:
    """Who tells a metric of scores, by what `evaluators_seen` found. Nobody: no session has it."""
    rows = [row for row in seen if row["evaluator"] in metric.evaluators and row["kind"] in KINDS]
    told: list[Told] = []
    for name in metric.evaluators:
        own = sorted((row for row in rows if row["evaluator"] == name), key=_first)
        if own and (metric.fold is Fold.SAFE or not told):
            told.append(_told(name, own[0]))
    return Scored(name=metric.name, told=tuple(told), fold=metric.fold)


def _first(row: Mapping[str, Any]) -> tuple[int, int]:
    """By kind, then by how much was scored."""
    return KINDS.index(EvaluatorKind(row["kind"])), -int(row["n"])


def _told(name: str, row: Mapping[str, Any]) -> Told:
    evaluator = BY_NAME.get(name)
    return Told(
        evaluator=name,
        kind=EvaluatorKind(row["kind"]),
        target=TargetKind(row["target"]),
        lower_is_better=evaluator is not None and evaluator.spec.direction is Direction.LOWER,
    )
