"""From verdicts to the rows of their scores in the lake, each once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from core.clock import Clock
from core.records import EvaluatorKind, TargetKind
from judges.choosing import id_of, score_id
from judges.records import JudgeSpec, Missing, Rubric
from judges.service_targets import Shown
from store.control.judge_records import JobRecord, TargetRecord, VerdictRecord
from store.engine import slot, table_of
from store.scores import NewScore, append_of_read
from store.tenant import TenantStore

MOST_EXPLANATION: Final = 4_000
AUTHOR: Final = "judge/"  # and the job's id


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A target with its verdict. Neither `shown` nor `record` is there where the target is gone."""

    target: TargetRecord
    shown: Shown | None = None
    record: VerdictRecord | None = None

    @classmethod
    def of(cls, target: TargetRecord, shown: Shown | None, record: VerdictRecord | None) -> Self | None:
        """The target as judged; None while there is something to judge and no verdict."""
        if shown is not None and record is None:
            return None
        return cls(target=target, shown=shown, record=None if shown is None else record)

    @property
    def missing(self) -> Missing | None:
        """Why there is no verdict."""
        if self.record is None:
            return Missing.NO_CONTENT
        return None if self.record.missing is None else Missing(self.record.missing)


class Scores:
    """Writes the scores of one tenant's judges."""

    def __init__(self, store: TenantStore, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def write(self, job: JobRecord, spec: JudgeSpec, rubric: Rubric, judged: Sequence[Judged]) -> int:
        """Appends what is not there yet, durable on return; how many. The same verdict of the same state of a target is
        one score, unless the target is now known to have been chosen with a larger probability. One that is gone gets
        none: a row would name what an erasure took."""
        known = self._known(job, [one.target for one in judged])
        rows: dict[str, NewScore] = {}
        for one in judged:
            if one.shown is None:
                continue
            content = one.shown.content.hash
            told = known.get((one.target.target, _name(one.target)), {})
            if told.get(content[:24], -1.0) >= one.target.probability:
                continue
            name = score_id(job.tenant, spec.name, spec.version, one.target, content, one.target.probability)
            rows[name] = _row(job, spec, rubric, one)
        if rows:
            author = AUTHOR + job.job_id
            # An example of a run may never have been in the lake.
            read = {one.about for one in rows.values() if one.target is not TargetKind.EXAMPLE}
            return append_of_read(self._store, rows, read, author=author, now_ns=self._clock())
        return 0

    def _known(self, job: JobRecord, targets: Sequence[TargetRecord]) -> dict[tuple[str, str], dict[str, float]]:
        """By target, the states that are scored, each with the largest probability."""
        wanted = pa.table({"session_id": pa.array([one.session_id for one in targets], pa.string())})
        traces = pa.table({"trace_id": pa.array([one.trace_id for one in targets], pa.string())})
        values = {"evaluator": job.judge, "version": job.version}
        found: dict[tuple[str, str], dict[str, float]] = {}
        for part, given in ((_of_sessions(), {"wanted": wanted}), (_of_traces(), {"wanted": traces})):
            for row in self._store.frame(part, values=values, given=given).iter_rows(named=True):
                said: Mapping[str, Any] = json.loads(row["metadata"] or "{}")
                states = found.setdefault((row["target"], _named(row, said)), {})
                content = str(said.get("content", ""))
                states[content] = max(states.get(content, 0.0), float(said.get("probability") or 0.0))
        return found


def _row(job: JobRecord, spec: JudgeSpec, rubric: Rubric, one: Judged) -> NewScore:
    target, record, missing = one.target, one.record, one.missing
    labels = record.labels if record is not None else ()
    explanation = (record.explanation if record is not None else "")[:MOST_EXPLANATION] or None
    about: dict[str, Any] = {
        "rubric": rubric.name,
        "rubric_version": rubric.version,
        "rubric_digest": rubric.digest,
        "models": [each.text for each in spec.models],
        "probability": target.probability,
        "job_id": job.job_id,
        **(one.shown.about if one.shown is not None else {"app": job.app}),
        **{name: getattr(target, name) for name in ("run_id", "example_id", "trial")},
    }
    if one.shown is not None:
        about |= {"content": one.shown.content.hash[:24], "n_cut": one.shown.content.n_cut or None}
        about |= {"injection_suspected": one.shown.content.injection_suspected}
    if record is not None:
        about |= {"verdict": record.key, "confidence": record.confidence, "repaired": record.repaired or None}
    return NewScore(
        evaluator=spec.name,
        evaluator_version=spec.version,
        evaluator_kind=EvaluatorKind.JUDGE,
        target=TargetKind(target.target),
        session_id=None if target.session_id == target.trace_id else target.session_id,
        trace_id=target.trace_id,
        value=rubric.value_of_all(labels) if missing is None else None,
        label=",".join(sorted(labels)) if missing is None else None,
        unscored=None if missing is None else missing.value,
        explanation=explanation,
        metadata={name: value for name, value in about.items() if value is not None},
    )


def _name(target: TargetRecord) -> str:
    return id_of(target)


def _named(row: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    """What `id_of` says of the target of a stored row."""
    match row["target"]:
        case "turn":
            return str(row["trace_id"])
        case "example":
            return json.dumps([said.get("run_id"), said.get("example_id"), said.get("trial")])
        case _:
            return str(row["session_id"])


def _said(column: str) -> ir.Table:
    scores = table_of("scores")
    rows = scores.filter(
        scores.evaluator == slot("evaluator", "string"),
        scores.evaluator_version == slot("version", "string"),
        scores.evaluator_kind == EvaluatorKind.JUDGE.value,
    )
    rows = rows.semi_join(ibis.table({column: "string"}, name="wanted"), column)
    return rows.select("tenant", "target", "trace_id", "session_id", "metadata")


@lru_cache(maxsize=1)
def _of_sessions() -> ir.Table:
    return _said("session_id")


@lru_cache(maxsize=1)
def _of_traces() -> ir.Table:
    return _said("trace_id")
