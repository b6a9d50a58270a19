"""A series with its band over time, breaches and adopted levels; below it alerts, silences, deployments as strips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any, Final

from dashboard.api import Row
from dashboard.parts import charts, frame, palette, picture
from dashboard.parts import monitor_words as words
from dashboard.text import chart_text

_HEIGHT: Final = 430
_MANY: Final = 240  # points beyond which only what is out of the ordinary has a mark
_NAMED: Final = 5  # deployments whose names stand in the picture
_SYMBOLS: Final = {"release": "triangle-up", "plan": "circle", "rollout": "diamond"}
_WORDS: Final = {
    "breach": "outside the band",
    "between": "inside, near the edge",
    "calm": "well inside",
    "warming_up": "the band knows too little yet",
    "adopted": "from here on this is the expected level",
    "missing": "no value",
}


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A stretch of time with words: an alert, a silence. `end` None: it goes on."""

    start: object
    end: object
    text: str
    loud: bool = True


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is drawn. `alerts` are those that were, or those that would have been: `title` says which."""

    title: str
    chart: Row
    definition: Row
    unit: str
    start: object
    end: object
    markers: Sequence[Row] = ()
    alerts: Sequence[Strip] = ()
    silences: Sequence[Strip] | None = None
    """None: there is no strip of silences."""


@dataclass(frozen=True, kw_only=True)
class _Points:
    """The columns of a chart, on the axis' scale."""

    at: list[datetime | None]
    value: list[float | None]
    low: list[float | None]
    high: list[float | None]
    expected: list[float | None]
    verdict: list[str]
    text: list[str]

    def where(self, verdict: str) -> list[int]:
        return [t for t, one in enumerate(self.verdict) if one == verdict and self.value[t] is not None]


def show(of: Picture, key: str) -> None:
    """Draws it. Texts of data are inert."""
    scale, axis = _axis(of)
    points = _points(of, scale)
    shade = palette.colours()
    rows = ["alerts", *([] if of.silences is None else ["silences"]), "changes"]
    traces = [
        *_band(points, of, shade),
        _line(points, shade),
        *_marks(points, shade),
        *_strips(of, rows, shade),
        *_deployed(of, rows, shade),
    ]
    named = _named(of)
    layout: dict[str, Any] = {
        "height": _HEIGHT,
        "xaxis": {"type": "date", "showgrid": False, "nticks": 7, "tickangle": 0, "tickformatstops": charts.STOPS,
                  "range": [frame.wall_clock(of.start), frame.wall_clock(of.end)], "anchor": "y2",
                  "hoverformat": "%-d %b, %H:%M"},
        "yaxis": {"domain": [0.06 + 0.07 * len(rows), 1], "nticks": 6, "showgrid": True, **axis,
                  **_ends(points, of.unit)},
        "yaxis2": {"domain": [0, 0.07 * len(rows)], "range": [-0.6, len(rows) - 0.4], "showgrid": False,
                   "zeroline": False, "tickmode": "array", "tickvals": list(range(len(rows))), "automargin": True,
                   "ticktext": list(reversed(rows)), "fixedrange": True},
        "shapes": [_upright(one["at"], shade["grey"]) for one in of.markers],
        "annotations": [_name(one, shade["grey"], late=_late(of, one)) for one in named],
        "legend": {"orientation": "h", "y": -0.12, "x": 0, "xanchor": "left", "yanchor": "top",
                   "traceorder": "normal", "title": {"text": ""}},
        "showlegend": True,
        "margin": {"l": 8, "r": 12, "t": 24 if named else 10, "b": 8},
    }  # fmt: skip
    picture.draw(of.title, traces, layout, key=key)


def _axis(of: Picture) -> tuple[float, dict[str, Any]]:
    """What values are divided by, and how the axis says its unit."""
    known = [one for one in of.chart["value"] if one is not None]
    if of.unit == "share":
        return 1.0, {"tickformat": ".0%" if max(known, default=1) - min(known, default=0) > 0.08 else ".1%"}
    if of.unit == "ms":
        return (1000.0, {"ticksuffix": " s"}) if max(known, default=0) >= 2000 else (1.0, {"ticksuffix": " ms"})
    if of.unit == "usd":
        return 1.0, {"tickprefix": "$"}
    return 1.0, {"tickformat": "~s" if max(known, default=0) >= 1000 else "~g"}


def _points(of: Picture, scale: float) -> _Points:
    chart = of.chart
    columns = {
        name: [None if (found := words.number(one)) is None else found / scale for one in chart[name]]
        for name in ("value", "low", "high", "expected")
    }
    return _Points(
        at=[frame.wall_clock(one) for one in chart["at"]],
        verdict=[str(one) for one in chart["verdict"]],
        text=[_hover(chart, t, of.unit) for t in range(len(chart["at"]))],
        **columns,
    )


