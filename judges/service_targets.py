"""What a judge is to look at, read from the store: sessions or turns of an app in a window, the trials of a run, or
those of two runs in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import ibis.expr.types as ir

from core.errors import InvalidInput, NotFound
from core.ids import TenantId
from core.records import TargetKind
from core.windows import Window
from evaluators import owners
from evaluators.datasets.records import Example, read_version
from evaluators.reading import trajectories
from evaluators.records import Trajectory
from evaluators.runs.scoring import joined, trajectory_of
from evaluators.runs.service import NO_DATASET
from judges.choosing import APP, id_of
from judges.content import Content, of_pair, of_target
from judges.records import Rubric, ScaleKind
from store import traces
from store.control.control import Control
from store.control.judge_records import TargetRecord
from store.control.run_records import RunRecord, TrialRecord, TrialStatus
from store.engine import slot, table_of
from store.tenant import TenantStore, around

MOST_TARGETS: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What of a target a judge is shown, and what is known of it: app, release, variant, models that answered in it."""

    content: Content
    about: Mapping[str, Any]
    models: tuple[str, ...] = ()


Reading = Callable[[Sequence[TargetRecord]], Mapping[str, Shown]]


def live_only(control: Control, tenant: TenantId) -> Callable[[str], bool]:
    """Tells whether a session is traffic: those of the trials of an evaluation run, RUN.EXAMPLE.TRIAL, are none."""
    runs = {one.run_id for one in control.runs(tenant)}
    return lambda session_id: session_id.partition(".")[0] not in runs


def targets_in(
    control: Control, store: TenantStore, tenant: TenantId, rubric: Rubric, app: str, window: Window
) -> list[TargetRecord]:
    """The sessions of an app that begin in the window, or its turns, as the rubric wants; of runs none. Raises
    InvalidInput where it wants something else."""
    _check_live(rubric, app)
    is_live = live_only(control, tenant)
    if rubric.target is TargetKind.SESSION:
        names = owners.beginning_in(store, window, app, None)["session_id"].to_list()
        return [
            TargetRecord(target="session", session_id=one, probability=1.0) for one in sorted(names) if is_live(one)
        ]
    values = {"app": app, "from_ns": window.start_ns, "until_ns": window.end_ns}
    found = store.frame(_turns(), around(window, traces.MARGIN_S), values=values).sort("trace_id")
    return [
        TargetRecord(target="turn", session_id=row["session_id"] or row["trace_id"], trace_id=row["trace_id"],
                     probability=1.0)
        for row in found.iter_rows(named=True) if is_live(row["session_id"] or "")
    ]  # fmt: skip


def targets_of_run(
    control: Control, tenant: TenantId, rubric: Rubric, run_id: str, against: str | None = None
) -> tuple[RunRecord, list[TargetRecord]]:
    """The trials of an evaluation run that were done; for a rubric of pairs those that were done in the run `against`
    too. Raises NotFound, InvalidInput."""
    if rubric.target is TargetKind.TURN and rubric.kind is not ScaleKind.PAIRWISE:
        raise InvalidInput(f"rubric {rubric.name} grades {_wanted(rubric)}; trials of a run are none", "run_id")
    if (rubric.kind is ScaleKind.PAIRWISE) is (against is None):
        said = "name the run whose answers are the second" if against is None else "it takes no second run"
        raise InvalidInput(f"rubric {rubric.name} grades {_wanted(rubric)}: {said}", "against")
    run = control.run(tenant, run_id)
    beside = None if against is None else _done(control, tenant, _comparable(run, control.run(tenant, against)))
    return run, [
        TargetRecord(
            target="example", session_id=one.session_id, probability=1.0, run_id=run_id, example_id=one.example_id,
            trial=one.trial,
        )
        for one in control.trials(tenant, run_id)
        if one.status is TrialStatus.DONE and (beside is None or (one.example_id, one.trial) in beside)
    ]  # fmt: skip


def reading(
    control: Control, store: TenantStore, tenant: TenantId, run_id: str | None, against: str | None = None
) -> Reading:
    """Reads targets of one job; what is not there any more is missing from its answer, which is by `id_of`."""
    if run_id is None:
        return lambda targets: _live(store, targets)
    run = control.run(tenant, run_id)
    trials = {(one.example_id, one.trial): one for one in control.trials(tenant, run_id)}
    examples = _examples(control, tenant, run)
    if against is not None:
        other = control.run(tenant, against)
        beside = _done(control, tenant, other)
        return lambda targets: _pairs(store, (run, other), (trials, beside), examples, targets)
    return lambda targets: _trials(store, run, trials, examples, targets)


def _live(store: TenantStore, targets: Sequence[TargetRecord]) -> dict[str, Shown]:
    sessions = [one.session_id for one in targets if one.target == "session"]
    turns = [one.trace_id for one in targets if one.target == "turn" and one.trace_id is not None]
    found = trajectories(store, session_ids=sessions, trace_ids=turns) if targets else {}
    kinds = {id_of(one): TargetKind(one.target) for one in targets}
    return {name: _shown(kind, found[name]) for name, kind in kinds.items() if name in found}


