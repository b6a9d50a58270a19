"""What traffic says of releases: turns, models, scores of spans and of sessions, on every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from store import schema
from store.lake import Lake
from store.releases import release_traffic
from tests.store.build import T0, agent_trace, fill, trace
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def scored(lake: Lake, **given: Any) -> None:
    """One score of a trace or a session."""
    row = {"tenant": "acme", "date": "2026-09-21", "seq": 1, "at_ns": T0, "evaluator": "judge", "evaluator_kind": "llm"}
    lake.append("scores", pa.Table.from_pylist([{**row, **given}], schema=schema.SCORES))


def test_traffic_and_scores_of_two_releases(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    for n, release in ((1, "r1"), (2, "r1"), (3, "r2")):
        fill(lake, agent_trace(n, at_s=n, release=release, session_id=f"s-{n}", variant=f"v{n}"))
    scored(lake, target="trace", trace_id=trace(1), value=1.0)
    scored(lake, target="trace", trace_id=trace(2), value=0.0, label="bad")
    scored(lake, target="trace", trace_id=trace(2), value=float("nan"), unscored="no answer")
    scored(lake, target="session", session_id="s-3", value=0.5, label="fair")
    scored(lake, target="session", session_id="s-9", value=0.5)  # of no turn of the window
    second, first = release_traffic(store.tenant("acme"), WINDOW)
    assert [(one["release"], one["n_turns"], one["n_sessions"]) for one in (first, second)] == [
        ("r1", 2, 2),
        ("r2", 1, 1),
    ]
    assert (first["variants"], first["models"], first["input_tokens"]) == (["v1", "v2"], ["gpt-4o"], 400)
    assert first["cost_usd"] == pytest.approx(0.004)
    (told,) = first["scores"]
    assert (told["n"], told["mean"], told["n_unscored"], told["labels"]) == (2, 0.5, 1, {"bad": 1})
    assert told["low"] < 0.5 < told["high"]
    (told,) = second["scores"]
    assert (told["n"], told["mean"], told["labels"]) == (1, 0.5, {"fair": 1})
    assert release_traffic(store.tenant("acme"), WINDOW, app="other") == []
    assert release_traffic(store.tenant("shop"), WINDOW) == []
