"""Rollups by buckets and groups: worked numbers, quantiles, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidInput
from core.windows import Window
from store.rollups import RollupsAsked, rollups
from tests.store.build import T0, agent_trace, fill, row
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def test_minutes_of_several_commits_add_up_in_their_hour(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [one for n in range(1, 13) for one in agent_trace(n, at_s=n * 600)], batches=6)
    found = rollups(store.tenant("acme"), RollupsAsked(window=WINDOW, bucket="1h"))
    # T0 is 14:13:20; the twelve turns start at 14:23:20 ... 16:13:20, every ten minutes.
    assert found["bucket_at"].to_list() == [f"2026-09-21T{h}:00:00.000000Z" for h in (14, 15, 16)]
    assert found["n"].to_list() == [4, 6, 2]
    assert found["cost_usd"].to_list() == pytest.approx([0.008, 0.012, 0.004])


def test_the_whole_window_is_one_bucket(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [one for n in range(1, 13) for one in agent_trace(n, at_s=n * 600)], batches=6)
    found = rollups(store.tenant("acme"), RollupsAsked(window=WINDOW, bucket="all"))
    assert (found["n"].to_list(), found["bucket_ns"].to_list()) == ([12], [WINDOW.start_ns])
    assert found["cost_usd"][0] == pytest.approx(0.024)
    assert found["latency_ms"][0]["p50"] is not None


def test_groups_and_filters(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(1, variant="a") + agent_trace(2, variant="b") + agent_trace(3, variant="b", app="retail"))
    tenant = store.tenant("acme")
    by_variant = rollups(tenant, RollupsAsked(window=WINDOW, bucket="1d", group_by=("variant",)))
    assert dict(zip(by_variant["variant"], by_variant["n"], strict=True)) == {"a": 1, "b": 2}
    retail = rollups(tenant, RollupsAsked(window=WINDOW, bucket="1d", level="LLM", equal=(("app", "retail"),)))
    assert (retail["n"][0], retail["input_tokens"][0]) == (2, 200)


def test_quantiles_are_within_a_percent(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    ms = np.random.default_rng(7).lognormal(5, 1, 400)
    fill(lake, [row(trace_id=n, span_id=n, ms=float(value)) for n, value in enumerate(ms, 1)], batches=4)
    found = rollups(store.tenant("acme"), RollupsAsked(window=WINDOW, bucket="1d"))["latency_ms"][0]
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        assert found[name] == pytest.approx(float(np.quantile(ms, q, method="lower")), rel=0.0101)


def test_nothing_measured_is_null_not_zero(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(duration_ns=None)])
    (found,) = rollups(store.tenant("acme"), RollupsAsked(window=WINDOW, bucket="1d")).to_dicts()
    assert (found["n"], found["latency_ms"], found["ttft_ms"], found["cost_usd"]) == (1, None, None, None)


def test_error_rate_counts_roots(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(trace_id=n, span_id=n, status_code=2 if n == 1 else 1) for n in range(1, 5)])
    assert rollups(store.tenant("acme"), RollupsAsked(window=WINDOW, bucket="1d"))["error_rate"][0] == 0.25


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"bucket": "2h"}, "bucket"),
        ({"level": "LLM/1m"}, "level"),
        ({"group_by": ("tenant",)}, "group_by"),
        ({"equal": (("user_id", "x"),)}, "user_id"),
        ({"bucket": "1m", "window": Window(start_ns=0, end_ns=T0)}, "bucket"),
    ],
)
def test_what_cannot_be_asked_names_its_field(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RollupsAsked(**{"window": WINDOW, **wrong})  # type: ignore[arg-type]
    assert refused.value.field == field
