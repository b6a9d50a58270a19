"""The map of an app's sessions as one element: zoom, colours, titles, a lasso that gives a list of sessions.

A map of points under a policy that lets no page evaluate text as code: plotly's renderer of many points does that, so
the points are painted by cluster_map.js on a canvas. Its texts are painted or enter as `textContent`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import streamlit as st

from dashboard.api import Row
from dashboard.parts import cluster_cards, palette, verdict
from dashboard.parts import cluster_words as words
from dashboard.text import one_line

HONEST: Final = (
    "Distances on this map are not distances in meaning: hundreds of dimensions were pressed into two so that what is "
    "alike stays together. How far apart two groups lie, and how much room one takes, says nothing. Clusters were "
    "found before the map was drawn."
)
_HERE: Final = Path(__file__).parent
_WIDE: Final = 1000  # of the drawn map, in its own units
_CUT: Final = 0.003  # of the points on each side that the first look may leave out
_UNKNOWN: Final = "pink"  # of the palette: grey is in no cluster
_LINE, _LINES = 22, 2  # letters, and lines of a title on the map
_HUES: Final = ("blue", "orange", "green", "pink", "sky", "red")
_RATES: Final = {"light": ("#B9CBDD", "#E0A53C", "#C8501A"), "dark": ("#44607C", "#D9A441", "#FF7A45")}


def show(found: Row, clusters: Sequence[Row], key: str) -> list[int]:
    """Draws it; returns the places, in the columns of `found`, of the sessions that are chosen."""
    points = found["points"]
    places = placed(points["x"], points["y"])
    present = set(points["cluster"])
    named = [one for one in clusters if one["id"] in present]
    at = {one["id"]: place for place, one in enumerate(named)}
    of = [at.get(one, -1) for one in points["cluster"]]
    drawn: dict[str, Any] = {
        "points": {
            "x": [x for x, _ in places],
            "y": [y for _, y in places],
            "cluster": of,
            "failed": [-1 if one is None else int(one) for one in points["failed"]],
        },
        "box": box(places),
        "clusters": [_named(one, centre) for one, centre in zip(named, centres(places, of, len(named)), strict=True)],
        **_coloured(named, places, of),
    }
    stamp = hashlib.sha256(json.dumps([drawn["points"], [one["id"] for one in named]]).encode()).hexdigest()[:16]
    chosen: Row = st.session_state.get(f"{key}-lasso") or {}
    here = chosen if chosen.get("stamp") == stamp else {}

    def told() -> None:
        sent = (st.session_state.get(key) or {}).get("chosen")
        if sent is not None:  # a trigger says nothing but in the run that it began; letting go is said, too
            st.session_state[f"{key}-lasso"] = read(sent)

    # In a list: Streamlit looks for data frames in a dict, and imports pandas to do so.
    sent = [{**drawn, "stamp": stamp, "lasso": here.get("serial", 0)}]
    _component()(key=key, data=sent, on_chosen_change=told, on_opened_change=lambda: None)
    cluster_cards.opened(key)
    return [one for one in here.get("points", []) if 0 <= one < len(of)]


def forget(key: str) -> None:
    """Lets go of what the lasso holds."""
    st.session_state.pop(f"{key}-lasso", None)


def placed(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """The points in units of the drawn map, one scale for both axes, y downwards."""
    if not x:
        return []
    (x0, x1), (y0, y1) = _ends(x), _ends(y)
    scale = _WIDE / (max(x1 - x0, y1 - y0) or 1.0)
    return [(round((a - x0) * scale, 1), round((y1 - b) * scale, 1)) for a, b in zip(x, y, strict=True)]


def box(places: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """What the first look shows: all but a few far ones, which are found by zooming out."""
    if not places:
        return 0.0, 0.0, 1.0, 1.0
    (x0, x1), (y0, y1) = (_ends([one[axis] for one in places]) for axis in (0, 1))
    return x0, y0, x1, y1


def _ends(values: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(values)
    cut = int(len(ordered) * _CUT)
    return ordered[cut], ordered[-1 - cut]


def centres(places: Sequence[tuple[float, float]], of: Sequence[int], n_clusters: int) -> list[tuple[float, float]]:
    """The median place of each cluster's sessions: where its title stands."""
    members: list[list[tuple[float, float]]] = [[] for _ in range(n_clusters)]
    for place, cluster in zip(places, of, strict=True):
        if cluster >= 0:
            members[cluster].append(place)
    return [
        (sorted(x for x, _ in one)[len(one) // 2], sorted(y for _, y in one)[len(one) // 2]) if one else (0.0, 0.0)
        for one in members
    ]  # fmt: skip


def hues(centre: Sequence[tuple[float, float]], n_hues: int) -> list[int]:
    """A hue for each cluster, in order: that whose nearest cluster so far is farthest, so that neighbours differ."""
    given: list[int] = []
    for x, y in centre:
        nearest = [float("inf")] * n_hues
        for hue, (a, b) in zip(given, centre, strict=False):
            nearest[hue] = min(nearest[hue], (x - a) ** 2 + (y - b) ** 2)
        given.append(nearest.index(max(nearest)))
    return given


def _named(one: Row, centre: tuple[float, float]) -> dict[str, Any]:
    return {
        "id": words.shown_id(one["id"]),
        "title": one_line(one["title"], 120),
        "short": in_lines(str(one["title"])),
        "about": f"{words.failing(one)}, {words.known_of(one)}",
        "x": centre[0],
        "y": centre[1],
    }


def in_lines(title: str) -> list[str]:
    """A title on the map: its first words in two lines, whole ones; the rest is told on hovering."""
    lines = [""]
    for word in one_line(title, 120).removesuffix("…").split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) <= _LINE or not lines[-1]:
            lines[-1] = longer if len(longer) <= _LINE else f"{longer[:_LINE]}…"
        elif len(lines) < _LINES:
            lines.append(word if len(word) <= _LINE else f"{word[:_LINE]}…")
        else:
            break
    return [one.strip(",·; ") for one in lines if one.strip(",·; ")]


def _coloured(named: Sequence[Row], places: Sequence[tuple[float, float]], of: Sequence[int]) -> dict[str, Any]:
    """The colour of each cluster in each way of looking, and the legends. A rate of too few sessions has none."""
    shade = palette.colours()
    given = hues(centres(places, of, len(named)), len(_HUES))
    rates = [None if one.get("failure_scarce") else words.known(one.get("failure_rate")) for one in named]
    top = max((one for one in rates if one is not None), default=0.0) or 1.0
    states = [str(one.get("state")) for one in named]
    shown = [word for word in words.STATES if word in states]
    return {
        "grey": shade["grey"],
        "colours": {
            "cluster": [shade[_HUES[hue]] for hue in given],
            "state": [shade[words.STATE_COLOUR.get(one, "grey")] for one in states],
            "rate": [shade[_UNKNOWN] if one is None else _ramp(one / top) for one in rates],
        },
        "legends": {
            "cluster": [],
            "state": [
                {"name": verdict.of(words.STATES, word).title, "colour": shade[words.STATE_COLOUR[word]]}
                for word in shown
            ],
            "rate": _rate_legend(rates, top, shade[_UNKNOWN]),
        },
    }  # fmt: skip


def _rate_legend(rates: Sequence[float | None], top: float, unknown: str) -> list[dict[str, str]]:
    steps = [{"name": f"{words.percent(top * part)} fail", "colour": _ramp(part)} for part in (0.0, 0.5, 1.0)]
    drawn = steps if any(one is not None for one in rates) else []
    return [*drawn, *([{"name": "known of too few", "colour": unknown}] if None in rates else [])]


def _ramp(part: float) -> str:
    """A colour between the three of the theme; `part` in 0 to 1."""
    stops = _RATES["dark" if palette.dark() else "light"]
    at, rest = divmod(min(max(part, 0.0), 1.0) * 2, 1)
    low, high = stops[min(int(at), 2)], stops[min(int(at) + 1, 2)]
    mixed = (round(int(low[i : i + 2], 16) * (1 - rest) + int(high[i : i + 2], 16) * rest) for i in (1, 3, 5))
    return "#" + "".join(f"{one:02X}" for one in mixed)


def read(value: object) -> Row | None:
    """A message of the browser, which may be anything; None for what is none, or chooses nothing."""
    try:
        found = json.loads(value) if isinstance(value, str) else {}
        points = [int(one) for one in found["points"]]
        return {"serial": int(found["serial"]), "stamp": str(found["stamp"]), "points": points} if points else None
    except (ValueError, TypeError, KeyError):
        return None


@st.cache_resource(show_spinner=False)
def _sources() -> dict[str, str]:
    return {kind: (_HERE / f"cluster_map.{kind}").read_text("utf-8") for kind in ("css", "js")}


def _component() -> Callable[..., Any]:
    sources = _sources()
    made: Callable[..., Any] = st.components.v2.component("assay_cluster_map", css=sources["css"], js=sources["js"])
    return made
