"""What moved together: small charts of an incident's series, each with its band around the onset, and what was
deployed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import streamlit as st

from dashboard.api import Api, Row
from dashboard.parts import alert_cards, charts, frame, palette, picture, states
from dashboard.parts import alert_words as words
from dashboard.text import chart_text, inert, label

_HEIGHT: Final = 218
_ROOM: Final = 0.9  # of the values' own range: a band that is wider is cut there
_MARKED: Final = 8
_ARROWS: Final = {"up": "↑", "down": "↓"}


@st.cache_data(ttl=60, max_entries=32, show_spinner="Reading the series…")
def _read(_api: Api, incident: str, version: str) -> Row:
    """`version` changes when there is more to see."""
    return _api.get(_api.incident_path(incident, "series"))


@states.guarded
def show(incident: Row, version: str, monitors: Collection[str]) -> None:
    """All charts, with what their lines mean; of those `monitors` that there are each leads to its own."""
    told = _read(states.api(), str(incident["id"]), version)
    drawn: Sequence[Row] = told["charts"]
    if not drawn:
        st.text("No series of it has a point around the onset.")
    else:
        _legend(incident, told)
        moved = {
            str((one.get("change") or {}).get("series")): one
            for one in (incident.get("diagnosis") or {}).get("moved") or []
        }
        with st.container(key="assay-charts-incident"):
            for at, one in enumerate(drawn):
                _draw(one, at, told, incident, moved, _way(one, at, monitors))
    if told["left_out"]:
        with st.expander(f"Not drawn ({len(told['left_out'])})", icon=":material/visibility_off:", key="series-left"):
            for one in told["left_out"][:12]:
                st.text(inert(f"{words.series(one['series'])}: {one['why']}", 300))


def _legend(incident: Row, told: Row) -> None:
    onset = _onset(incident)
    began = "" if onset is None else f"grey line: it began, {onset[0]:%H:%M} · "
    with st.container(key="assay-quiet-legend", gap=None):
        st.text(f"Line: the series · shaded: its band · red dots: outside of it · {began}pink triangles: deployed")
        for one in list(told["markers"])[:_MARKED]:
            at = frame.moment(one["at"])
            when = "" if at is None else f"{at.day} {at:%b, %H:%M}: "
            st.text(inert(f"▼ {when}{one['what']} {one['name']}", 240))
        if len(told["markers"]) > _MARKED:
            st.text(f"and {len(told['markers']) - _MARKED} more, on the charts")


def _onset(incident: Row) -> tuple[datetime, datetime, datetime] | None:
    """When it began, and between which times, on the viewer's clock; from its alerts where it was not diagnosed."""
    found: Row = (incident.get("diagnosis") or {}).get("onset") or {}
    times = [found.get(name) for name in ("at_ns", "low_ns", "high_ns")] if found else [incident.get("onset_at")] * 3
    at, low, high = (frame.wall_clock(one) for one in times)
    return None if at is None or low is None or high is None else (at, low, high)


def _way(one: Row, at: int, monitors: Collection[str]) -> Callable[[], None] | None:
    """The button to the monitor of a series; None where none watches it, or it was deleted."""
    if not one.get("monitor") or str(one["monitor"]) not in monitors:
        return None
    return lambda: alert_cards.open_monitor(one, f"incident-monitor-{at}")


def _draw(
    one: Row, at: int, told: Row, incident: Row, moved: Mapping[str, Row], way: Callable[[], None] | None
) -> None:  # fmt: skip
    name = words.series(one["series"])
    own = str(one["series"]).partition("{")[0]
    seen = moved.get(own) or next((each for each in moved.values() if each.get("words") == name), None)
    arrow = _ARROWS.get(str((seen or one).get("move") or ""), "")
    note = words.change(seen.get("change")) if seen else ""
    about = _about(one, is_there=way is not None)
    traces, layout = _picture(one, told, incident)
    said = " · ".join(each for each in (note, about) if each)
    picture.draw(
        inert(f"{name} {arrow}".strip(), 90), traces, layout, key=f"incident-series-{at}", data_title=True,
        note=inert(said, 160), alt="A series with its band around the onset", foot=way,
    )  # fmt: skip


def _about(one: Row, *, is_there: bool) -> str:
    """Who watches it, where no button says so, and whether its band knows enough."""
    watched = "" if is_there else f"monitor {one['monitor']} (deleted)"
    learns = all(words.known(edge) is None for edge in (*one["low"], *one["high"]))
    said = [watched if one.get("monitor") else "no monitor watches it", "a band still learns it" if learns else ""]
    return ", ".join(each for each in said if each)


def _picture(one: Row, told: Row, incident: Row) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    shade = palette.colours()
    times = [frame.wall_clock(at) for at in one["at"]]
    values = [words.known(value) for value in one["value"]]
    ends = axis(one)
    traces = [*_band(one, times, ends, shade["sky"]), _line(one, times, values, shade["blue"])]
    out = [place for place, verdict in enumerate(one["verdict"]) if verdict == "breach" and values[place] is not None]
    if out:
        traces.append(_dots(one, times, values, out, shade["red"]))
    markers = [(found, mark) for mark in told["markers"] if (found := frame.wall_clock(mark["at"])) is not None]
    if markers:
        traces.append(_marks(markers, ends, shade["pink"]))
    layout: dict[str, Any] = {
        "height": _HEIGHT,
        "margin": {"l": 8, "r": 10, "t": 6, "b": 6},
        "xaxis": {
            "type": "date",
            "range": [frame.wall_clock(told["start"]), frame.wall_clock(told["end"])],
            "showgrid": False,
            "nticks": 5,
            "tickangle": 0,
            "tickformatstops": charts.STOPS,
        },
        "yaxis": {"range": list(ends), "nticks": 4, "showgrid": True, **_ticks(one["unit"])},
        "shapes": [*_onset_shapes(incident, shade["grey"]), *(_rule(found, shade["pink"]) for found, _ in markers)],
        "showlegend": False,
    }
    return traces, layout


