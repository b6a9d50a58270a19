"""Finished runs in the real control database and lake, from scores made by hand."""

from __future__ import annotations

from dataclasses import replace

from core.ids import TenantId
from core.records import EvaluatorKind, Principal, Role, TargetKind
from evaluators.evidence import RunScores
from evaluators.pairing import UNITS_OF_TRIALS
from evaluators.runs.planning import score_id
from server.wiring import Services
from store.control.run_records import RunSource, RunSpec, RunStatus, TrialRecord, TrialStatus
from store.scores import NewScore, append_scores


def keep(
    services: Services,
    tenant: TenantId,
    run: RunScores,
    *,
    ends: RunStatus | None = RunStatus.DONE,
    limit: int | None = None,
) -> str:
    """Writes a run as the job of runs would: trials in the control database, scores in the lake. `ends` None leaves it
    waiting; `limit`: that it was asked for so many examples. Its id."""
    by = Principal(tenant=tenant, role=Role.USER, name="a run")
    names = [f"{name}@{version}" for name, version in run.evaluators.items() if name not in UNITS_OF_TRIALS]
    spec = RunSpec(
        app=run.app,
        release=run.release or "",
        dataset=run.dataset,
        dataset_version=run.dataset_version,
        content_hash=run.content_hash,
        evaluators=tuple(names),
        k=run.k,
        source=RunSource.FILE,
        params={} if limit is None else {"limit": limit},
    )
    trials = _trials(run)
    services.control.start_run(tenant, run.run_id, spec, trials, by=by)
    if ends is None:
        return run.run_id
    services.control.put_trials(tenant, trials)
    kept = [(row, f"{row['metric']}@{run.evaluators[row['metric']]}") for row in run.rows.iter_rows(named=True)
            if row["metric"] in run.evaluators and row["metric"] not in UNITS_OF_TRIALS]  # fmt: skip
    append_scores(
        services.store.tenant(tenant),
        [
            NewScore(
                evaluator=row["metric"],
                evaluator_version=name.partition("@")[2],
                evaluator_kind=EvaluatorKind.RULE,
                target=TargetKind.EXAMPLE,
                session_id=f"{run.run_id}.{row['example_id']}.{row['trial']}",
                value=row["value"],
                unscored=row["unscored"],
            )
            for row, name in kept
        ],
        ids=[score_id(run.run_id, row["example_id"], row["trial"], name) for row, name in kept],
        author=f"run/{run.run_id}",
        now_ns=services.clock(),
    )
    services.control.end_run(tenant, run.run_id, ends, reason=None, summary={})
    return run.run_id


def _trials(run: RunScores) -> list[TrialRecord]:
    found: dict[tuple[str, int], TrialRecord] = {}
    for row in run.rows.iter_rows(named=True):
        key = row["example_id"], row["trial"]
        one = found.get(key) or TrialRecord(
            run_id=run.run_id,
            example_id=key[0],
            trial=key[1],
            position=len(found),
            session_id=f"{run.run_id}.{key[0]}.{key[1]}",
            stratum=row["stratum"],
            status=TrialStatus.DONE,
            output="said",
        )
        if row["metric"] in ("latency_ms", "cost_usd") and row["value"] is not None:
            one = replace(one, **{row["metric"]: row["value"]})
        found[key] = one
    return list(found.values())
