"""The budget of false pages on the page Monitors: what is allowed and what is used of it, how it is divided, and a
change of it, told before it is made."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Api, ApiFailure, Row
from dashboard.parts import budget_shares, frame, lists, palette, picture, states
from dashboard.parts import monitor_words as words
from dashboard.parts.budget_shares import WEEKS, Share
from dashboard.parts.callers import Caller
from dashboard.text import chart_text, inert, one_line

ROLE: Final = "power_user"
PATH: Final = "/monitors/budget"
_MOST_APPS: Final = 12
_ROW_PX: Final = 52
_LEAST, _MOST, _FORMAT = 1e-4, 1_000.0, "%.4g"


@st.cache_data(ttl=20, max_entries=8, show_spinner=False)
def _read(_api: Api, app: str | None) -> Row:
    return _api.get(PATH, {"app": app})


@states.guarded
def show(caller: Caller, app: str | None) -> None:
    """Of one app, or of all."""
    told = _read(states.api(), app)
    if app is not None:
        told = {**told, "budgets": [one for one in told["budgets"] if one["app"] in (None, app)]}
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-budget-head"
    ):
        with st.container(width="content", gap=None):
            st.subheader("False pages", anchor=False)
            st.caption("How many a week are allowed, how they are divided, and what is used of it")
        _offer(caller, app)
    found = budget_shares.shares(told)
    _numbers(told)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        _picture([one for one in found if app is None or one.app == app][: _MOST_APPS + 1])
    with right:
        _table(told["monitors"])
    st.caption(_note(found))


def _numbers(told: Row) -> None:
    whole = [one for one in told["budgets"] if one["app"] is None]
    own = [one for one in told["budgets"] if one["app"] is not None]
    allowed = [("Allowed altogether", f"{float(one['false_pages_per_week']):.3g} a week") for one in whole]
    if not whole:
        allowed = [("Allowed altogether", "no budget")]
    apart = [("Of them for single apps", f"{sum(float(one['false_pages_per_week']) for one in own):.3g} a week")]
    frame.numbers(
        [
            *allowed,
            *(apart if own else []),
            ("Bands are made for", f"{float(told['expected_per_week']):.3g} a week"),
            ("Paged, four weeks", f"{float(told['pages_per_week']):.3g} a week"),
        ],
        "budget",
    )


def _note(found: Sequence[Share]) -> str:
    n = max((one.n_unknown for one in found), default=0)
    law = "" if not n else (
        f" Of {human.plural(n, 'monitor')} that {'pages' if n == 1 else 'page'} no law says how often: not in the bar; "
        "a backtest shows it."
    )  # fmt: skip
    return (
        "A page that was not false counts as paged, too: more than is allowed is trouble, or a budget that is not kept."
        f"{law}"
    )


def _picture(found: Sequence[Share]) -> None:
    """By app two bars and a mark: what the bands are made for, what was paged, what is allowed."""
    if not found:
        st.text("No monitor that is on, and no budget.")
        return
    shade = palette.colours()
    names = [chart_text(one.app or budget_shares.ALL, 26) for one in found]
    most = max([1e-3, *(max(one.expected, one.paged, one.allowed or 0.0) for one in found)])
    marked = [(name, one.allowed) for name, one in zip(names, found, strict=True) if one.allowed is not None]
    traces = [
        _bars("made for", names, [one.expected for one in found], shade["blue"]),
        _bars("paged", names, [one.paged for one in found], shade["pink"]),
        {
            "type": "scatter", "mode": "markers", "name": "allowed", "x": [allowed for _, allowed in marked],
            "y": [name for name, _ in marked],
            "marker": {"symbol": "line-ns", "size": 36, "line": {"width": 3, "color": shade["orange"]}},
            "hovertemplate": "allowed: %{x:.3g} a week<extra></extra>",
        },
    ]  # fmt: skip
    layout = {
        "height": 96 + _ROW_PX * len(found), "barmode": "group", "bargap": 0.34,
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"range": [0, 1.18 * most], "nticks": 5, "showgrid": True, "tickformat": "~g"},
        "yaxis": {"categoryorder": "array", "categoryarray": list(reversed(names)), "type": "category",
                  "showgrid": False, "ticksuffix": " "},
        "showlegend": True,
    }  # fmt: skip
    picture.draw("Used against allowed, a week", traces, layout, key="monitors-budget")


def _bars(name: str, names: Sequence[str], values: Sequence[float], colour: str) -> dict[str, Any]:
    return {
        "type": "bar", "orientation": "h", "name": name, "x": list(values), "y": list(names),
        "marker": {"color": colour, "line": {"width": 0}, "cornerradius": 3}, "text": [f" {one:.3g}" for one in values],
        "textposition": "outside", "cliponaxis": False, "hovertemplate": f"{name}: %{{x:.3g}} a week<extra></extra>",
    }  # fmt: skip


def _table(monitors: Sequence[Row]) -> None:
    """Every monitor that is on, those that were allotted most first."""
    column = st.column_config
    rows = sorted(monitors, key=lambda one: (-(one["allotted"] or one["expected"] or 0.0), str(one["name"])))
    apps = [one_line(one["app"], 60) for one in rows]
    lists.plain_table(
        {
            "Monitor": [_name(one) for one in rows],
            **({"App": apps} if len(set(apps)) > 1 else {}),
            "Asks": [words.budget(one["asked"]) for one in rows],
            "Allotted": [words.budget(one["allotted"]) for one in rows],
            "Made for": [words.budget(one["expected"]) for one in rows],
            "Paged": [int(one["pages"]) for one in rows],
            "A false alarm in": [_points(one) for one in rows],
        },
        {
            "Monitor": column.TextColumn(width=128),
            "App": column.TextColumn(width=108),
            "Asks": column.TextColumn(width=50, alignment="right", help="False pages a week: its own definition"),
            "Allotted": column.TextColumn(
                width=66, alignment="right", help="Its part of the budget. None: no budget, or it takes no part"
            ),
            "Made for": column.TextColumn(
                width=72, alignment="right", help="False pages a week to expect. None: no law says it"
            ),
            "Paged": column.NumberColumn(format="localized", width=56, help=f"Pages of the last {WEEKS} weeks"),
            "A false alarm in": column.TextColumn(width=208),
        },
        "monitors-budget",
    )


def _name(one: Row) -> str:
    return one_line(one["name"], 80) + ("" if one["severity"] == "page" else " (ticket)")


def _points(one: Row) -> str:
    if one["points"] is None:
        return "no law says it" if one["expected"] is None else "by the width that it was given"
    series = "" if int(one["n_series"]) < 2 else f" of each of {int(one['n_series']):,} series"
    return f"{float(one['points']):,.0f} points of {one['step']}{series}"


# A change


def _offer(caller: Caller, app: str | None) -> None:
    """The button; for who may not, the command."""
    if caller.may(ROLE):
        if st.button("Set the budget", icon=":material/tune:", key="budget-set"):
            _change(caller, app)
        return
    with st.popover("Set the budget", icon=":material/terminal:", key="budget-commands"):
        st.caption(f"This takes a key of role {ROLE}: give one above, or use the command line.")
        of_app = f" --app {shlex.quote(inert(app, 120))}" if app else ""
        st.code(f"assay monitors budget{of_app} --per-week 0.5 --dry-run", language="bash", wrap_lines=True)


@st.dialog("How many false pages a week?", width="large")
def _change(caller: Caller, app: str | None) -> None:
    """Whose, and how many; what each monitor would have of it; and the button."""
    told = _read(states.api(), None)
    apps = sorted({str(one["app"]) for one in (*told["monitors"], *told["budgets"]) if one["app"] is not None})
    chosen = str(
        st.selectbox(
            "Whose", ["", *apps], index=apps.index(app) + 1 if app in apps else 0, key="budget-whose", width=360,
            format_func=lambda one: one_line(one, 60) or "all apps together", icon=":material/smart_toy:",
        )
    )  # fmt: skip
    whose = chosen or None
    now = next((float(one["false_pages_per_week"]) for one in told["budgets"] if one["app"] == whose), None)
    wanted: float | None = st.number_input(
        "False pages a week", _LEAST, _MOST, value=_begin(told, whose, now), step=0.1, format=_FORMAT, width=360,
        key=f"budget-n-{chosen}", help="0.5: one in two weeks. A quieter budget makes bands wider, and slower to fire.",
    )  # fmt: skip
    if now is not None and st.checkbox("No budget: every monitor goes by its own again", key=f"budget-none-{chosen}"):
        wanted = None
    body = {"app": whose, "false_pages_per_week": wanted}
    try:
        after = caller.api.put(PATH, {**body, "dry_run": True})
    except ApiFailure as failure:
        with st.container(key="assay-budget-refused"):
            st.text(inert(failure.detail, 400))
        return
    _would(told, after)
    if st.button("Set it", type="primary", icon=":material/check:", key="budget-do", disabled=wanted == now):
        _set(caller, body)


def _begin(told: Row, whose: str | None, now: float | None) -> float:
    found = now if now is not None else budget_shares.asked(told, whose)
    return min(max(float(f"{found:.4g}"), _LEAST), _MOST)


def _would(before: Row, after: Row) -> None:
    """What it would make of each monitor's share."""
    moved = budget_shares.moved(before, after)
    if not moved:
        st.text("No monitor's share would be another.")
        return
    column = st.column_config
    st.markdown("**What each would have of it**")
    lists.plain_table(
        {
            "Monitor": [one_line(now["name"], 80) for _, now in moved],
            "Now": [words.budget(then["expected"]) for then, _ in moved],
            "Then": [words.budget(now["expected"]) for _, now in moved],
            "A false alarm in": [_points(now) for _, now in moved],
        },
        {
            "Monitor": column.TextColumn(width=190),
            "Now": column.TextColumn(width=80, alignment="right", help="False pages a week that its band is made for"),
            "Then": column.TextColumn(width=80, alignment="right"),
            "A false alarm in": column.TextColumn(width=290),
        },
        "monitors-budget-then",
    )
    st.caption("Their bands are made for it from the next look on.")


def _set(caller: Caller, body: Row) -> None:
    try:
        caller.api.put(PATH, body)
    except ApiFailure as failure:
        st.text(inert(failure.detail, 400))
        return
    st.cache_data.clear()
    st.rerun()
