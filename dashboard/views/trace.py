"""One trace: its spans on the left, the selected span on the right. `?trace_id=…&span_id=…` leads to one span."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, NotFound, Row
from dashboard.parts import frame, score_cards, span_detail, span_list, states, to_dataset
from dashboard.text import inert

FIRST_SPANS: Final = 2_000
_MORE_SPANS: Final = 5_000
_MOST_ANCESTORS: Final = 64


@st.cache_data(ttl=60, max_entries=8, show_spinner=False)
def _read(_api: Api, trace_id: str, wanted: int) -> Row:
    """The trace with its first `wanted` spans."""
    answer = _api.trace(trace_id, limit=min(wanted, FIRST_SPANS))
    answer["spans"] = [span_list.kept(span) for span in answer["spans"]]
    while answer.get("next_cursor") and len(answer["spans"]) < wanted:
        rest = min(wanted - len(answer["spans"]), _MORE_SPANS)
        more = _api.trace(trace_id, limit=rest, cursor=answer["next_cursor"])
        answer["spans"] += [span_list.kept(span) for span in more["spans"]]
        answer["next_cursor"] = more.get("next_cursor")
    return answer


@st.cache_data(ttl=60, max_entries=16, show_spinner=False)
def _read_span(_api: Api, trace_id: str, span_id: str) -> Row:
    return _api.span(trace_id, span_id)


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def _columns(_spans: Sequence[Row], trace_id: str, n_spans: int, start_ns: int, extra: str) -> dict[str, Any]:
    return span_list.payload(_spans, start_ns)


@states.guarded
def show() -> None:
    """The page."""
    trace_id = st.query_params.get("trace_id", "").strip().lower()
    if not trace_id:
        _ask()
        return
    wanted = int(st.session_state.get(f"wanted-{trace_id}", FIRST_SPANS))
    with st.spinner(f"Reading up to {wanted:,} spans…") if wanted > FIRST_SPANS else nullcontext():
        answer = _read(states.api(), trace_id, wanted)
    trace, spans, scores = answer["trace"], answer["spans"], answer.get("scores") or []
    _head(trace, scores, reasoned=any(span.get("kind") == "AGENT" for span in spans))
    total = int(answer.get("n_spans") or len(spans))
    with st.container(key="assay-more"):  # always there: what follows keeps its place when all is loaded
        if len(spans) < total:
            _more(trace_id, len(spans), total)
    selected = st.query_params.get("span_id") or _root_of(spans)
    strangers = _ancestors(trace_id, selected, spans)
    _body(trace, [*spans, *strangers], scores, selected)


def _ask() -> None:
    st.title("Trace", anchor=False)
    with st.form("find-trace", border=True, width=560):
        given = st.text_input("Trace id", placeholder="32 hexadecimal digits")
        if st.form_submit_button("Open", type="primary") and given:
            links.open_trace(given.strip())
    st.page_link(links.TRACES.page(), label="All traces", icon=":material/arrow_back:")


def _head(trace: Row, scores: Sequence[Row], *, reasoned: bool) -> None:
    trace_id = str(trace["trace_id"])
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        st.page_link(links.TRACES.page(), label="Traces", icon=":material/arrow_back:")
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            if trace.get("session_id") and st.button("Open session", icon=":material/forum:", key="to-session"):
                links.open_session(str(trace["session_id"]))
            if reasoned and st.button("Open reasoning", icon=":material/psychology:", key="to-agent"):
                links.open_agent(trace_id)
            to_dataset.offer("traces", trace_id, trace.get("app"))
            with st.popover("Copy ids", icon=":material/content_copy:"):
                for name, value in (
                    ("Trace id", trace_id),
                    ("Session id", trace.get("session_id")),
                    ("User id", trace.get("user_id")),
                    ("Selected span id", st.query_params.get("span_id")),
                ):
                    if value:
                        st.caption(name)
                        st.code(inert(value, 500), language=None, wrap_lines=True)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="content"):
            unnamed = "The root span has not arrived" if trace.get("root_missing") else None
            frame.heading(trace.get("name") or unnamed, "trace", page="Trace")
        frame.status_badge(trace.get("status"))
        if trace.get("root_missing"):
            st.badge("root not arrived", icon=":material/hourglass_empty:", color="orange")
    exact = trace.get("cost_usd_exact")
    frame.facts(
        (
            ("Started", frame.started(trace.get("start_ns"))),
            ("Latency", human.duration(trace.get("duration_ms"))),
            ("Spans", f"{trace.get('n_spans') or 0:,}"),
            ("Error spans", human.count(trace["n_errors"]) if trace.get("n_errors") else None),
            ("Model calls", human.count(trace.get("n_model_calls"))),
            ("Tool calls", human.count(trace.get("n_tool_calls"))),
            ("Tokens", human.in_and_out(trace)),
            ("Cost", human.usd(float(exact) if exact else trace.get("cost_usd"))),
        ),
        "trace",
    )
    frame.facts(
        (
            ("App", trace.get("app")),
            ("Release", trace.get("release")),
            ("Variant", trace.get("variant")),
            ("Environment", trace.get("environment")),
            ("User", trace.get("user_id")),
            ("Trace id", trace_id),
        ),
        "trace-from",
    )
    about_turn = [score for score in scores if not score.get("span_id")]
    if about_turn:
        score_cards.line(about_turn, "trace")


def _more(trace_id: str, loaded: int, total: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Showing the first {loaded:,} of {total:,} spans, in order of start.", width="content")
        for words, wanted in (
            (f"Load {min(_MORE_SPANS, total - loaded):,} more", loaded + _MORE_SPANS),
            ("Load all", total),
        ):
            if st.button(words, key=f"more-{wanted}", type="tertiary"):
                st.session_state[f"wanted-{trace_id}"] = wanted
                st.rerun()


def _root_of(spans: Sequence[Row]) -> str | None:
    roots = [span for span in spans if not span.get("parent_span_id")]
    first = (roots or list(spans))[:1]
    return str(first[0]["span_id"]) if first else None


def _ancestors(trace_id: str, span_id: str | None, spans: Sequence[Row]) -> list[Row]:
    """The selected span and those above it, when they are not among the loaded ones."""
    loaded = {span["span_id"] for span in spans}
    found: list[Row] = []
    while span_id and span_id not in loaded and len(found) < _MOST_ANCESTORS:
        try:
            span = _read_span(states.api(), trace_id, span_id)
        except NotFound:
            break
        found.append(span)
        loaded.add(span_id)
        span_id = span.get("parent_span_id")
    return found


@st.fragment
@states.guarded
def _body(trace: Row, spans: Sequence[Row], scores: Sequence[Row], first: str | None) -> None:
    trace_id = str(trace["trace_id"])
    if not spans:
        st.caption("No span of this trace is stored.")
        return
    columns = _columns(spans, trace_id, len(spans), int(trace.get("start_ns") or 0), str(spans[-1]["span_id"]))
    left, right = st.columns([5, 6], gap="medium")
    with left:
        span_list.show(columns, trace_id=trace_id, selected=first, on_select=lambda: None)
    chosen = _chosen(trace_id) or first
    if chosen and st.query_params.get("span_id") != chosen:
        st.query_params["span_id"] = chosen
    with right, st.container(border=True, key="assay-detail"):
        _detail(trace_id, chosen, scores)


def _chosen(trace_id: str) -> str | None:
    """The span that was clicked last; a trigger lasts for one run, so it is kept."""
    clicked = (st.session_state.get(span_list.span_list_key(trace_id)) or {}).get("selected")
    if clicked:
        st.session_state[f"chosen-{trace_id}"] = clicked
    chosen: str | None = clicked or st.session_state.get(f"chosen-{trace_id}")
    return chosen


def _detail(trace_id: str, span_id: str | None, scores: Sequence[Row]) -> None:
    if span_id is None:
        st.caption("Select a span on the left.")
        return
    try:
        span = _read_span(states.api(), trace_id, span_id)
    except NotFound:
        st.subheader("This span is not stored", anchor=False, icon=":material/search_off:")
        st.caption("The address names a span that this trace does not have. Select one on the left.")
        return
    own = span.get("scores") or [score for score in scores if score.get("span_id") == span_id]
    span_detail.show(span, own)
