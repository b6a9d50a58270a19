"""Samples of scores: the same targets for every evaluator, on either engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.records import EvaluatorKind, TargetKind
from core.windows import FIRST_NS, LAST_NS, Window
from store.score_samples import sampled, score_names
from store.scores import NewScore, append_scores
from tests.engines import CHOSEN
from tests.store.build import T0, agent_trace, fill, trace
from tests.store.places import store_at

ALWAYS = Window(start_ns=FIRST_NS, end_ns=LAST_NS)


@pytest.mark.parametrize("engine", ["duckdb", "clickhouse"])
def test_two_evaluators_are_read_on_the_same_part_of_the_targets(tmp_path: Path, engine: str) -> None:
    if engine == "clickhouse":
        pytest.importorskip("chdb", reason="ClickHouse's engine for tests comes with chdb (make setup)")
    token = CHOSEN.set(engine)
    try:
        lake, store = store_at(tmp_path)
        fill(lake, [one for n in range(40) for one in agent_trace(n + 1)])
        tenant = store.tenant("acme")
        for name in ("a", "b"):
            scores = [
                NewScore(
                    evaluator=name, evaluator_kind=EvaluatorKind.RULE, target=TargetKind.TURN, trace_id=trace(n + 1),
                    value=float(n),
                )
                for n in range(40)
            ]  # fmt: skip
            append_scores(tenant, scores, ids=[f"{name}{n}" for n in range(40)], author="t", now_ns=T0)
        every = score_names(tenant, ALWAYS)
        assert [tuple(row) for row in every.select("evaluator", "n").rows()] == [("a", 40), ("b", 40)]
        parts = [
            sampled(tenant, name, EvaluatorKind.RULE, TargetKind.TURN, ALWAYS, one_in=4).rows for name in ("a", "b")
        ]
        assert parts[0]["target"].to_list() == parts[1]["target"].to_list()
        assert 1 <= parts[0].height <= 25
        assert set(parts[0]["app"]) == {"airline"}
        whole = sampled(tenant, "a", EvaluatorKind.RULE, TargetKind.TURN, ALWAYS)
        assert whole.rows.height == 40
    finally:
        CHOSEN.reset(token)
