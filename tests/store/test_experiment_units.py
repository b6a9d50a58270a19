"""Sessions as experiments see them, on each engine."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.clock import NS_PER_S
from core.records import EvaluatorKind, TargetKind
from core.windows import Window, day_of
from store.experiment_scores import Fold, Scored, Told, evaluators_seen
from store.experiment_units import FactsAsked, session_facts
from store.schema import SCORES
from store.scores import NewScore, append_scores
from store.tenant import TenantStore
from tests.store.build import T0, fill, row, trace
from tests.store.places import store_at

both_engines = pytest.mark.parametrize("each_engine", ["duckdb", "clickhouse"], indirect=True)
WINDOW = Window(start_ns=T0, end_ns=T0 + 3600 * NS_PER_S)


def turn(number: int, session: str, *, at_s: float = 0, status: int = 1, **given: Any) -> list[dict[str, Any]]:
    """A turn: the gateway's root of 1 s, the agent's span below it, a model call of 0.002 USD and 110 tokens."""
    same = {"trace_id": number, "app": "shop", "session_id": session, "release": "v1", "variant": "control", **given}
    attributes = same.pop("attributes", {})
    first = number * 10
    usage = {"usage_counted": True, "input_tokens": 100, "output_tokens": 10, "cost_usd": Decimal("0.002")}
    door = {"scope_name": "assay.gateway", "name": "session shop", "attributes": same.pop("door", {})}
    return [
        row(**same, **door, span_id=first, at_s=at_s, ms=1000, status_code=status),
        row(**same, span_id=first + 1, parent=first, at_s=at_s + 0.1, ms=800, kind="AGENT", attributes=attributes),
        row(**same, **usage, span_id=first + 2, parent=first + 1, at_s=at_s + 0.2, ms=300, kind="LLM", name="chat"),
    ]


def tell(store: TenantStore, evaluator: str, kind: EvaluatorKind, *said: tuple[str, float | None, float]) -> None:
    """Scores of sessions, or of turns where the target is a trace id: (target, value, seconds after T0)."""
    scores = [
        NewScore(
            evaluator=evaluator,
            evaluator_kind=kind,
            target=TargetKind.TURN if len(target) == 32 else TargetKind.SESSION,
            session_id=None if len(target) == 32 else target,
            trace_id=target if len(target) == 32 else None,
            value=value,
            unscored="not_recorded" if value is None else None,
            at_ns=T0 + int(at_s * NS_PER_S),
        )
        for target, value, at_s in said
    ]
    ids = [f"{evaluator}-{kind.value}-{index}-{at_s}" for index, (_, _, at_s) in enumerate(said)]
    append_scores(store, scores, ids=ids, author="t", now_ns=T0)


def not_a_number(store: TenantStore, evaluator: str, session: str, *, at_s: float) -> None:
    """An outcome that is NaN: the doors refuse it, a lake of an earlier version may hold it."""
    said = {"evaluator": evaluator, "evaluator_kind": "outcome", "target": "session", "session_id": session}
    at_ns = T0 + int(at_s * NS_PER_S)
    known = {
        **said,
        "tenant": "acme",
        "date": day_of(T0),
        "seq": 0,
        "score_id": f"nan-{session}",
        "value": float("nan"),
    }
    store.append("scores", pa.Table.from_pylist([{**known, "at_ns": at_ns}], schema=SCORES))


@both_engines
def test_facts_are_what_the_turns_and_the_newest_scores_say(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    rows = [
        *turn(1, "a", user_id="u1", attributes={"topic": "refunds"}),
        *turn(2, "a", at_s=60, user_id="u1", status=2, attributes={"topic": "later"}),
        *turn(3, "b", at_s=30, user_id="u2", release="v2", variant="treatment", attributes={"assay.topic": "returns"}),
        *turn(4, "other", app="desk"),
        *turn(5, "before", at_s=-60),
        *turn(6, "before", at_s=60),
    ]
    fill(lake, rows, batches=3)
    store = whole.tenant("acme")
    tell(store, "task_success", EvaluatorKind.OUTCOME, ("a", 0.0, 100), ("a", 1.0, 200), ("b", 1.0, 90))
    not_a_number(store, "task_success", "b", at_s=95)
    tell(store, "tone", EvaluatorKind.RULE, (trace(1), 0.5, 1), (trace(2), 1.0, 70), (trace(3), None, 70))
    tell(store, "pii_leak", EvaluatorKind.RULE, ("a", 1.0, 100), ("b", 0.0, 100))
    asked = FactsAsked(
        app="shop",
        window=WINDOW,
        figures=(
            Scored(name="resolution", told=(_told("task_success", EvaluatorKind.OUTCOME),)),
            Scored(name="tone", told=(_told("tone", target=TargetKind.TURN),)),
            Scored(name="safety", told=(_told("pii_leak", lower_is_better=True),), fold=Fold.SAFE),
            Scored(name="nobody", told=()),
        ),
        attributes=("topic", "hour", "weekday"),
        latencies=True,
    )
    found = session_facts(store, asked)
    a, b = found.to_dicts()
    assert (a["session_id"], a["user_id"], a["release"], a["variant"]) == ("a", "u1", "v1", "control")
    assert (a["n_turns"], a["n_errors"], a["n_timed"], a["latency_ms"], a["tokens"]) == (2, 1, 2, 2000.0, 220)
    assert a["cost_usd"] == pytest.approx(0.004)
    assert (*figures(a, "resolution", "tone"), a["value:safety"]) == (1.0, 1.0, 0.75, 2.0, 0.0)
    assert (a["level:topic"], a["level:hour"], a["level:weekday"]) == (
        "refunds",
        "14",
        "0",
    )  # 2026-09-21T14:13:20Z, a Monday
    assert a["latencies_ms"] == [1000.0, 1000.0]
    assert a["told_ns"] == T0 + 200 * NS_PER_S
    assert (b["release"], b["variant"], b["level:topic"]) == ("v2", "treatment", "returns")
    assert figures(b, "resolution", "tone", "safety", "nobody") == [None, 0.0, None, 0.0, 1.0, 1.0, None, 0.0]
    seen = evaluators_seen(store, ["tone", "pii_leak", "none"], WINDOW)
    assert seen.rows() == [("tone", "rule", "turn", 3), ("pii_leak", "rule", "session", 2)]


@both_engines
def test_trials_and_sessions_with_a_chosen_release_are_no_traffic(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    rows = [
        *turn(1, "plain"),
        *turn(2, "run_9.q1.0"),
        *turn(3, "run_8.dotted", door={"http.request.method": "POST"}),
        *turn(4, "picked"),
        *turn(5, "picked", at_s=60, door={"assay.gateway.chosen": "true"}),
    ]
    fill(lake, rows)
    found = session_facts(whole.tenant("acme"), FactsAsked(app="shop", window=WINDOW, runs=("run_9", "plai")))
    assert found["session_id"].to_list() == ["plain", "run_8.dotted"]


def test_a_turn_for_which_the_gateway_found_no_release_is_no_error_of_a_release(tmp_path: Path) -> None:
    lake, whole = store_at(tmp_path)
    fill(lake, [*turn(1, "a", status=2, release=None, variant=None), *turn(2, "a", at_s=5)])
    (found,) = session_facts(whole.tenant("acme"), FactsAsked(app="shop", window=WINDOW)).to_dicts()
    assert (found["n_turns"], found["n_errors"], found["release"], found["variant"]) == (2, 0, "v1", "control")


@both_engines
def test_attributes_in_columns_and_labels_of_scores_are_strata_too(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    rows = [*turn(1, "a"), *turn(2, "b", at_s=5)]
    for one in rows[1:3]:
        one |= {"moved_attributes": "gen_ai.agent.name=agent_name", "agent_name": "billing", "attributes": []}
    fill(lake, rows)
    store = whole.tenant("acme")
    said = {"evaluator_kind": EvaluatorKind.RULE, "target": TargetKind.SESSION, "session_id": "b", "evaluator": "topic"}
    scores = [NewScore(**said, label=label, at_ns=T0 + n) for n, label in enumerate(("refunds", "returns"))]  # type: ignore[arg-type]
    append_scores(store, scores, ids=["x", "y"], author="t", now_ns=T0)
    asked = FactsAsked(
        app="shop",
        window=WINDOW,
        attributes=("gen_ai.agent.name", "score:tone", "score:topic"),
        labels=(Scored(name="score:topic", told=(_told("topic"),)),),
    )
    found = session_facts(store, asked)
    assert found["level:gen_ai.agent.name"].to_list() == ["billing", None]
    assert found["level:score:topic"].to_list() == [None, "returns"]
    assert found["level:score:tone"].to_list() == [None, None]


@both_engines
def test_without_sessions_there_is_no_row(tmp_path: Path, each_engine: str) -> None:
    _, whole = store_at(tmp_path)
    asked = FactsAsked(app="shop", window=WINDOW, attributes=("topic", "environment"), runs=("r",))
    assert session_facts(whole.tenant("acme"), asked).is_empty()


def figures(found: dict[str, Any], *names: str) -> list[float | None]:
    """Value and number of observations of each."""
    return [found[f"{what}:{name}"] for name in names for what in ("value", "n")]


def _told(
    evaluator: str,
    kind: EvaluatorKind = EvaluatorKind.RULE,
    target: TargetKind = TargetKind.SESSION,
    lower_is_better: bool = False,
) -> Told:
    return Told(evaluator=evaluator, kind=kind, target=target, lower_is_better=lower_is_better)
