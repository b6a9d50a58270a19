"""Bars from left to right: what each policy takes beside what enterprises allow for it, and counts by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dashboard import human
from dashboard.api import Row
from dashboard.parts import palette, picture
from dashboard.text import chart_text

# What enterprises budget for such a platform, in ms: personal information, compliance, tracing, everything together.
BUDGETS: Final = {"masking": 100.0, "content": 50.0, "tracing": 20.0}
WHOLE_BUDGET: Final = 500.0
_TITLES: Final = {"masking": "masking (PII)", "content": "content (compliance)"}
_LEAST_MS: Final = 0.001  # a logarithm has no zero
_TICKS: Final = {"1 µs": 0.001, "0.1 ms": 0.1, "10 ms": 10.0, "1 s": 1000.0}
_ROW_PX: Final = 30


def overhead(policies: Sequence[Row], whole: Row | None, key: str) -> None:
    """p95 of each policy and of the whole gateway on a logarithmic axis, with its budget as a mark."""
    rows = [(_TITLES.get(one["policy"], one["policy"]), one, BUDGETS.get(one["policy"])) for one in policies]
    rows = sorted(rows, key=lambda one: (one[2] is None, -one[1]["p95_ms"]))
    rows = [*([("the whole gateway", whole, WHOLE_BUDGET)] if whole else []), *rows]
    names = [chart_text(name, 26) for name, _, _ in rows]
    shade = palette.colours()
    said = [_said(one, budget) for _, one, budget in rows]
    measured = {
        "type": "bar",
        "orientation": "h",
        "name": "p95",
        "x": [max(one["p95_ms"], _LEAST_MS) for _, one, _ in rows],
        "y": names,
        "marker": {"color": shade["blue"], "line": {"width": 0}, "cornerradius": 3},
        "text": [f" {human.duration(one['p95_ms'])}" for _, one, _ in rows],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": said,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    allowed = [(name, budget) for name, (_, _, budget) in zip(names, rows, strict=True) if budget is not None]
    mark = {
        "type": "scatter",
        "mode": "markers",
        "name": "enterprise budget",
        "x": [budget for _, budget in allowed],
        "y": [name for name, _ in allowed],
        "marker": {"symbol": "line-ns", "size": 20, "line": {"width": 3, "color": shade["orange"]}},
        "text": [f"budget {human.duration(budget)}" for _, budget in allowed],
        "hovertemplate": "%{text}<extra></extra>",
    }
    layout = {
        "height": 110 + _ROW_PX * len(rows),
        "bargap": 0.4,
        "xaxis": {
            "type": "log",
            "range": [-3, 3.1],
            "tickmode": "array",
            "tickvals": list(_TICKS.values()),
            "ticktext": list(_TICKS),
            "tickangle": 0,
        },
        "yaxis": _names(names),
        "showlegend": True,
    }
    picture.draw("What the gateway adds to a call, p95", [measured, mark], layout, key=key)


def counts(title: str, rows: Sequence[tuple[str, int]], key: str, colour: str) -> None:
    """How often each name was counted, most first. `title` is ours."""
    names = [chart_text(name, 26) for name, _ in rows]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [n for _, n in rows],
        "y": names,
        "marker": {"color": palette.colours()[colour], "line": {"width": 0}, "cornerradius": 3},
        "text": [f" {human.count(n)}" for _, n in rows],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{x:,}<extra></extra>",
    }
    most = max((n for _, n in rows), default=1) or 1
    layout = {
        "height": 60 + _ROW_PX * len(rows),
        "bargap": 0.4,
        "xaxis": {"range": [0, most * 1.15], "tickformat": "~s", **({"dtick": 1} if most < 5 else {"nticks": 5})},
        "yaxis": _names(names),
        "showlegend": False,
    }
    picture.draw(title, [trace], layout, key=key)


def _names(names: Sequence[str]) -> dict[str, Any]:
    order = list(reversed(names))
    return {"categoryorder": "array", "categoryarray": order, "type": "category", "showgrid": False, "ticksuffix": " "}


def _said(one: Row, budget: float | None) -> str:
    times = ", ".join(f"{name} {human.duration(one[f'{name}_ms'])}" for name in ("mean", "p50", "p95", "p99"))
    allowed = "" if budget is None else f"<br>budget {human.duration(budget)}"
    return f"{times}<br>{human.plural(one['n'], 'call')}{allowed}"
