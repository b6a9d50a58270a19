"""What a verdict cost, whatever the server says of its tokens and its model: a budget is kept by it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.judges.answering import Said, model_server, verdict
from tests.judges.asked import PASS_FAIL, ask, spec_of

ASKED = 0.15e-6 * 1000 + 0.6e-6 * 100  # gpt-4o-mini's list price


def answering(*, model: str = "gpt-4o-mini", **usage: Any) -> Said:
    counted = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, **usage}
    choice = {"index": 0, "message": {"role": "assistant", "content": verdict("pass").text}, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": counted}
    return Said(body=json.dumps(body).encode())


def test_an_answer_under_another_name_costs_what_was_asked_for() -> None:
    with model_server(answering(model="somebody-elses-snapshot")) as server:
        one = ask(server)
        panel = ask(server, spec=spec_of(PASS_FAIL, "openai:gpt-4o-mini", "openai:gpt-4o"))
    assert one.usage.cost_usd == pytest.approx(ASKED)
    assert panel.usage.cost_usd is not None  # unknown, it would count as nothing against a budget
    assert panel.usage.cost_usd > ASKED


@pytest.mark.parametrize("tokens", [-(10**9), 10**30])
def test_tokens_that_nobody_can_have_used_move_no_budget(tokens: int) -> None:
    with model_server(answering(prompt_tokens=tokens, completion_tokens=tokens)) as server:
        said = ask(server)
    assert 0 <= said.usage.input_tokens <= 100_000_000
    assert 0 <= said.usage.output_tokens <= 100_000_000
    assert said.usage.cost_usd is not None
    assert 0 <= said.usage.cost_usd < 100
