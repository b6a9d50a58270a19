"""What a judge is to look at and what it said before, on DuckDB and on ClickHouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from core.records import TargetKind
from judges.choosing import id_of
from judges.content import Content, Part
from judges.scores import Judged, Scores
from judges.service_targets import Shown, targets_in
from store.control.control import Control
from store.control.judge_records import JobRecord, TargetRecord, VerdictRecord
from store.scores import ScoresAsked, list_scores
from store.tenant import TenantStore
from tests.judges.stored import ACME, RUBRIC, judge_of
from tests.store import busy
from tests.store.build import T0, trace
from tests.store.busy import APP, WINDOW, visits

pytestmark = pytest.mark.parametrize("each_engine", ["duckdb", "clickhouse"], indirect=True)
MINE = [one for one in visits() if one.app == APP]
SPEC = judge_of()
JOB = JobRecord(tenant=ACME, job_id="j1", judge=SPEC.name, version=SPEC.version, spec={}, rubric={}, app=APP, params={})


def test_sessions_and_turns_of_an_app_are_found_once_each(tmp_path: Path, each_engine: str) -> None:
    store, _ = busy.busy_at(tmp_path / "lake")
    control = Control.open(f"sqlite:///{tmp_path / 'control.db'}", pepper=bytes(32))
    control.ensure_tenant(ACME)
    found = {
        kind: targets_in(control, store, ACME, replace(RUBRIC, target=kind), APP, WINDOW)
        for kind in (TargetKind.SESSION, TargetKind.TURN)
    }
    control.close()
    sessions = [one.session_id for one in found[TargetKind.SESSION]]
    assert sessions == sorted([*[one.name for one in MINE], "twins"])
    turns = {(one.trace_id, one.session_id) for one in found[TargetKind.TURN]}
    expected = {(turn, one.name) for one in MINE for turn in one.traces}
    alone = (trace(999), trace(999))
    assert turns == {*expected, (trace(900), "tied"), (trace(910), "twins"), (trace(911), "twins"), alone}
    assert len(found[TargetKind.TURN]) == len(turns)


def judged(targets: Sequence[TargetRecord], text: str = "ü") -> list[Judged]:
    content = Content(parts=(Part(name="said", text=text),))
    return [
        Judged(
            target=one,
            shown=Shown(content=content, about={"app": APP}),
            record=VerdictRecord(
                tenant=ACME, key=f"k{id_of(one)}", job_id="j1", judge=SPEC.name, version=SPEC.version,
                rubric_digest=RUBRIC.digest, target_hash="h", session_id=one.session_id, labels=("pass",),
            ),
        )
        for one in targets
    ]  # fmt: skip


def test_a_verdict_of_the_same_state_is_written_once(tmp_path: Path, each_engine: str) -> None:
    store, other = busy.busy_at(tmp_path)
    targets = [
        TargetRecord(target="session", session_id="sé 😀'%_3", probability=0.5),
        TargetRecord(target="turn", session_id="s0", trace_id=trace(1), probability=0.5),
        TargetRecord(target="turn", session_id=trace(999), trace_id=trace(999), probability=0.5),
        TargetRecord(target="example", session_id="r.ex.0", probability=1.0, run_id="r", example_id="éx", trial=0),
        TargetRecord(target="example", session_id="r.ex.1", probability=1.0, run_id="r", example_id="éx", trial=1),
    ]

    def write(to: TenantStore, what: Sequence[Judged]) -> int:
        return Scores(to, lambda: T0).write(JOB, SPEC, RUBRIC, what)

    assert write(other, judged(targets)) == len(targets)
    assert write(store, judged(targets[:2])) == 2
    assert write(store, judged(targets)) == 3, "those of the other tenant are not known here"
    assert write(store, judged(targets)) == 0
    assert write(store, judged([replace(targets[0], probability=0.25), replace(targets[1], probability=1.0)])) == 1
    assert write(store, judged(targets[:1], text="went on")) == 1
    found = list_scores(store, ScoresAsked(window=WINDOW, evaluator=SPEC.name))
    assert found.height == 7
    assert found.filter(target="example")["session_id"].sort().to_list() == ["r.ex.0", "r.ex.1"]
