"""What an agent did in one turn: its plan, its steps with their tools and documents, and what guardrails decided."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import content, frame
from dashboard.parts.gist import gist
from dashboard.parts.reasoning import Document, Reasoning, Step, attributes, documents, number, texts
from dashboard.text import as_json, inert, one_line, parsed

_SMALL: Final = 400  # characters of a JSON value that is shown open
_FLAT: Final = 8  # values of an object that is shown as a line
_DECISIONS: Final = {"allow": "green", "flag": "orange", "rewrite": "orange", "block": "red"}


def plan(steps: Sequence[Row]) -> None:
    """The steps that were planned before any was taken; nothing for a turn without a plan."""
    if not steps:
        return
    st.subheader("Plan", anchor=False)
    for place, step in enumerate(steps[:50], start=1):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-plan-{place}"):
            st.badge(str(place), color="blue")
            st.text(inert(step.get("tool"), 80))
            with st.container(key=f"assay-quiet-plan-{place}"):
                words = [inert(step[name], 300) for name in ("purpose", "precondition") if step.get(name)]
                st.text(" · only if ".join(words) if len(words) == 2 else "".join(words))


def steps(found: Reasoning, cited: Collection[str]) -> None:
    """Every step as a card, then the tools outside of any. `cited` are the ids that the turn's answer names."""
    if not found.steps and not found.tools:
        st.caption("No span of this trace says that it is a step (assay.step.index) or a tool call.")
        return
    st.subheader("Steps" if found.steps else "Tools", anchor=False)
    for place, step in enumerate(found.steps[:60]):
        _step(step, place, cited)
    for place, tool in enumerate(found.tools[:60]):
        _tool(tool, f"loose-{place}")


def decided(guardrails: Sequence[Row], key: str) -> None:
    """Those that stepped in, a line each; those that let pass, in one line."""
    passed = []
    for place, span in enumerate(guardrails[:100]):
        if _let_pass(span):
            passed.append(_guardrail_name(span))
        else:
            _guardrail(span, f"{key}-{place}")
    if passed:
        with st.container(horizontal=True, gap="small", key=f"assay-guardrail-{key}-passed"):
            st.badge("allow", color="green")
            with st.container(key=f"assay-quiet-guardrail-{key}-passed"):
                st.text(" · ".join(dict.fromkeys(passed)))


def badge(value: object, known: dict[str, str]) -> None:
    """A word of a closed set as a badge; any other word is data, and plain text."""
    if isinstance(value, str) and value in known:
        st.badge(value.replace("_", " "), color=known[value])  # type: ignore[arg-type]
    elif value:
        st.text(inert(value, 40))


def _step(step: Step, place: int, cited: Collection[str]) -> None:
    about = attributes(step.span)
    key = f"agent-step-{place}"
    with st.container(border=True, gap="small", key=f"assay-{key}"):
        _step_head(step, key)
        if about.get("assay.step.thought"):
            content.text(about["assay.step.thought"], f"{key}-thought", short=600)
        elif not step.tools:
            said = next(
                (gist(one.get("output"), answer=True) for one in reversed(step.models) if one.get("output")), ""
            )
            if said:
                st.caption("Answers")
                content.text(said, f"{key}-said", short=300)
        confidence = number(about.get("assay.step.confidence"))
        if confidence is not None:
            st.progress(min(1.0, max(0.0, confidence)), text=f"confidence {confidence:.2f}", width=240)
        given = texts(about.get("assay.step.alternatives"))
        if given:
            frame.facts([("Instead of", "  ·  ".join(inert(one, 80) for one in given[:12]))], f"{key}-alternatives")
        if about.get("assay.step.precondition"):
            held = about.get("assay.step.precondition_held")
            frame.facts((("Only if", about["assay.step.precondition"]), ("Held", held)), f"{key}-precondition")
        decided([span for span in step.guardrails if not _let_pass(span)], key)
        for tool in step.tools:
            _tool(tool, f"{key}-{tool.get('span_id')}")
        _documents(step, cited, key)


