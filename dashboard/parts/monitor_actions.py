"""What a person does with a monitor: silence it, try its channels, switch it on or off, delete it after being told what
goes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, ApiFailure, Row
from dashboard.parts import frame, states
from dashboard.parts import monitor_words as words
from dashboard.parts.callers import Caller
from dashboard.text import inert, label, one_line

_SILENCES: Final = "user"
_CHANGES: Final = "power_user"
_LENGTHS: Final = {
    "30m": "30 minutes",
    "2h": "2 hours",
    "8h": "8 hours",
    "24h": "a day",
    "3d": "3 days",
    "until": "until …",
}
_ENDED: Final = frozenset({"succeeded", "dead"})
_TESTS: Final = "monitor-tests"


def offer(caller: Caller, monitor: Row) -> None:
    """The buttons that the caller's role allows; for who may none of them the commands."""
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", width="content", key="assay-monitor-actions"
    ):
        if not caller.may(_SILENCES):
            _commands(monitor)
            return
        title, icon = (
            ("Silenced", "notifications_off") if monitor.get("silenced") else ("Silence", "notifications_paused")
        )
        with (
            st.popover(title, icon=f":material/{icon}:", key="monitor-silence"),
            st.container(width=440),
        ):
            _silence(caller, monitor)
        with (
            st.popover("Test", icon=":material/outgoing_mail:", key="monitor-test"),
            st.container(width=440),
        ):
            _test(caller, monitor)
        if caller.may(_CHANGES):
            _switch(caller, monitor)
            if st.button("Delete", icon=":material/delete:", key="monitor-delete"):
                _delete(caller, monitor)


def _commands(monitor: Row) -> None:
    name = shlex.quote(inert(monitor["name"], 120))
    with st.popover("Silence or change", icon=":material/terminal:", key="monitor-commands"):
        st.caption(f"Silencing takes a key of role {_SILENCES}, changing one of role {_CHANGES}: give one beside, or "
                   "use the command line.")  # fmt: skip
        said = (
            f"assay silence {name} 2h --why deploy\nassay monitors edit {name} --false-pages-per-week 0.5\n"
            f"assay monitors test {name}"
        )
        st.code(said, language="bash", wrap_lines=True)


# Silences


def _silence(caller: Caller, monitor: Row) -> None:
    """Those that are there, each with a button that ends it, and a form for another."""
    for at, one in enumerate(monitor["silences"]):
        _there(caller, one, at)
    st.caption("Its alerts live on, stand in their incidents and hold rollouts; only nobody is told of them.")
    series = _which(monitor)
    length: str = st.segmented_control(
        "For how long", list(_LENGTHS), default="2h", format_func=_LENGTHS.__getitem__, key="silence-length",
        required=True,
    ) or "2h"  # fmt: skip
    until = _until() if length == "until" else None
    why = st.text_input("Why (whoever misses a page asks)", key="silence-why", max_chars=300)
    pressed = st.button(
        "Silence it", type="primary", icon=":material/notifications_off:", key="silence-do", disabled=not why.strip()
    )
    if pressed:
        matcher = {"monitor": str(monitor["name"])} | ({"series": series} if series else {})
        ends = {"end": until.isoformat()} if until else {"lasts": length}
        body = {"matcher": matcher, "why": why.strip(), **ends}
        act(lambda: caller.api.post("/silences", body))


def _there(caller: Caller, one: Row, at: int) -> None:
    with st.container(border=True, gap="small", key=f"assay-silence-{at}"):
        when = "until" if one["active"] else f"from {_moment(one['start'])} until"
        weekly: Row = one.get("weekly") or {}
        st.text(f"{when} {_moment(one['end'])}: {inert(one['why'], 200)}")
        if weekly:
            days = ", ".join(map(str, weekly["days"]))
            st.caption(label(f"every {days}, {weekly['start']} to {weekly['end']} ({weekly.get('zone', 'UTC')})", 120))
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.text(f"{_matched(one['matcher'])}, by {inert(one['made_by'], 60)}")
            if st.button("End it now", icon=":material/notifications:", key=f"silence-end-{at}"):
                path = f"/silences/{one['id']}"
                act(lambda: caller.api.delete(path))


def _matched(matcher: Row) -> str:
    return ", ".join(f"{key} {inert(of, 60)}" for key, of in sorted(matcher.items())) or "everything"


def _which(monitor: Row) -> str | None:
    """Of a monitor that is split, one of its series, or all."""
    names = [str(one["series"]) for one in monitor["series"]]
    if not monitor["definition"].get("by") or len(names) < 2:
        return None
    chosen: str = st.selectbox(
        "Which series", ["", *names], key="silence-series", format_func=lambda one: one_line(one, 80) or "all of them"
    )
    return chosen or None


def _until() -> datetime | None:
    zone = frame.timezone()
    now = datetime.now(zone).replace(second=0, microsecond=0, tzinfo=None)
    proposed = st.session_state.setdefault("silence-proposed", now + timedelta(hours=4))
    found = st.datetime_input(f"Until ({frame.zone_words()})", proposed, key="silence-until")
    return None if found is None else found.replace(tzinfo=zone)


def _moment(at: object) -> str:
    moment = frame.moment(at)
    return human.UNKNOWN if moment is None else f"{moment.day} {moment:%b, %H:%M}"


# Channels


