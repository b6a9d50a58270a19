"""The default monitors of an agent: what would be made, and one press that makes them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard.api import Api, ApiFailure, Row
from dashboard.parts import lists, states
from dashboard.parts import monitor_words as words
from dashboard.parts.callers import Caller
from dashboard.text import inert, label, one_line

ROLE: Final = "power_user"
_MADE: Final = "monitors-made"


def channels(api: Api) -> list[str]:
    """The channels that an operator has set. Raises `ApiFailure`."""
    return _channels(api)


@st.cache_data(ttl=60, max_entries=2, show_spinner=False)
def _channels(_api: Api) -> list[str]:
    return [str(one["name"]) for one in _api.page("/channels", {}).items]


@st.cache_data(ttl=20, max_entries=8, show_spinner=False)
def _forecast(_api: Api, app: str, name: str) -> list[Row]:
    """What is not there yet of them; `name` tells callers apart."""
    return list(_api.post("/monitors/defaults", {"app": app, "dry_run": True})["items"])


def offer(caller: Caller, app: str) -> None:
    """A table of what would be made for the app, whom they tell, and the button; for whom may not, the command."""
    if not caller.may(ROLE):
        st.caption(f"Making them takes a key of role {ROLE}: give one above, or use the command line.")
        st.code(f"assay monitors create --defaults --app {shlex.quote(inert(app, 120))}", language="bash")
        return
    found = _forecast(caller.api, app, caller.name)
    if not found:
        st.text(f"{inert(app, 80)} has all default monitors already.")
        return
    _table(found)
    known = channels(states.api())
    chosen: list[str] = st.multiselect(
        "Whom they tell",
        known,
        default=known[:1],
        key=f"defaults-channels-{app}",
        placeholder="nobody: alerts stand on the pages only",
        help="Channels are set by an operator, in channels.yaml.",
        width=420,
    )
    n = len(found)
    title = f"Watch {'this one' if n == 1 else f'these {n}'}"
    if st.button(f"{title} of {label(app, 40)}", type="primary", icon=":material/add_alert:", key="defaults-make"):
        _make(caller, app, chosen)


def _table(found: Sequence[Row]) -> None:
    column = st.column_config
    lists.plain_table(
        {
            "Monitor": [one_line(one["name"], 60) for one in found],
            "Watches": [one_line(one["about"], 120) for one in found],
            "Fires after": [words.when(one["definition"]) for one in found],
            "Band": [words.kind(one["definition"]) for one in found],
            "Severity": [str(one["definition"]["severity"]) for one in found],
            "False pages a week": [words.budget(one["definition"]["false_pages_per_week"]) for one in found],
        },
        {
            "Monitor": column.TextColumn(width=130),
            "Watches": column.TextColumn(width=330),
            "Fires after": column.TextColumn(width=240),
            "Band": column.TextColumn(width=170),
            "Severity": column.TextColumn(width=80),
            "False pages a week": column.TextColumn(width=140, alignment="right"),
        },
        "monitor-defaults",
    )


def _make(caller: Caller, app: str, chosen: Sequence[str]) -> None:
    try:
        made = caller.api.post("/monitors/defaults", {"app": app, "channels": list(chosen)})["items"]
    except ApiFailure as failure:
        st.text(inert(failure.detail, 500))
        return
    st.session_state[_MADE] = len(made)
    st.cache_data.clear()
    st.rerun()


def told() -> None:
    """After they were made: that they were, once."""
    n = st.session_state.pop(_MADE, None)
    if n:
        st.toast(f"{n} monitors made. The first look is within a minute.", icon=":material/check_circle:")
