"""Rows of the control database for tests that need one of a kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from core.ids import TenantId
from core.records import Principal, Role, TargetKind
from store.control.control import Control
from store.control.gates import GateRecord
from store.control.judge_records import (
    CalibrationState,
    JobRecord,
    JudgeCalibration,
    JudgeSchedule,
    RubricRecord,
    TargetRecord,
    VerdictRecord,
)
from store.control.label_records import AnnotationRecord, QueueRecord, TaskRecord
from store.control.labelling import TaskChange
from store.control.records import PlanSpec, ReleaseSpec
from store.control.rollout_records import CheckRecord, Happened, RolloutMove, RolloutRecord, RolloutStatus

JUDGE_VERSION: Final = "0123456789ab"


def decided(tenant: TenantId, gate_id: str = "gate_1", *, app: str = "desk", at_ns: int = 10**18) -> GateRecord:
    """A decision of a gate."""
    return GateRecord(
        tenant=tenant,
        gate_id=gate_id,
        app=app,
        candidate="v2",
        baseline="v1",
        dataset="golden",
        policy_name=None,
        decision="pass",
        told={"decision": "pass", "reasons": [{"text": "\u00e9 \u0000"}]},
        digest="ab" * 32,
        made_by="ann",
        made_at_ns=at_ns,
    )


def rubric_of(tenant: TenantId, *, version: int = 1, text: str = "Did it help? \u00e9") -> RubricRecord:
    """A version of a rubric."""
    return RubricRecord(
        tenant=tenant, name="helpful", version=version, digest=(text.encode().hex() * 64)[:64], body={"text": text}
    )


def job_of(tenant: TenantId, job_id: str = "judging_1", *, judge: str = "kind") -> JobRecord:
    """A job that was not begun."""
    return JobRecord(
        tenant=tenant,
        job_id=job_id,
        judge=judge,
        version=JUDGE_VERSION,
        spec={"name": judge},
        rubric={"name": "helpful"},
        app="desk",
        params={"share": 0.5},
        budget_usd=5.000000001,
    )


def targets_of(n: int, first: int = 0) -> list[TargetRecord]:
    """Sessions to be judged."""
    return [TargetRecord(target="session", session_id=f"s{k}", probability=0.5) for k in range(first, first + n)]


def verdict_of(tenant: TenantId, n: int = 0, *, job_id: str = "judging_1", missing: str | None = None) -> VerdictRecord:
    """A verdict that was paid for."""
    return VerdictRecord(
        tenant=tenant,
        key=f"{n:064x}",
        job_id=job_id,
        judge="kind",
        version=JUDGE_VERSION,
        rubric_digest="a" * 64,
        target_hash="b" * 64,
        session_id=f"s{n}",
        labels=() if missing else ("pass",),
        missing=missing,
        confidence=0.75,
        explanation="it \u00e9",
        raw='{"label": "pass"} \x00',
        input_tokens=100,
        output_tokens=7,
        n_calls=1,
        cost_usd=0.000000003,
        at_ns=5,
        replies=({"model": "sim", "labels": ["pass"]},),
        calls=({"started_ns": 4},),
    )


def calibration_of(tenant: TenantId, *, at_ns: int = 7, version: str = JUDGE_VERSION) -> JudgeCalibration:
    """A calibration."""
    return JudgeCalibration(
        tenant=tenant,
        judge="kind",
        version=version,
        at_ns=at_ns,
        state=CalibrationState.CERTIFIED,
        report={"kappa": 0.8, "why": "\u00e9"},
        kappa_low=0.71,
        kappa_high=None,
        bar=0.7,
        n=120,
    )


def judged(control: Control, tenant: TenantId) -> None:
    """A row or more in every table of judges."""
    by = Principal(tenant=tenant, role=Role.ADMIN, name="ann")
    control.add_rubric(rubric_of(tenant), by=by)
    control.put_judge(tenant, "kind", JUDGE_VERSION, {"name": "kind"}, by=by)
    control.start_job(job_of(tenant), targets_of(3), by=by)
    control.put_verdicts(tenant, "judging_1", [verdict_of(tenant)])
    control.set_judge_schedule(
        JudgeSchedule(tenant=tenant, judge="kind", app="desk", share=0.2, budget_usd=5.0, marks={7: 5}), by=by
    )
    control.put_calibration(calibration_of(tenant))


def queue_of(tenant: TenantId, name: str = "triage", *, n_annotators: int = 2) -> QueueRecord:
    """A label queue without tasks."""
    return QueueRecord(
        tenant=tenant,
        name=name,
        app="desk",
        rubric="kind",
        rubric_version=1,
        rubric_digest="cd" * 32,
        rubric_body={"file": "Did it help? \u00e9"},
        n_annotators=n_annotators,
        judge="kind",
    )


def task_of(n: int, queue: str = "triage", **given: Any) -> TaskRecord:
    """A task over a session."""
    made: dict[str, Any] = {
        "queue": queue,
        "task_id": f"task_{n}",
        "position": n,
        "item": f"s{n}",
        "target": TargetKind.SESSION,
        "session_id": f"s{n}",
        "stratum": "pass / high",
        "probability": 0.1 + 1e-17 * n,
    }
    return TaskRecord(**{**made, **given})


def labelled(control: Control, tenant: TenantId) -> None:
    """A queue with a task of each kind, one of them answered."""
    ann = Principal(tenant=tenant, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
    control.create_label_queue(queue_of(tenant), by=ann)
    new = [task_of(1), task_of(2, has_text=True, target=TargetKind.EXAMPLE, user_id="u2")]
    texts = {"task_2": {"answer": "h\u00e9 \u0000"}}
    control.add_label_tasks(tenant, "triage", lambda *_: (new, []), texts=texts, draw={"draw": 1}, by=ann)
    said = AnnotationRecord(
        queue="triage", task_id="task_1", annotator="ann", labels=("pass",), note="why", made_at_ns=5, duration_ms=7
    )
    change = TaskChange(task=replace(task_of(1), answered={"ann": True}), said=said, action="labels.annotate")
    control.change_label_task(tenant, "triage", "task_1", lambda *_: change, by=ann)


DEFINITION: Final[dict[str, Any]] = {
    "unit": "user",
    "assigned_by": "gateway",
    "arms": [
        {"variant": "control", "release": "v1", "weight": 1.0},
        {"variant": "treatment", "release": "v2", "weight": 1.0},
    ],
    "alpha": 0.05,
    "hypothesis": "it helps \u00e9",
}


def experimented(control: Control, tenant: TenantId) -> None:
    """A row in every table of experiments: one is running."""
    by = Principal(tenant=tenant, role=Role.ADMIN, name="ann")
    control.add_experiment(tenant, "refund-prompt", "desk", DEFINITION, by=by)
    control.start_experiment(tenant, "refund-prompt", 0.5, lambda one, running, releases: None, by=by)
    control.set_overrides(tenant, "refund-prompt", {"user": "treatment"}, by=by)


def rolled_out(control: Control, tenant: TenantId) -> None:
    """A row in every table of rollouts: one is at its first step."""
    by = Principal(tenant=tenant, role=Role.ADMIN, name="ann")
    for name in ("v1", "v2"):
        control.register_release(tenant, ReleaseSpec(app="shop", name=name), by=by)
    record = RolloutRecord(
        tenant=tenant,
        rollout_id="ro_1",
        app="shop",
        baseline="v1",
        candidate="v2",
        status=RolloutStatus.WAITING,
        policy={"alpha": 0.05, "bypass": None},
        policy_hash="ab" * 32,
        state={"step": -1},
    )
    plan = PlanSpec(app="shop", baseline="v1", weights={"v1": 0.9, "v2": 0.1})
    move = RolloutMove(
        before=control.start_rollout(record, plan, "v2 over v1 \u00e9", by=by),
        status=RolloutStatus.RUNNING,
        state={"step": 0},
        block={"of": {"cost": [1, 0, 0, 9, 0.5, 0]}},
        events=[Happened(kind="step", text="step 1", certified=True)],
        certificate={"digest": "cd" * 32},
    )
    made = control.move_rollout(move)
    control.note_told(made, "webhook", 1)
    control.report_check(tenant, CheckRecord(app="shop", release="v2", name="licence", passed=True), by=by)
