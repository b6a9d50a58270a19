"""What a judged metric of an app is once the judge's errors are taken out: over a window, day by day, and as drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import numpy as np
import polars as pl

from core.errors import InvalidInput, NotFound
from core.ids import TenantId
from core.windows import Window, day_of
from evaluators.statistics.estimates import Interval, Lack, Unestimated
from evaluators.statistics.rates import FloatArray
from judges.correction.choose import corrected
from judges.correction.records import Corrected, Judged, Labels, Method
from judges.correction.sequence import confidence_sequence, increments
from judges.correction.watching import Watched, watched
from judges.records import JudgeSpec, Rubric, ScaleKind
from judges.service_pairs import unlabelled
from judges.stored import rubric_of, spec_of
from store.control.certificates import JudgeFacts, facts_of_judge
from store.control.control import Control
from store.session_starts import session_starts
from store.tenant import TenantStore

OF_A_RUN: Final = "example:"  # begins the targets that are trials of examples: no live traffic
TUNED_AT: Final = 1000.0  # judged targets at which the sequence is sharpest
STAND_FOR: Final = 0.7  # labels that stand for less of what was judged are not all there yet


class LabelsAre(StrEnum):
    """What is known of how labels were chosen."""

    AS_STORED = "as_stored"  # each has its chance, or none
    RANDOM = "random"  # a simple random sample of the judged targets, whatever is stored


@dataclass(frozen=True, kw_only=True)
class CorrectedAsked:
    """A judge's name, or that of its rubric, and the sessions of `app` that begin in `window`. Of a `version` of the
    judge (None: the one that holds), a release, variant or segment. `method` None chooses; `baseline` is the rate that
    the product is held against (None: that of the first third of the days); `arl_days` how seldom drift may be found
    where there is none."""

    name: str
    app: str
    window: Window
    version: str | None = None
    release: str | None = None
    variant: str | None = None
    segment: str | None = None
    method: Method | None = None
    labels: LabelsAre = LabelsAre.AS_STORED
    level: float = 0.95
    baseline: float | None = None
    arl_days: float = 365.0
    as_of_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class Day:
    """The rate up to the end of a UTC day, with an interval that holds on all days at once. `of_day` is the day's own
    corrected mean, which is noisy; `raw` what the judge said so far."""

    day: str
    value: float
    interval: Interval
    raw: float
    of_day: float
    n_judged: int
    n_labels: int


@dataclass(frozen=True, kw_only=True)
class CorrectedMetric:
    """A judged metric. `rate` is refused with the reason where it cannot be corrected: then no figure of the judge is
    told. `missing` counts targets without a verdict, by reason; `n_waiting` those after the last label, which the days
    leave out. `notes` say what to know before relying on it."""

    spec: JudgeSpec
    certificate: JudgeFacts
    rate: Corrected | Unestimated
    days: tuple[Day, ...] = ()
    watched: Watched | None = None
    n_waiting: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def corrected_metric(
    store: TenantStore, control: Control, tenant: TenantId, asked: CorrectedAsked, *, now_ns: int
) -> CorrectedMetric:
    """The metric as asked. Raises NotFound for a judge that is not there, InvalidInput where a rubric has several and
    none is chosen."""
    spec = judge_named(control, tenant, asked.name, asked.version)
    rubric = rubric_of(control.rubric(tenant, spec.rubric, spec.rubric_version).body)
    every = _placed(store, unlabelled(store, control, tenant, spec, as_of_ns=asked.as_of_ns), asked.as_of_ns)
    every = _valued(every, rubric)
    runs = pl.Series([one.run_id for one in control.runs(tenant)], dtype=pl.String())
    own = _own(asked) & ~_run().is_in(runs.implode())
    here = every.filter(own).sort("start_ns", "target")
    missing = here.filter(pl.col("judge").is_null())
    here, elsewhere = here.drop_nulls("judge"), every.filter(~own | own.is_null()).drop_nulls(["judge", "truth"])
    judged, notes = _judged(here, asked.labels)
    others = Labels(judge=elsewhere["judge"].to_numpy(), label=elsewhere["truth"].to_numpy())
    rate = corrected(judged, others if elsewhere.height else None, level=asked.level, method=asked.method)
    if not here.height:
        rate = Unestimated(reason=Lack.NO_EXAMPLES, detail=_nothing(every, asked))
    found = CorrectedMetric(
        spec=spec,
        certificate=facts_of_judge(control, tenant, spec.name, spec.version, app=asked.app, now_ns=now_ns),
        rate=rate,
        missing=_counted(missing),
        notes=(*notes, *_notes(here, missing)),
    )
    return (
        found if isinstance(rate, Unestimated) or rate.method is not Method.PPI else _daily(found, here, judged, asked)
    )


def _nothing(every: pl.DataFrame, asked: CorrectedAsked) -> str:
    """Where the judge's verdicts are, when none is of what was asked."""
    apps = every.group_by("app").len().sort("len", descending=True)
    listed = [f"{n:,} of {'no app' if app is None else app[:60]}" for app, n in apps.head(10).iter_rows()]
    others = f"; it has verdicts: {', '.join(listed)}" if listed else "; it has no verdict at all"
    return f"the judge has judged nothing of app {asked.app[:60]} there{others}"