def axis(one: Row) -> tuple[float, float]:
    """Both ends of the y axis: every value and what was expected is inside, the band as far as there is room."""
    values = [found for value in (*one["value"], *one["expected"]) if (found := words.known(value)) is not None]
    edges = [found for name in ("low", "high") for value in one[name] if (found := words.known(value)) is not None]
    if not values:
        return (0.0, 1.0)
    low, high = min(values), max(values)
    room = _ROOM * ((high - low) or abs(high) * 0.1 or 1.0)
    low, high = max(min([low, *edges]), low - room), min(max([high, *edges]), high + room)
    pad = 0.06 * ((high - low) or abs(high) or 1.0)
    low, high = low - pad, high + pad
    if one["unit"] == "share":
        return max(low, -0.03), min(high, 1.03)
    return (max(low, -pad) if min(values) >= 0 else low), high


def _band(
    one: Row, times: Sequence[datetime | None], ends: tuple[float, float], colour: str
) -> list[dict[str, Any]]:  # fmt: skip
    """A shape for each stretch in which there is a band; where it has one side, it reaches to the end of the axis."""
    traces, run = [], list[tuple[datetime, float, float]]()
    rows = zip(times, one["low"], one["high"], strict=True)
    for at, low, high in [*rows, (None, None, None)]:
        low, high = words.known(low), words.known(high)
        if at is not None and (low is not None or high is not None):
            bottom, top = ends[0] if low is None else low, ends[1] if high is None else high
            run.append((at, min(max(bottom, ends[0]), ends[1]), min(max(top, ends[0]), ends[1])))
        elif run:
            traces.append(_shape(run, colour))
            run = []
    return traces


def _shape(run: Sequence[tuple[datetime, float, float]], colour: str) -> dict[str, Any]:
    x = [at for at, _, _ in run]
    return {
        "type": "scatter", "mode": "lines", "x": [*x, *reversed(x)],
        "y": [*(low for _, low, _ in run), *(high for _, _, high in reversed(run))], "fill": "toself",
        "fillcolor": _pale(colour), "line": {"width": 0}, "hoverinfo": "skip",
    }  # fmt: skip


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{0.22 if palette.dark() else 0.24})"


def _line(
    one: Row, times: Sequence[datetime | None], values: Sequence[float | None], colour: str
) -> dict[str, Any]:  # fmt: skip
    """A missing point is a gap, never a zero."""
    return {
        "type": "scatter", "mode": "lines+markers", "x": list(times), "y": list(values), "connectgaps": False,
        "line": {"color": colour, "width": 1.8}, "marker": {"size": 3, "color": colour},
        "text": [_hover(one, place) for place in range(len(times))], "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _hover(one: Row, place: int) -> str:
    at = frame.moment(one["at"][place])
    unit = one["unit"]
    n = words.known(one["n"][place])
    said = words.value(one["value"][place], unit) + ("" if n is None else f" of {n:,.0f}")
    low, high = (words.known(one[name][place]) for name in ("low", "high"))
    band = "no band" if low is None and high is None else f"band {words.value(low, unit)} to {words.value(high, unit)}"
    when = "" if at is None else f"{at:%H:%M}: "
    return chart_text(f"{when}{said}", 60) + f"<br>{band}, expected {words.value(one['expected'][place], unit)}"


def _dots(
    one: Row, times: Sequence[datetime | None], values: Sequence[float | None], out: Sequence[int], colour: str
) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "x": [times[at] for at in out], "y": [values[at] for at in out],
        "marker": {"size": 6, "color": colour, "opacity": 1, "line": {"width": 0}}, "cliponaxis": False,
        "text": [_hover(one, at) for at in out], "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _marks(markers: Sequence[tuple[datetime, Row]], ends: tuple[float, float], colour: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "x": [at for at, _ in markers], "y": [ends[1]] * len(markers),
        "marker": {"symbol": "triangle-down", "size": 10, "color": colour, "opacity": 1}, "cliponaxis": False,
        "text": [f"{chart_text(mark['what'], 20)} {chart_text(mark['name'], 100)}<br>{at:%H:%M}"
                 for at, mark in markers],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _rule(at: datetime, colour: str) -> dict[str, Any]:
    line = {"color": colour, "width": 1.2, "dash": "dot"}
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line, "layer": "below"}


def _onset_shapes(incident: Row, colour: str) -> list[dict[str, Any]]:
    onset = _onset(incident)
    if onset is None:
        return []
    at, low, high = onset
    between = {"type": "rect", "x0": low, "x1": high, "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
               "fillcolor": colour, "opacity": 0.14, "line": {"width": 0}}  # fmt: skip
    line = {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
            "line": {"color": colour, "width": 1.6}}  # fmt: skip
    return [between, line]


def _ticks(unit: str) -> dict[str, Any]:
    """How the axis says its numbers."""
    match unit:
        case "share":
            return {"tickformat": ".0%"}
        case "ms":
            return {"tickformat": "~s", "ticksuffix": " ms"}
        case "usd":
            return {"tickprefix": "$", "tickformat": "~g"}
        case _:
            return {"tickformat": "~s"}


def version(incident: Row) -> str:
    """What the charts are of: another one once it was diagnosed again, or closed."""
    made = (incident.get("diagnosis") or {}).get("n")
    return f"{made}-{incident.get('status')}-{incident.get('n_alerts')}-{label(incident.get('closed_at'))}"
