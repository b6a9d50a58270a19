"""Alerts: what fires and what is about to, each against its band; silences; and whether anybody looks at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Api, Row
from dashboard.parts import address, alert_cards, callers, frame, looked, silence_form, states
from dashboard.text import one_line

_EVERY_S: Final = 10.0
_PAGE: Final = "alerts"
_MOST_RESOLVED: Final = 200
_CHOICES: Final = {"app": "App", "monitor": "Monitor", "severity": "Severity", "state": "State"}
_ICONS: Final = {"app": "smart_toy", "monitor": "monitoring", "severity": "priority_high", "state": "flag"}


@st.cache_data(ttl=5, max_entries=4, show_spinner=False)
def _read(_api: Api) -> Mapping[str, list[Row]]:
    """Everything that the page shows, asked for at once."""
    names = ("firing", "pending", "resolved", "monitors", "jobs", "silences")
    found = _api.together(
        [
            ("/alerts", {"status": "firing", "limit": 1000}),
            ("/alerts", {"status": "pending", "limit": 1000}),
            ("/alerts", {"status": "resolved", "limit": _MOST_RESOLVED}),
            ("/monitors", {}),
            ("/jobs", {}),
            ("/silences", {}),
        ]
    )
    return dict(zip(names, found, strict=True))


@states.guarded
def show() -> None:
    """The page."""
    with states.skeleton():
        told = _read(states.api())
    caller = callers.current()
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title("Alerts", anchor=False)
            st.caption(f"Series that left their bands, and who is told · times in {frame.zone_words()}")
        callers.offer(caller)
    chosen = _filters(told)
    silence_form.asked(caller, told["monitors"])
    with st.container(key="assay-live-alerts"):
        st.fragment(_standing, run_every=_EVERY_S)(chosen)


def _filters(told: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """What is looked at; it lives in the address."""
    alerts = [*told["firing"], *told["pending"], *told["resolved"]]
    options = {
        "app": sorted({str(one["app"]) for one in (*alerts, *told["monitors"])}),
        "monitor": sorted({*(str(one["monitor"]) for one in alerts), *(str(one["name"]) for one in told["monitors"])}),
        "severity": ["page", "ticket"],
        "state": ["firing", "pending", "resolved", "silenced"],
    }
    chosen: dict[str, str] = {}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="assay-filters"):
        for name, title in _CHOICES.items():
            before = address.first(_PAGE, name)
            known = [*options[name], *([before] if before and before not in options[name] else [])]
            value: str | None = st.selectbox(
                title,
                known,
                index=known.index(before) if before else None,
                key=f"{_PAGE}-{name}",
                placeholder=f"Any {title.lower()}",
                label_visibility="collapsed",
                format_func=lambda value: one_line(value, 40),
                icon=f":material/{_ICONS[name]}:",
                width=190,
            )
            address.keep(_PAGE, name, value)
            if value:
                chosen[name] = value
    return chosen


def _fits(one: Row, chosen: Mapping[str, str]) -> bool:
    state = chosen.get("state")
    if state == "silenced" and not one.get("silence"):
        return False
    if state not in (None, "silenced", one["status"]):
        return False
    return all(str(one[name]) == chosen[name] for name in ("app", "monitor", "severity") if name in chosen)


@states.refreshed
def _standing(chosen: Mapping[str, str]) -> None:
    """All that changes while one looks."""
    told, now = _read(states.api()), datetime.now(UTC)
    caller = callers.current()
    who = looked.looked(told["monitors"], told["jobs"], now)
    firing, pending, resolved = (
        [one for one in told[name] if _fits(one, chosen)] for name in ("firing", "pending", "resolved")
    )
    if who.problem is not None or firing or pending:
        looked.show(who, now)
    _numbers(firing, pending, resolved, told["silences"], now)
    if firing or pending:
        silencing = silence_form.ask if caller.may(silence_form.ROLE) else None
        there = {str(one["name"]) for one in told["monitors"]}
        alert_cards.show([*alert_cards.ranked(firing), *alert_cards.ranked(pending)], silencing, there)
    elif chosen.get("state") != "resolved":
        _quiet(who, chosen, bool(told["firing"] or told["pending"]), now)
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-silences-head"
    ):
        st.subheader("Silences", anchor=False)
        silence_form.offer(caller)
    silence_form.listed(caller, told["silences"])
    if chosen.get("state") in (None, "resolved"):
        st.subheader("Resolved", anchor=False)
        _resolved(resolved, {str(one["name"]) for one in told["monitors"]})
    st.caption("The page is read anew every ten seconds.")


def _numbers(
    firing: Sequence[Row], pending: Sequence[Row], resolved: Sequence[Row], silences: Sequence[Row], now: datetime
) -> None:
    day = [
        one
        for one in resolved
        if (at := frame.moment(one.get("resolved_at"))) is not None and now - at < timedelta(days=1)
    ]
    frame.numbers(
        [
            ("Firing", human.count(len(firing))),
            ("of them pages", human.count(sum(one["severity"] == "page" for one in firing))),
            ("of them silenced", human.count(sum(one.get("silence") is not None for one in firing))),
            ("Pending", human.count(len(pending))),
            ("Resolved in 24 hours", human.count(len(day))),
            ("Silences that hold", silence_form.count(silences)),
        ],
        "alerts",
    )


def _quiet(who: looked.Looked, chosen: Mapping[str, str], others: bool, now: datetime) -> None:
    """Nothing fires: what that is worth."""
    with st.container(border=True, key="assay-empty-alerts"):
        if chosen and others:
            st.subheader("Nothing of this fires", anchor=False, icon=":material/filter_alt_off:")
            st.text("Other alerts do: loosen what you look at above.")
            return
        if not who.n_on:
            st.subheader("Nothing is watched", anchor=False, icon=":material/visibility_off:")
            st.caption("The monitors of an app that every agent needs:")
            st.code("assay monitors create --defaults --app APP --page CHANNEL", language="bash", wrap_lines=True)
            return
        if who.problem is not None:
            st.subheader("Nothing is known to fire", anchor=False, icon=":material/help:")
            st.text("Nobody looks at the monitors now, so that says nothing.")
            return
        st.subheader("Nothing fires", anchor=False, icon=":material/check_circle:")
        st.text(f"{who.words(now)}.")


def _resolved(alerts: Sequence[Row], monitors: Collection[str]) -> None:
    if not alerts:
        st.text("None yet.")
        return
    alert_cards.over(alerts, "alerts-resolved", monitors)
    more = f" The newest {_MOST_RESOLVED} are listed." if len(alerts) >= _MOST_RESOLVED else ""
    st.caption(f"A click on a row opens the incident that the alert stood in, one on its monitor that monitor.{more}")
