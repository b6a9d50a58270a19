"""What an agent did in one turn: its plan, its steps with their tools and documents, and what guardrails decided."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import content, frame
from dashboard.parts.gist import gist
from dashboard.parts.reasoning import Document, Reasoning, Step, attributes, documents, number, texts
from dashboard.text import as_json, inert, one_line, parsed

_FLAT: Final = 8  # values of an object that are shown as a line
_LONGEST: Final = 300  # characters of one of them
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
        _weighed(about, key)
        if about.get("assay.step.precondition"):
            held = about.get("assay.step.precondition_held")
            frame.facts((("Only if", about["assay.step.precondition"]), ("Held", held)), f"{key}-precondition")
        decided([span for span in step.guardrails if not _let_pass(span)], key)
        inside = {span.get("parent_span_id") for span in step.retrievals if documents(span)}
        for tool in step.tools:
            _tool(tool, f"{key}-{tool.get('span_id')}", tool.get("span_id") in inside)
        _documents(step, cited, key)


def _weighed(about: Mapping[str, Any], key: str) -> None:
    """How sure the step was, and what it would have done instead."""
    confidence = number(about.get("assay.step.confidence"))
    given = texts(about.get("assay.step.alternatives"))
    if confidence is None and not given:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key=f"assay-weighed-{key}"):
        if confidence is not None:
            st.progress(min(1.0, max(0.0, confidence)), text=f"confidence {confidence:.2f}", width=180)
        if given:
            with st.container(width="content"):
                words = "  ·  ".join(inert(one, 80) for one in given[:12])
                frame.facts([("Instead of", words)], f"{key}-alternatives")


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
        with st.container(gap=None, key=f"assay-doc-{key}-{place}"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                with st.container(width="content"):
                    st.text(inert(one.doc_id, 120) or "(no id)")
                if one.score is not None:
                    with st.container(key=f"assay-quiet-score-{key}-{place}", width="content"):
                        st.text(f"score {human.score(one.score)}")
                if one.doc_id in cited:
                    st.badge("cited", icon=":material/format_quote:", color="green")
            if one.text:
                with st.container(key=f"assay-quiet-doc-{key}-{place}"):
                    st.text(one_line(one.text, 160))


def _tool(tool: Row, key: str, searched: bool = False) -> None:
    """A call with its arguments and its result; of one that `searched` the documents are shown instead."""
    about = attributes(tool)
    with st.container(border=True, gap="small", key=f"assay-tool-{key}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("tool", icon=":material/build:", color="orange")
            st.text(inert(tool.get("tool_name") or about.get("gen_ai.tool.name") or tool.get("name"), 80))
            with st.container(key=f"assay-quiet-ms-{key}"):
                st.text(human.duration(tool.get("duration_ms")))
            frame.status_badge("error" if tool.get("status") == "error" else None)
        given, got = (about.get(f"gen_ai.tool.call.{name}") for name in ("arguments", "result"))
        _value("Arguments", given or tool.get("input"), f"{key}-arguments")
        if not searched:
            _value("Result", got or tool.get("output"), f"{key}-result")


def _value(title: str, value: object, key: str) -> None:
    """Arguments or a result: the plain values of an object as a line, what nests as a tree that unfolds."""
    spelled = parsed(value) if isinstance(value, str) else value
    if value in (None, "", "{}", "[]") or spelled in ({}, []):
        st.caption(f"{title}: none")
        return
    if not isinstance(spelled, (dict, list)):
        st.caption(title)
        content.text(value, key, short=600)
        return
    plain = {name: one for name, one in spelled.items() if not _nests(one)} if isinstance(spelled, dict) else {}
    st.caption(title)
    if plain:
        _line(dict(list(plain.items())[:_FLAT]), key)
    if len(plain) != len(spelled) or len(plain) > _FLAT:
        with st.expander("All of it", icon=":material/data_object:", key=f"{key}-whole"):
            content.json_tree(spelled, depth=2)


def _line(values: Mapping[str, object], key: str) -> None:
    with st.container(horizontal=True, gap="medium", key=f"assay-facts-{key}"):
        for place, (name, value) in enumerate(values.items()):
            with st.container(width="content", gap=None):
                with st.container(key=f"assay-quiet-{key}-{place}"):
                    st.text(inert(name, 60))
                shown = value if isinstance(value, str) else human.UNKNOWN if value is None else as_json(value)
                st.text(inert(shown, _LONGEST) or '""')


def _nests(value: object) -> bool:
    return isinstance(value, (dict, list)) or (isinstance(value, str) and len(value) > _LONGEST)


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
