"""Verdicts and labels in the real lake and control database, made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from core.clock import Clock, system_clock
from core.ids import tenant_id
from core.records import EvaluatorKind, Principal, Role, TargetKind
from judges.records import JudgeSpec, ModelRef, Rubric, ScaleKind
from judges.stored import rubric_record, spec_json
from store.control.control import Control
from store.engine import DuckDBEngine
from store.lake import Lake
from store.scores import NewScore, append_scores
from store.tenant import Store
from tests.first_start import begun

ACME: Final = tenant_id("acme")
ANN: Final = Principal(tenant=ACME, role=Role.POWER_USER, name="ann")
RUBRIC: Final = Rubric(
    name="helped",
    version=3,
    kind=ScaleKind.PASS_FAIL,
    labels=("fail", "pass"),
    passing=frozenset({"pass"}),
    text="Did the agent help?",
    anchors={"pass": "it did", "fail": "it did not"},
)


def judge_of(rubric: Rubric = RUBRIC, *, name: str = "helpfulness", **other: Any) -> JudgeSpec:
    """A judge of a rubric."""
    given: dict[str, Any] = {"models": (ModelRef(provider="simulated", model="sim-judge"),), **other}
    return JudgeSpec(name=name, rubric=rubric.name, rubric_version=rubric.version, rubric_digest=rubric.digest, **given)


def keep_judge(control: Control, rubric: Rubric, spec: JudgeSpec, *, by: Principal = ANN) -> None:
    """Keeps rubric and judge."""
    control.add_rubric(rubric_record(by.tenant, rubric), by=by)
    control.put_judge(by.tenant, spec.name, spec.version, spec_json(spec), by=by)


class Kept:
    """A lake and a control database with one tenant."""

    def __init__(self, folder: Path, clock: Clock = system_clock) -> None:
        self.lake = Lake(begun(folder) / "lake")
        self.store = Store(self.lake, DuckDBEngine(self.lake.root), clock)
        self.control = Control.open(f"sqlite:///{folder / 'control.db'}", pepper=bytes(32), clock=clock)
        self.control.ensure_tenant(ACME)
        self.tenant = self.store.tenant(ACME)
        self.clock = clock

    def judged(
        self,
        spec: JudgeSpec,
        verdicts: Iterable[tuple[str, str | None]],
        *,
        rubric: Rubric = RUBRIC,
        at_ns: int | None = None,
        **metadata: Any,
    ) -> None:
        """(session, label) of each; a label None is a missing verdict."""
        rows = list(verdicts)
        scores = [
            NewScore(
                evaluator=spec.name,
                evaluator_version=spec.version,
                evaluator_kind=EvaluatorKind.JUDGE,
                target=TargetKind.SESSION,
                session_id=session,
                value=None if label is None else rubric.value_of(label),
                label=label,
                unscored="no_verdict_in_reply" if label is None else None,
                explanation=f"the judge on {session}",
                at_ns=at_ns,
                metadata={"app": "desk", "release": "v1", "probability": 0.5, **metadata},
            )
            for session, label in rows
        ]
        self._append(scores, f"judge_{spec.version}_{at_ns}")

    def labelled(
        self,
        labels: Sequence[tuple[str, str | None]],
        *,
        rubric: Rubric = RUBRIC,
        kind: EvaluatorKind = EvaluatorKind.HUMAN,
        value: float | None = None,
        version: str | None = None,
        at_ns: int | None = None,
        **metadata: Any,
    ) -> None:
        """(session, label) of each; a label None leaves the value alone."""
        scores = [
            NewScore(
                evaluator=rubric.name,
                evaluator_version=version or str(rubric.version),
                evaluator_kind=kind,
                target=TargetKind.SESSION,
                session_id=session,
                value=value if label is None else rubric.value_of(label),
                label=label,
                explanation=f"people on {session}",
                at_ns=at_ns,
                metadata={"queue": "helped", "probability": 0.25, "n_annotators": 2, **metadata},
            )
            for session, label in labels
        ]
        self._append(scores, f"label_{kind.value}_{at_ns}_{version}")

    def _append(self, scores: Sequence[NewScore], mark: str) -> None:
        ids = [f"{mark}_{one.session_id}" for one in scores]
        append_scores(self.tenant, scores, ids=ids, author="test", now_ns=self.clock())
