"""Examples as other tools write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from evaluators.datasets.reading import read_examples
from evaluators.datasets.records import Example
from evaluators.datasets.shapes import example_from
from evaluators.records import ToolCall

TASKS = Path(__file__).resolve().parents[3] / "../shared/data/tau2_trajectories/tasks"


@pytest.mark.parametrize(
    ("said", "turns", "answer"),
    [
        ({"question": "q", "answer": "a"}, ("q",), "a"),
        ({"input": "q", "output": "a"}, ("q",), "a"),
        ({"input": "q", "expected_output": "a"}, ("q",), "a"),
        ({"input": "q", "expected": "a"}, ("q",), "a"),
        ({"id": "i", "input": {"question": "q"}, "expectedOutput": {"answer": "a"}, "status": "ACTIVE"}, ("q",), "a"),
        ({"inputs": {"question": "q"}, "outputs": {"answer": "a"}}, ("q",), "a"),
        ({"inputs": {"messages": [{"role": "user", "content": "q"}]}, "outputs": {"output": "a"}}, ("q",), "a"),
        ({"input": {"city": "Oslo"}, "output": ["a"]}, ('{"city": "Oslo"}',), '["a"]'),
        ({"input": [{"role": "user", "content": "q"}], "output": {"content": "a"}}, ("q",), "a"),
        ({"prompt": "q", "completion": "a"}, ("q",), "a"),
    ],
)
def test_questions_and_answers(said: dict[str, Any], turns: tuple[str, ...], answer: str) -> None:
    found = example_from(said)
    assert (found.turns, found.expected.answer) == (turns, answer)
    assert found.example_id == said.get("id", found.example_id)


def test_what_has_no_place_is_metadata() -> None:
    found = example_from(
        {"question": "q", "answer": "a", "context": "c", "level": 3, "metadata": {"x": 1}, "split": "dev"}
    )
    assert (found.metadata, found.split, found.expected.source) == ({"x": 1, "level": 3}, "dev", "c")


def test_openai_messages_with_tools() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "refund", "arguments": '{"usd": 4}'}}
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "ok"},
        {"role": "user", "content": "thanks"},
        {"role": "assistant", "content": "done"},
    ]
    found = example_from({"messages": messages})
    assert (found.turns, found.expected.answer) == (("hello", "thanks"), "done")
    assert found.expected.tool_calls == (ToolCall(name="refund", arguments={"usd": 4}),)
    assert found.metadata == {"system": "be kind"}
    wrong: dict[str, Any]
    for wrong in ({"messages": []}, {"messages": ["x"]}, {"messages": [{"role": "assistant", "content": "x"}]}):
        with pytest.raises(InvalidInput):
            example_from(wrong)


def tasks(domain: str) -> list[Example]:
    path = TASKS / f"{domain}_tasks.jsonl.gz"
    if not path.exists():
        pytest.skip("the tasks of tau2-bench are not beside this checkout (../shared/data)")
    with path.open("rb") as file:
        return read_examples(file, "jsonl").examples


def test_tasks_of_tau2_become_examples_with_gold_calls() -> None:
    found = {domain: tasks(domain) for domain in ("airline", "retail", "telecom")}
    assert {domain: len(some) for domain, some in found.items()} == {"airline": 50, "retail": 114, "telecom": 60}
    one = next(each for each in found["retail"] if each.example_id == "5")
    assert one.turns[0].startswith("You want to exchange the water bottle")
    assert one.expected.tool_calls is not None
    assert [call.name for call in one.expected.tool_calls][-1] == "return_delivered_order_items"
    assert one.metadata["domain"] == "retail"
    of_user = next(each for each in found["telecom"] if each.metadata.get("user_actions"))
    assert of_user.expected.tool_calls == ()
    long_ids = [each for each in found["telecom"] if each.example_id.startswith("ex_")]
    assert long_ids
    assert all(len(each.metadata["id"]) > 120 for each in long_ids)
