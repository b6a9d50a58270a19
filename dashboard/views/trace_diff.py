"""Two traces or sessions side by side, aligned: `?a=…&b=…`, ids of traces or sessions."""

from __future__ import annotations

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import diff_list, frame, states


@st.cache_data(ttl=60, max_entries=8, show_spinner=False)
def _read(_api: Api, a: str, b: str) -> Row:
    return _api.get("/traces/diff", {"a": a, "b": b})


@states.guarded
def show() -> None:
    """The page."""
    a, b = (st.query_params.get(name, "").strip() for name in ("a", "b"))
    st.page_link(links.TRACES.page(), label="Traces", icon=":material/arrow_back:")
    st.title("Trace diff", anchor=False)
    if not (a and b):
        _ask(a, b)
        return
    diff = _read(states.api(), a, b)
    left, right = st.columns(2)
    with left:
        _side("A", diff["a"])
    with right:
        _side("B", diff["b"])
    _verdict(diff)
    same = diff["a"].get("release") == diff["b"].get("release")
    heads = _head("A", diff["a"], same), _head("B", diff["b"], same)
    opened = diff_list.show(diff, heads, key="trace-diff")
    if opened is not None:
        links.open_trace(opened[1], opened[2] or None)


def _ask(a: str, b: str) -> None:
    st.caption("Two trajectories of the same task, step by step: where they part, and what each of them cost.")
    with st.form("diff-of", border=True, width=560):
        first = st.text_input("A: a trace's or a session's id", value=a)
        second = st.text_input("B: another", value=b)
        if st.form_submit_button("Compare", type="primary") and first and second:
            links.open_trace_diff(first.strip(), second.strip())


def _head(name: str, side: Row, same: bool) -> str:
    """The release where it tells the sides apart, else the id."""
    return f"{name} · {side['id'] if same else side.get('release')}"


def _side(name: str, side: Row) -> None:
    with st.container(border=True, key=f"assay-diff-{name}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.subheader(f"{name}: {side['kind']}", anchor=False)
            if st.button(f"Open {side['kind']}", icon=":material/open_in_full:", type="tertiary", key=f"open-{name}"):
                if side["kind"] == "trace":
                    links.open_trace(str(side["id"]))
                links.open_session(str(side["id"]))
        tokens = human.in_and_out(side)
        frame.facts(
            (
                ("Release", side.get("release")),
                ("Started", frame.started(side.get("start_ns"))),
                ("Latency", human.duration(side.get("duration_ms"))),
                ("Tool calls", human.count(side.get("n_tool_calls"))),
                ("Model calls", human.count(side.get("n_model_calls"))),
                ("Tokens", tokens),
                ("Cost", human.usd(side.get("cost_usd"))),
                ("Error spans", human.count(len(side["errors"])) if side["errors"] else None),
                ("App", side.get("app")),
                (side["kind"].capitalize(), side["id"]),
            ),
            f"diff-{name}",
        )


def _verdict(diff: Row) -> None:
    """What the rows below come to. Numbers only: captions read Markdown."""
    first = diff["first_divergence"]
    if diff["first_difference"] is None:
        st.caption(f"All {diff['n_equal']:,} steps are equal.")
    elif first is not None:
        st.caption(f"They part at step {first + 1:,} of {len(diff['rows']):,}.")
    left_off = diff["left_off"]
    if left_off["a"] or left_off["b"]:
        st.caption(f"{left_off['a']:,} steps of A and {left_off['b']:,} of B are beyond what is compared.")