def judge_named(control: Control, tenant: TenantId, name: str, version: str | None = None) -> JudgeSpec:
    """The judge of that name, else the only one of the rubric of that name. Raises NotFound, InvalidInput for
    several."""
    known = control.judges(tenant)
    if all(one.name != name for one in known):
        by_rubric = [one.name for one in known if one.spec["rubric"] == name]
        if len(by_rubric) > 1:
            listed = ", ".join(each[:60] for each in by_rubric[:10])
            raise InvalidInput(f"several judges judge by {name[:60]!r}: name one of {listed}", field="name")
        if not by_rubric:
            raise NotFound(f"no judge, and no rubric of one, is called {name[:80]!r}: assay judges list")
        name = by_rubric[0]
    return spec_of(control.judge(tenant, name, version).spec)


def _placed(store: TenantStore, verdicts: pl.DataFrame, as_of_ns: int | None) -> pl.DataFrame:
    """With what the sessions' own spans say of app, release, variant and time; where there are none, the verdict's."""
    ids = verdicts["session_id"].drop_nulls().unique().to_list()
    seen = session_starts(store, ids, as_of_ns=as_of_ns).rename({"app": "app_seen", "release": "release_seen"})
    return verdicts.join(seen, on="session_id", how="left").with_columns(
        start_ns=pl.coalesce("start_ns", "at_ns"),
        app=pl.coalesce("app_seen", "app"),
        release=pl.coalesce("release_seen", "release"),
    )


def _valued(rows: pl.DataFrame, rubric: Rubric) -> pl.DataFrame:
    """With judge and truth, from 0 to 1; null where there is none, or a label that the rubric does not offer."""
    value = _value_of(rubric)
    texts = {one for name in ("verdict", "label") for one in rows[name].drop_nulls().unique().to_list()}
    known = {one: value(one) for one in texts}
    of = pl.DataFrame(
        {"text": list(known), "worth": list(known.values())}, schema={"text": pl.String, "worth": pl.Float64}
    )
    joined = rows.join(of.rename({"text": "verdict", "worth": "judge"}), on="verdict", how="left")
    return joined.join(of.rename({"text": "label", "worth": "truth"}), on="label", how="left")


def _value_of(rubric: Rubric) -> Callable[[str], float | None]:
    """The worth of a stored label: of a scale 1 from its passing labels on, else what the rubric gives it."""

    def worth(text: str) -> float | None:
        parts = tuple(text.split(",")) if rubric.kind is ScaleKind.MULTI_LABEL else (text,)
        if not all(one in rubric.labels for one in parts):
            return None
        if rubric.kind is ScaleKind.ORDINAL:
            return float(text in rubric.passing)
        return rubric.value_of_all(parts)

    return worth


def _run() -> pl.Expr:
    """What a session's name begins with: the id of the run, where it is that of a trial."""
    return pl.col("target").str.strip_prefix("session:").str.extract(r"^([^.]+)\.").fill_null("")


def _own(asked: CorrectedAsked) -> pl.Expr:
    kept = (pl.col("app") == asked.app) & ~pl.col("target").str.starts_with(OF_A_RUN)
    kept &= (pl.col("start_ns") >= asked.window.start_ns) & (pl.col("start_ns") < asked.window.end_ns)
    for name in ("release", "variant", "segment"):
        if getattr(asked, name) is not None:
            kept &= pl.col(name) == getattr(asked, name)
    return kept


