"""A turn read from its spans: what is there is found, and no span, however odd, breaks it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dashboard.parts.reasoning import Document, Memory, cited, documents, kind_of, read, recalled, texts

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "assay.step.index",
    "assay.guardrail.decision",
    "assay.span.kind",
    "gen_ai.output.messages",
    "assay.step.thought",
    "assay.memory.recalled",
    "assay.memory.pieces",
    "gen_ai.retrieval.documents",
    "retrieval.documents.0.document.id",
    "retrieval.documents.7.document.score",
]
SPANS = st.lists(
    st.fixed_dictionaries(
        {"span_id": st.sampled_from("abcd"), "parent_span_id": st.sampled_from(["a", "b", "x", None])},
        optional={
            "kind": st.sampled_from(["AGENT", "LLM", "TOOL", "MEMORY", "GUARDRAIL", "SPAN", None]),
            "attributes": st.none() | st.dictionaries(st.sampled_from(NAMES), VALUES),
            "start_ns": st.none() | st.integers(-(2**63), 2**63 - 1),
            "duration_ms": st.none() | st.floats(),
            "output": st.none() | st.text(max_size=30),
        },
    ),
    max_size=8,
)


def span(span_id: str, parent: str | None, start: int, kind: str, **attributes: Any) -> dict[str, Any]:
    told = {name.replace("__", "."): value for name, value in attributes.items()}
    about = {"span_id": span_id, "parent_span_id": parent, "start_ns": start * 10**6, "duration_ms": 1.0}
    return {**about, "kind": kind, "name": span_id, "agent_name": span_id, "attributes": told}


def test_what_is_inside_a_step_belongs_to_it() -> None:
    plan = {"steps": [{"tool": "look"}, "nonsense"]}
    parts = [{"type": "tool_call", "name": "make_plan", "arguments": plan}]
    said = json.dumps([{"role": "assistant", "parts": parts}])
    found = read(
        [
            span("root", None, 0, "AGENT"),
            span("in", "root", 1, "SPAN", assay__guardrail__name="input.pii"),
            span("order", "root", 2, "AGENT"),
            span("one", "order", 3, "SPAN", assay__step__index=1),
            span("chat", "one", 4, "LLM", gen_ai__output__messages=said),
            span("tool", "one", 5, "TOOL"),
            span("act", "tool", 6, "SPAN", assay__guardrail__decision="block"),
            span("after", "order", 7, "TOOL"),
            span("store", "root", 8, "SPAN", assay__span__kind="MEMORY"),
        ]
    )
    assert found.agents == ["order"]
    assert found.lanes == ["turn", "guardrails", "order", "order · step 1", "memory"]
    (step,) = found.steps
    assert [[one["span_id"] for one in own] for own in (step.tools, step.models, step.guardrails)] == [
        ["tool"],
        ["chat"],
        ["act"],
    ]
    assert [one["span_id"] for one in (*found.tools, *found.guardrails, *found.memory)] == [
        "after",
        "in",
        "act",
        "store",
    ]
    assert found.plan == [{"tool": "look"}]


@given(SPANS)
def test_no_spans_break_it(spans: list[dict[str, Any]]) -> None:
    found = read(spans)
    assert len(found.bars) == len(spans)
    assert {bar.lane for bar in found.bars} <= set(found.lanes)
    for one in spans:
        assert isinstance(kind_of(one), str)


@given(VALUES)
def test_a_list_attribute_is_texts_whatever_it_is(value: Any) -> None:
    assert all(isinstance(one, str) for one in texts(value))


def test_documents_of_both_conventions() -> None:
    about: dict[str, Any] = {f"retrieval.documents.{n}.document.id": f"d{n}" for n in (2, 10, 1)}
    about |= {"retrieval.documents.2.document.score": 0.5, "retrieval.documents.1.document.content": "one"}
    wanted = [Document(doc_id="d1", text="one"), Document(doc_id="d2", score=0.5), Document(doc_id="d10")]
    assert documents({"attributes": about}) == wanted
    told = json.dumps([{"id": "a", "score": 0.25, "content": "text"}, "nonsense", {"score": "high"}])
    wanted = [Document(doc_id="a", text="text", score=0.25), Document(doc_id="")]
    assert documents({"attributes": {"gen_ai.retrieval.documents": told}}) == wanted


def test_memories_with_and_without_a_preview() -> None:
    told = json.dumps({"id": "f", "horizon": "profile", "text": "size M", "score": 0.4, "age_days": 3})
    both = {"assay.memory.pieces": ["f"], "assay.memory.recalled": [told]}
    assert recalled({"attributes": both}) == [Memory(text="size M", horizon="profile", score=0.4, age_days=3)]
    assert recalled({"attributes": {"assay.memory.pieces": ["f", "g"]}}) == [Memory(text="f"), Memory(text="g")]
    assert recalled({"attributes": {"assay.memory.recalled": ["[1]"]}}) == [Memory(text="[1]")]


def test_what_an_answer_cites() -> None:
    assert cited("Free. [policy-a] Yes [policy-a], [b.c:1] but not [two words] or [].") == ["policy-a", "b.c:1"]


@given(spans=SPANS)
def test_no_span_breaks_what_is_read_from_it(spans: list[dict[str, Any]]) -> None:
    for one in spans:
        assert all(isinstance(found.doc_id, str) for found in documents(one))
        assert all(isinstance(found.text, str) for found in recalled(one))
