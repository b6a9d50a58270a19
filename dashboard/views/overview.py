"""Overview: is it being used, does it work, how fast is it, what does it cost; per app and model below."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import address, arrow, charts, frame, lists, over_time, palette, states
from dashboard.parts.change import Figure, figure, share_figure
from dashboard.parts.window import Window, between
from dashboard.text import one_line

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
    only = {"app": app} if app else {}
    now = datetime.now(UTC)
    if window.endless:
        window = _since_the_first(window, only, now) or window
    about: dict[str, str | int] = {**window.parameters, "bucket": window.bucket, **only}
    before = window.before(now)
    turns, models, tools, apps, whole, whole_before = states.api().together(
        [
            ("/rollups", {**about, "level": "turn"}),
            ("/rollups", {**about, "level": "LLM", "group_by": "model"}),
            ("/rollups", {**about, "level": "TOOL"}),
            ("/apps", window.parameters),
            ("/rollups", {**about, "bucket": "all", "level": "turn"}),
            ("/rollups", {**(before or window.parameters), "bucket": "all", "level": "turn", **only}),
        ]
    )
    if not turns and not models:
        _nothing(window, app)
        return
    frame.figures(_figures(whole, whole_before if before else []), "overview")
    st.caption(_compared(window, whole_before if before else []))
    span, buckets = over_time.span(window, now)
    _over_time(turns, models, tools, buckets, span, window)
    left, right = st.columns(2, gap="medium")
    with left:
        _models(models)
    with right:
        _apps([row for row in apps if app is None or row.get("app") == app])


def _since_the_first(window: Window, only: Mapping[str, str], now: datetime) -> Window | None:
    """Of all time, what begins with the first turn or model call: charts of ten years show nothing."""
    levels = ("turn", "LLM")
    wanted = [("/rollups", {**window.parameters, "bucket": "1d", "level": level, **only}) for level in levels]
    starts = [int(row["bucket_ns"]) for rows in states.api().together(wanted) for row in rows]
    if not starts:
        return None
    first = datetime.fromtimestamp(min(starts) // 10**9, UTC)
    return replace(between(first, now + timedelta(minutes=1)), words=window.words, endless=True)


def _nothing(window: Window, app: str | None) -> None:
    if app or states.anything_stored():
        states.no_match("turns", f"{'This app sent nothing' if app else 'Nothing arrived'} {window.words}.", app=app)
    else:
        states.first_steps()


def _figures(whole: Sequence[Row], before: Sequence[Row]) -> list[Figure]:
    """Turns, errors, latency, tokens and cost of the window, each beside the window before."""
    now, old = (whole[0] if whole else {}), (before[0] if before else {})

    def pair(name: str) -> tuple[float | None, float | None]:
        return now.get(name), old.get(name)

    def latency(name: str) -> tuple[float | None, float | None]:
        return (now.get("latency_ms") or {}).get(name), (old.get("latency_ms") or {}).get(name)

    tokens = (_tokens(now), _tokens(old))
    failed = [(row.get("n_errors") or 0, row.get("n") or 0) for row in (now, old)]
    return [
        figure("Turns", *pair("n"), human.count),
        share_figure("Turns with an error", failed[0], failed[1] if old else None),
        figure("Latency p50", *latency("p50"), human.duration, judged="inverse"),
        figure("Latency p95", *latency("p95"), human.duration, judged="inverse"),
        figure("Tokens", *tokens, human.count),
        figure("Cost", *pair("cost_usd"), human.usd),
    ]


def _compared(window: Window, before: Sequence[Row]) -> str:
    """What the changes are measured against. Words of ours only: captions read Markdown."""
    if window.endless:
        return "All time has nothing before it to compare with."
    if not before or not before[0].get("n"):
        return f"No turns in {window.before_words}: nothing to compare with."
    return f"Compared with {window.before_words}: {human.plural(int(before[0]['n']), 'turn')}."


def _tokens(row: Row) -> float | None:
    told = [row[name] for name in ("input_tokens", "output_tokens") if row.get(name) is not None]
    return sum(told) if told else None


def _over_time(
    turns: Sequence[Row],
    models: Sequence[Row],
    tools: Sequence[Row],
    buckets: Sequence[int],
    span: charts.Span,
    window: Window,
) -> None:
    shade = palette.colours()
    good = _aligned(turns, buckets, lambda row: row["n"] - row["n_errors"], 0)
    bad = _aligned(turns, buckets, lambda row: row["n_errors"], 0)
    first, second = st.columns(2, gap="medium")
    with first:
        charts.bars("Turns", span, {"no error": good, "error": bad}, key="turns", colours=[shade["blue"], shade["red"]])
    with second:
        latency = {name: _aligned(turns, buckets, _percentile(name), None) for name in ("p50", "p95", "p99")}
        charts.latencies(f"Latency of turns, per {_LENGTHS[window.bucket]}", span, latency, key="latency")
    by_model = _by_model(models)
    first, second = st.columns(2, gap="medium")
    with first:
        cost = {name: _summed(rows, buckets, "cost_usd") for name, rows in by_model.items()}
        charts.bars("Cost by model", span, cost, key="cost", prefix="$")
    with second:
        tokens = {
            words: _summed(models, buckets, name) for words, name in (("in", "input_tokens"), ("out", "output_tokens"))
        }
        charts.bars("Tokens of model calls", span, tokens, key="tokens", colours=[shade["sky"], shade["blue"]])
    first, second = st.columns(2, gap="medium")
    with first:
        calls = {"model calls": _summed(models, buckets, "n"), "tool calls": _summed(tools, buckets, "n")}
        both = [shade["blue"], shade["orange"]]  # of model and tool calls, in this chart and the next
        charts.bars("Calls", span, calls, key="calls", colours=both)
    with second:
        failed = {
            "model calls": _summed(models, buckets, "n_errors"),
            "tool calls": _summed(tools, buckets, "n_errors"),
        }
        charts.bars("Calls with an error", span, failed, key="failed", colours=both)


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
            "Error rate": [100 * total[name][1] / total[name][0] if total[name][0] else None for name in names],
            "Tokens": [total[name][2] + total[name][3] for name in names],
            "Cost": [float(total[name][4]) for name in names],
        },
        {"Error rate": column.NumberColumn(format="%.1f%%")},
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
            "Error spans": [row.get("n_errors") for row in rows],
            "Tokens": [(row.get("input_tokens") or 0) + (row.get("output_tokens") or 0) for row in rows],
            "Cost": [float(row.get("cost_usd") or 0) for row in rows],
            "Last seen": [at.astimezone(tz) if at else None for at in seen],
        },
        {"Error spans": st.column_config.NumberColumn(format="localized", help="Spans that ended in an error")},
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


def _percentile(name: str) -> Callable[[Row], float | None]:
    def of(row: Row) -> float | None:
        value: float | None = (row.get("latency_ms") or {}).get(name)
        return value

    return of


def _parsed(at: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(at)) if at else None
    except ValueError:
        return None
