"""The gateway's calls summed up from their spans, on every engine."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.windows import Window
from store.gateway_calls import CallsAsked, bucket_for, gateway_summary
from tests.store.build import T0, fill, row, trace
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def call(number: int, *, at_s: float = 0, ms: float = 100, **given: Any) -> dict[str, Any]:
    """A gateway's span; `said` are attributes without their prefix."""
    said = {"call_id": f"c{number}", "upstream": "east", "cache": "miss", "n_attempts": "1", "virtual_model": "fast"}
    said |= {"overhead_ms": "0.5", "policy_ms.masking": "0.25", **given.pop("said", {})}
    attributes = {f"assay.gateway.{name}": value for name, value in said.items() if value is not None}
    usage = {"input_tokens": 100, "output_tokens": 10, "cost_usd": Decimal("0.001"), "usage_counted": True}
    common = {"kind": "LLM", "scope_name": "assay.gateway", "name": "chat sim-1", "app": "desk", **usage}
    return row(
        **{
            **common,
            "trace_id": number,
            "span_id": number * 10,
            "at_s": at_s,
            "ms": ms,
            **given,
            "attributes": attributes,
        }
    )


def attempt(number: int, upstream: str, **given: Any) -> dict[str, Any]:
    """The span of one request of a call with several."""
    common = {"parent": number * 10, "app": "desk", "scope_name": "assay.gateway", "name": f"attempt {upstream}"}
    span_id = number * 10 + 1 + "east west".index(upstream) + given.get("status_code", 0)
    attributes = {"assay.gateway.upstream": upstream}
    return row(trace_id=number, span_id=span_id, **{**common, **given, "attributes": attributes})


FREE: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0, "cost_usd": Decimal(0)}
NONE: dict[str, Any] = {"input_tokens": None, "output_tokens": None, "cost_usd": None}


def summed(folder: Path, rows: list[dict[str, Any]], **asked: Any) -> dict[str, Any]:
    lake, store = store_at(folder)
    fill(lake, rows, batches=2)
    return gateway_summary(store.tenant("acme"), CallsAsked(window=WINDOW, **asked))


def test_no_calls_are_zero_and_unknown(tmp_path: Path) -> None:
    told = summed(tmp_path, [row(kind="LLM", name="chat")])  # of an agent, not of the gateway
    assert (told["n_calls"], told["outcomes"]) == (0, {"ok": 0, "error": 0, "refused": 0, "aborted": 0})
    assert (told["cost_usd"], told["latency_ms"], told["overhead_ms"]) == (None, None, None)
    assert told["cache"] == {"n_looked_up": 0, "n_exact": 0, "n_semantic": 0, "hit_rate": None, "saved_usd": None}
    assert [told[name] for name in ("series", "policies", "upstreams", "masked", "refused")] == [[]] * 5


def test_outcomes_over_time_cost_and_other_tenants(tmp_path: Path) -> None:
    rows = [
        call(1),
        call(2, at_s=60, status_code=2),
        call(3, at_s=3600, **NONE, said={"refused": "budget", "upstream": None, "n_attempts": "0"}, status_code=2),
        call(4, at_s=3600, said={"aborted": "true"}, status_code=2),
        call(5, at_s=3600, **FREE, said={"cache": "exact", "upstream": None, "n_attempts": "0"}),
        call(6, tenant="other"),
        call(7, app="else"),
    ]
    told = summed(tmp_path, rows, app="desk")
    assert (told["n_calls"], told["outcomes"]) == (5, {"ok": 2, "error": 1, "refused": 1, "aborted": 1})
    assert (told["cost_usd"], told["input_tokens"]) == (pytest.approx(0.003), 300)
    assert [(one["ok"], one["error"], one["refused"], one["n_cache_hits"]) for one in told["series"]] == [
        (1, 1, 0, 0),
        (1, 0, 1, 1),
    ]
    assert told["series"][0]["bucket_at"].startswith("2026-09-21T14:00")


def test_the_cache_hit_rate_counts_calls_that_looked_and_what_they_saved(tmp_path: Path) -> None:
    from_cache = {"upstream": None, "n_attempts": "0"}
    rows = [
        call(1),
        call(2, cost_usd=Decimal("0.003")),
        call(3, said={"cache": "bypass"}),
        call(4, said={"cache": "off"}),
    ]
    rows += [call(n, **FREE, said={"cache": "exact", **from_cache}) for n in (5, 6)]
    rows += [call(7, **FREE, said={"cache": "semantic", **from_cache})]
    rows += [call(8, **FREE, said={"cache": "exact", "virtual_model": "never answered", **from_cache})]
    cache = summed(tmp_path, rows)["cache"]
    assert (cache["n_looked_up"], cache["n_exact"], cache["n_semantic"]) == (6, 3, 1)
    assert cache["hit_rate"] == pytest.approx(4 / 6)
    assert cache["saved_usd"] == pytest.approx(3 * 0.006 / 4)


