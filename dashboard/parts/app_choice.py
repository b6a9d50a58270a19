"""Which app a page is about: from the address, else what was chosen before, else the one with most turns."""

from __future__ import annotations

import streamlit as st

from dashboard.api import Api
from dashboard.parts import address, states
from dashboard.text import one_line

_OURS = "assay."


@st.cache_data(ttl=30, max_entries=4, show_spinner=False)
def _known(_api: Api) -> list[str]:
    """Apps that ever sent something, those with most turns of late first."""
    lately, ever = _api.together([("/apps", {"since": "30d"}), ("/apps", {"since": "3650d"})])
    names = [str(one["app"]) for one in (*lately, *ever) if one.get("app")]
    return [one for one in dict.fromkeys(names) if not one.startswith(_OURS)]


def known() -> list[str]:
    """Apps that ever sent something, those with most turns of late first. Raises `ApiFailure`."""
    return _known(states.api())


def choose(page: str, *, all_too: bool = False) -> str | None:
    """The choice as a list; `all_too`: no app is a choice, and the first one. None where there is none to choose."""
    offered = known()
    told = address.first(page, "app")
    options = offered if told is None or told in offered else [*offered, told]
    if not options:
        return None
    chosen: str | None = st.selectbox(
        "App",
        options,
        index=options.index(told) if told else None if all_too else 0,
        key=f"{page}-app",
        placeholder="All apps",
        label_visibility="collapsed",
        format_func=lambda value: one_line(value, 40),
        width=230,
        icon=":material/smart_toy:",
    )
    address.keep(page, "app", chosen)
    return chosen
