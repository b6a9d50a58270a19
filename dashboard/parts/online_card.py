"""What looks at sessions as they end, and how far behind it is: a card of the page Evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.text import inert


def card(told: Row) -> None:
    """`told` is what GET /evaluators/online answers. Nothing is chosen: a line that says how to."""
    with st.container(border=True, key="assay-online"):
        st.markdown("**Online**")
        choices = [one for one in told["items"] if one["evaluators"]]
        if not choices:
            st.caption("No rule looks at sessions as they end. Choose some:")
            st.code("assay eval online set APP --evaluators loop_free,pii_leak", language=None)
            return
        for one in choices:
            st.text(choice_line(one))
        st.caption(status_line(told["status"]))


def choice_line(one: Mapping[str, Any]) -> str:
    """Which rules look at an app's sessions, in one line; names are text of the tenant."""
    app = "every other app" if one["app"] == "*" else inert(one["app"], 60)
    names = [inert(name, 60) for name in one["evaluators"]]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    share = "" if one["share"] == 1 else f"  ·  {100 * one['share']:.3g}% of sessions"
    return f"{app}: {', '.join(names[:6])}{more}{share}"


def status_line(status: Mapping[str, Any]) -> str:
    """How far behind it is, in one line."""
    if not status["interval_s"]:
        return "This server does not look: online_interval_s is 0."
    said = [f"{human.count(status['n_sessions'])} sessions scored"]
    if status["n_waiting"]:
        said.append(f"{human.count(status['n_waiting'])} open or waiting")
    if status["lag_ms"] is not None:
        said.append(f"scored within {human.duration(status['lag_ms'])} of their end")
    return "  ·  ".join(said)
