"""Routing: easy calls go to the cheap model, and the score says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import RoutingConfig
from gateway.policies.routing import Routing, complexity
from tests.gateway.policy_calls import MODEL, call_of

SMALL, LARGE = replace(MODEL, name="small"), replace(MODEL, name="large")
AUTO = replace(LARGE, name="auto")
RULE = RoutingConfig(simple="small", complex="large")


def _routing(rule: RoutingConfig = RULE) -> Routing:
    return Routing({"auto": rule}, {"small": SMALL, "large": LARGE, "auto": AUTO})


EASY = ["What time is it in Paris?", "Translate 'dog' to French", "I lost my card", "x" * 1500]
HARD = [
    "Compare two designs of a cache, derive their hit rates, then explain why one is better. ```def get(k): ...```",
    "Debug this and refactor it:\nTraceback (most recent call last):\n  File 'a.py'\nWhy? And where? And since when?",
    "Prove the theorem step by step, analyze each trade-off and summarise it",
]


@pytest.mark.parametrize("text", EASY)
def test_easy_calls_go_to_the_simple_model(text: str) -> None:
    call = call_of(text, model=AUTO)
    _routing().before(call)
    assert call.model is SMALL
    assert call.flags == ["routed:simple"]


@pytest.mark.parametrize("text", HARD)
def test_hard_calls_go_to_the_complex_model_and_say_why(text: str) -> None:
    call = call_of(text, model=AUTO)
    _routing().before(call)
    assert call.model is LARGE
    assert call.flags == ["routed:complex"]
    assert call.state["routing"].reasons[0] in ("steps", "code")


def test_the_threshold_decides() -> None:
    call = call_of(EASY[0], model=AUTO)
    _routing(RoutingConfig(simple="small", complex="large", threshold=0)).before(call)
    assert call.model is LARGE


def test_other_names_and_what_a_budget_chose_stay() -> None:
    for model in (LARGE, SMALL, replace(MODEL, name="other")):
        call = call_of(HARD[0], model=model)
        call.asked = "auto"
        _routing().before(call)
        assert call.model is model
        assert call.flags == []


TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"tools": [TOOL] * 4}, "tools"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "structured"),
        ({"reasoning_effort": "high"}, "reasoning"),
        ({"messages": [{"role": "user", "content": "hi"}] * 9}, "turns"),
        ({"messages": [{"role": "system", "content": "x" * 9000}, {"role": "user", "content": "hi"}]}, "long"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]}, "not_text"),
    ],
)
def test_what_makes_a_call_harder(more: dict[str, Any], reason: str) -> None:
    plain = complexity({"messages": [{"role": "user", "content": "hi"}]})
    found = complexity({"messages": [{"role": "user", "content": "hi"}], **more})
    assert plain.reasons == ()
    assert found.reasons == (reason,)
    assert found.score > plain.score


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "text"]), inner),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=3), st.lists(JSON, max_size=2))
def test_any_body_has_a_score_between_0_and_1(messages: list[Any], tools: list[Any]) -> None:
    assert 0 <= complexity({"messages": messages, "tools": tools}).score <= 1