def _judged(here: pl.DataFrame, labels: LabelsAre) -> tuple[Judged, list[str]]:
    """The targets as they are corrected, and what had to be taken for granted."""
    notes = []
    label = here["truth"].to_numpy().astype(np.float64)
    p_judge = here["p_judge"].to_numpy().astype(np.float64)
    p_judge = np.where((p_judge > 0) & (p_judge <= 1), p_judge, np.nan)
    n_unknown = int(np.isnan(p_judge).sum())
    if n_unknown:
        notes.append(
            f"the chance of being judged is not known of {n_unknown} targets: they are taken as equally likely"
        )
        p_judge = np.where(np.isnan(p_judge), 1.0, p_judge)
    p_human = here["p_human"].to_numpy().astype(np.float64)
    p_human = np.where((p_human > 0) & (p_human <= 1), p_human, np.nan)
    seen = ~np.isnan(label)
    if seen.all():
        p_human = np.ones(len(seen))  # whatever is stored: nothing was left out
    elif labels is LabelsAre.RANDOM and seen.any():
        p_human = np.where(seen, seen.mean(), np.nan)
        notes.append("labels are taken as a simple random sample, as was said; their stored chances are not used")
    judge = here["judge"].to_numpy().astype(np.float64)
    return Judged(judge=judge, label=label, p_judge=p_judge, p_human=np.where(seen, p_human, np.nan)), notes


def _counted(missing: pl.DataFrame) -> dict[str, int]:
    reasons = missing.select(pl.coalesce("missing", pl.lit("label_not_offered")).alias("why"))["why"]
    return dict(sorted(reasons.value_counts().rows()))


def _notes(here: pl.DataFrame, missing: pl.DataFrame) -> list[str]:
    notes = []
    if missing.height > 0.05 * (here.height + missing.height):
        share = missing.height / (here.height + missing.height)
        notes.append(f"{share:.0%} of the targets have no verdict and are left out: they may be unlike the others")
    turns = here.filter(pl.col("target").str.starts_with("turn:"))
    if turns["session_id"].n_unique() < 0.9 * turns.height:
        notes.append("turns of one session count as independent: the interval is too short where they are alike")
    return notes


def _daily(found: CorrectedMetric, here: pl.DataFrame, judged: Judged, asked: CorrectedAsked) -> CorrectedMetric:
    """With the days up to the last label, and what drifted."""
    known = judged.labelled & ~np.isnan(judged.p_human)
    last = int(np.flatnonzero(known)[-1]) + 1
    part = Judged(
        **{name: getattr(judged, name)[:last] for name in ("judge", "p_judge", "p_human")},
        label=np.where(known, judged.label, np.nan)[:last],
    )
    part = _completed(part)
    days = [day_of(ns) for ns in here["start_ns"].to_list()[:last]]
    weights, one = 1 / part.p_judge, np.ones(last)
    x = increments(part.judge, part.label, one, part.p_human)
    told = _days(part, x, weights, days, asked.level)
    drift = watched(part, x, weights, days, level=asked.level, baseline=asked.baseline, arl=asked.arl_days)
    return replace(found, days=told, watched=drift, n_waiting=here.height - last)


def _completed(part: Judged) -> Judged:
    """With the chances as they turned out, where a share of the labels that were drawn is still to come."""
    seen = part.labelled
    stand_for = float((1 / (part.p_judge * part.p_human))[seen].sum() / (1 / part.p_judge).sum())
    if stand_for >= STAND_FOR:
        return part
    p_human = np.clip(part.p_human * stand_for, 1e-6, 1.0)
    return Judged(judge=part.judge, label=part.label, p_judge=part.p_judge, p_human=p_human)


def _days(part: Judged, x: FloatArray, weights: FloatArray, days: list[str], level: float) -> tuple[Day, ...]:
    labels = np.cumsum(part.labelled).astype(np.float64)
    so_far = confidence_sequence(x, labels, level=level, tuned_at=TUNED_AT, weights=weights)
    raw = np.cumsum(weights * part.judge) / np.cumsum(weights)
    names = np.array(days)
    ends = np.flatnonzero(np.append(names[1:] != names[:-1], True))
    starts = np.append(0, ends[:-1] + 1)
    return tuple(
        Day(
            day=days[end],
            value=float(min(1.0, max(0.0, so_far.value[end]))),
            interval=Interval(
                low=float(so_far.low[end]), high=float(so_far.high[end]), level=level, method="confidence_sequence"
            ),
            raw=float(raw[end]),
            of_day=float(weights[start : end + 1] @ x[start : end + 1] / weights[start : end + 1].sum()),
            n_judged=int(end - start + 1),
            n_labels=int(part.labelled[start : end + 1].sum()),
        )
        for start, end in zip(starts, ends, strict=True)
        if not np.isnan(so_far.low[end])
    )
