"""The scenarios: enough of them, each reached by its gold actions and by nothing less; files with mistakes."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Intent
from agent_runtime.simulation.backend import Shop
from agent_runtime.simulation.goals import outcome, pass_hat_k
from agent_runtime.simulation.loading import FOLDER, all_scenarios, load_file, load_folder, scenario_named
from agent_runtime.simulation.oracle import gold_outcome
from agent_runtime.simulation.scenario import Attack, Difficulty, Scenario, cents, filled
from agent_runtime.simulation.transcript import Act, Exchange
from agent_runtime.simulation.world import World

SCENARIOS = pytest.mark.parametrize("scenario", all_scenarios(), ids=lambda each: each.scenario_id)


def test_there_are_enough_of_every_kind() -> None:
    scenarios = all_scenarios()
    by_intent = Counter(each.intent for each in scenarios)
    assert len(scenarios) >= 60
    assert all(by_intent[intent] >= 10 for intent in Intent if intent is not Intent.OTHER)
    assert all(Counter(each.difficulty for each in scenarios)[kind] >= 15 for kind in Difficulty)


def test_the_hard_ones_hold_what_makes_them_hard() -> None:
    hard = [each for each in all_scenarios() if each.difficulty is Difficulty.HARD]
    refunds = [
        cents(filled(str(c.args["amount_usd"]), each.amounts()))
        for each in hard
        for c in each.gold_calls("refund_order")
    ]
    assert sum(each.ambiguous for each in hard) >= 3
    assert sum(bool(each.changes_mind) for each in hard) >= 3
    assert sum(len(each.requests) > 1 for each in hard) >= 3
    assert {each.attack for each in hard} == set(Attack)
    assert any(amount > 12_000 for amount in refunds)
    assert any(each.gold_calls("escalate") for each in hard)
    assert any(not each.approves for each in hard)


@SCENARIOS
def test_the_gold_actions_reach_the_goal(world: World, scenario: Scenario) -> None:
    prepared = world.prepare(scenario, f"gold-{scenario.scenario_id}")
    assert asyncio.run(gold_outcome(world, prepared, Shop(world))).reasons == ()


@SCENARIOS
def test_doing_and_saying_nothing_does_not_reach_it(world: World, scenario: Scenario) -> None:
    prepared = world.prepare(scenario, f"idle-{scenario.scenario_id}")
    assert outcome(world, prepared, ()).passed is not bool(scenario.gold or scenario.goal.says)


@SCENARIOS
def test_every_placeholder_is_filled(world: World, scenario: Scenario) -> None:
    prepared = world.prepare(scenario, f"filled-{scenario.scenario_id}")
    assert not re.search(r"\{[a-z]", repr(prepared.scenario.requests) + repr(prepared.scenario.facts).replace("{'", ""))
    assert not re.search(r"\{[a-z]", str([dict(call.args) for call in prepared.scenario.gold]))


def test_an_irreversible_action_without_a_yes_fails_the_goal(world: World) -> None:
    prepared = world.prepare(scenario_named("order_01"), "unasked")
    call = prepared.scenario.gold_calls("cancel_order")[0]
    result = asyncio.run(Shop(world).call(call.tool, prepared.user_id, call.args, key="k"))
    told = (
        Exchange(
            user="Cancel it.", reply="It is cancelled.", acts=(Act(tool=call.tool, args=call.args, result=result),)
        ),
    )
    assert outcome(world, prepared, told).reasons == ("cancel_order was done without the user's yes",)


def test_pass_hat_k_is_the_estimate_of_the_paper() -> None:
    # C(3,2)/C(4,2) = 1/2 and C(4,2)/C(4,2) = 1
    assert pass_hat_k([(3, 4), (4, 4)], 2) == pytest.approx(0.75)
    assert pass_hat_k([(1, 4)], 2) == 0
    assert pass_hat_k([(3, 4)], 1) == pytest.approx(0.75)
    with pytest.raises(InvalidInput, match=r"pass\^3 needs"):
        pass_hat_k([(2, 2)], 3)


GOOD = (FOLDER / "order_08.toml").read_text(encoding="utf-8")
MISTAKES = {
    "no toml": ("id =", "id ==", "this is no TOML"),
    "another id": ('id = "order_08"', 'id = "order_99"', "name the file order_99.toml"),
    "unknown intent": ('intent = "order"', 'intent = "love"', "intent: Input should be"),
    "unknown field": ("[customer]", "[customer]\nshoe_size = 40", "customer.shoe_size: Extra inputs"),
    "unknown sku": ("GEAR-191", "GEAR-999", "orders.camp: not in the catalogue: GEAR-999"),
    "unknown tool": ('tool = "create_return"', 'tool = "teleport"', "there is no tool 'teleport'"),
    "unknown table": ('table = "returns"', 'table = "sqlite_master"', "there is no table 'sqlite_master'"),
    "unknown placeholder": ("order {camp}.", "order {tent}.", "{tent} is nothing; there are address, camp"),
    "a bad pattern": ('done = "RT', 'done = "(RT', "is no pattern"),
    "delivered when": ("delivered_days = 12\n", "", "delivered_days belongs to delivered orders"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_file_with_a_mistake_is_refused_by_what_is_wrong(tmp_path: Path, name: str) -> None:
    before, after, message = MISTAKES[name]
    assert before in GOOD
    (tmp_path / "order_08.toml").write_text(GOOD.replace(before, after), encoding="utf-8")
    with pytest.raises(InvalidInput, match=re.escape(message)):
        load_file(tmp_path / "order_08.toml")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no scenario files"):
        load_folder(tmp_path)
