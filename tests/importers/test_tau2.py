"""tau2 simulations become spans with exactly the times, tokens, costs, calls and outcomes of the recordings."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.clock import to_datetime
from server.importers import genai, tau2
from server.importers.genai import Conversation
from server.importers.reading import BadLine
from tests.importers.recorded import TAU2, good, needs_recordings, table, tau2_files, values


def converted(path: Path) -> list[Conversation]:
    return [good(one) for one in tau2.conversations(path, app=None, release=None)]


@pytest.fixture(scope="module")
def every_conversation() -> dict[str, list[Conversation]]:
    return {path.name: converted(path) for path in tau2_files()}


@needs_recordings
def test_pass_counts_per_file_are_those_of_the_manifest(every_conversation: dict[str, list[Conversation]]) -> None:
    for row in table(TAU2 / "manifest.csv"):
        labels = Counter(one.outcome.label for one in every_conversation[row["file"]])
        assert (labels["pass"], labels["fail"]) == (int(row["pass"]), int(row["fail"])), row["file"]
        assert {(one.app, one.release) for one in every_conversation[row["file"]]} == {(row["domain"], row["arm"])}


@needs_recordings
def test_tokens_costs_calls_and_rewards_per_simulation_are_those_of_the_outcomes(
    every_conversation: dict[str, list[Conversation]],
) -> None:
    outcomes = {row["sim_id"]: row for row in table(TAU2 / "outcomes.csv")}
    seen = [one for many in every_conversation.values() for one in many]
    assert {one.session_id for one in seen} == outcomes.keys()
    assert len(seen) == 404
    for one in seen:
        row, spans = outcomes[one.session_id], [values(span) for span in one.spans]
        chats = [span for span in spans if span["gen_ai.operation.name"] == "chat"]
        tools = [span for span in spans if span["gen_ai.operation.name"] == "execute_tool"]
        assert sum(_number(span, "gen_ai.usage.input_tokens") for span in chats) == int(row["prompt_tokens"])
        assert sum(_number(span, "gen_ai.usage.output_tokens") for span in chats) == int(row["completion_tokens"])
        assert len(tools) == int(row["n_tool_calls"])
        assert one.outcome.value == float(row["reward"])
        assert {span["assay.task_id"] for span in spans} == {row["task_id"]}
        if row["agent_cost_usd"]:
            cost = sum(Decimal(repr(span.get("gen_ai.usage.cost", 0.0))) for span in chats)
            assert abs(cost - Decimal(row["agent_cost_usd"])) < Decimal("1e-12")
            user_cost = sum(_number(span, "assay.user.cost_usd") for span in spans)
            assert user_cost == pytest.approx(float(row["user_cost_usd"]), abs=1e-12)


@needs_recordings
def test_every_span_lies_in_its_simulation_and_every_call_in_its_turn(
    every_conversation: dict[str, list[Conversation]],
) -> None:
    starts = {row["sim_id"]: row["start_time"] for row in table(TAU2 / "outcomes.csv")}
    for one in (one for many in every_conversation.values() for one in many):
        assert to_datetime(one.start_ns).isoformat() >= starts[one.session_id] + "+00:00"
        roots = {span.trace_id: span for span in one.spans if not span.parent_span_id}
        assert len(roots) == len({span.trace_id for span in one.spans})
        for span in one.spans:
            root = roots[span.trace_id]
            assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
            assert span.end_time_unix_nano <= root.end_time_unix_nano
            assert span is root or span.parent_span_id == root.span_id
        assert len({span.span_id for span in one.spans}) == len(one.spans)


@needs_recordings
def test_turns_are_user_messages_that_got_a_reply(every_conversation: dict[str, list[Conversation]]) -> None:
    conversations = {one.session_id: one for many in every_conversation.values() for one in many}
    n_turns = sum(1 for one in conversations.values() for span in one.spans if not span.parent_span_id)
    assert n_turns == 1352 + 1061 + 80  # replies by text and by tool call to a user's text, and 80 runs without a user
    first = conversations["b762699f-cf72-4a2f-b500-5bbe1258209c"]
    root = values(first.spans[0])
    assert root["assay.greeting"] == "Hi! How can I help you today?"
    assert "I’d like to change my upcoming return flight" in str(root["gen_ai.input.messages"])
    assert to_datetime(first.spans[0].start_time_unix_nano).isoformat() == "2025-08-01T16:20:45.582555+00:00"
    assert to_datetime(first.spans[1].end_time_unix_nano).isoformat() == "2025-08-01T16:20:46.714768+00:00"
    last = [span for span in first.spans if not span.parent_span_id][-1]
    assert "###" in str(values(last)["assay.user.closing_message"])
    assert values(last)["assay.termination_reason"] == "user_stop"


@needs_recordings
def test_variants_follow_the_arm_and_runs_that_were_cut_are_errors(
    every_conversation: dict[str, list[Conversation]],
) -> None:
    variants = {(one.release, one.variant) for many in every_conversation.values() for one in many}
    assert {("gpt-4.1_base", "control"), ("gpt-4.1_sft_nouser", "treatment"), ("qwen2.5-7b", None)} <= variants
    cut = [
        values(span)["error.type"]
        for many in every_conversation.values()
        for one in many
        for span in one.spans
        if not span.parent_span_id and span.status.code == 2
    ]
    assert Counter(cut) == {"agent_error": 9, "too_many_errors": 2, "max_steps": 5}


@needs_recordings
def test_a_chat_span_holds_what_the_agent_saw_and_said_in_the_message_schema() -> None:
    one = converted(tau2_files()[0])[0]
    chats = [values(span) for span in one.spans if span.name.startswith("chat ")]
    seen: list[dict[str, Any]] = json.loads(str(chats[-1]["gen_ai.input.messages"]))
    assert [message["role"] for message in seen[:3]] == ["assistant", "user", "assistant"]
    calls = [part for message in seen for part in message["parts"] if part["type"] == "tool_call"]
    answers = [part for message in seen for part in message["parts"] if part["type"] == "tool_call_response"]
    assert calls
    assert [call["id"] for call in calls] == [answer["id"] for answer in answers]
    said = json.loads(str(chats[-1]["gen_ai.output.messages"]))
    assert [message["finish_reason"] for message in said] == ["stop"]


@needs_recordings
def test_the_same_file_gives_the_same_bytes_and_another_app_gives_other_ids() -> None:
    path = TAU2 / "airline__gpt-4.1-mini_tau2trace.jsonl.gz"
    once, again = (list(genai.requests(converted(path), tau2.SCOPE)) for _ in range(2))
    assert [body for body, _, _ in once] == [body for body, _, _ in again]
    other = good(next(iter(tau2.conversations(path, app="elsewhere", release=None))))
    assert other.app == "elsewhere"
    assert not {span.span_id for span in other.spans} & {span.span_id for span in converted(path)[0].spans}


def simulation(**changes: Any) -> dict[str, Any]:
    """A small simulation in tau2's shape: greeting, question, tool call, answer, farewell."""
    say: dict[str, Any] = {"content": None, "tool_calls": None, "usage": None, "cost": 0.0}
    call = {"id": "call_1", "name": "look_up", "arguments": {"id": 7}, "requestor": "assistant"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    lines = [
        say | {"role": "assistant", "content": "Hello!"},
        say | {"role": "user", "content": "Where is order 7?", "usage": usage, "cost": 0.5},
        say | {"role": "assistant", "tool_calls": [call], "usage": usage, "cost": 0.001},
        {"role": "tool", "id": "call_1", "content": "lost", "requestor": "assistant", "error": True},
        say | {"role": "assistant", "content": "It is lost.", "usage": usage, "cost": 0.002},
        say | {"role": "user", "content": "Oh. ###STOP###", "usage": usage, "cost": 0.25},
    ]
    stamped = [line | {"timestamp": f"2025-01-01T00:00:{index:02d}"} for index, line in enumerate(lines)]
    return {
        "id": "sim-1",
        "task_id": "t",
        "trial": 0,
        "start_time": "2025-01-01T00:00:00",
        "end_time": "2025-01-01T00:00:09",
        "termination_reason": "user_stop",
        "reward_info": {"reward": 1.0},
        "messages": stamped,
        "_meta": {"domain": "shop", "arm": "a", "agent_llm": "azure/gpt-4o"},
    } | changes


def written(path: Path, *records: dict[str, Any] | bytes) -> Path:
    path.write_bytes(b"\n".join(one if isinstance(one, bytes) else orjson.dumps(one) for one in records))
    return path


def test_one_small_simulation_step_by_step(tmp_path: Path) -> None:
    (one,) = converted(written(tmp_path / "one.jsonl", simulation()))
    root, chat, tool, answer = one.spans
    assert [span.name for span in one.spans] == [
        "invoke_agent shop",
        "chat gpt-4o",
        "execute_tool look_up",
        "chat gpt-4o",
    ]
    assert values(chat)["gen_ai.provider.name"] == "azure.ai.openai"
    assert (tool.status.code, tool.status.message) == (2, "lost")
    assert values(tool)["gen_ai.tool.call.arguments"] == '{"id":7}'
    assert values(root)["assay.user.cost_usd"] == 0.75
    assert values(root)["assay.user.closing_message"] == "Oh. ###STOP###"
    assert answer.end_time_unix_nano - answer.start_time_unix_nano == 1_000_000_000
    assert [len(span.trace_id) for span in one.spans] == [16] * 4


def test_a_missing_reward_is_unscored_and_never_a_fail(tmp_path: Path) -> None:
    (one,) = converted(written(tmp_path / "one.jsonl", simulation(reward_info=None)))
    assert (one.outcome.value, one.outcome.label) == (None, None)
    assert one.outcome.unscored


@pytest.mark.parametrize(("reward", "label"), [(1.0, "pass"), (1 - 1e-7, "pass"), (0.999, "fail"), (0.0, "fail")])
def test_pass_needs_the_whole_reward(tmp_path: Path, reward: float, label: str) -> None:
    (one,) = converted(written(tmp_path / "one.jsonl", simulation(reward_info={"reward": reward})))
    assert one.outcome.label == label


def test_a_results_file_of_tau2_itself_names_its_models_in_info(tmp_path: Path) -> None:
    bare = {key: value for key, value in simulation().items() if key != "_meta"}
    about = {"agent_info": {"llm": "gpt-4.1"}, "environment_info": {"domain_name": "retail"}}
    path = written(tmp_path / "results.json", {"info": about, "simulations": [bare]})
    (one,) = converted(path)
    assert (one.app, one.release) == ("retail", "gpt-4.1")


def test_a_call_that_never_got_its_result_is_still_a_span(tmp_path: Path) -> None:
    cut = simulation()["messages"][:3]
    (one,) = converted(written(tmp_path / "one.jsonl", simulation(messages=cut, termination_reason="max_steps")))
    root, _, tool = one.spans
    assert values(tool)["assay.result_missing"] is True
    assert values(root)["error.type"] == "max_steps"


def test_a_question_nobody_answered_is_a_turn_that_says_so(tmp_path: Path) -> None:
    alone = simulation()["messages"][:2]
    (one,) = converted(written(tmp_path / "one.jsonl", simulation(messages=alone)))
    assert [values(span)["error.type"] for span in one.spans] == ["no_reply"]


def test_bad_lines_are_named_and_take_no_sibling_with_them(tmp_path: Path) -> None:
    records = (
        simulation(),
        simulation(id=""),
        b'{"id": ',
        simulation(messages=[{"role": "x"}]),
        simulation(id="sim-5"),
    )
    found = list(tau2.conversations(written(tmp_path / "five.jsonl", *records), app=None, release=None))
    assert [isinstance(one, BadLine) for one in found] == [False, True, True, True, False]
    assert [str(one).split(": ")[0] for one in found[1:4]] == [f"{tmp_path}/five.jsonl:{n}" for n in (2, 3, 4)]
    assert all("\n" not in str(one) and len(str(one)) < 300 for one in found if isinstance(one, BadLine))


@pytest.mark.parametrize("hostile", ["{}", "[]", "null", "7", '"x"', "[" * 5000, '{"id":NaN}', '{"_meta":[]}'])
def test_json_of_another_shape_is_a_bad_line(tmp_path: Path, hostile: str) -> None:
    found = list(tau2.conversations(written(tmp_path / "x.jsonl", hostile.encode()), app=None, release=None))
    assert [type(one) for one in found] == [BadLine]


def test_lone_surrogates_and_deep_arguments_do_not_stop_an_import(tmp_path: Path) -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    record = simulation()
    record["messages"][2]["tool_calls"][0]["arguments"] = deep
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps(record) + "\n" + json.dumps(simulation()).replace("Hello!", "\\ud83d"))
    found = list(tau2.conversations(path, app=None, release=None))
    assert isinstance(found[0], Conversation)
    assert isinstance(found[1], BadLine | Conversation)


def _number(span: dict[str, object], key: str) -> float:
    found = span.get(key, 0)
    assert isinstance(found, int | float)
    return found
