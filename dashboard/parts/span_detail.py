"""The right side of the trace page: one span, whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import arrow, content, frame, palette, score_cards, span_list
from dashboard.text import inert, one_line

_RAW_LIMIT: Final = 2_000


def show(span: Row, scores: Sequence[Row]) -> None:
    """The span with its content, attributes, events, scores and raw JSON."""
    key = f"span-{inert(span.get('span_id'), 32)}"
    _head(span, key)
    _error(span)
    events, links = span.get("events") or [], span.get("links") or []
    names = ["Content", "Attributes", _counted("Events", len(events)), _counted("Scores", len(scores)), "JSON"]
    body, attributes, happened, judged, raw = st.tabs(names, key="span-tabs")
    with body:
        _content(span, key)
    with attributes:
        _table(span.get("attributes") or {}, "Attributes")
        _table(span.get("resource") or {}, "Resource")
        _origin(span, key)
    with happened:
        _events(events, links, key)
    with judged:
        if scores:
            score_cards.cards(scores, key)
        else:
            st.caption(
                "No score for this span. Write one with POST /api/v1/scores, or as a gen_ai.evaluation.result event."
            )
    with raw:
        st.caption("Everything stored about this span. Texts longer than 2,000 characters are cut here.")
        content.json_tree({name: value for name, value in span.items() if value is not None}, depth=2)


def _counted(name: str, number: int) -> str:
    return f"{name} {number}" if number else name


def _head(span: Row, key: str) -> None:
    frame.heading(span.get("name"), key, size="small")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        kind = span.get("kind")
        known = kind in palette.KIND_ICON
        st.badge(
            str(kind) if known else "SPAN",
            icon=f":material/{palette.KIND_ICON[str(kind)]}:" if known else None,
            color="blue",
        )
        frame.status_badge(span.get("status"))
        if span.get("usage_counted") is False and span.get("total_tokens"):
            st.badge(
                "usage not counted",
                color="gray",
                help="An enclosing or repeated span: its tokens are in another span's totals",
            )
        if span.get("scope_name") == span_list.GATEWAY:
            st.badge("via gateway", color="gray", help="The gateway's own span of this call")
        for issue in span.get("issues") or ():
            with st.container(key=f"assay-quiet-{key}-{inert(issue, 30)}", width="content"):
                st.text(inert(issue, 30))
    cells = (
        ("Latency", human.duration(span.get("duration_ms"))),
        ("First token", human.duration(span["ttft_ms"]) if span.get("ttft_ms") is not None else None),
        ("Tokens in", human.count(span["input_tokens"]) if span.get("input_tokens") is not None else None),
        ("Tokens out", human.count(span["output_tokens"]) if span.get("output_tokens") is not None else None),
        ("Cached", human.count(span["cache_read_tokens"]) if span.get("cache_read_tokens") else None),
        ("Reasoning", human.count(span["reasoning_tokens"]) if span.get("reasoning_tokens") else None),
        ("Cost", human.usd(span["cost_usd"]) if span.get("cost_usd") is not None else None),
        ("Model", span.get("model")),
        ("Provider", span.get("provider")),
        ("Tool", span.get("tool_name")),
        ("Agent", span.get("agent_name")),
        ("Started", human.clock(span.get("start_ns"), frame.timezone())),
        ("Span id", span.get("span_id")),
    )
    frame.facts(cells, key)
    if span.get("scope_name") == span_list.GATEWAY:
        frame.facts(gateway_cells(span.get("attributes") or {}), f"gateway-{key}")


def gateway_cells(attributes: Row) -> list[tuple[str, object]]:
    """What the gateway did to a call, by its attributes (docs/gateway-spans.md); values are data."""
    start = f"{span_list.GATEWAY}."
    told = {name.removeprefix(start): value for name, value in attributes.items() if name.startswith(start)}
    masked = [f"{name.removeprefix('masked.')} {told[name]}" for name in sorted(told) if name.startswith("masked.")]
    flags = told.get("flags")
    return [
        ("Upstream", told.get("upstream")),
        ("Asked for", told.get("virtual_model")),
        ("Cache", told.get("cache")),
        ("Masked", ", ".join(masked)),
        ("Flags", ", ".join(map(str, flags)) if isinstance(flags, list) else flags),
        ("Refused", told.get("refused")),
    ]


def _error(span: Row) -> None:
    if span.get("status") != "error":
        return
    with st.container(border=True, key="assay-error-text", horizontal=True, vertical_alignment="center"):
        st.badge("error", icon=":material/error:", color="red")
        said = (span.get("error_type"), span.get("status_message"))
        st.text(inert(": ".join(str(one) for one in said if one), 4_000) or "The span failed and gives no message.")


def _content(span: Row, key: str) -> None:
    tool = span.get("kind") == "TOOL"
    first, second = ("Arguments", "Result") if tool else ("Input", "Output")
    shown = content.conversation(span.get("system_messages"), f"{key}-system")  # titled "System", before the input
    for title, messages, value in (
        (first, span.get("input_messages"), span.get("input")),
        (second, span.get("output_messages"), span.get("output")),
    ):
        one = f"{key}-{title}"
        if messages and not tool:
            st.caption(title)
            if content.conversation(messages, one):
                shown = True
                continue
        if value not in (None, ""):
            content.block(title, value, one)
            shown = True
    if span.get("documents"):
        content.block("Documents", span["documents"], f"{key}-documents")
        shown = True
    if not shown:
        st.caption("This span carries no input or output.")


def _table(pairs: Row, title: str) -> None:
    if not pairs:
        return
    names = sorted(pairs)
    values = [inert(pairs[name], _RAW_LIMIT) for name in names]
    st.caption(f"{title} ({len(names):,})")
    column = st.column_config.TextColumn
    st.dataframe(
        arrow.table(
            {"Key": [one_line(name, 200) for name in names], "Value": [one_line(value, _RAW_LIMIT) for value in values]}
        ),
        hide_index=True,
        lazy=False,
        height=min(420, 36 * (len(names) + 1) + 2),
        column_config={"Key": column("Key", width=240), "Value": column("Value")},
    )


def _origin(span: Row, key: str) -> None:
    cells = (
        ("Scope", span.get("scope_name")),
        ("Scope version", span.get("scope_version")),
        ("Parent span", span.get("parent_span_id")),
        ("Trace state", span.get("trace_state")),
        ("Arrival number", span.get("seq")),
    )
    frame.facts(cells, f"origin-{key}")


def _events(events: Sequence[Row], links: Sequence[Row], key: str) -> None:
    if not events and not links:
        st.caption("No events on this span.")
    for place, event in enumerate(events[:100]):
        with st.container(border=True, key=f"assay-event-{key}-{place}", gap="small"):
            frame.facts(
                (("Event", event.get("name")), ("At", human.clock(event.get("time_ns"), frame.timezone()))),
                f"{key}-{place}",
            )
            attributes = dict(event.get("attributes") or {})
            for name in ("exception.message", "exception.stacktrace"):
                if isinstance(attributes.get(name), str):
                    st.caption(name)
                    st.code(inert(attributes.pop(name), 20_000), language=None, wrap_lines=True)
            if attributes:
                content.json_tree(attributes, depth=2)
    if len(events) > 100:
        st.caption(f"{len(events) - 100:,} more events are in the JSON.")
    if links:
        st.caption("Links to other spans")
        content.json_tree(list(links), depth=2)
