"""The derivations in plain Python, row by row, from what store/derive.py and docs/lake.md say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import numpy as np

from core.records import MODEL_KINDS
from store import derive, sketch

Row = dict[str, Any]
DIMS = ("session_id", "user_id", "app", "release", "variant", "environment")
USAGE = ("input_tokens", "output_tokens", "cost_usd")


def turns(spans: list[Row]) -> list[Row]:
    """Partial turns as a list of dicts."""
    found = []
    for (tenant, date, trace_id), rows in _grouped(spans, lambda s: (s["tenant"], s["date"], s["trace_id"])):
        roots = [s for s in rows if s["parent_span_id"] is None]
        others = [s for s in rows if s["parent_span_id"] is not None]
        parts = [(rows, roots[0] if roots else None)]
        if len(roots) > 1 or (roots and not _agrees(_sums(rows), roots[0])):
            parts = [([root], root) for root in roots] + ([(others, None)] if others else [])
        place = {"tenant": tenant, "date": date, "trace_id": trace_id}
        found += [place | _turn(part) | _of_root(root) for part, root in parts]
    return found


def sessions(spans: list[Row]) -> list[Row]:
    """Partial sessions as a list of dicts."""
    named = [s for s in spans if s["session_id"] is not None]
    found = []
    for (tenant, date, _), rows in _grouped(named, lambda s: (s["tenant"], s["date"], s["session_id"])):
        n_turns = sum(s["parent_span_id"] is None for s in rows)
        found.append({"tenant": tenant, "date": date, "n_turns": n_turns} | _sums(rows))
    return found


def rollups(spans: list[Row]) -> list[Row]:
    """Partial cells as a list of dicts."""
    cells: list[tuple[tuple[Any, ...], bool, Row]] = []
    for s in spans:
        minute = s["start_ns"] // derive.NS_PER_MINUTE * derive.NS_PER_MINUTE
        where, whose = (s["tenant"], s["date"], minute), (s["app"], s["release"], s["variant"])
        is_repeated = s["kind"] in {str(kind) for kind in MODEL_KINDS} and not _calls_model(s)
        cells.append(((*where, s["kind"], *whose, _model(s)), not is_repeated, s))
        is_root = s["parent_span_id"] is None
        if is_root or any(_used(s, name) is not None for name in USAGE):
            cells.append(((*where, "turn", *whose, None), is_root, s))
    found = []
    names = ("tenant", "date", "minute_ns", "level", "app", "release", "variant", "model")
    for key, rows in _grouped(cells, lambda cell: cell[0]):
        counted = [s for _, counts, s in rows if counts]
        duration = [None if s["duration_ns"] is None else s["duration_ns"] / 1e6 for s in counted]
        found.append(
            dict(zip(names, key, strict=True))
            | {name: _total(s for _, _, s in rows)[name] for name in USAGE}
            | {"seq": max(s["seq"] for _, _, s in rows), "n": len(counted), "n_errors": _n_errors(counted)}
            | {"latency_sketch": _sketch(duration), "ttft_sketch": _sketch([s["ttft_ms"] for s in counted])}
        )
    return found


def _grouped(rows: Iterable[Any], key: Callable[[Any], tuple[Any, ...]]) -> Iterable[tuple[tuple[Any, ...], list[Any]]]:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups.items()


def _turn(rows: list[Row]) -> Row:
    calls = [s for s in rows if _calls_model(s)]
    return _sums(rows) | {
        "n_model_calls": len(calls),
        "n_tool_calls": sum(s["kind"] == "TOOL" for s in rows),
        "models": ",".join(sorted({_model(s) for s in calls} - {None})),
    }


def _sums(rows: list[Row]) -> Row:
    low, high = derive.USABLE_START_NS
    timed = [s for s in rows if low <= s["start_ns"] < high] or rows
    return _total(rows) | {
        **{name: min((s[name] for s in rows if s[name] is not None), default=None) for name in DIMS},
        "seq": max(s["seq"] for s in rows),
        "start_ns": min(s["start_ns"] for s in timed),
        "end_ns": max(s["start_ns"] + (s["duration_ns"] or 0) for s in timed),
        "n_spans": len(rows),
        "n_errors": _n_errors(rows),
    }


def _total(rows: Iterable[Row]) -> Row:
    rows = list(rows)
    known = {name: [_used(s, name) for s in rows if _used(s, name) is not None] for name in USAGE}
    return {name: sum(values) if values else None for name, values in known.items()}


def _used(span: Row, name: str) -> int | Decimal | None:
    value: int | Decimal | None = span[name]
    most = derive.MOST_USD if name == "cost_usd" else derive.MOST_TOKENS
    return value if span["usage_counted"] and value is not None and 0 <= value <= most else None


def _agrees(whole: Row, root: Row) -> bool:
    return all(whole[name] == root[name] for name in (*DIMS, "start_ns"))


def _of_root(root: Row | None) -> Row:
    if root is None:
        return dict.fromkeys(("root_span_id", "name", "root_status", "root_duration_ns", "input", "output"))
    return {
        "root_span_id": root["span_id"],
        "name": root["name"],
        "root_status": root["status_code"] or 0,
        "root_duration_ns": root["duration_ns"],
        **{name: None if root[name] is None else root[name][: derive.PREVIEW_CHARS] for name in ("input", "output")},
    }


def _calls_model(span: Row) -> bool:
    return bool(span["kind"] in {str(kind) for kind in MODEL_KINDS} and span["usage_counted"])


def _model(span: Row) -> Any:
    return span["model_request"] if span["model_response"] is None else span["model_response"]


def _n_errors(rows: list[Row]) -> int:
    return sum(s["status_code"] == 2 for s in rows)


def _sketch(values: list[float | None]) -> list[tuple[int, int]]:
    counts = Counter(int(i) for i in sketch.bucket_indexes(np.array([np.nan if v is None else v for v in values])))
    return sorted((bucket, n) for bucket, n in counts.items() if bucket != sketch.NO_BUCKET)
