"""Merges partial rows the slow and obvious way, or through the engine, so that tests can compare batches."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from store import sketch, traces
from store.engine import table_of
from store.schema import TURNS
from tests.store.build import derived
from tests.store.places import engine_at


def merged_turns(batches: list[pa.Table]) -> list[dict[str, Any]]:
    """The turns that a reader sees after these batches, ordered by trace."""
    rows = pa.concat_tables([TURNS.empty_table(), *[derived(batch)["turns"] for batch in batches]])
    found = (
        engine_at(Path("/nonexistent"))
        .run(traces.merged(table_of("turns")), sources={}, values={}, given={"turns": rows})
        .to_pylist()
    )
    for turn in found:
        turn["models"] = sorted(set(filter(None, (turn["models"] or "").split(","))))
        for bound in ("first_ns", "last_ns", "reach_ns"):  # of partials: they tell where to read, not what is
            del turn[bound]
    return sorted(found, key=lambda turn: str(turn["trace_id"]))


def merged_rollups(batches: list[pa.Table]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Cells added up in plain Python."""
    keys = ("date", "minute_ns", "level", "app", "release", "variant", "model")
    cells: dict[tuple[Any, ...], dict[str, Any]] = {}
    for batch in batches:
        for partial in derived(batch)["rollups"].to_pylist():
            cell = cells.setdefault(tuple(partial[key] for key in keys), {"latency": {}, "ttft": {}})
            for name in ("n", "n_errors", "input_tokens", "output_tokens", "cost_usd"):
                cell[name] = _added(cell.get(name), partial[name])
            for name in ("latency", "ttft"):
                cell[name] = sketch.merge([cell[name], dict(partial[f"{name}_sketch"])])
    return cells


def _added(left: int | Decimal | None, right: int | Decimal | None) -> int | Decimal | None:
    return right if left is None else left if right is None else left + right
