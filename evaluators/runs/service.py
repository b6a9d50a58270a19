"""Runs as callers ask for them: planned and begun, foreseen without beginning, and gone on with."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from core.errors import InvalidInput
from core.ids import TenantId, fresh
from core.records import Principal
from core.windows import Window
from evaluators.catalogue import named
from evaluators.datasets.records import DatasetVersion, Example, read_version
from evaluators.early import order_of
from evaluators.protocol import Evaluator
from evaluators.runs.calling import Door, Pace
from evaluators.runs.early_stop import check_watch, watch
from evaluators.runs.outputs import filled, trials_in
from evaluators.runs.planning import Params, check_size, chosen, params_of, planned
from evaluators.runs.selection import selected
from evaluators.runs.stored import Cost, cost_of, every_session, matched
from evaluators.runs.work import Means, Work
from store.control.control import Control
from store.control.run_records import RunRecord, RunSource, RunSpec, TrialRecord
from store.tenant import TenantStore

NO_DATASET: Final = "-"  # of a run in which each stored session is an example of its own
COST_DAYS: Final = 90
_DAY_NS: Final = 86_400_000_000_000
CHOOSE: Final = "x-assay-choose-release"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a caller asks for. `dataset` None: every stored session of the release is an example. `k` None: one trial,
    or as many as there are. `within` is where stored sessions are looked for."""

    dataset: str | None
    version: int | None = None
    app: str | None = None
    release: str
    evaluators: Sequence[str]
    k: int | None = None
    source: RunSource
    params: Params = field(default_factory=Params)
    outputs: Sequence[object] = ()
    within: Window


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that could begin."""

    run_id: str
    spec: RunSpec
    trials: tuple[TrialRecord, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run would take: calls are turns of trials. Money in US dollars; None: nothing is known to tell from.
    `of` says whose sessions it is told from: the release's own, or any of its app."""

    n_examples: int
    n_trials: int
    n_calls: int
    evaluators: tuple[str, ...]
    tokens: float | None
    usd: float | None
    usd_p50: float | None
    usd_p95: float | None
    n_sessions: int
    of: str


def plan(control: Control, store: TenantStore, tenant: TenantId, wanted: Wanted) -> Plan:
    """The plan of a run; nothing is written or begun. Raises NotFound for an unknown dataset, InvalidInput naming the
    field for what cannot be run."""
    app = _app_of(control, tenant, wanted)
    run_id = fresh("run")
    if wanted.dataset is None:
        return _of_sessions(store, run_id, app, wanted)
    dataset = read_version(control, tenant, wanted.dataset, wanted.version)
    examples = chosen(dataset.examples, wanted.params)
    evaluators = selected(wanted.evaluators, [one.expected for one in examples])
    if wanted.params.stop_against is not None:
        by_id = {one.example_id: one for one in examples}
        examples = tuple(by_id[one] for one in order_of(run_id, by_id))
    trials, k = _trials(store, run_id, app, examples, wanted)
    spec = _spec(wanted, app, evaluators, k, dataset)
    spec = check_watch(control, store, tenant, spec, wanted.params)
    return Plan(run_id=run_id, spec=spec, trials=tuple(trials), examples=examples)


def begin(control: Control, tenant: TenantId, found: Plan, *, by: Principal) -> RunRecord:
    """Writes the run and its trials; who works on runs takes it from there."""
    return control.start_run(tenant, found.run_id, found.spec, found.trials, by=by)


def foresee(store: TenantStore, found: Plan, now_ns: int) -> Forecast:
    """What the run would take."""
    turns = {one.example_id: len(one.turns) for one in found.examples}
    asked = found.spec.source is RunSource.RELEASE
    n_calls = sum(turns.get(one.example_id, 1) for one in found.trials) if asked else 0
    cost, of = Cost(n_sessions=0), "nothing"
    if asked:
        within = Window(start_ns=now_ns - COST_DAYS * _DAY_NS, end_ns=now_ns)
        app, release = found.spec.app, found.spec.release
        for name, which in (("release", release), ("app", None)):
            if cost.usd_mean is None and cost.tokens_mean is None:
                cost = cost_of(store, app, which, within)
                of = name if cost.n_sessions else "nothing"
    usd = (cost.usd_mean, cost.usd_p50, cost.usd_p95) if asked else (0.0, 0.0, 0.0)
    each = [None if one is None else one * n_calls for one in usd]
    tokens = cost.tokens_mean if asked else 0.0
    return Forecast(
        n_examples=len({one.example_id for one in found.trials}),
        n_trials=len(found.trials),
        n_calls=n_calls,
        evaluators=found.spec.evaluators,
        tokens=None if tokens is None else tokens * n_calls,
        usd=each[0],
        usd_p50=each[1],
        usd_p95=each[2],
        n_sessions=cost.n_sessions,
        of=of if asked else "no call is made",
    )


