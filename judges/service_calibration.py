"""Calibrations of a server's judges: gathered from lake and control database, asked for canaries, kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from core.errors import InvalidInput
from core.ids import TenantId
from core.records import Principal, TargetKind
from core.windows import Window
from evaluators.reading import trajectories
from evaluators.records import Trajectory
from judges.agreement.alternative import Annotators
from judges.agreement.certificate import BAR
from judges.calibration import Calibrated, Found, Ran, calibrated
from judges.canaries import FEWEST, SOURCES, Canary, CanaryKind, Judged, canaries, judged, report
from judges.content import Content
from judges.forecasting import Foreseen, foreseen
from judges.leanings import Seen
from judges.records import JudgeSpec, Reply, Rubric, ScaleKind, Verdict
from judges.service_pairs import unlabelled
from judges.stored import rubric_of, spec_of, verdict_of
from judges.voting import total
from store.control.control import Control
from store.control.judge_records import CalibrationState, JudgeCalibration
from store.tenant import TenantStore

REACHABLE: Final = frozenset({"openai", "anthropic", "simulated"})
MOST_SEEN: Final = 2_000  # labelled targets whose answers are read, the newest
MOST_LOOKED_AT: Final = 600  # targets that canaries may be made of; of some the conversation is gone
CHUNK: Final = 60
AT_ONCE: Final = 8
DAY_NS: Final = 86_400_000_000_000
SHORT_NS: Final = 21 * DAY_NS  # a series over less than this is by day, else by week

Ask = Callable[[JudgeSpec, Rubric, Content], Awaitable[Verdict]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is calibrated: a judge's version that holds, on verdicts decided in `window` (None: all) over `app` (None:
    all), against the `bar`, labelled by people who are `annotators`. Raises InvalidInput naming the field."""

    judge: str
    app: str | None = None
    window: Window | None = None
    bar: float = BAR
    seed: int = 0
    canaries: bool = True
    annotators: Annotators = Annotators.SKILLED

    def __post_init__(self) -> None:
        if not 0 < self.bar < 1:  # NaN neither
            raise InvalidInput(f"a bar lies between 0 and 1, not {self.bar}", field="bar")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What is stored of a judge, and the canaries that it would be asked; `why_not` says why there are none."""

    found: Found
    canaries: tuple[Canary, ...]
    verdicts: tuple[str | None, ...]  # by source of a canary, what the judge said of the answer before
    why_not: str = ""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a calibration would take, told before a call: how many labels there are, and what the canaries cost in
    US dollars, as expected and at most; None: no price is known."""

    n_verdicts: int
    n_labels: int
    n_canaries: int
    n_calls: int
    usd: float | None
    usd_most: float | None
    why_not: str


def gather(control: Control, store: TenantStore, tenant: TenantId, asked: Asked) -> Gathered:
    """Reads all that a calibration is made of; nothing is asked. Raises NotFound for a judge that is not there."""
    spec = spec_of(control.judge(tenant, asked.judge).spec)
    rubric = rubric_of(control.rubric(tenant, spec.rubric, spec.rubric_version).body)
    every = unlabelled(store, control, tenant, spec, asked.app, asked.window)
    pairs = every.filter(pl.col("label").is_not_null())
    made, said, why_not = _canaries(store, spec, rubric, every, asked)
    found = Found(
        spec=spec,
        rubric=rubric,
        pairs=pairs,
        n_verdicts=every.height,
        judged=every,
        annotations=annotations_of(control, tenant, rubric),
        annotators=asked.annotators,
        seen=_seen(control, store, tenant, rubric, every if rubric.kind is ScaleKind.PAIRWISE else pairs),
        no_canaries=why_not,
        app=asked.app,
        window=None if asked.window is None else (asked.window.start_ns, asked.window.end_ns),
    )
    return Gathered(found=found, canaries=made, verdicts=said, why_not=why_not)


def forecast(gathered: Gathered) -> Forecast:
    """What it would take."""
    found = gathered.found
    each: list[Foreseen] = [foreseen(found.spec, found.rubric, one.content) for one in gathered.canaries]
    return Forecast(
        n_verdicts=found.n_verdicts,
        n_labels=found.pairs.height,
        n_canaries=len(each),
        n_calls=sum(one.n_calls for one in each),
        usd=_sum(one.usd for one in each),
        usd_most=_sum(one.usd_most for one in each),
        why_not=gathered.why_not,
    )