def _hover(chart: Row, t: int, unit: str) -> str:
    n = words.number(chart["n"][t])
    said = [
        words.value(chart["value"][t], unit) + (f" of {n:,.0f}" if n is not None else ""),
        f"band {words.band({name: chart[name][t] for name in ('low', 'high')}, unit)}",
        _WORDS.get(str(chart["verdict"][t]), ""),
    ]
    return "<br>".join(chart_text(one, 80) for one in said if one)


def _band(points: _Points, of: Picture, shade: Mapping[str, str]) -> list[dict[str, Any]]:
    """Shaded where it has both sides; the side that pages, and a lone side, as a line."""
    x: list[datetime | None] = []
    y: list[float | None] = []
    sided = [low is not None and high is not None for low, high in zip(points.low, points.high, strict=True)]
    for there, run in groupby(_bridged(points, sided), key=lambda t: t is not None):
        ts = [t for t in run if t is not None]
        if there and ts:
            x += [*(points.at[t] for t in ts), *(points.at[t] for t in reversed(ts)), None]
            y += [*(points.high[t] for t in ts), *(points.low[t] for t in reversed(ts)), None]
    fill = _tint(shade["blue"], 0.2 if palette.dark() else 0.14)
    found: list[dict[str, Any]] = []
    if x:
        found.append({"type": "scatter", "mode": "lines", "name": "band", "x": x, "y": y, "fill": "toself",
                      "fillcolor": fill, "line": {"width": 0}, "hoverinfo": "skip", "legendrank": 2})  # fmt: skip
    for side in _edges(of.definition):
        edge = points.low if side == "low" else points.high
        if any(one is not None for one in edge):
            found.append(_thin(points, edge, "the edge that counts", _tint(shade["blue"], 0.75), "solid", bool(found)))
    if any(one is not None for one in points.expected):
        found.append(_thin(points, points.expected, "expected", shade["grey"], "dot", False))
    return found


def _bridged(points: _Points, sided: Sequence[bool]) -> list[int | None]:
    """Places of the points that have both sides; a hole of a few buckets does not tear the band, a long one does."""
    kept = [t for t, one in enumerate(sided) if one]
    found: list[int | None] = []
    for t, following in pairwise([*kept, None]):
        found.append(t)
        if t is not None and following is not None and following - t > 12:
            found.append(None)
    return found


def _edges(definition: Row) -> tuple[str, ...]:
    return {"down": ("low",), "up": ("high",)}.get(str(definition.get("direction")), ("low", "high"))


def _thin(
    points: _Points, y: Sequence[float | None], name: str, colour: str, dash: str, hide: bool
) -> dict[str, Any]:  # fmt: skip
    known = [t for t, one in enumerate(y) if one is not None]
    return {"type": "scatter", "mode": "lines", "name": name, "x": [points.at[t] for t in known],
            "y": [y[t] for t in known], "line": {"color": colour, "width": 1.4, "dash": dash}, "hoverinfo": "skip",
            "legendrank": 3 if dash == "dot" else 2, "legendgroup": name,
            "showlegend": not hide or dash == "solid"}  # fmt: skip


def _line(points: _Points, shade: Mapping[str, str]) -> dict[str, Any]:
    """The values; where nothing happened the line ends, and a value alone is a dot."""
    known = [one is not None for one in points.value]
    around = [False, *known, False]
    alone = [here and not (around[t] or around[t + 2]) for t, here in enumerate(known)]
    few = sum(known) <= _MANY
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "value",
        "x": points.at,
        "y": points.value,
        "text": points.text,
        "connectgaps": False,
        "line": {"color": shade["blue"], "width": 1.8},
        "marker": {"size": [4 if few or one else 0 for one in alone], "color": shade["blue"]},
        "hovertemplate": "%{text}<br>%{x|%-d %b, %H:%M}<extra></extra>",
        "legendrank": 1,
    }


