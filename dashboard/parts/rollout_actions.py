"""What a person may do with a rollout: approve, pause, resume, abort. Each asks once more before it acts."""

from __future__ import annotations

import shlex
from typing import Final

import streamlit as st

from dashboard.api import ApiFailure, Row
from dashboard.parts.callers import Caller
from dashboard.text import inert

_BY_STATUS: Final = {
    "waiting": ("approve", "abort"),
    "running": ("pause", "abort"),
    "paused": ("resume", "abort"),
}
_ROLES: Final = {"approve": "admin"}  # all others: power_user
_TITLES: Final = {
    "approve": ("Approve", "how_to_reg", "Once its other requirements are there, it begins with its first step. Who "
                "deployed it cannot approve it."),
    "pause": ("Pause", "pause_circle", "The weights stay as they are: nothing is promoted until it is resumed. A "
              "harm that shows is rolled back all the same."),
    "resume": ("Resume", "play_circle", "It goes on at the step where it stands, with all its evidence."),
    "abort": ("Abort", "cancel", "All traffic is the baseline's again within seconds. It cannot be resumed."),
}  # fmt: skip


def offer(caller: Caller, rollout: Row) -> None:
    """The buttons that its status and the caller's role allow; for the others the commands."""
    offered: tuple[str, ...] = _BY_STATUS.get(str(rollout["status"]), ())
    if not (rollout.get("requires") or {}).get("approval") or rollout.get("approved_by"):
        offered = tuple(one for one in offered if one != "approve")
    mine = [one for one in offered if caller.may(_ROLES.get(one, "power_user"))]
    others = [one for one in offered if one not in mine]
    if not offered:
        return
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", width="content", key="assay-rollout-actions"
    ):
        for action in mine:
            title, icon, _ = _TITLES[action]
            forward = action in ("approve", "resume")
            if st.button(
                title, icon=f":material/{icon}:", type="primary" if forward else "secondary", key=f"rollout-{action}"
            ):
                _confirm(caller, rollout, action)
        if others:
            _commands(rollout, others)


def _commands(rollout: Row, actions: list[str]) -> None:
    titles = [_TITLES[one][0].lower() for one in actions]
    with st.popover(" or ".join(titles).capitalize(), icon=":material/terminal:"):
        roles = " or ".join(dict.fromkeys(_ROLES.get(one, "power_user") for one in actions))
        st.caption(f"This takes a key of role {roles}: give one beside, or use the command line.")
        app = shlex.quote(inert(rollout["app"], 120))
        said = "\n".join(f"assay rollouts {one} {app}" for one in actions)
        st.code(said, language="bash", wrap_lines=True)


@st.dialog("Are you sure?")
def _confirm(caller: Caller, rollout: Row, action: str) -> None:
    title, icon, about = _TITLES[action]
    st.text(f"{title} the rollout of {inert(rollout['candidate'], 80)} over {inert(rollout['baseline'], 80)} "
            f"in {inert(rollout['app'], 80)}.")  # fmt: skip
    st.caption(about)
    why = st.text_input("Why (kept in its timeline)", key=f"rollout-why-{action}", max_chars=300)
    if st.button(title, icon=f":material/{icon}:", type="primary", key=f"rollout-{action}-yes"):
        path = caller.api.rollout_path(str(rollout["app"]), action, rollout_id=str(rollout["id"]))
        try:
            caller.api.post(path, {"reason": why.strip()} if why.strip() else {})
        except ApiFailure as failure:
            st.text(inert(failure.detail, 500))
            return
        st.cache_data.clear()
        st.rerun()