def test_latency_overhead_and_each_policy(tmp_path: Path) -> None:
    rows = [
        call(n, ms=n, said={"overhead_ms": str(n / 100), "policy_ms.limits": "0.0", "policy_ms.masking": "1e-05"})
        for n in range(1, 101)
    ]
    rows.append(
        call(200, ms=50, said={"overhead_ms": "nonsense", "policy_ms.masking": None, "policy_ms.limits": "nan"})
    )
    told = summed(tmp_path, rows)
    assert told["latency_ms"]["p50_ms"] == pytest.approx(50, rel=0.03)
    assert told["latency_ms"]["p95_ms"] == pytest.approx(95, rel=0.03)
    assert told["overhead_ms"]["n"] == 100
    assert told["overhead_ms"]["mean_ms"] == pytest.approx(0.505)
    assert told["overhead_ms"]["p99_ms"] == pytest.approx(0.99, rel=0.03)
    masking, limits = told["policies"]  # the slowest first
    assert (limits["policy"], limits["n"], limits["mean_ms"], limits["p95_ms"]) == ("limits", 100, 0, 0)
    assert masking["mean_ms"] == pytest.approx(1e-5)


def test_upstreams_count_every_attempt_and_say_why_calls_moved_on(tmp_path: Path) -> None:
    moved = {"upstream": "west", "fallback_reason": "status_503", "n_attempts": "2"}
    attempts = [attempt(3, "east", status_code=2), attempt(3, "west")]
    told = summed(tmp_path, [call(1), call(2, status_code=2), call(3, said=moved), *attempts])
    east, west = told["upstreams"]
    assert (east["upstream"], east["n_requests"], east["n_errors"]) == ("east", 3, 2)
    assert east["error_rate"] == pytest.approx(2 / 3)
    assert (west["n_requests"], west["n_errors"], west["cost_usd"]) == (1, 0, pytest.approx(0.001))
    assert (west["fallbacks"], east["fallbacks"]) == ([{"reason": "status_503", "n": 1}], [])
    assert told["n_calls"] == 3


def test_a_call_that_stayed_at_its_upstream_moved_nowhere(tmp_path: Path) -> None:
    rows = [
        call(1, status_code=2, said={"fallback_reason": "http_404"}),  # one target
        call(2, said={"fallback_reason": "status_503", "n_attempts": "2"}),  # again at the same, or another model there
        *(attempt(2, "east", status_code=2), attempt(2, "east")),
        call(3, said={"fallback_reason": "timeout", "n_attempts": "2"}, status_code=2),  # both failed
        *(attempt(3, "west", status_code=2), attempt(3, "east", status_code=2)),
        call(4, said={"fallback_reason": "breaker_open"}),  # the first was not asked
        call(5, status_code=2, said={"fallback_reason": "breaker_open"}),
    ]
    told = {one["upstream"]: one["fallbacks"] for one in summed(tmp_path, rows)["upstreams"]}
    assert told == {"east": [{"reason": "breaker_open", "n": 2}, {"reason": "timeout", "n": 1}], "west": []}


def test_masked_values_by_kind_and_refusals_with_examples(tmp_path: Path) -> None:
    rows = [
        call(1, said={"masked.email": "2", "masked.card": "1"}),
        call(2, said={"masked.email": "3"}),
    ]
    for n, code in enumerate(("budget", "content", "budget"), 3):
        rows.append(call(n, at_s=n, **NONE, said={"refused": code}, status_code=2, status_message=f"no: {code}"))
    told = summed(tmp_path, rows)
    assert told["masked"] == [{"entity": "email", "n": 5}, {"entity": "card", "n": 1}]
    assert [(one["code"], one["n"]) for one in told["refused"]] == [("budget", 2), ("content", 1)]
    latest, first = told["refused"][0]["examples"]
    assert (latest["trace_id"], latest["why"], latest["model"]) == (trace(5), "no: budget", "fast")
    assert first["started_at"] == "2026-09-21T14:13:23.000000Z"


def test_absurd_figures_of_one_call_leave_the_others_readable(tmp_path: Path) -> None:
    absurd = {"masked.email": str(2**63 - 1), "masked.card": "-7", "policy_ms.masking": "1e308", "n_attempts": "many"}
    most: dict[str, Any] = {"input_tokens": 2**63 - 1, "output_tokens": 2**63 - 1}
    told = summed(tmp_path, [*(call(n, **most, said=absurd) for n in range(1, 4)), call(4, said={"masked.card": "1"})])
    assert (told["n_calls"], told["output_tokens"]) == (4, 3 * 10**12 + 10)
    assert told["masked"] == [{"entity": "email", "n": 3 * 10**12}, {"entity": "card", "n": 1}]
    assert told["policies"][0]["n"] == 1


def test_a_refusal_names_its_rule_or_budget(tmp_path: Path) -> None:
    refused: dict[str, Any] = {**NONE, "status_code": 2}
    spent = "the budget desk-day of the app 'desk' has spent 0.60 of 0.50 USD this day (UTC)"
    flags = '["content:seen","price_unknown","content:no-weapons"]'
    rows = [
        call(1, **refused, said={"refused": "budget"}, status_message=spent),
        call(2, **refused, said={"refused": "content", "flags": flags}, status_message="Not here."),
        call(3, **refused, said={"refused": "content"}, status_message="the budget desk-day has spent"),
        call(4, **refused, said={"refused": "limit_requests", "flags": flags}, status_message=spent),
    ]
    told = {one["trace_id"]: one["rule"] for each in summed(tmp_path, rows)["refused"] for one in each["examples"]}
    assert told == {trace(1): "desk-day", trace(2): "no-weapons", trace(3): None, trace(4): None}


@pytest.mark.parametrize(("hours", "bucket_s"), [(1, 60), (24, 900), (24 * 7, 21_600), (24 * 900, 86_400)])
def test_the_chart_has_few_cells(hours: int, bucket_s: int) -> None:
    assert bucket_for(Window(start_ns=T0, end_ns=T0 + hours * 3600 * 10**9)) == bucket_s
