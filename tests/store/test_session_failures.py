"""Whether a session failed is read when it is asked: an outcome that came after a session was placed counts at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.clock import NS_PER_S
from core.records import EvaluatorKind, TargetKind
from evaluators import outcomes
from store.cluster_counts import cluster_counts, placed_sessions
from store.memberships import daily_counts, members, newest_memberships, surest_members, write_memberships
from store.scores import NewScore, append_scores
from store.session_failures import OUTCOME, ToldBy, with_failures
from store.tenant import TenantStore
from tests.store.build import T0
from tests.store.places import WINDOW, store_at
from tests.store.test_memberships import rows

DAY_S = 86_400


def said(store: TenantStore, session_id: str, value: float | None, at_s: float = 60, **more: Any) -> None:
    """An outcome of a session, at_s after T0."""
    told: dict[str, Any] = {
        "evaluator": "resolved", "evaluator_kind": EvaluatorKind.OUTCOME, "target": TargetKind.SESSION,
        "session_id": session_id, "value": value, "at_ns": T0 + int(at_s * NS_PER_S),
    }  # fmt: skip
    if value is None:
        told["label"] = "seen"
    score = NewScore(**(told | more))
    name = f"{session_id} {at_s} {sorted(more.items())} {value}"
    append_scores(store, [score], ids=[name], author="test", now_ns=T0 + int(at_s * NS_PER_S) + 1)


def failed_of(frame: pl.DataFrame) -> dict[str, bool | None]:
    return dict(frame.sort("session_id").select("session_id", "failed").iter_rows())


@pytest.fixture
def store(tmp_path: Path, each_engine: Any) -> TenantStore:
    """Five sessions of a cluster, placed before anything was known but of d, and one of another tenant."""
    _, whole = store_at(tmp_path)
    mine = whole.tenant("acme")
    placed = [{"session_id": name, "cluster_id": "C-1", "x": 1.0, "y": 1.0} for name in "abcde"]
    placed[3]["failed"] = True  # the root of a turn failed
    write_memberships(mine, rows(*placed), now_ns=T0 + 1)
    said(whole.tenant("globex"), "b", 0.0)
    return mine


def test_an_outcome_that_comes_days_later_counts_at_once_everywhere(store: TenantStore) -> None:
    assert failed_of(newest_memberships(store, "shop", WINDOW)) == dict.fromkeys("abce") | {"d": True}
    said(store, "a", 0.0, at_s=30 * DAY_S)
    said(store, "c", 1.0, at_s=30 * DAY_S)
    told = {"a": True, "b": None, "c": False, "d": True, "e": None}
    assert failed_of(newest_memberships(store, "shop", WINDOW)) == told
    assert failed_of(newest_memberships(store, "shop", WINDOW, run_id="r1")) == told
    assert failed_of(members(store, "C-1", 9)) == told
    assert failed_of(surest_members(store, "C-1", 9, WINDOW)) == told
    assert failed_of(placed_sessions(store, "shop", WINDOW, 9)) == told
    assert failed_of(placed_sessions(store, "shop", WINDOW, 9, "r1")) == told
    assert cluster_counts(store, "shop", WINDOW).select("n", "n_failed", "n_known").rows() == [(5, 2, 3)]
    assert daily_counts(store, "shop", WINDOW).select("n", "n_failed", "n_known").rows() == [(5, 2, 3)]


def test_who_asks_for_sizes_alone_reads_what_was_noted(store: TenantStore) -> None:
    said(store, "a", 0.0)
    noted = dict.fromkeys("abce") | {"d": True}
    assert failed_of(newest_memberships(store, "shop", WINDOW, told_by=None)) == noted
    assert failed_of(members(store, "C-1", 9, told_by=None)) == noted
    assert cluster_counts(store, "shop", WINDOW, told_by=None).select("n", "n_known").rows() == [(5, 1)]


def test_the_newest_outcome_holds_and_goes_before_events(store: TenantStore) -> None:
    said(store, "a", 0.0, at_s=10)
    said(store, "a", 1.0, at_s=20)
    said(store, "b", 1.0, at_s=10)
    said(store, "b", 0.0, at_s=20, evaluator="checked", evaluator_kind=EvaluatorKind.EVENT)
    said(store, "c", 0.0, at_s=20, evaluator="checked", evaluator_kind=EvaluatorKind.EVENT)
    said(store, "d", 1.0, at_s=10)  # what a trace says of its end goes before what its root looked like
    said(store, "e", 0.0, at_s=10)
    said(store, "e", None, at_s=20)  # the newest tells nothing: it is not known
    for kind in (EvaluatorKind.RULE, EvaluatorKind.JUDGE):
        said(store, "a", 0.0, at_s=30, evaluator="other", evaluator_kind=kind)
    assert failed_of(newest_memberships(store, "shop", WINDOW)) == {
        "a": False, "b": False, "c": True, "d": False, "e": None,
    }  # fmt: skip


def test_it_says_what_a_run_would_note(store: TenantStore) -> None:
    for place, name in enumerate("abcde"):
        for step in range(4):
            kind = EvaluatorKind.OUTCOME if (place + step) % 3 else EvaluatorKind.EVENT
            value = None if (place * step) % 5 == 3 else float((place + step) % 2)
            said(store, name, value, at_s=step + place, evaluator=f"{kind.value} {step}", evaluator_kind=kind)
    noted = outcomes.latest(store, list("abcde"), None)
    expected = {row["session_id"]: row["outcome"] for row in noted.iter_rows(named=True)}
    blank = newest_memberships(store, "shop", WINDOW, told_by=None).with_columns(failed=pl.lit(None, pl.Boolean))
    found = failed_of(with_failures(store, blank, OUTCOME))
    assert found == {name: None if value is None else value < 0.5 for name, value in expected.items()}


def test_an_evaluator_that_is_named_tells_instead(store: TenantStore) -> None:
    said(store, "a", 1.0)
    said(store, "a", 0.0, at_s=70, evaluator="polite", evaluator_kind=EvaluatorKind.JUDGE)
    said(store, "b", 0.9, at_s=70, evaluator="polite", evaluator_kind=EvaluatorKind.JUDGE)
    polite = ToldBy(evaluator="polite")
    told = {"a": True, "b": False, "c": None, "d": True, "e": None}
    assert failed_of(newest_memberships(store, "shop", WINDOW, told_by=polite)) == told
    assert failed_of(members(store, "C-1", 9, told_by=polite)) == told
    assert failed_of(placed_sessions(store, "shop", WINDOW, 9, told_by=polite)) == told
    assert cluster_counts(store, "shop", WINDOW, told_by=polite).select("n_failed", "n_known").rows() == [(2, 3)]
    assert daily_counts(store, "shop", WINDOW, told_by=polite).select("n_failed", "n_known").rows() == [(2, 3)]


def test_the_surest_come_first_and_no_more_than_asked(store: TenantStore) -> None:
    chosen = [
        {"session_id": "b", "cluster_id": "C-1", "exemplar": 1, "confidence": 0.2},
        {"session_id": "c", "cluster_id": "C-1", "exemplar": 0, "confidence": 0.1},
        {"session_id": "d", "cluster_id": "C-2", "exemplar": 0},
        {"session_id": "e", "cluster_id": "C-1", "confidence": 0.9},
    ]
    write_memberships(store, rows(*chosen), now_ns=T0 + 2)
    assert surest_members(store, "C-1", 3, WINDOW)["session_id"].to_list() == ["c", "b", "a"]
    assert surest_members(store, "C-1", 9, WINDOW)["session_id"].to_list() == ["c", "b", "a", "e"]
