"""Stored sessions as trials, and what judges said of trials, on DuckDB and on ClickHouse."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.ids import TenantId
from evaluators.datasets.records import Example, Source
from evaluators.runs.judged import judged_in
from evaluators.runs.stored import cost_of, every_session, matched
from store.control.run_records import RunRecord, RunSource, RunSpec, RunStatus, TrialRecord
from store.tenant import TenantStore
from tests.store import busy
from tests.store.build import T0, fill, row
from tests.store.busy import score
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.parametrize("each_engine", ["duckdb", "clickhouse"], indirect=True)
NAMES: dict[str, dict[str, str]] = {
    "a1": {"assay.example_id": "ex-ä"},
    "a2": {"assay.task_id": "7"},
    "a3": {"assay.example_id": "unknown", "assay.task_id": "7"},
    "b'1": {},
    "c1": {"assay.task_id": ""},
    "ü" * 201: {},
}


def session(n: int, name: str, attributes: dict[str, str], **more: Any) -> list[dict[str, Any]]:
    """A turn of two spans of which the second names its example; every two sessions begin at one moment."""
    same: dict[str, Any] = {"session_id": name, "app": "shöp", "release": "r1", "trace_id": n, "at_s": n // 2} | more
    usage = {"usage_counted": True, "input_tokens": n, "output_tokens": 1, "cost_usd": Decimal(n) / 1000}
    return [
        row(**same, span_id=n * 10, kind="AGENT", user_id=f"u{n}"),
        row(**same, **usage, span_id=n * 10 + 1, parent=n * 10, kind="LLM", attributes=attributes),
    ]


def filled(folder: Path) -> TenantStore:
    lake, whole = store_at(folder)
    rows = [one for n, (name, told) in enumerate(NAMES.items(), 1) for one in session(n, name, told)]
    rows += session(20, "of r2", {"assay.example_id": "ex-ä"}, release="r2")
    rows += session(21, "of another", {"assay.example_id": "ex-ä"}, app="desk")
    rows += session(22, "a1", {"assay.example_id": "ex-ä"}, tenant="globex")
    fill(lake, rows, batches=3)
    return whole.tenant("acme")


EXAMPLES = [
    Example(example_id="ex-ä", turns=("?",)),
    Example(example_id="e7", turns=("?",), metadata={"task_id": 7}),
    Example(example_id="from", turns=("?",), source=Source(session_id="b'1", user_id="u")),
    Example(example_id="none", turns=("?",)),
]


def test_stored_sessions_are_the_trials_of_the_examples_that_they_name(tmp_path: Path, each_engine: str) -> None:
    store = filled(tmp_path)
    found = matched(store, "run_1", EXAMPLES, "shöp", "r1", None, WINDOW)
    told = [(one.example_id, one.trial, one.session_id, one.status.value) for one in found]
    assert told == [
        ("ex-ä", 0, "a1", "waiting"), ("e7", 0, "a2", "waiting"), ("e7", 1, "a3", "waiting"),
        ("from", 0, "b'1", "waiting"), ("none", 0, "run_1.none.4", "failed"),
    ]  # fmt: skip
    assert matched(store, "run_1", EXAMPLES, "shöp", "r2", 1, WINDOW)[0].session_id == "of r2"
    with pytest.raises(InvalidInput, match="no stored session"):
        matched(store, "run_1", EXAMPLES, "shöp", "r3", None, WINDOW)


def test_every_session_of_a_release_is_an_example_in_order_of_time(tmp_path: Path, each_engine: str) -> None:
    store = filled(tmp_path)
    found = every_session(store, "run_1", "shöp", "r1", WINDOW)
    assert [(one.session_id, one.user_id) for one in found] == [
        ("a1", "u1"), ("a2", "u2"), ("a3", "u3"), ("b'1", "u4"), ("c1", "u5"),
    ]  # fmt: skip
    cost = cost_of(store, "shöp", "r1", WINDOW)
    assert (cost.n_sessions, cost.tokens_mean) == (6, 4.5)
    assert cost.usd_mean == pytest.approx(0.0035)


def verdict(at_s: float, of: str, judge: str, version: str, value: float | None, **about: Any) -> dict[str, Any]:
    at_ns = T0 + int(at_s * NS_PER_S)
    made = score(judge, "judge", of, value, at_ns, target="example", evaluator_version=version)
    metadata = json.dumps({"run_id": "run_1", **about}, ensure_ascii=False)
    return made | {"score_id": f"judge_{of} {judge} {version} {at_s} {value}", "metadata": metadata}


def test_verdicts_of_a_run_are_the_newest_of_its_trials_and_of_one_version(tmp_path: Path, each_engine: str) -> None:
    _, whole = store_at(tmp_path)
    store = whole.tenant("acme")
    first, second = "run_1.ä.0", "run_1.ä.1"
    rows = [
        verdict(1, first, "höflich", "1", 0.0),
        verdict(2, first, "höflich", "2", 1.0),
        verdict(2, second, "höflich", "2", None) | {"unscored": "timeout"},
        verdict(3, second, "höflich", "1", 1.0) | {"score_id": "posted by somebody"},
        verdict(4, first, "höflich", "2", 0.0, run_id="run_2"),
        verdict(4, first, "höflich", "2", 0.0, against="run_0"),
        verdict(4, "run_9.ä.0", "höflich", "2", 0.0),
        verdict(4, second, "höflich", "2", 0.0) | {"target": "session"},
        verdict(4, second, "höflich", "2", 0.0) | {"evaluator_kind": "human"},
        verdict(1, first, "knapp", "1", 0.25),
        verdict(1, first, "knapp", "1", 0.5),
    ]
    busy.append(store, rows)
    busy.append(whole.tenant("globex"), [one | {"tenant": "globex", "at_ns": one["at_ns"] + 9} for one in rows])
    spec = RunSpec(
        app="shöp", release="r1", dataset="d", dataset_version=1, content_hash="h", evaluators=(), k=2,
        source=RunSource.RELEASE,
    )  # fmt: skip
    run = RunRecord(
        tenant=TenantId("acme"), run_id="run_1", spec=spec, status=RunStatus.DONE, n_trials=2, created_at_ns=T0,
        created_by="ann",
    )  # fmt: skip
    trials = [
        TrialRecord(run_id="run_1", example_id="ä", trial=n, position=n, session_id=name)
        for n, name in enumerate((first, second))
    ]
    found, versions = judged_in(store, run, trials)
    assert versions == {"höflich": "2", "knapp": "1"}
    assert found.rows() == [
        ("ä", 0, "höflich", 1.0, None), ("ä", 1, "höflich", None, "timeout"), ("ä", 0, "knapp", 0.5, None),
    ]  # fmt: skip
    assert judged_in(store, run, [])[0].is_empty()
