"""What happened in a rollout, newest first: when, what, who, why, and the certificate of what was done by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import streamlit as st

from dashboard import human
from dashboard.api import Api, ApiFailure, Row
from dashboard.parts import frame, states
from dashboard.text import as_json, inert, inert_tree

Colour = Literal["green", "red", "blue", "orange", "gray"]
_KINDS: Final[dict[str, tuple[str, str, Colour]]] = {
    "deploy": ("begun", "rocket_launch", "blue"),
    "step": ("step", "arrow_upward", "blue"),
    "hold": ("held", "hourglass_top", "orange"),
    "roll_back": ("rolled back", "assignment_return", "red"),
    "promote": ("promoted", "verified", "green"),
    "abort": ("aborted", "cancel", "gray"),
    "pause": ("paused", "pause_circle", "orange"),
    "resume": ("resumed", "play_circle", "blue"),
    "approve": ("approved", "how_to_reg", "green"),
}
_MOST: Final = 60
_MOST_REASONS: Final = 12


def show(rollout: Row) -> None:
    """Every event with an icon and its word; the certificate opens on demand."""
    events: Sequence[Row] = rollout["timeline"]
    if not events:
        st.text("Nothing has happened yet.")
        return
    _verify(rollout)
    with st.container(border=True, key="assay-timeline", gap="small"):
        for at, event in enumerate(list(reversed(events))[:_MOST]):
            _event(rollout, event, at)
    if len(events) > _MOST:
        st.caption(f"The newest {_MOST} of {len(events):,}.")


def _verify(rollout: Row) -> None:
    """Computes all certificates again, on demand."""
    n = int(rollout.get("n_certificates") or 0)
    if not n:
        return
    key = f"rollout-verified-{rollout['id']}-{n}"  # stays on the page while it is refreshed
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-rollout-verify"):
        if st.button("Verify the certificates", icon=":material/verified_user:", key="rollout-verify"):
            api = states.api()
            st.session_state[key] = api.get(api.rollout_path(str(rollout["app"]), "verdict"), {"id": rollout["id"]})
        told: Row | None = st.session_state.get(key)
        if told is None:
            return
        if told["ok"]:
            st.badge("verified", icon=":material/check_circle:", color="green")
            st.text(f"{human.plural(n, 'certificate')} computed again: every figure and every decision is the same.")
        else:
            st.badge("does not hold", icon=":material/cancel:", color="red")
            st.text(inert("; ".join(map(str, told["problems"])), 600))


def _event(rollout: Row, event: Row, at: int) -> None:
    kind = str(event["kind"])
    spelled = "".join(one if one.isalnum() else " " for one in kind)[:30].strip() or "event"
    title, icon, colour = _KINDS.get(kind, (spelled, "circle", "gray"))
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-event-{at}"):
        with st.container(key=f"assay-when-{at}", width=118):
            moment = frame.moment(event["at"])
            st.text("–" if moment is None else f"{moment.day} {moment:%b %H:%M:%S}")
        with st.container(width=140):
            st.badge(title, icon=f":material/{icon}:", color=colour)
        with st.container(width="stretch", gap=None, key=f"assay-what-{at}"):
            first, *reasons = _sentences(str(event["text"]))
            st.text(inert(first, 500))
            if reasons:
                with st.container(key=f"assay-quiet-why-{at}", gap=None):
                    for reason in reasons[:_MOST_REASONS]:
                        st.text(inert(reason, 400))
            if event.get("by"):
                with st.container(key=f"assay-quiet-by-{at}"):
                    st.text(f"by {inert(event['by'], 80)}")
        if event.get("certificate") and st.button(
            "Certificate", icon=":material/verified_user:", type="tertiary", key=f"rollout-certificate-{at}"
        ):
            _certificate(str(rollout["app"]), str(rollout["id"]), str(event["certificate"]))


def _sentences(text: str) -> list[str]:
    """What happened, and each reason on a line of its own; the rates of a guardrail stay with its e-value."""
    found: list[str] = []
    for part in text.split("; "):
        if found and part.startswith("failures:"):
            found[-1] += f"; {part}"
        else:
            found.append(part)
    return found


@st.dialog("Certificate", width="large")
def _certificate(app: str, rollout_id: str, certificate: str) -> None:
    """Counts, e-values, alpha budget and policy of one action, and the command that computes it again."""
    try:
        told = _read(states.api(), app, rollout_id, certificate)
    except ApiFailure as failure:
        st.text(inert(failure.detail, 400))
        return
    st.text("What an automatic action rests on: counts, e-values, alpha budget and the hash of the policy.")
    _gist(told)
    st.json(inert_tree(told), expanded=1)
    st.download_button(
        "Download", as_json(told), file_name="certificate.json", mime="application/json", icon=":material/download:"
    )
    st.caption("This computes it again from its counts, without a server:")
    st.code("assay rollouts verify certificate.json", language="bash")


def _gist(told: Row) -> None:
    """What was done, when and why, before all of its figures."""
    at = frame.moment(told.get("at_ns"))
    step = told.get("step")
    frame.facts(
        (
            ("Decision", str(told.get("decision") or "").replace("_", " ")),
            ("Step", None if step is None else f"{int(step) + 1}"),
            ("At", None if at is None else f"{at.day} {at:%b %Y, %H:%M:%S}"),
            ("Policy", str(told.get("policy_hash") or "")[:12]),
        ),
        "certificate",
    )
    for reason in list(told.get("reasons") or [])[:_MOST_REASONS]:
        st.text(inert(reason.get("text") if isinstance(reason, dict) else reason, 400))


@st.cache_data(ttl=600, max_entries=64, show_spinner=False)
def _read(_api: Api, app: str, rollout_id: str, certificate: str) -> Row:
    """It never changes."""
    return _api.get(_api.rollout_path(app, "certificates", certificate), {"id": rollout_id})