def _step_head(step: Step, key: str) -> None:
    about = attributes(step.span)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(f"step {number(about.get('assay.step.index')) or 0:.0f}", icon=":material/psychology:", color="blue")
        ms = number(about.get("assay.step.latency_ms")) or step.span.get("duration_ms")
        words = [inert(one, 60).replace("_", " ") for one in (step.agent, about.get("assay.step.strategy")) if one]
        n_passed = sum(_let_pass(span) for span in step.guardrails)
        if n_passed:
            words.append(f"{human.plural(n_passed, 'guardrail')} passed")
        with st.container(key=f"assay-quiet-{key}"):
            st.text(" · ".join([*words, human.duration(ms)]))
        frame.status_badge("error" if step.span.get("status") == "error" else None)


def _documents(step: Step, cited: Collection[str], key: str) -> None:
    """What the step's searches found; without such spans, the ids that the step names."""
    found = {one.doc_id: one for span in step.retrievals for one in documents(span)}
    for doc_id in texts(attributes(step.span).get("assay.step.documents")):
        found.setdefault(doc_id, Document(doc_id=doc_id))
    if not found:
        return
    st.caption("Documents found")
    for place, one in enumerate(list(found.values())[:12]):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-doc-{key}-{place}"):
            if one.doc_id in cited:
                st.badge("cited", icon=":material/format_quote:", color="green")
            with st.container(width="content"):
                st.text(inert(one.doc_id, 120) or "(no id)")
            with st.container(key=f"assay-quiet-doc-{key}-{place}"):
                score = "" if one.score is None else f"score {human.score(one.score)}"
                st.text(" · ".join(word for word in (score, one_line(one.text, 160)) if word))


def _tool(tool: Row, key: str) -> None:
    about = attributes(tool)
    with st.container(border=True, gap="small", key=f"assay-tool-{key}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("tool", icon=":material/build:", color="orange")
            st.text(inert(tool.get("tool_name") or about.get("gen_ai.tool.name") or tool.get("name"), 80))
            with st.container(key=f"assay-quiet-ms-{key}"):
                st.text(human.duration(tool.get("duration_ms")))
            frame.status_badge("error" if tool.get("status") == "error" else None)
        for title, name, value in (
            ("Arguments", "arguments", tool.get("input")),
            ("Result", "result", tool.get("output")),
        ):
            _value(title, about.get(f"gen_ai.tool.call.{name}") or value, f"{key}-{name}")


def _value(title: str, value: object, key: str) -> None:
    """Arguments or a result: few plain values as a line, other JSON as a tree, folded when it is large."""
    spelled = parsed(value) if isinstance(value, str) else value
    if isinstance(spelled, dict) and 0 < len(spelled) <= _FLAT and not any(map(_nests, spelled.values())):
        st.caption(title)
        with st.container(horizontal=True, gap="medium", key=f"assay-facts-{key}"):
            for name, inner in spelled.items():
                with st.container(width="content", gap=None):
                    with st.container(key=f"assay-quiet-{key}-{name.encode().hex()[:80]}"):
                        st.text(inert(name, 60))
                    st.text(inert(inner if isinstance(inner, str) else as_json(inner), 400) or '""')
    elif isinstance(spelled, (dict, list)) and spelled:
        st.caption(title)
        content.json_tree(spelled, depth=2 if len(as_json(spelled)) < _SMALL else 1)
    elif value in (None, "", "{}", "[]"):
        st.caption(f"{title}: none")
    else:
        st.caption(title)
        content.text(value, key, short=600)


def _nests(value: object) -> bool:
    return isinstance(value, (dict, list)) or (isinstance(value, str) and len(value) > 400)


def _let_pass(span: Row) -> bool:
    about = attributes(span)
    return about.get("assay.guardrail.decision") == "allow" and not about.get("assay.guardrail.reason")


def _guardrail_name(span: Row) -> str:
    """ "action.caps": from the span's name, which says the stage as well; else as its attribute says."""
    name = str(span.get("name") or "")
    if name.startswith("guardrail "):
        return inert(name.removeprefix("guardrail "), 60)
    return inert(attributes(span).get("assay.guardrail.name") or name, 60)


def _guardrail(span: Row, key: str) -> None:
    about = attributes(span)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-guardrail-{key}"):
        badge(about.get("assay.guardrail.decision"), _DECISIONS)
        with st.container(width="content"):
            st.text(_guardrail_name(span))
        if about.get("assay.guardrail.reason"):
            with st.container(key=f"assay-quiet-guardrail-{key}", width="content"):
                st.text(inert(about["assay.guardrail.reason"], 300))
