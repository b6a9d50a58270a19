"""Trials of examples: each finds its scenario's world untouched, and the datasets are what the scenarios give."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Release, TurnInput, TurnResult
from agent_runtime.settings import Settings
from agent_runtime.simulation.trials import TrialRuntime, open_trials, scenario_of_trial
from agent_runtime.telemetry import arrived

DATASETS = Path(__file__).parents[2] / "examples" / "datasets"
FAULTY = Release(name="v2", variant="treatment", faults={"drop_confirmation": 1.0})


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATASETS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def example(name: str) -> dict[str, Any]:
    return next(line for line in lines("support-golden") if line["example_id"] == name)


def with_agent(folder: Path, act: Callable[[TrialRuntime], Awaitable[None]]) -> None:
    async def acted() -> None:
        settings = Settings(data=folder, otlp_endpoint="", assay_url="")
        async with open_trials(settings, [Release(name="v1"), FAULTY], folder / "world.db", 7) as agent:
            await act(agent)

    asyncio.run(acted())


async def played(agent: TrialRuntime, session_id: str, turns: list[str], release: str = "v1") -> list[TurnResult]:
    found = []
    for number, text in enumerate(turns):
        given = TurnInput(session_id=session_id, user_id=session_id, text=text, message_id=f"{session_id}:{number}")
        with arrived({"baggage": f"assay.release={release}"}):
            found.append(await agent.turn(given))
    return found


def test_a_trial_is_known_by_the_name_of_its_session() -> None:
    found = scenario_of_trial("run_1.order_01.0")
    assert found is not None
    assert found.scenario_id == "order_01"
    assert scenario_of_trial("run_1.policy_15-formal.3") is not None
    for other in ("order_01", "run.order_01", "run.order_01.x", "run.order_99.0", ""):
        assert scenario_of_trial(other) is None


def test_trials_of_one_example_do_not_see_each_other(tmp_path: Path) -> None:
    async def act(agent: TrialRuntime) -> None:
        wanted = example("order_01")
        for trial in range(3):
            session = f"run_1.order_01.{trial}"
            results = await played(agent, session, wanted["input"]["turns"])
            assert "cancel_order" in [tool.tool for result in results for tool in result.tools]
            room = agent.rooms.room(session)
            assert room is not None
            assert room.end_state() == wanted["expected"]["end_state"]

    with_agent(tmp_path, act)


def test_a_release_with_a_fault_ends_otherwise_and_says_so_in_the_end_state(tmp_path: Path) -> None:
    async def act(agent: TrialRuntime) -> None:
        wanted = example("order_01")
        results = await played(agent, "run_1.order_01.0", wanted["input"]["turns"], release="v2")
        assert [tool.tool for tool in results[0].tools] == ["get_order", "cancel_order"]  # before anybody said yes

    with_agent(tmp_path, act)


def test_what_the_agent_does_not_play_is_refused(tmp_path: Path) -> None:
    async def act(agent: TrialRuntime) -> None:
        with pytest.raises(InvalidInput, match="plays v1, v2, not 'v3'"):
            await played(agent, "run_1.order_01.0", ["Hello"], release="v3")

    with_agent(tmp_path, act)


def test_another_session_meets_the_demo_customer(tmp_path: Path) -> None:
    async def act(agent: TrialRuntime) -> None:
        [result] = await played(agent, "chat", ["Which orders do I have?"])
        assert result.reply
        room = agent.rooms.room("chat")
        assert room is not None
        assert len(room.end_state()["orders"]) == 4

    with_agent(tmp_path, act)


@pytest.mark.parametrize(("name", "least"), [("support-golden", 60), ("support-adversarial", 15)])
def test_the_datasets_are_whole(name: str, least: int) -> None:
    found = lines(name)
    assert len(found) >= least
    assert len({line["example_id"] for line in found}) == len(found)
    assert {line["split"] for line in found} == {"smoke", "test"}
    for line in found:
        assert scenario_of_trial(f"run.{line['example_id']}.0") is not None
        assert line["input"]["turns"]
        assert "@" not in json.dumps(line["expected"]["end_state"])  # it would be masked in the span
        assert line["expected"].get("refusal", False) is (name == "support-adversarial")


def test_the_datasets_are_made_by_their_script() -> None:
    from examples.datasets.make_support import examples

    found, left_out = asyncio.run(examples())
    assert left_out == []
    for name, rows in found.items():
        assert json.loads(json.dumps(rows)) == lines(name)