def go_on(run: RunRecord, means: Means, client: httpx.Client, key: str | None, stopping: threading.Event) -> RunRecord:
    """Carries a run out, or on. `key` is shown to the gateway. Raises as Work, NotFound, InvalidInput."""
    spec = run.spec
    examples: Mapping[str, Example] = {}
    if spec.dataset != NO_DATASET:
        version = read_version(means.control, run.tenant, spec.dataset, spec.dataset_version)
        examples = {one.example_id: one for one in version.examples}
    evaluators = selected(spec.evaluators, ())
    door = _door(run, client, key, stopping) if spec.source is RunSource.RELEASE else None
    harm = watch(means.control, means.store, run, params_of(spec.params))
    work = Work(run, means, examples=examples, evaluators=evaluators, door=door, stopping=stopping, harm=harm)
    return work.carry_out()


def _door(run: RunRecord, client: httpx.Client, key: str | None, stopping: threading.Event) -> Door:
    params = params_of(run.spec.params)
    headers: dict[str, str] = {}
    if params.via == "gateway":
        headers = {CHOOSE: run.spec.release} | ({} if key is None else {"authorization": f"Bearer {key}"})
    return Door(
        client=client,
        address=params.address,
        headers=headers,
        attempts=params.attempts,
        pace=Pace(per_minute=params.per_minute, stopping=stopping),
        stopping=stopping,
    )


def _trials(
    store: TenantStore, run_id: str, app: str, examples: Sequence[Example], wanted: Wanted
) -> tuple[list[TrialRecord], int]:
    """The trials, and how many there are of each example at most."""
    match wanted.source:
        case RunSource.RELEASE:
            k = 1 if wanted.k is None else wanted.k
            return planned(run_id, examples, k), k
        case RunSource.FILE:
            k = trials_in(wanted.outputs) if wanted.k is None else wanted.k
            return filled(planned(run_id, examples, k), wanted.outputs), k
        case RunSource.TRACES:
            if wanted.k is not None:
                check_size(len(examples), wanted.k)
            found = matched(store, run_id, examples, app, wanted.release, wanted.k, wanted.within)
            return found, 1 + max(one.trial for one in found)


def _of_sessions(store: TenantStore, run_id: str, app: str, wanted: Wanted) -> Plan:
    if wanted.source is not RunSource.TRACES:
        raise InvalidInput("a run needs a dataset, unless it is over the stored sessions of a release", field="dataset")
    if wanted.k not in (None, 1):
        raise InvalidInput("each session is an example of its own: it has one trial", field="trials")
    trials = every_session(store, run_id, app, wanted.release, wanted.within)[: wanted.params.limit]
    evaluators = selected(wanted.evaluators, ())
    text = "\n".join(one.session_id for one in trials)
    dataset = DatasetVersion(
        name=NO_DATASET, version=0, content_hash=hashlib.sha256(text.encode()).hexdigest(), examples=()
    )
    spec = _spec(wanted, app, evaluators, 1, dataset)
    return Plan(run_id=run_id, spec=spec, trials=tuple(trials), examples=())


def _spec(wanted: Wanted, app: str, evaluators: Sequence[Evaluator], k: int, dataset: DatasetVersion) -> RunSpec:
    params: dict[str, Any] = wanted.params.json()
    return RunSpec(
        app=app,
        release=wanted.release,
        dataset=dataset.name,
        dataset_version=dataset.version,
        content_hash=dataset.content_hash,
        evaluators=tuple(named(one) for one in evaluators),
        k=k,
        source=wanted.source,
        params=params,
    )


def _app_of(control: Control, tenant: TenantId, wanted: Wanted) -> str:
    """The app that is named, or the only one with a release of that name. Raises InvalidInput."""
    if wanted.app is not None:
        return wanted.app
    registered = [one.spec for one in control.releases(tenant)]
    apps = sorted({one.app for one in registered if one.name == wanted.release})
    if len(apps) == 1:
        return apps[0]
    if apps:
        which = f"several apps have a release {wanted.release[:60]!r}: {', '.join(apps)[:200]}"
    else:
        known = ", ".join(sorted(f"{one.name} of {one.app}" for one in registered)[:6])[:300] or "none"
        which = f"no release {wanted.release[:60]!r} is registered; there are {known}"
    raise InvalidInput(f"name the app: {which}", field="app")
