"""Overview: is it being used, does it work, how fast is it, what does it cost; per app and model below."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import address, arrow, charts, frame, lists, palette, states
from dashboard.parts.frame import Window
from dashboard.text import one_line

_BUCKET_NS: Final = {
    "1m": 60 * 10**9,
    "5m": 300 * 10**9,
    "15m": 900 * 10**9,
    "1h": 3600 * 10**9,
    "6h": 21600 * 10**9,
    "1d": 86400 * 10**9,
}
_LENGTHS: Final = {"1m": "minute", "5m": "5 minutes", "15m": "15 minutes", "1h": "hour", "6h": "6 hours", "1d": "day"}
_MODELS_SHOWN: Final = 4


@states.guarded
def show() -> None:
    """The page."""
    window, every_s = frame.head("Overview", "Turns of all agents of this tenant", live_key="overview-live")
    app = _choose_app(window)
    st.fragment(_numbers, run_every=every_s)(window, app)


def _choose_app(window: Window) -> str | None:
    known = address.first("overview", "app")
    counts = lists.read_facets(states.api(), ("app",), window.parameters)["app"]
    options = [*counts, *([known] if known and known not in counts else [])]
    if len(options) < 2 and not known:
        return None
    chosen: str | None = st.selectbox(
        "App",
        options,
        index=options.index(known) if known else None,
        key="overview-app",
        placeholder="All apps",
        label_visibility="collapsed",
        format_func=lambda value: f"{one_line(value, 40)} · {counts.get(value, 0):,}",
        width=260,
        icon=":material/smart_toy:",
    )
    address.keep("overview", "app", chosen)
    return chosen


@states.guarded
def _numbers(window: Window, app: str | None) -> None:
    about: dict[str, str | int] = {
        **window.parameters,
        "bucket": window.bucket,
        **({"app": app} if app else {}),
    }
    turns, models, tools, apps = states.api().together(
        [
            ("/rollups", {**about, "level": "turn"}),
            ("/rollups", {**about, "level": "LLM", "group_by": "model"}),
            ("/rollups", {**about, "level": "TOOL"}),
            ("/apps", window.parameters),
        ]
    )
    if not turns and not models:
        _nothing(window)
        return
    buckets = _buckets([*turns, *models, *tools], window)
    _totals(turns, models)
    _over_time(turns, models, tools, buckets, window)
    left, right = st.columns(2, gap="medium")
    with left:
        _models(models)
    with right:
        _apps(apps)


def _nothing(window: Window) -> None:
    if states.anything_stored():
        states.no_match(
            "turns", f"Nothing arrived {window.words}. Older traces exist: widen the range at the top right."
        )
    else:
        states.first_steps()


def _buckets(rows: Sequence[Row], window: Window) -> list[int]:
    """Every bucket start from the first to the last that has data, so that silence shows as a gap."""
    size = _BUCKET_NS[window.bucket]
    starts = [int(row["bucket_ns"]) for row in rows]
    return list(range(min(starts), max(starts) + 1, size))


def _totals(turns: Sequence[Row], models: Sequence[Row]) -> None:
    n = sum(row["n"] for row in turns)
    errors = sum(row["n_errors"] for row in turns)
    tokens = sum((row.get("input_tokens") or 0) + (row.get("output_tokens") or 0) for row in models)
    cost = sum(row.get("cost_usd") or 0 for row in models)
    last = next(
        (row for row in sorted(turns, key=lambda row: row["bucket_ns"], reverse=True) if row.get("latency_ms")), None
    )
    latency = last["latency_ms"] if last else {}
    frame.numbers(
        (
            ("Turns", human.count(n)),
            ("Failed turns", human.share(errors, n)),
            ("Latest p50 latency", human.duration(latency.get("p50"))),
            ("Latest p95 latency", human.duration(latency.get("p95"))),
            ("Tokens", human.count(tokens)),
            ("Cost", human.usd(cost)),
        ),
        "overview",
    )


def _over_time(
    turns: Sequence[Row], models: Sequence[Row], tools: Sequence[Row], buckets: Sequence[int], window: Window
) -> None:
    times = _times(buckets)
    shade = palette.colours()
    good = _aligned(turns, buckets, lambda row: row["n"] - row["n_errors"], 0)
    bad = _aligned(turns, buckets, lambda row: row["n_errors"], 0)
    first, second = st.columns(2, gap="medium")
    with first:
        charts.bars(
            "Turns", times, {"not failed": good, "failed": bad}, key="turns", colours=[shade["blue"], shade["red"]]
        )
    with second:
        latency = {name: _aligned(turns, buckets, _percentile(name, 1 / 1000), None) for name in ("p50", "p95", "p99")}
        charts.lines(
            f"Latency of turns, per {_LENGTHS[window.bucket]}", times, latency, key="latency", unit=" s", scale="log"
        )
    by_model = _by_model(models)
    first, second = st.columns(2, gap="medium")
    with first:
        cost = {name: _summed(rows, buckets, "cost_usd") for name, rows in by_model.items()}
        charts.bars("Cost by model", times, cost, key="cost", prefix="$")
    with second:
        tokens = {
            words: _summed(models, buckets, name) for words, name in (("in", "input_tokens"), ("out", "output_tokens"))
        }
        charts.bars("Tokens of model calls", times, tokens, key="tokens", colours=[shade["sky"], shade["blue"]])
    first, second = st.columns(2, gap="medium")
    with first:
        calls = {"model calls": _summed(models, buckets, "n"), "tool calls": _summed(tools, buckets, "n")}
        charts.bars("Calls", times, calls, key="calls", colours=[shade["blue"], shade["orange"]])
    with second:
        failed = {
            "model calls": _summed(models, buckets, "n_errors"),
            "tool calls": _summed(tools, buckets, "n_errors"),
        }
        charts.bars("Failed calls", times, failed, key="failed", colours=[shade["red"], shade["orange"]])


def _by_model(models: Sequence[Row]) -> dict[str, list[Row]]:
    """Rollups by model, the dearest first; beyond the first few they are one series."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in models:
        grouped[one_line(row.get("model") or "unknown model", 60)].append(row)
    dearest = sorted(grouped, key=lambda name: -sum(row.get("cost_usd") or 0 for row in grouped[name]))
    shown = {name: grouped[name] for name in dearest[:_MODELS_SHOWN]}
    if len(dearest) > _MODELS_SHOWN:
        shown["other models"] = [row for name in dearest[_MODELS_SHOWN:] for row in grouped[name]]
    return shown


