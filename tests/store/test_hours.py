"""Packed rollups: whatever is packed when, minutes and hours say what the spans say, and queries answer the same."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from core.windows import Window
from store import hours
from store.compaction import pack, upkeep
from store.lake import Lake
from store.rollups import RollupsAsked, rollups
from store.schema import ROLLUPS
from store.tenant import TenantStore
from tests.store.build import T0, agent_trace, derived, fill, row, spans_table
from tests.store.merging import merged_rollups
from tests.store.places import store_at


def some_spans(seed: int, n: int = 120) -> list[dict[str, Any]]:
    """Spans over five hours of two apps; some fail, some are roots, some have usage, and one knows no app."""
    rng = np.random.default_rng(seed)
    given: dict[str, Any] = {
        "kind": "LLM",
        "usage_counted": True,
        "input_tokens": 7,
        "cost_usd": Decimal("0.000000001"),
    }
    return [
        row(
            trace_id=seed * 1000 + n,
            span_id=seed * 1000 + n,
            parent=1 if n % 3 else None,
            at_s=float(rng.uniform(0, 5 * 3600)),
            ms=float(rng.lognormal(4, 1)),
            app=None if n == 0 else ("airline", "retail")[n % 2],
            status_code=int(rng.integers(0, 3)),
            ttft_ms=float(rng.lognormal(3, 1)) if n % 5 else None,
            **(given if n % 2 else {}),
        )
        for n in range(n)
    ]


def counted(rows: pa.Table, kept: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The packed rows that count every span once, by cell, as tests.store.merging has them; each cell is one row."""
    cells: dict[tuple[Any, ...], dict[str, Any]] = {}
    for told in rows.to_pylist():
        if told["level"].endswith(kept):
            key = (told["date"], told["minute_ns"], told["level"].removesuffix(kept))
            key += tuple(told[name] for name in ("app", "release", "variant", "model"))
            assert key not in cells
            cells[key] = {name: told[name] for name in ("n", "n_errors", "input_tokens", "output_tokens", "cost_usd")}
            cells[key] |= {name: dict(told[f"{name}_sketch"]) for name in ("latency", "ttft")}
    return cells


def by_hours(batches: list[pa.Table]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What the batches say of each hour, from spans that all start with it."""
    moved = []
    for batch in batches:
        place = batch.schema.get_field_index("start_ns")
        start = batch.column("start_ns").to_numpy() // hours.NS_PER_HOUR * hours.NS_PER_HOUR
        moved.append(batch.set_column(place, batch.schema.field(place), pa.array(start)))
    return merged_rollups(moved)


@pytest.mark.parametrize("order", [(5,), (1, 1, 1, 1, 1), (2, 3), (3, 1, 1)])
def test_minutes_and_hours_count_every_span_once_whatever_is_packed_when(order: tuple[int, ...]) -> None:
    batches = [spans_table(some_spans(seed)) for seed in range(1, 6)]
    found, left = ROLLUPS.empty_table(), iter(batches)
    for n in order:
        found = hours.packed(pa.concat_tables([found, *[derived(next(left))["rollups"] for _ in range(n)]]))
    assert found.schema == ROLLUPS
    assert counted(found, hours.OF_MINUTES) == merged_rollups(batches)
    assert counted(found, hours.OF_HOURS) == by_hours(batches)
    ends = Counter(level[-3:] for level in found.column("level").to_pylist())
    assert set(ends) == {hours.OF_MINUTES, hours.OF_HOURS}
    is_minute = [level.endswith(hours.OF_MINUTES) for level in found.column("level").to_pylist()]
    assert is_minute == sorted(is_minute), "the hours come first"


def test_a_sum_that_its_column_cannot_hold_leaves_the_rows_of_its_hour_as_they_are() -> None:
    dear = derived(spans_table([row(kind="LLM", usage_counted=True, cost_usd=Decimal(10**6))]))["rollups"]
    cheap = derived(spans_table([row(kind="LLM", usage_counted=True, cost_usd=Decimal(1), at_s=7200)]))["rollups"]
    found = hours.packed(pa.concat_tables([*[dear] * 1001, cheap]))
    levels = Counter(found.column("level").to_pylist())
    assert levels == {"LLM": 1001, "turn": 1001, "LLM/1m": 1, "LLM/1h": 1, "turn/1m": 1, "turn/1h": 1}


def test_rows_without_a_usable_day_are_packed_as_they_are(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for n in range(1, 4):
        rows = derived(spans_table([row(span_id=n, start_ns=-(2**63), date="1970-01-01")]))["rollups"]
        lake.append("rollups", rows)
    (file,) = pack(lake, "rollups", list(lake.snapshot("rollups").files))
    assert lake.read(file).column("level").to_pylist() == ["SPAN", "turn"] * 3


def everything_asked(tenant: TenantStore) -> list[pl.DataFrame]:
    """Minutes, hours and the whole, in windows that begin and end on the hour, between, and within one hour."""
    edges = [(-800, 6 * 3600 - 800), (434, 4 * 3600 + 61), (4000, 5000)]
    return [
        rollups(tenant, RollupsAsked(window=window, bucket=bucket, level=level, group_by=groups, equal=equal))
        for window in [Window(start_ns=T0 + start * 10**9, end_ns=T0 + end * 10**9) for start, end in edges]
        for bucket in ("5m", "1h", "6h", "all")
        for level, groups, equal in (("turn", ("app",), ()), ("LLM", (), (("app", "retail"),)))
    ]


@pytest.mark.usefixtures("each_engine")
def test_answers_are_the_same_before_and_after_packing_and_with_more_to_come(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    tenant = store.tenant("acme")
    fill(lake, some_spans(1) + some_spans(2), batches=9)
    before = everything_asked(tenant)
    assert any(frame.height for frame in before)
    upkeep(lake)
    assert all(frame.equals(was) for frame, was in zip(everything_asked(tenant), before, strict=True))
    fill(lake, some_spans(3), batches=2)
    more = everything_asked(tenant)
    assert not more[0].equals(before[0])
    pack(lake, "rollups", list(lake.snapshot("rollups").files))
    assert all(frame.equals(was) for frame, was in zip(everything_asked(tenant), more, strict=True))


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize("start", [-(2**63), 2**63 - 10])
def test_a_window_at_the_end_of_time_can_be_asked(tmp_path: Path, start: int) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(1))
    window = Window(start_ns=start, end_ns=min(start + 2**62, 2**63 - 1))
    assert rollups(store.tenant("acme"), RollupsAsked(window=window, bucket="all")).height == 0
