"""Agent: how one turn reasoned, as a picture and step by step. `?trace_id=…` leads to a turn; without, the latest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, ApiFailure, Row
from dashboard.parts import content, frame, lists, picture, states
from dashboard.parts.gist import gist
from dashboard.parts.reasoning import Reasoning, Step, attributes, number, read, texts
from dashboard.text import as_json, inert, one_line, parsed

_MOST_SPANS: Final = 1_000
_SMALL: Final = 400  # characters of a JSON value that is shown open
_DECISIONS: Final = {"allow": "green", "flag": "orange", "rewrite": "orange", "block": "red"}
_ENDS: Final = {
    "answered": "green",
    "waiting_approval": "orange",
    "refused": "orange",
    "limit": "red",
    "failed": "red",
}


@st.cache_data(ttl=60, max_entries=16, show_spinner=False)
def _read(_api: Api, trace_id: str) -> Row:
    return _api.trace_whole(trace_id, limit=_MOST_SPANS)


@st.cache_data(ttl=60, max_entries=16, show_spinner=False)
def _limits(_api: Api, app: str, release: str) -> Row:
    """The limits that the release was registered with; none when it was not."""
    try:
        parameters = _api.release(app, release).get("parameters") or {}
    except ApiFailure:
        return {}
    found = parameters.get("limits")
    return found if isinstance(found, dict) else {}


@states.guarded
def show() -> None:
    """The page."""
    trace_id = st.query_params.get("trace_id", "").strip().lower()
    if not trace_id:
        _latest()
        return
    answer = _read(states.api(), trace_id)
    trace, found = answer["trace"], read(answer["spans"])
    _head(trace, found)
    if int(answer.get("n_spans") or 0) > len(answer["spans"]):
        st.caption(f"Showing the first {len(answer['spans']):,} of {int(answer['n_spans']):,} spans.")
    picture.turn(found, "agent-turn")
    left, right = st.columns([8, 5], gap="medium")
    with left:
        _said(trace, found)
        _plan(found.plan)
        _steps(found)
    with right:
        _route(found.route)
        _used(trace, found)
        _guardrails(found.guardrails)
        _memory(found.memory)


def _latest() -> None:
    window, _ = frame.head("Agent", "How a turn reasoned: choose one of the latest")
    wanted: dict[str, Any] = {**window.parameters, "kind": "AGENT", "limit": 50}
    rows = lists.read_page(states.api(), "/traces", wanted).items
    if not rows:
        if states.anything_stored():
            states.no_match("agent turns", "No trace of this time range has a span of an agent (invoke_agent).")
        else:
            states.first_steps()
        return
    shared = lists.shared_values(rows)
    columns: dict[str, list[object]] = {
        "started": shared["started"],
        "status": [lists.outcome(row) for row in rows],
        "input": [one_line(gist(row.get("input"))) for row in rows],
        "output": [one_line(gist(row.get("output"), answer=True)) for row in rows],
        "seconds": [lists.seconds(row) for row in rows],
        "spans": shared["spans"],
        "tokens": shared["tokens"],
        "cost": shared["cost"],
        "app": shared["app"],
        "release": shared["release"],
    }
    wide = {"input": lists.text_column("Input", 250), "output": lists.text_column("Output", 250)}
    row = lists.grid(columns, "agent-grid", height=640, renamed=wide)
    if row is not None and row < len(rows):
        links.open_agent(str(rows[row]["trace_id"]))


def _head(trace: Row, found: Reasoning) -> None:
    trace_id = str(trace["trace_id"])
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Latest turns", icon=":material/arrow_back:", type="tertiary", key="agent-back"):
            st.query_params.clear()
            st.rerun()
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            if trace.get("session_id") and st.button("Open session", icon=":material/forum:", key="agent-session"):
                links.open_session(str(trace["session_id"]))
            if st.button("Open trace", icon=":material/account_tree:", key="agent-trace"):
                links.open_trace(trace_id)
    about = attributes(found.root or {})
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="content"):
            frame.heading(gist(trace.get("input")) or trace.get("name"), "agent")
        _badge(about.get("assay.turn.status"), _ENDS)
        frame.status_badge(trace.get("status") if trace.get("status") == "error" else None)
    strategies = {str(attributes(step.span).get("assay.step.strategy")) for step in found.steps}
    said = about.get("assay.turn.strategy") or ", ".join(sorted(strategies - {"None"}))
    frame.facts(
        (
            ("Strategy", str(said).replace("_", " ") if said else None),
            ("Agents", " → ".join(found.agents)),
            ("Steps", human.count(len(found.steps))),
            ("Turn", about.get("assay.turn.index")),
            ("Latency", human.duration(trace.get("duration_ms"))),
            ("Model calls", human.count(trace.get("n_model_calls"))),
            ("Tool calls", human.count(trace.get("n_tool_calls"))),
            ("Tokens", human.in_and_out(trace)),
            ("Cost", human.usd(trace.get("cost_usd"))),
            ("Error", about.get("error.type")),
            ("App", trace.get("app")),
            ("Release", trace.get("release")),
            ("Variant", trace.get("variant")),
            ("Started", frame.started(trace.get("start_ns"))),
        ),
        "agent",
    )


def _badge(value: object, known: dict[str, str]) -> None:
    """A word of a closed set as a badge; any other word is data, and plain text."""
    if isinstance(value, str) and value in known:
        st.badge(value.replace("_", " "), color=known[value])  # type: ignore[arg-type]
    elif value:
        st.text(inert(value, 40))


def _said(trace: Row, found: Reasoning) -> None:
    about = attributes(found.root or {})
    for role, title, name, value in (
        ("user", "User", "gen_ai.input.messages", trace.get("input")),
        ("assistant", "Agent", "gen_ai.output.messages", trace.get("output")),
    ):
        shown = gist(about.get(name) or value, answer=role == "assistant")
        with st.chat_message(role, avatar=":material/person:" if role == "user" else ":material/smart_toy:"):
            with st.container(key=f"assay-role-agent-{role}"):
                st.text(title)
            if shown:
                content.text(shown, f"agent-{role}", short=1_200)
            else:
                st.caption("(nothing)")


def _plan(plan: Sequence[Row]) -> None:
    if not plan:
        return
    st.subheader("Plan", anchor=False)
    for place, step in enumerate(plan[:50], start=1):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-plan-{place}"):
            st.badge(str(place), color="blue")
            st.text(inert(step.get("tool"), 80))
            with st.container(key=f"assay-quiet-plan-{place}"):
                words = [inert(step[name], 300) for name in ("purpose", "precondition") if step.get(name)]
                st.text(" · only if ".join(words) if len(words) == 2 else "".join(words))


def _steps(found: Reasoning) -> None:
    if not found.steps and not found.tools:
        st.caption("No span of this trace says that it is a step (assay.step.index) or a tool call.")
        return
    st.subheader("Steps" if found.steps else "Tools", anchor=False)
    for place, step in enumerate(found.steps[:60]):
        _step(step, place)
    for place, tool in enumerate(found.tools[:60]):
        _tool(tool, f"loose-{place}")


def _step(step: Step, place: int) -> None:
    about = attributes(step.span)
    key = f"agent-step-{place}"
    with st.container(border=True, gap="small", key=f"assay-{key}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(
                f"step {number(about.get('assay.step.index')) or 0:.0f}", icon=":material/psychology:", color="blue"
            )
            words = [step.agent, about.get("assay.step.strategy"), about.get("assay.step.approach")]
            ms = number(about.get("assay.step.latency_ms")) or step.span.get("duration_ms")
            with st.container(key=f"assay-quiet-{key}"):
                st.text(" · ".join([*(inert(one, 60).replace("_", " ") for one in words if one), human.duration(ms)]))
            frame.status_badge("error" if step.span.get("status") == "error" else None)
        if about.get("assay.step.thought"):
            content.text(about["assay.step.thought"], f"{key}-thought", short=600)
        confidence = number(about.get("assay.step.confidence"))
        if confidence is not None:
            st.progress(min(1.0, max(0.0, confidence)), text=f"confidence {confidence:.2f}")
        for title, name in (("Instead of", "alternatives"), ("Documents", "documents")):
            given = texts(about.get(f"assay.step.{name}"))
            if given:
                frame.facts([(title, "  ·  ".join(inert(one, 80) for one in given[:12]))], f"{key}-{name}")
        if about.get("assay.step.precondition"):
            held = about.get("assay.step.precondition_held")
            frame.facts((("Only if", about["assay.step.precondition"]), ("Held", held)), f"{key}-precondition")
        _decided(step.guardrails, key)
        for tool in step.tools:
            _tool(tool, f"{key}-{tool.get('span_id')}")


def _tool(tool: Row, key: str) -> None:
    about = attributes(tool)
    with st.container(border=True, gap="small", key=f"assay-tool-{key}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("tool", icon=":material/build:", color="orange")
            st.text(inert(tool.get("tool_name") or about.get("gen_ai.tool.name") or tool.get("name"), 80))
            with st.container(key=f"assay-quiet-ms-{key}"):
                st.text(human.duration(tool.get("duration_ms")))
            frame.status_badge("error" if tool.get("status") == "error" else None)
        left, right = st.columns(2, gap="small")
        for column, title, name, value in (
            (left, "Arguments", "arguments", tool.get("input")),
            (right, "Result", "result", tool.get("output")),
        ):
            with column:
                _value(title, about.get(f"gen_ai.tool.call.{name}") or value, f"{key}-{name}")


def _value(title: str, value: object, key: str) -> None:
    """Arguments or a result: a small one open, a large one folded."""
    st.caption(title)
    spelled = parsed(value) if isinstance(value, str) else value
    if isinstance(spelled, (dict, list)) and spelled:
        content.json_tree(spelled, depth=3 if len(as_json(spelled)) < _SMALL else 1)
    elif value in (None, "", "{}", "[]"):
        st.caption("(empty)")
    else:
        content.text(value, key, short=600)


def _route(route: Row) -> None:
    if not route:
        return
    with st.container(border=True, key="assay-agent-route", gap="small"):
        st.caption("Routing")
        names = ("agent", "intent", "risk", "ambiguous", "confidence")
        frame.facts([(name.capitalize(), _word(route.get(name))) for name in names], "agent-route")


def _word(value: object) -> object:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _used(trace: Row, found: Reasoning) -> None:
    """What the turn took of what its release allows."""
    app, release = trace.get("app"), trace.get("release")
    limits = _limits(states.api(), str(app), str(release)) if app and release else {}
    tokens = (trace.get("input_tokens") or 0) + (trace.get("output_tokens") or 0)
    used: tuple[tuple[str, str, float | None, Any], ...] = (
        ("steps", "Steps", len(found.steps), human.count),
        ("tokens", "Tokens", tokens, human.count),
        ("dollars", "Cost", trace.get("cost_usd"), human.usd),
        ("seconds", "Time", (trace.get("duration_ms") or 0.0) / 1000, lambda s: human.duration(1000 * s)),
    )
    with st.container(border=True, key="assay-agent-limits", gap="small"):
        st.caption("Limits of the turn" if limits else "Taken by the turn (the release registered no limits)")
        for name, title, taken, words in used:
            most = _amount(limits.get(name))
            if most and taken is not None:
                text = f"{title}: {words(taken)} of {words(most)}".replace("$", "\\$")
                st.progress(min(1.0, taken / most), text=text)
        if not limits:
            frame.facts([(title, words(taken)) for _, title, taken, words in used], "agent-used")


def _amount(value: object) -> float | None:
    try:
        found = float(value) if isinstance(value, (int, float, str)) else None
    except ValueError:
        return None
    return found if found and found > 0 else None


def _guardrails(guardrails: Sequence[Row]) -> None:
    if not guardrails:
        return
    with st.container(border=True, key="assay-agent-guardrails", gap="small"):
        st.caption("Guardrails, in order")
        _decided(guardrails, "all")


def _decided(guardrails: Sequence[Row], key: str) -> None:
    """Those that stepped in, a line each; those that let pass, in one line."""
    passed = []
    for place, span in enumerate(guardrails[:100]):
        about = attributes(span)
        if about.get("assay.guardrail.decision") == "allow" and not about.get("assay.guardrail.reason"):
            passed.append(_guardrail_name(span))
        else:
            _guardrail(span, f"{key}-{place}")
    if passed:
        with st.container(horizontal=True, gap="small", key=f"assay-guardrail-{key}-passed"):
            st.badge("allow", color="green")
            with st.container(key=f"assay-quiet-guardrail-{key}-passed"):
                st.text(" · ".join(dict.fromkeys(passed)))


def _guardrail_name(span: Row) -> str:
    """ "action.caps": from the span's name, which says the stage as well; else as its attribute says."""
    name = str(span.get("name") or "")
    if name.startswith("guardrail "):
        return inert(name.removeprefix("guardrail "), 60)
    return inert(attributes(span).get("assay.guardrail.name") or name, 60)


def _guardrail(span: Row, key: str) -> None:
    about = attributes(span)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-guardrail-{key}"):
        _badge(about.get("assay.guardrail.decision"), _DECISIONS)
        with st.container(width="content"):
            st.text(_guardrail_name(span))
        if about.get("assay.guardrail.reason"):
            with st.container(key=f"assay-quiet-guardrail-{key}", width="content"):
                st.text(inert(about["assay.guardrail.reason"], 300))


def _memory(memory: Sequence[Row]) -> None:
    if not memory:
        return
    with st.container(border=True, key="assay-agent-memory", gap="small"):
        st.caption("Memory")
        for place, span in enumerate(memory[:20]):
            about = attributes(span)
            pieces = texts(about.get("assay.memory.pieces"))
            frame.facts(
                (
                    ("What", span.get("name")),
                    ("Recalled", human.count(len(pieces)) if "assay.memory.pieces" in about else None),
                    ("Left away", about.get("assay.memory.n_left_away")),
                    ("Written", about.get("assay.memory.n_written")),
                    ("Took", human.duration(span.get("duration_ms"))),
                ),
                f"agent-memory-{place}",
            )
            for piece in pieces[:20]:
                st.text(f"• {inert(piece, 300)}")
