"""What a person may do with a rollout: approve, pause, resume, abort. Each asks once more before it acts."""

from __future__ import annotations

import shlex
from typing import Final

import streamlit as st

from dashboard.api import ApiFailure, Row
from dashboard.parts.callers import Caller
from dashboard.text import inert

ROLE: Final = "power_user"
_BY_STATUS: Final = {
    "waiting": ("approve", "abort"),
    "running": ("pause", "abort"),
    "paused": ("resume", "abort"),
}
_TITLES: Final = {
    "approve": ("Approve", "how_to_reg", "It begins with its first step as soon as its checks are green."),
    "pause": ("Pause", "pause_circle", "The weights stay as they are: nothing is promoted until it is resumed. A "
              "harm that shows is rolled back all the same."),
    "resume": ("Resume", "play_circle", "It goes on at the step where it stands, with all its evidence."),
    "abort": ("Abort", "cancel", "All traffic is the baseline's again within seconds. It cannot be resumed."),
}  # fmt: skip


def offer(caller: Caller, rollout: Row) -> None:
    """The buttons that its status allows; without the role, the commands."""
    offered: tuple[str, ...] = _BY_STATUS.get(str(rollout["status"]), ())
    if str(rollout["status"]) == "waiting" and not (rollout.get("requires") or {}).get("approval"):
        offered = ("abort",)
    if not offered:
        return
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", width="content", key="assay-rollout-actions"
    ):
        if not caller.may(ROLE):
            with st.popover("Pause or abort", icon=":material/terminal:"):
                st.caption(f"This takes a key of role {ROLE}: give one beside, or use the command line.")
                app = shlex.quote(inert(rollout["app"], 120))
                said = "\n".join(f"assay rollouts {one} {app}" for one in offered)
                st.code(said, language="bash", wrap_lines=True)
            return
        for action in offered:
            title, icon, _ = _TITLES[action]
            if st.button(
                title,
                icon=f":material/{icon}:",
                type="primary" if action in ("approve", "resume") else "secondary",
                key=f"rollout-{action}",
            ):
                _confirm(caller, rollout, action)


@st.dialog("Are you sure?")
def _confirm(caller: Caller, rollout: Row, action: str) -> None:
    title, icon, about = _TITLES[action]
    st.text(f"{title} the rollout of {inert(rollout['candidate'], 80)} over {inert(rollout['baseline'], 80)} "
            f"in {inert(rollout['app'], 80)}.")  # fmt: skip
    st.caption(about)
    why = st.text_input("Why (kept in its timeline)", key=f"rollout-why-{action}", max_chars=300)
    if st.button(title, icon=f":material/{icon}:", type="primary", key=f"rollout-{action}-yes"):
        try:
            body: Row = {"reason": why.strip()} if why.strip() else {}
            caller.api.post(caller.api.rollout_path(str(rollout["app"]), action), body)
        except ApiFailure as failure:
            st.text(inert(failure.detail, 500))
            return
        st.cache_data.clear()
        st.rerun()