def _models(models: Sequence[Row]) -> None:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in models:
        grouped[one_line(row.get("model") or "unknown model", 80)].append(row)
    names = sorted(grouped, key=lambda name: -sum(row["n"] for row in grouped[name]))
    total = {
        name: [
            sum(row.get(field) or 0 for row in grouped[name])
            for field in ("n", "n_errors", "input_tokens", "output_tokens", "cost_usd")
        ]
        for name in names
    }
    column = st.column_config
    st.subheader("Models", anchor=False)
    _table(
        {
            "Model": names,
            "Calls": [int(total[name][0]) for name in names],
            "Errors": [100 * total[name][1] / total[name][0] if total[name][0] else None for name in names],
            "Tokens": [total[name][2] + total[name][3] for name in names],
            "Cost": [float(total[name][4]) for name in names],
        },
        {"Errors": column.NumberColumn(format="%.1f%%")},
    )


def _apps(apps: Sequence[Row]) -> None:
    st.subheader("Apps", anchor=False)
    tz = frame.timezone()
    rows = sorted(apps, key=lambda row: -(row.get("n_turns") or 0))
    seen = [_parsed(row.get("last_seen_at")) for row in rows]
    _table(
        {
            "App": [one_line(row.get("app") or "(no name)", 80) for row in rows],
            "Turns": [row.get("n_turns") for row in rows],
            "Failed spans": [row.get("n_errors") for row in rows],
            "Tokens": [(row.get("input_tokens") or 0) + (row.get("output_tokens") or 0) for row in rows],
            "Cost": [float(row.get("cost_usd") or 0) for row in rows],
            "Last seen": [at.astimezone(tz) if at else None for at in seen],
        },
        {},
    )


def _table(columns: Mapping[str, Sequence[object]], config: dict[str, object]) -> None:
    column = st.column_config
    known: dict[str, Any] = {
        "Model": column.TextColumn(width=200),
        "App": column.TextColumn(width=180),
        "Calls": column.NumberColumn(format="localized"),
        "Turns": column.NumberColumn(format="localized"),
        "Tokens": column.NumberColumn(format="compact"),
        "Cost": column.NumberColumn(format="$%.4f"),
        "Last seen": column.DatetimeColumn(format="D MMM HH:mm"),
        **config,
    }
    st.dataframe(
        arrow.table(columns),
        hide_index=True,
        column_config={name: known.get(name) for name in columns},
        placeholder="–",
        row_height=36,
        lazy=False,  # asking would import pandas
    )


def _times(buckets: Sequence[int]) -> list[datetime | None]:
    tz = frame.timezone()
    moments = [human.moment(start, tz) for start in buckets]
    return [at.replace(tzinfo=None) if at else None for at in moments]


def _aligned(
    rows: Sequence[Row], buckets: Sequence[int], value: Callable[[Row], float | None], missing: float | None
) -> list[float | None]:
    by_bucket = {int(row["bucket_ns"]): value(row) for row in rows}
    return [by_bucket.get(bucket, missing) for bucket in buckets]


def _summed(rows: Sequence[Row], buckets: Sequence[int], name: str) -> list[float | None]:
    sums: dict[int, float] = defaultdict(float)
    for row in rows:
        sums[int(row["bucket_ns"])] += row.get(name) or 0
    return [sums.get(bucket, 0.0) for bucket in buckets]


def _percentile(name: str, scale: float = 1.0) -> Callable[[Row], float | None]:
    def of(row: Row) -> float | None:
        value = (row.get("latency_ms") or {}).get(name)
        return None if value is None else value * scale

    return of


def _parsed(at: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(at)) if at else None
    except ValueError:
        return None