def _marks(points: _Points, shade: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is out of the ordinary: breaches, levels that were adopted, values that nothing could be said of."""
    kinds = (
        ("warming_up", "warming up", {"symbol": "circle-open", "size": 5, "color": shade["grey"]}),
        ("breach", "breach", {"symbol": "x", "size": 8, "color": shade["red"]}),
        ("adopted", "new level adopted", {"symbol": "star-diamond", "size": 14, "color": shade["orange"]}),
    )
    found = []
    for verdict, name, marker in kinds:
        if ts := points.where(verdict):
            found.append(
                {"type": "scatter", "mode": "markers", "name": name, "x": [points.at[t] for t in ts],
                 "y": [points.value[t] for t in ts], "text": [points.text[t] for t in ts], "marker": marker,
                 "cliponaxis": False, "hovertemplate": "%{text}<br>%{x|%-d %b, %H:%M}<extra></extra>"}
            )  # fmt: skip
    return found


def _strips(of: Picture, rows: Sequence[str], shade: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for row, strips, colour in (("alerts", of.alerts, "red"), ("silences", of.silences or (), "grey")):
        level = len(rows) - 1 - rows.index(row) if row in rows else 0
        for at, one in enumerate(strips):
            start, end = frame.wall_clock(one.start), frame.wall_clock(one.end or of.end)
            found.append(
                {"type": "scatter", "mode": "lines+markers", "yaxis": "y2", "x": [start, end], "y": [level, level],
                 "line": {"color": shade[colour if one.loud else "orange"], "width": 9},
                 "marker": {"size": 9, "symbol": "square", "color": shade[colour if one.loud else "orange"]},
                 "text": [chart_text(one.text, 110)] * 2, "name": row, "legendgroup": row, "showlegend": False,
                 "hovertemplate": "%{text}<br>%{x|%-d %b, %H:%M}<extra></extra>", "meta": at}
            )  # fmt: skip
    return found


def _deployed(of: Picture, rows: Sequence[str], shade: Mapping[str, str]) -> list[dict[str, Any]]:
    """A mark for each release, plan and rollout step. An empty strip keeps its line all the same."""
    level = len(rows) - 1 - rows.index("changes")
    symbols = [_SYMBOLS.get(str(one["what"]), "square") for one in of.markers]
    return [
        {"type": "scatter", "mode": "markers", "yaxis": "y2", "x": [frame.wall_clock(one["at"]) for one in of.markers],
         "y": [level] * len(of.markers), "name": "changes", "showlegend": False,
         "marker": {"symbol": symbols, "size": 11, "color": shade["green"]},
         "text": [chart_text(f"{one['what']} {one['name']}", 110) for one in of.markers],
         "hovertemplate": "%{text}<br>%{x|%-d %b, %H:%M}<extra></extra>"}
    ]  # fmt: skip


def _upright(at: object, colour: str) -> dict[str, Any]:
    moment = frame.wall_clock(at)
    return {"type": "line", "xref": "x", "yref": "paper", "x0": moment, "x1": moment, "y0": 0, "y1": 1,
            "line": {"color": colour, "width": 1, "dash": "dot"}, "layer": "below"}  # fmt: skip


def _named(of: Picture) -> list[Row]:
    """The deployments whose names have room: releases and rollouts, none near the one before."""
    first, last = frame.moment(of.start), frame.moment(of.end)
    if first is None or last is None:
        return []
    found: list[Row] = []
    for one in sorted(of.markers, key=lambda each: str(each["at"])):
        at, before = frame.moment(one["at"]), frame.moment(found[-1]["at"]) if found else None
        if at is not None and (before is None or (at - before) > 0.14 * (last - first)):
            found.append(one)
    return found[:_NAMED]


def _late(of: Picture, one: Row) -> bool:
    """Whether it lies so near the right edge that its name has room on the left only."""
    first, last, at = frame.moment(of.start), frame.moment(of.end), frame.moment(one["at"])
    return first is not None and last is not None and at is not None and (last - at) < 0.14 * (last - first)


def _name(one: Row, colour: str, *, late: bool) -> dict[str, Any]:
    text = chart_text(f"{one['what']} {str(one['name']).partition(':')[0]}", 24)
    return {"xref": "x", "yref": "paper", "x": frame.wall_clock(one["at"]), "y": 1, "yanchor": "bottom",
            "xanchor": "right" if late else "left", "text": text, "showarrow": False,
            "font": {"size": 11, "color": colour}}  # fmt: skip


def _ends(points: _Points, unit: str) -> dict[str, Any]:
    """All values are inside, and the band as far as it leaves them room: a wide one does not flatten them."""
    known = [one for one in points.value if one is not None]
    if not known:
        return {}
    low, high = min(known), max(known)
    span = (high - low) or abs(high) or 1.0
    edges = [one for side in (points.low, points.high) for one in side if one is not None]
    low = min([low, *(max(one, low - span) for one in edges)])
    high = max([high, *(min(one, high + span) for one in edges)])
    room = 0.05 * ((high - low) or span)
    if unit == "share":  # there is nothing below none, or above all
        return {"range": [max(low - room, -0.02 * (high + room)), min(high + room, 1.02)]}
    return {"range": [low - room, high + room]}


def _tint(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