def _test(caller: Caller, monitor: Row) -> None:
    """A message that says it is a test to each of its channels, and what became of each."""
    channels = [str(one) for one in monitor["definition"]["channels"]]
    if not channels:
        st.text("It tells nobody: its alerts stand on the pages only. Edit gives it a channel.")
        return
    st.text(f"It tells {inert(', '.join(channels), 300)}. A test says that it is one.")
    if st.button("Send a test to each", type="primary", icon=":material/send:", key="monitor-test-do"):
        found: list[str] = []
        for one in channels:
            try:
                found.append(str(caller.api.post(caller.api.channel_path(one, "test"), {})["id"]))
            except ApiFailure as failure:
                st.text(f"{inert(one, 60)}: {inert(failure.detail, 300)}")
        st.session_state[_TESTS] = (str(monitor["name"]), found)
    name, ids = st.session_state.get(_TESTS) or ("", [])
    if name == monitor["name"] and ids:
        st.fragment(_sent, run_every=2.0)(ids)


@states.refreshed
def _sent(ids: Sequence[str]) -> None:
    """Each delivery as it stands, read anew while one looks."""
    for at, one in enumerate(_deliveries(states.api(), tuple(ids))):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-tested-{at}"):
            match one["state"]:
                case "succeeded":
                    st.badge("arrived", icon=":material/check_circle:", color="green")
                case "dead":
                    st.badge("given up", icon=":material/cancel:", color="red")
                case "retrying":
                    st.badge("tried again", icon=":material/refresh:", color="orange")
                case _:
                    st.badge("on its way", icon=":material/hourglass_top:", color="gray")
            st.text(inert(one["channel"], 60) + (f": {inert(one['error'], 300)}" if one.get("error") else ""))


@st.cache_data(ttl=1, max_entries=8, show_spinner=False)
def _deliveries(_api: Api, ids: tuple[str, ...]) -> list[Row]:
    return _api.objects([(f"/deliveries/{one}", {}) for one in ids])


# On, off, deleted


def _switch(caller: Caller, monitor: Row) -> None:
    on = monitor["status"] == "on"
    if on:
        if st.button("Switch off", icon=":material/power_settings_new:", key="monitor-off"):
            _off(caller, monitor)
    elif st.button("Switch on", type="primary", icon=":material/power_settings_new:", key="monitor-on"):
        path = caller.api.monitor_path(str(monitor["name"]))
        act(lambda: caller.api.patch(path, {"enabled": True}))


@st.dialog("Switch it off?")
def _off(caller: Caller, monitor: Row) -> None:
    st.text(f"{inert(monitor['name'], 80)} is looked at no more. {_firing(monitor)}")
    st.caption("Switched on again it learns anew from the four weeks before. To keep people from being told for a "
               "while, silence it instead.")  # fmt: skip
    if st.button("Switch off", type="primary", icon=":material/power_settings_new:", key="monitor-off-yes"):
        path = caller.api.monitor_path(str(monitor["name"]))
        act(lambda: caller.api.patch(path, {"enabled": False}))


@st.dialog("Delete it?")
def _delete(caller: Caller, monitor: Row) -> None:
    """What would go, as the server's dry run says it, and the button."""
    path = caller.api.monitor_path(str(monitor["name"]))
    try:
        would = caller.api.delete(path, {"dry_run": "true"})
    except ApiFailure as failure:
        st.text(inert(failure.detail, 500))
        return
    with st.container(key="assay-monitor-goes", gap="small"):
        st.text(f"{inert(would['name'], 80)} ({inert(would['definition']['series'], 80)} of {inert(would['app'], 80)}) "
                "would be watched no more.")  # fmt: skip
        st.text(f"Goes: what its band has learned of {human.count(int(would['n_series']))} series. {_firing(would)}")
        if would["definition"].get("guard"):
            st.text("Goes: it guards rollouts of its app, and would ask nothing of them any more.")
        st.text(f"Stays: its {human.plural(int(would['version']), 'version')}, its alerts and incidents. A monitor of "
                "this name that is made later counts its versions on.")  # fmt: skip
    if st.button("Delete", type="primary", icon=":material/delete:", key="monitor-delete-yes"):
        try:
            caller.api.delete(path)
        except ApiFailure as failure:
            st.text(inert(failure.detail, 500))
            return
        st.cache_data.clear()
        links.open_monitors()


def _firing(monitor: Row) -> str:
    n = int(monitor["n_firing"])
    if not n:
        return "Nothing of it fires now."
    return f"{human.plural(n, 'alert')} of it {'fires' if n == 1 else 'fire'} now, and would end, told as such."


def act(do: Callable[[], object]) -> None:
    """Does it and draws the page anew; a refusal stands where the button is."""
    try:
        do()
    except ApiFailure as failure:
        st.text(inert(failure.detail, 500))
        return
    st.cache_data.clear()
    st.rerun()


def badge(monitor: Row) -> None:
    """How it is, and whether nobody is told."""
    said = words.HEALTH.get(str(monitor["health"]))
    if said is not None:
        st.badge(
            said.title, icon=f":material/{said.icon}:", color=said.colour, help=words.ABOUT[str(monitor["health"])]
        )
    silenced: Row | None = monitor.get("silenced")
    if silenced:
        st.badge(f"silenced until {_moment(silenced['end'])}", icon=":material/notifications_off:", color="gray",
                 help=label(silenced["why"], 200))  # fmt: skip