def _trials(
    store: TenantStore,
    run: RunRecord,
    trials: Mapping[tuple[str, int], TrialRecord],
    examples: Mapping[str, Example],
    targets: Sequence[TargetRecord],
) -> dict[str, Shown]:
    stored = trajectories(store, session_ids=[one.session_id for one in targets]) if targets else {}
    found = {}
    for one in targets:
        trial = trials.get((one.example_id or "", one.trial or 0))
        if trial is None:
            continue
        example = examples.get(trial.example_id)
        whole = joined(stored.get(trial.session_id), trajectory_of(run, trial, example.turns if example else ()))
        expected = example.expected if example else None
        content = of_target(TargetKind.EXAMPLE, whole, expected)
        found[id_of(one)] = Shown(content=content, about=_about(whole), models=_models(whole))
    return found


def _pairs(
    store: TenantStore,
    runs: tuple[RunRecord, RunRecord],
    trials: tuple[Mapping[tuple[str, int], TrialRecord], Mapping[tuple[str, int], TrialRecord]],
    examples: Mapping[str, Example],
    targets: Sequence[TargetRecord],
) -> dict[str, Shown]:
    """What the agent said in the first run beside what it said in the second, of the same example and trial."""
    wanted = {id_of(one): (one.example_id or "", one.trial or 0) for one in targets}
    both = {name: [each[key] for each in trials if key in each] for name, key in wanted.items()}
    sessions = [trial.session_id for found in both.values() for trial in found]
    stored = trajectories(store, session_ids=sessions) if sessions else {}
    shown = {}
    for name, found in both.items():
        if len(found) < len(runs):
            continue
        example = examples.get(wanted[name][0])
        turns = example.turns if example else ()
        first, second = (
            joined(stored.get(trial.session_id), trajectory_of(run, trial, turns))
            for run, trial in zip(runs, found, strict=True)
        )
        question = "\n\n".join(one.text for one in first.messages if one.role == "user")
        about = {"against": runs[1].run_id, "length_difference": len(first.said) - len(second.said)}
        shown[name] = Shown(
            content=of_pair(first.said, second.said, question),
            about=_about(first) | about,
            models=tuple(dict.fromkeys(_models(first) + _models(second))),
        )
    return shown


def _comparable(run: RunRecord, other: RunRecord) -> RunRecord:
    """The other run, where both answer the same questions. Raises InvalidInput."""
    same = (run.spec.dataset, run.spec.dataset_version) == (other.spec.dataset, other.spec.dataset_version)
    if run.run_id == other.run_id or not same:
        said = "is the same run" if run.run_id == other.run_id else "is of another dataset, or version of it"
        raise InvalidInput(f"run {other.run_id} {said}: no pairs", "against")
    return other


def _done(control: Control, tenant: TenantId, run: RunRecord) -> dict[tuple[str, int], TrialRecord]:
    """The trials that were done, by example and number."""
    found = control.trials(tenant, run.run_id)
    return {(one.example_id, one.trial): one for one in found if one.status is TrialStatus.DONE}


def _shown(kind: TargetKind, trajectory: Trajectory) -> Shown:
    return Shown(content=of_target(kind, trajectory), about=_about(trajectory), models=_models(trajectory))


def _about(trajectory: Trajectory) -> dict[str, Any]:
    return {name: getattr(trajectory, name) for name in ("app", "release", "variant")}


def _models(trajectory: Trajectory) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.model for one in trajectory.model_calls if one.model))


def _examples(control: Control, tenant: TenantId, run: RunRecord) -> dict[str, Example]:
    if run.spec.dataset == NO_DATASET:
        return {}
    try:
        version = read_version(control, tenant, run.spec.dataset, run.spec.dataset_version)
    except NotFound:
        return {}  # the dataset was deleted: trials still tell what was answered
    return {one.example_id: one for one in version.examples}


def _check_live(rubric: Rubric, app: str) -> None:
    if rubric.kind is ScaleKind.PAIRWISE or rubric.target not in (TargetKind.SESSION, TargetKind.TURN):
        instead = "name a run, and the run to compare it with" if rubric.kind is ScaleKind.PAIRWISE else "name a run"
        said = f"rubric {rubric.name} grades {_wanted(rubric)}; live traffic has sessions and turns: {instead}"
        raise InvalidInput(said, "judge")
    if app == APP:
        raise InvalidInput("the judges' own calls are not judged", field="app")


def _wanted(rubric: Rubric) -> str:
    return "two answers to one question" if rubric.kind is ScaleKind.PAIRWISE else f"a {rubric.target.value}"


@lru_cache(maxsize=1)
def _turns() -> ir.Table:
    turns = table_of("turns")
    rows = turns.group_by("trace_id").agg(
        tenant=turns.tenant.max(),
        app=turns.app.min(),
        session_id=turns.session_id.max(),
        start_ns=turns.start_ns.min(),
    )
    rows = rows.filter(
        rows.start_ns >= slot("from_ns", "int64"),
        rows.start_ns < slot("until_ns", "int64"),
        rows.app == slot("app", "string"),
    )
    return rows.select("trace_id", "tenant", "session_id")
