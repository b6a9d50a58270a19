"""What happened in an incident, newest first, and whom it was told: what arrived, what fails, what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import ApiFailure, Row
from dashboard.parts import alert_words as words
from dashboard.parts import frame, lists, verdict
from dashboard.parts.alert_cards import moment
from dashboard.parts.callers import Caller
from dashboard.parts.verdict import Said
from dashboard.text import inert, one_line

_KINDS: Final = {
    "opened": Said(title="opened", colour="red", icon="crisis_alert"),
    "fired": Said(title="fired", colour="red", icon="local_fire_department"),
    "raised": Said(title="louder", colour="red", icon="priority_high"),
    "renotified": Said(title="told again", colour="orange", icon="campaign"),
    "resolved": Said(title="resolved", colour="green", icon="check_circle"),
    "noted": Said(title="noted", colour="gray", icon="description"),
    "acknowledged": Said(title="acknowledged", colour="orange", icon="how_to_reg"),
    "assigned": Said(title="given to", colour="blue", icon="person_add"),
    "reopened": Said(title="opened again", colour="red", icon="undo"),
    "closed": Said(title="closed", colour="gray", icon="task_alt"),
    "note": Said(title="note", colour="blue", icon="edit_note"),
}
_MOST: Final = 80
_REPLAY: Final = "power_user"
_TOLD: Final = {
    "incident.call": "call", "incident.update": "update", "incident.resolved": "resolved",
    "incident.acknowledged": "acknowledged", "test": "test",
}  # fmt: skip


def show(incident: Row) -> None:
    """Every line with an icon and its word."""
    lines: Sequence[Row] = incident.get("timeline") or []
    with st.container(border=True, key="assay-timeline", gap="small"):
        if not lines:
            st.text("Nothing has happened yet.")
        for at, line in enumerate(list(reversed(lines))[:_MOST]):
            _line(line, at)
    if len(lines) > _MOST:
        st.caption(f"The newest {_MOST} of {len(lines):,}.")


def _line(line: Row, at: int) -> None:
    kind = verdict.of(_KINDS, line["kind"])
    happened, written = frame.moment(line["at"]), frame.moment(line.get("written_at"))
    with st.container(horizontal=True, vertical_alignment="top", gap="small", key=f"assay-event-{at}"):
        with st.container(key=f"assay-when-{at}", width=118):
            st.text(human.UNKNOWN if happened is None else f"{happened.day} {happened:%b %H:%M:%S}")
        with st.container(width=150):
            verdict.badge(kind)
        with st.container(width="stretch", gap=None, key=f"assay-what-{at}"):
            st.text(inert(line.get("text"), 4_000) or kind.title)
            said = _about(line)
            if happened and written and (written - happened).total_seconds() >= 60:
                said.append(f"known at {written:%H:%M:%S}, {words.lasting((written - happened).total_seconds())} later")
            if said:
                with st.container(key=f"assay-quiet-by-{at}"):
                    st.text(inert(" · ".join(said), 400))


def _about(line: Row) -> list[str]:
    said = [f"by {line['by']}"] if line.get("by") else []
    if line.get("monitor"):
        said.append(f"monitor {line['monitor']}, {words.series(line.get('series') or '')}")
    return said


def deliveries(caller: Caller, incident: Row) -> None:
    """What needs somebody first: given up, then failing; then all of them."""
    told: Sequence[Row] = incident.get("deliveries") or []
    if not told:
        st.text("Nobody was told: no monitor of it names a channel, or a silence held.")
        st.code("assay monitors edit MONITOR --page CHANNEL", language="bash", wrap_lines=True)
        return
    states = ("succeeded", "queued", "running", "retrying", "dead")
    counts = [(state, sum(one["state"] == state for one in told)) for state in states]
    with st.container(horizontal=True, gap="small", key="assay-deliveries-counts"):
        for state, n in counts:
            if n:
                said = verdict.of(words.DELIVERY, state)
                st.badge(f"{n:,} {said.title}", icon=f":material/{said.icon}:", color=said.colour)
    for at, one in enumerate([one for one in told if one["state"] in ("dead", "retrying")][:10]):
        _trouble(caller, one, at)
    column = st.column_config
    titles = {said.title: said.colour for said in words.DELIVERY.values()}
    lists.plain_table(
        {
            "Made": [frame.moment(one.get("created_at")) for one in told],
            "Channel": [one_line(one.get("channel"), 60) for one in told],
            "What": [_TOLD.get(str(one.get("kind")), one_line(one.get("kind"), 40)) for one in told],
            "State": [[verdict.of(words.DELIVERY, one["state"]).title] for one in told],
            "Tries": [int(one.get("tries") or 0) for one in told],
            "Ended": [frame.moment(one.get("ended_at")) for one in told],
            "Text": [one_line(one.get("text"), 240) for one in told],
        },
        {
            **{name: column.DatetimeColumn(format="D MMM HH:mm:ss", width=130) for name in ("Made", "Ended")},
            "Channel": column.TextColumn(width=110),
            "What": column.TextColumn(width=110),
            "State": column.MultiselectColumn(options=list(titles), color=list(titles.values()), width=150),
            "Tries": column.NumberColumn(format="localized", width=60),
            "Text": column.TextColumn(width=420),
        },
        "incident-deliveries",
    )


def _trouble(caller: Caller, one: Row, at: int) -> None:
    """One that has not arrived: why, and when it is tried again or how."""
    dead = one["state"] == "dead"
    with st.container(
        border=True, horizontal=True, vertical_alignment="center", gap="small", key=f"assay-delivery-{at}"
    ):
        verdict.badge(verdict.of(words.DELIVERY, one["state"]))
        with st.container(width="stretch", gap=None):
            n = int(one.get("tries") or 0)
            tries = f"{n:,} {'try' if n == 1 else 'tries'}"
            st.text(inert(f"{one.get('channel')}: {one.get('error') or 'not known why'}", 400))
            with st.container(key=f"assay-quiet-delivery-{at}"):
                again = "" if dead else f", the next at {moment(one.get('next_at'))}"
                st.text(f"{tries}{again}")
        if dead and not caller.may(_REPLAY):
            st.caption("A key of role power user can send it again.", width="content")
        elif dead and st.button("Send it again", icon=":material/replay:", key=f"delivery-replay-{at}"):
            _replay(caller, str(one["id"]))


def _replay(caller: Caller, delivery: str) -> None:
    try:
        caller.api.post(caller.api.delivery_path(delivery, "replay"), {})
    except ApiFailure as failure:
        st.text(inert(failure.detail, 400))
        return
    st.cache_data.clear()
    st.rerun(scope="app")
