"""Every fault, alone, in every scenario it applies to: it fails the task or leaves it whole, as it says of itself."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from pathlib import Path

import pytest

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Parameters
from agent_runtime.simulation.documents import current, every_version, versioned_ids
from agent_runtime.simulation.faults.fault import Seam, planted
from agent_runtime.simulation.faults.silent_model_change import OTHER_MODEL
from agent_runtime.simulation.faults.table import (
    FAULTS,
    alter_reply,
    altered_documents,
    altered_parameters,
    chosen_scenario,
    fault_named,
)
from agent_runtime.simulation.loading import all_scenarios
from agent_runtime.simulation.plans import Cast, Plan, cast, chance_of
from agent_runtime.simulation.proposal import Message, Proposal, ProposedCall, Situation
from agent_runtime.simulation.scenario import Difficulty
from agent_runtime.simulation.users import PERSONAS
from agent_runtime.simulation.world import World
from tests.agent_runtime.bare_agent import play

NAMES = sorted(FAULTS)
SAID = Situation(
    agent="order",
    messages=(Message(role="user", text="Hi"), Message(role="user", text="Cancel LK-1234567")),
    tools=frozenset({"cancel_order"}),
    session_id="s",
)


def _cast(name: str, scenario_position: int) -> Cast:
    scenario = all_scenarios()[scenario_position]
    persona = PERSONAS[scenario_position % len(PERSONAS)]
    faults = (name,) if name else ()
    return Cast(session_id=f"{name}-{scenario.scenario_id}", scenario=scenario, persona=persona, faults=faults)


def test_there_are_sixteen_each_in_a_file_of_its_name() -> None:
    folder = Path(__file__).resolve().parents[2] / "agent_runtime" / "simulation" / "faults"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "fault", "table"}
    assert files == set(FAULTS)
    assert len(FAULTS) == 16


def test_every_fault_acts_at_its_seam_and_somewhere() -> None:
    for fault in FAULTS.values():
        acts = {
            Seam.MODEL: fault.alter_reply,
            Seam.BACKEND: fault.wrap_backend,
            Seam.DOCUMENTS: fault.documents,
            Seam.PARAMETERS: fault.parameters,
            Seam.USERS: fault.choose,
        }
        assert acts[fault.seam] is not None, fault.name
        assert sum(fault.applies(scenario) for scenario in all_scenarios()) >= 2, fault.name


@pytest.mark.parametrize("name", [name for name in NAMES if FAULTS[name].fails_task])
def test_a_planted_fault_fails_the_task_wherever_it_applies(world: World, name: str) -> None:
    passed = []
    for position, scenario in enumerate(all_scenarios()):
        if FAULTS[name].applies(scenario):
            chosen = _cast(name, position)
            if play(world, world.prepare(scenario, chosen.session_id), chosen)[0].passed:
                passed.append(scenario.scenario_id)
    assert passed == []


@pytest.mark.parametrize("name", ["", *(name for name in NAMES if not FAULTS[name].fails_task)])
def test_without_a_fault_or_with_a_harmless_one_every_task_passes(world: World, name: str) -> None:
    failed = {}
    for position, scenario in enumerate(all_scenarios()):
        chosen = _cast(name, position)
        found, _ = play(world, world.prepare(scenario, chosen.session_id), chosen)
        if not found.passed:
            failed[scenario.scenario_id] = found.reasons
    assert failed == {}


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.7])
def test_a_fault_is_planted_at_its_rate(rate: float) -> None:
    n = 4000
    hit = sum(planted(7, "drop_confirmation", f"session-{number}", rate) for number in range(n))
    assert abs(hit / n - rate) < 4 * sqrt(rate * (1 - rate) / n)


def test_chance_is_by_seed_fault_and_session() -> None:
    def draw(seed: int, fault: str) -> list[bool]:
        return [planted(seed, fault, f"s{number}", 0.5) for number in range(64)]

    assert draw(1, "a") == draw(1, "a")
    assert draw(1, "a") != draw(2, "a")
    assert draw(1, "a") != draw(1, "b")
    assert not any(planted(1, "a", f"s{number}", 0.0) for number in range(64))
    assert all(planted(1, "a", f"s{number}", 1.0) for number in range(64))


def test_success_falls_by_the_planted_rate(world: World) -> None:
    """A release with one fault: every failed session had it planted, and every planted one failed."""
    plan = Plan(release="v2", seed=7, faults={"invented_confirmation": 0.3})
    seen: Counter[tuple[bool, bool]] = Counter()
    for number in range(300):
        chosen = cast(plan, f"falls-{number}")
        found, _ = play(world, world.prepare(chosen.scenario, chosen.session_id), chosen)
        seen[bool(chosen.faults), found.passed] += 1
    assert seen[True, True] == seen[False, False] == 0
    assert seen[True, False] > 20


def test_traffic_shifts_to_hard_tasks() -> None:
    plan = Plan(release="v2", seed=3, faults={"harder_users": 1.0})
    assert {cast(plan, f"s{number}").scenario.difficulty for number in range(50)} == {Difficulty.HARD}
    calm = {chosen_scenario((), all_scenarios(), chance_of(1, n)).difficulty for n in range(50)}
    assert calm == set(Difficulty)


def test_measured_facts_other_than_success() -> None:
    proposal = Proposal(text="Your order is on its way.")
    assert alter_reply(("latency_spike",), proposal, SAID).delay_ms == FAULTS["latency_spike"].lowers.change
    assert alter_reply(("silent_model_change",), proposal, SAID).model == OTHER_MODEL
    padded = alter_reply(("verbose_padding",), proposal, SAID).text
    assert len(padded.split()) - len(proposal.text.split()) >= FAULTS["verbose_padding"].lowers.change
    assert alter_reply(("context_overflow",), proposal, SAID).extra_input_tokens > 8_000


def test_faults_leave_supervisor_and_planner_alone() -> None:
    routed = Proposal(calls=(ProposedCall(tool="route", args={"agent": "technical"}),))
    supervisor = Situation(agent="supervisor", messages=SAID.messages, tools=frozenset({"route"}), session_id="s")
    talkative = [name for name in NAMES if name not in {"latency_spike", "silent_model_change", "injection_success"}]
    assert alter_reply(talkative, routed, supervisor) == routed


def test_documents_are_the_newest_and_the_stale_ones_the_oldest() -> None:
    assert altered_documents((), every_version()) == current()
    stale = altered_documents(("stale_policy",), every_version())
    assert {each.doc_id for each in stale} == {each.doc_id for each in current()}
    assert {each.doc_id for each in current()} - {each.doc_id for each in stale if each in current()} == versioned_ids()


def test_parameters_change_only_where_planted() -> None:
    assert altered_parameters((), Parameters()) == Parameters()
    assert altered_parameters(("drop_confirmation",), Parameters()).require_confirmation is False
    assert altered_parameters(("double_refund",), Parameters()).idempotent_writes is False


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"there is no fault 'gremlins'; there are context_overflow"):
        fault_named("gremlins")