async def run_canaries(gathered: Gathered, ask: Ask, progress: Progress = lambda *_: None) -> Found:
    """The canaries asked of the judge, AT_ONCE at a time, beside what was gathered. Raises what `ask` raises: wrong
    configuration alone."""
    found, made = gathered.found, gathered.canaries
    if not made:
        return found
    turn, n_done = asyncio.Semaphore(AT_ONCE), 0

    async def one(canary: Canary) -> Judged:
        nonlocal n_done
        async with turn:
            verdict = await ask(found.spec, found.rubric, canary.content)
        n_done += 1
        progress("canaries", n_done, len(made))
        return judged(found.rubric, canary, verdict)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(canary)) for canary in made]
    except* InvalidInput as wrong:
        raise InvalidInput(str(wrong.exceptions[0]), field="judge") from None
    said = tuple(task.result() for task in tasks)
    ran = Ran(
        report=report(found.rubric, said),
        judged=said,
        usage=total(each.verdict.usage for each in said),
        asked_again=_again(said, gathered.verdicts),
    )
    return replace(found, canaries=ran)


def conclude(
    control: Control, tenant: TenantId, found: Found, asked: Asked, *, now_ns: int, by: Principal
) -> JudgeCalibration:
    """The calibration, computed and kept. Raises InvalidInput for labels that cannot be compared."""
    times = found.pairs["at_ns"]
    latest, first = times.max(), times.min()
    span = int(latest) - int(first) if isinstance(latest, int) and isinstance(first, int) else 0
    window_ns = DAY_NS if span < SHORT_NS else 7 * DAY_NS
    made = calibrated(found, bar=asked.bar, seed=asked.seed, at_ns=now_ns, window_ns=window_ns)
    kept = record_of(tenant, found.spec, made, bar=asked.bar, at_ns=now_ns, by=by)
    control.put_calibration(kept, by=by)
    return kept


def record_of(
    tenant: TenantId, spec: JudgeSpec, made: Calibrated, *, bar: float, at_ns: int, by: Principal
) -> JudgeCalibration:
    """A calibration as it is kept."""
    return JudgeCalibration(
        tenant=tenant,
        judge=spec.name,
        version=spec.version,
        at_ns=at_ns,
        state=CalibrationState(made.state.value),
        report=made.report,
        kappa_low=made.kappa_low,
        kappa_high=made.kappa_high,
        bar=bar,
        n=made.n,
        made_by=by.name[:200],
    )


def withdraw(
    control: Control, tenant: TenantId, judge: str, version: str, reason: str, *, now_ns: int, by: Principal | None
) -> JudgeCalibration | None:
    """Takes a certificate back: from now on the judge is undetermined, for this reason. None where it has none. `by`
    None: Assay itself."""
    newest = control.calibration(tenant, judge, version)
    if newest is None or newest.state is not CalibrationState.CERTIFIED:
        return None
    told = {**newest.report, "state": "undetermined", "reason": reason, "at_ns": now_ns, "withdrawn": True}
    made_by = "assay" if by is None else by.name[:200]
    kept = replace(newest, state=CalibrationState.UNDETERMINED, report=told, at_ns=now_ns, made_by=made_by)
    control.put_calibration(kept, by=by)
    return kept


def annotations_of(control: Control, tenant: TenantId, rubric: Rubric) -> pl.DataFrame:
    """What single people said under this version of a rubric, in any queue: target, annotator, label."""
    rows = []
    for queue in control.label_queues(tenant):
        if queue.rubric_digest != rubric.digest or queue.rubric != rubric.name:
            continue
        _, tasks = control.label_tasks(tenant, queue.name)
        targets = {one.task_id: _target_of(one.target, one.session_id, one.trace_id) for one in tasks}
        said = control.annotations(tenant, queue.name)
        rows += [
            (targets[one.task_id], one.annotator, one.label)
            for one in sorted(said, key=lambda each: each.made_at_ns)
            if one.label is not None and one.task_id in targets
        ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("target", "annotator", "label"), pl.String()), orient="row")


def _target_of(kind: TargetKind, session_id: str, trace_id: str | None) -> str:
    return f"{kind.value}:{trace_id if kind is TargetKind.TURN else session_id}"


def _again(said: Sequence[Judged], before: Sequence[str | None]) -> tuple[tuple[str | None, ...], ...]:
    """What the judge said of each source before, and whenever it was asked again; of pairs nothing."""
    found: dict[int, list[str | None]] = {}
    for one in said:
        if one.canary.kind is CanaryKind.ORIGINAL and one.canary.wins is None:
            told = found.setdefault(one.canary.source, [before[one.canary.source]])
            told.append(",".join(sorted(one.verdict.labels)) or None)
    return tuple(tuple(each) for each in found.values())


