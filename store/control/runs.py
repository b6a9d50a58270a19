"""Evaluation runs and their trials: rows, and how they change.

Both tables are sealed. A run counts its trials, so that these are read by the index alone; only when there are fewer
than the run says is the whole table gone through: looking at a run costs no scan.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from core.errors import Conflict, NotFound
from core.ids import TenantId
from store.control import seals
from store.control.run_records import RunRecord, RunSource, RunSpec, RunStatus, TrialRecord, TrialStatus
from store.control.tables import EVAL_RUNS, EVAL_TRIALS

NANO: Final = 1_000_000_000
MICRO: Final = 1_000
_CHUNK: Final = 500
_COUNTS: Final = ("n_done", "n_failed", "n_scored", "cost_nano_usd")
_SAME: Final = ("example_id", "trial", "position", "session_id", "stratum", "user_id", "output", "error", "n_calls")
_TIMES: Final = ("input_tokens", "output_tokens", "started_at_ns", "finished_at_ns")


def find(connection: Connection, tenant: TenantId, run_id: str) -> Any:
    """The row of a run. Raises NotFound, also for one of another tenant."""
    row = seals.one(connection, EVAL_RUNS, {"tenant": str(tenant), "run_id": run_id})
    if row is None:
        raise NotFound(f"there is no run {run_id[:60]!r}")
    return row


def need(connection: Connection, tenant: TenantId, run_id: str) -> RunRecord:
    """A run. Raises NotFound."""
    return record(find(connection, tenant, run_id))


def rows(connection: Connection, tenant: TenantId | None) -> list[RunRecord]:
    """The runs of a tenant, or of all, newest first."""
    found = seals.rows(connection, EVAL_RUNS, None if tenant is None else {"tenant": str(tenant)})
    return sorted(map(record, found), key=lambda one: (-one.created_at_ns, one.run_id))


def add(connection: Connection, run: RunRecord, trials: Sequence[TrialRecord]) -> None:
    """Writes a run with all its trials."""
    spec = run.spec
    whole = [seals.sealed(EVAL_TRIALS, _values(run.tenant, one)) for one in trials]
    seals.add(
        connection,
        EVAL_RUNS,
        {
            "tenant": str(run.tenant),
            "run_id": run.run_id,
            **{name: getattr(spec, name) for name in ("app", "release", "dataset", "dataset_version", "content_hash")},
            "evaluators": _text(list(spec.evaluators)),
            "k": spec.k,
            "source": spec.source.value,
            "params": _text(spec.params),
            "status": run.status.value,
            "n_trials": len(trials),
            **{name: sum(_counted(one)[name] for one in whole) for name in _COUNTS},
            "created_at_ns": run.created_at_ns,
            "created_by": run.created_by,
        },
    )
    for start in range(0, len(whole), _CHUNK):
        connection.execute(insert(EVAL_TRIALS), whole[start : start + _CHUNK])


def change(connection: Connection, tenant: TenantId, run_id: str, **changes: object) -> RunRecord:
    """Writes some columns of a run; the run from then on. Raises NotFound."""
    row = find(connection, tenant, run_id)
    seals.change(connection, EVAL_RUNS, row, **changes)
    return need(connection, tenant, run_id)


def trials(connection: Connection, run: RunRecord) -> list[TrialRecord]:
    """The trials of a run in their order. Raises Conflict when rows are missing, Corrupt when one was altered."""
    key = {"tenant": str(run.tenant), "run_id": run.run_id}
    found = seals.by_index(connection, EVAL_TRIALS, key)
    if len(found) < run.n_trials:
        found = seals.rows(connection, EVAL_TRIALS, key)
    if len(found) < run.n_trials:
        raise Conflict(f"of the {run.n_trials} trials of {run.run_id} {run.n_trials - len(found)} are gone")
    return sorted(map(_trial, found), key=lambda one: one.position)


def trial(connection: Connection, tenant: TenantId, run_id: str, example_id: str, number: int) -> TrialRecord:
    """One trial. Raises NotFound."""
    row = _found_trial(connection, tenant, run_id, example_id, number)
    if row is None:
        raise _no_trial(run_id, example_id, number)
    return _trial(row)


def put(
    connection: Connection, tenant: TenantId, changed: Sequence[TrialRecord], stands_for: Callable[[str], str]
) -> RunRecord:
    """Writes trials of one run, and what the run counts of them. One that `forget` changed since it was read is left
    as it is. Raises NotFound."""
    run = find(connection, tenant, changed[0].run_id)
    sums = {name: int(getattr(run, name)) for name in _COUNTS}
    for one in changed:
        key = (connection, tenant, one.run_id)
        before = _found_trial(*key, one.example_id, one.trial)
        if before is None and _found_trial(*key, stands_for(one.example_id), one.trial) is None:
            raise _no_trial(one.run_id, one.example_id, one.trial)
        if before is None or before.session_id != one.session_id:
            continue
        after = _values(tenant, one)
        for name, delta in _counted(after).items():
            sums[name] += delta - _counted(before.__dict__)[name]
        seals.change(connection, EVAL_TRIALS, before, **after)
    return change(connection, tenant, run.run_id, **sums)


def sessions_of(connection: Connection, tenant: TenantId, user_ids: Sequence[str]) -> list[str]:
    """The sessions of trials with these users, each once."""
    found = connection.execute(
        select(EVAL_TRIALS.c.session_id)
        .where(EVAL_TRIALS.c.tenant == str(tenant), EVAL_TRIALS.c.user_id.in_(user_ids))
        .distinct()
    )
    return sorted(row.session_id for row in found)


def forget(
    connection: Connection,
    tenant: TenantId,
    user_ids: Sequence[str],
    sessions: Sequence[str],
    stands_for: Callable[[str], str],
) -> int:
    """Takes out what trials hold of a user: those that name them, and those over their sessions; how many. `stands_for`
    gives what stands for a session's id from then on, and for an example's that was the session itself."""
    n = 0
    for column, wanted in ((EVAL_TRIALS.c.user_id, user_ids), (EVAL_TRIALS.c.session_id, sessions)):
        for start in range(0, len(wanted), _CHUNK):
            found = connection.execute(
                select(EVAL_TRIALS).where(EVAL_TRIALS.c.tenant == str(tenant), column.in_(wanted[start : start + 500]))
            ).all()
            for row in found:
                _forget(connection, row, stands_for)
            n += len(found)
    return n


def _forget(connection: Connection, row: Any, stands_for: Callable[[str], str]) -> None:
    names = {"session_id": stands_for(row.session_id)}
    if row.example_id == row.session_id:
        names["example_id"] = names["session_id"]
    none = dict.fromkeys(("user_id", "output", "error"))
    seals.change(connection, EVAL_TRIALS, row, **none, **names, detail="{}", trace_ids="[]")


def record(row: Any) -> RunRecord:
    """A row as a record."""
    return RunRecord(
        tenant=TenantId(row.tenant),
        run_id=row.run_id,
        spec=RunSpec(
            **{name: getattr(row, name) for name in ("app", "release", "dataset", "dataset_version", "content_hash")},
            evaluators=tuple(json.loads(row.evaluators)),
            k=row.k,
            source=RunSource(row.source),
            params=json.loads(row.params),
        ),
        status=RunStatus(row.status),
        **{name: getattr(row, name) for name in ("n_trials", "n_done", "n_failed", "n_scored")},
        cost_usd=row.cost_nano_usd / NANO,
        **{name: getattr(row, name) for name in ("created_at_ns", "created_by", "started_at_ns", "finished_at_ns")},
        reason=row.reason,
        summary=None if row.summary is None else json.loads(row.summary),
    )


def _found_trial(connection: Connection, tenant: TenantId, run_id: str, example_id: str, number: int) -> Any | None:
    key = {"tenant": str(tenant), "run_id": run_id, "example_id": example_id, "trial": number}
    return seals.one(connection, EVAL_TRIALS, key)


def _no_trial(run_id: str, example_id: str, number: int) -> NotFound:
    return NotFound(f"run {run_id[:60]!r} has no trial {number} of example {example_id[:80]!r}")


def _counted(values: Mapping[str, Any]) -> dict[str, int]:
    return {
        "n_done": int(values["status"] == TrialStatus.DONE),
        "n_failed": int(values["status"] == TrialStatus.FAILED),
        "n_scored": int(values["scored"]),
        "cost_nano_usd": int(values["cost_nano_usd"] or 0),
    }


def _values(tenant: TenantId, one: TrialRecord) -> dict[str, object]:
    return {
        "tenant": str(tenant),
        "run_id": one.run_id,
        **{name: getattr(one, name) for name in (*_SAME, *_TIMES)},
        "status": one.status.value,
        "trace_ids": _text(list(one.trace_ids)),
        "detail": _text(one.detail),
        "cost_nano_usd": None if one.cost_usd is None else round(one.cost_usd * NANO),
        "latency_us": None if one.latency_ms is None else round(one.latency_ms * MICRO),
        "scored": int(one.scored),
    }


def _trial(row: Any) -> TrialRecord:
    return TrialRecord(
        run_id=row.run_id,
        **{name: getattr(row, name) for name in (*_SAME, *_TIMES)},
        status=TrialStatus(row.status),
        trace_ids=tuple(json.loads(row.trace_ids)),
        detail=json.loads(row.detail),
        cost_usd=None if row.cost_nano_usd is None else row.cost_nano_usd / NANO,
        latency_ms=None if row.latency_us is None else row.latency_us / MICRO,
        scored=bool(row.scored),
    )


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