def _canaries(
    store: TenantStore, spec: JudgeSpec, rubric: Rubric, every: pl.DataFrame, asked: Asked
) -> tuple[tuple[Canary, ...], tuple[str | None, ...], str]:
    """The canaries, by source what the judge said before, and why there are none."""
    if not asked.canaries:
        return (), (), "they were left out on request"
    strange = sorted({one.provider for one in spec.models} - REACHABLE)
    if strange:
        return (), (), f"the judge cannot be asked from here: its verdicts came from elsewhere ({', '.join(strange)})"
    chosen = _sources(every, rubric, asked.seed)
    read: dict[str, Trajectory] = {}
    for at in range(0, min(chosen.height, MOST_LOOKED_AT), CHUNK):
        if len(read) < SOURCES:
            read |= _read(store, chosen["target"].slice(at, CHUNK).to_list())
    rows = [row for row in chosen.iter_rows(named=True) if row["target"] in read][:SOURCES]
    if len(rows) < FEWEST:
        said = f"{len(rows)} conversations that it judged are stored, and canaries are made of {FEWEST} at least"
        return (), (), said
    conversations = [read[row["target"]] for row in rows]
    kinds = [TargetKind(row["target"].partition(":")[0]) for row in rows]
    passed = [rubric.kind is not ScaleKind.PAIRWISE and row["passed"] for row in rows]
    made = canaries(rubric, conversations, kinds, passed, seed=asked.seed)
    return tuple(made), tuple(row["verdict"] for row in rows), ""


def _sources(every: pl.DataFrame, rubric: Rubric, seed: int) -> pl.DataFrame:
    """Targets that were judged, in a random order: as far as there are, every second one did not pass, as what passed
    already cannot rise."""
    rng = np.random.default_rng(seed)
    given = every.filter(pl.col("verdict").is_not_null()).sort("target")
    drawn = given.with_columns(draw=pl.Series(rng.random(given.height), dtype=pl.Float64()))
    passed = pl.col("verdict").is_in(sorted(rubric.passing)) & pl.lit(rubric.kind is not ScaleKind.PAIRWISE)
    ranked = drawn.with_columns(passed=passed).with_columns(place=pl.col("draw").rank("ordinal").over("passed"))
    return ranked.sort("place", "passed")


def _read(store: TenantStore, targets: Sequence[str]) -> dict[str, Trajectory]:
    """The trajectories of targets that are stored, by target."""
    turns = [one.partition(":")[2] for one in targets if one.startswith("turn:")]
    sessions = list(dict.fromkeys(one.partition(":")[2] for one in targets if not one.startswith("turn:")))
    if not turns and not sessions:
        return {}
    found = trajectories(store, session_ids=sessions, trace_ids=turns)
    return {one: found[name] for one in targets if (name := one.partition(":")[2]) in found}


def _seen(
    control: Control, store: TenantStore, tenant: TenantId, rubric: Rubric, pairs: pl.DataFrame
) -> tuple[Seen, ...]:
    """Labelled targets, or pairs, as biases are measured on them, the newest MOST_SEEN."""
    rows = pairs.sort("at_ns", descending=True).head(MOST_SEEN)
    read = {} if rubric.kind is ScaleKind.PAIRWISE else _read(store, rows["target"].to_list())
    kept = control.verdicts(tenant, rows["kept"].drop_nulls().to_list())
    replies = {key: verdict_of(one).replies for key, one in kept.items()}
    found = []
    for row in rows.iter_rows(named=True):
        one = read.get(row["target"])
        found.append(
            Seen(
                target=row["target"],
                verdict=row["verdict"],
                label=row["label"],
                length=row["length"] if one is None else float(len(one.said)),
                prompt="" if one is None else next((m.text for m in one.messages if m.role == "user"), ""),
                models=() if one is None else tuple(dict.fromkeys(m.model for m in one.model_calls if m.model)),
                replies=replies.get(row["kept"]) or _imported(row["orders"]),
            )
        )
    return tuple(found)


def _imported(orders: str | None) -> tuple[Reply, ...]:
    """The two replies of an imported pair, where they are known."""
    if orders is None:
        return ()
    return tuple(
        Reply(model="imported", shown=shown, labels=() if label is None else (str(label),))
        for shown, label in zip(("ab", "ba"), json.loads(orders), strict=True)
    )


def _sum(values: Iterable[float | None]) -> float | None:
    whole = 0.0
    for value in values:
        if value is None:
            return None
        whole += value
    return whole
