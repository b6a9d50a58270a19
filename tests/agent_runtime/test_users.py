"""Simulated users: they answer what they are asked, keep to their facts, and end."""

from __future__ import annotations

from random import Random

import pytest

from agent_runtime.errors import InvalidInput
from agent_runtime.simulation.loading import all_scenarios, scenario_named
from agent_runtime.simulation.plans import Cast
from agent_runtime.simulation.scenario import Prepared
from agent_runtime.simulation.transcript import Exchange, Transcript
from agent_runtime.simulation.users import PERSONAS, Persona, is_satisfied, next_message, persona_named
from agent_runtime.simulation.world import World
from tests.agent_runtime.bare_agent import play

BRIEF = persona_named("brief")


def says(prepared: Prepared, *replies: str) -> str | None:
    """What the brief user says after these replies."""
    transcript: Transcript = ()
    for reply in replies:
        text = next_message(prepared, BRIEF, Random(1), transcript)
        assert text is not None
        transcript = (*transcript, Exchange(user=text, reply=reply))
    return next_message(prepared, BRIEF, Random(1), transcript)


@pytest.fixture
def several(world: World) -> Prepared:
    """Three orders, of which the boots are to be cancelled."""
    return world.prepare(scenario_named("order_12"), "several")


def test_she_opens_with_her_wish(several: Prepared) -> None:
    assert says(several) in several.scenario.requests[0].openings


@pytest.mark.parametrize(
    "reply",
    [
        "Which order do you mean?",
        "Could you tell me the order number?",
        "You have three orders: LK-1, LK-2. Which one shall I cancel?",
        "Please give me the order id.",
    ],
)
def test_asked_for_the_order_she_tells_it(several: Prepared, reply: str) -> None:
    assert several.names["boots"] in str(says(several, reply))


def test_asked_for_the_reason_she_tells_it(several: Prepared) -> None:
    assert says(several, "May I ask why?") == several.scenario.facts["reason"]


@pytest.mark.parametrize(
    "question",
    ["Shall I cancel order {}?", "Do you want me to cancel {} for good?", "Please confirm: cancel {}, is that right?"],
)
def test_asked_about_the_right_order_she_says_yes(several: Prepared, question: str) -> None:
    assert str(says(several, question.format(several.names["boots"]))).startswith("Yes")


def test_asked_about_a_wrong_order_she_says_which(several: Prepared) -> None:
    answer = str(says(several, f"Shall I cancel order {several.names['tent']}?"))
    assert answer.startswith("No")
    assert several.names["boots"] in answer


def test_asked_about_a_wrong_amount_she_says_how_much(world: World) -> None:
    prepared = world.prepare(scenario_named("refund_01"), "amount")
    answer = says(prepared, f"Shall I refund $29.50 for order {prepared.names['lamp']}?")
    assert answer == "No, it should be 59.00 USD."


def test_a_person_is_taken_only_by_who_wants_one(several: Prepared, world: World) -> None:
    offer = "I cannot do that. Shall I hand this to a person?"
    above = world.prepare(scenario_named("refund_11"), "above")
    assert says(several, offer) == "No."
    assert str(says(above, offer)).startswith("Yes")


def test_she_ends_when_she_has_what_she_wanted(several: Prepared) -> None:
    assert says(several, "Order is cancelled. Is there anything else I can do for you?") is None


def test_she_goes_on_to_her_second_wish(world: World) -> None:
    prepared = world.prepare(scenario_named("order_16"), "second-wish")
    assert says(prepared, "Your order is cancelled.") in prepared.scenario.requests[1].openings
    assert says(prepared, "Your order is cancelled.", "It has shipped.") is None


def test_she_changes_her_mind_once(world: World) -> None:
    prepared = world.prepare(scenario_named("order_15"), "mind")
    question = f"Shall I cancel order {prepared.names['pack']}?"
    assert says(prepared, question) == prepared.scenario.changes_mind
    assert str(says(prepared, question, question)).startswith("Yes")


def test_she_waits_no_longer_than_her_patience(several: Prepared) -> None:
    transcript: Transcript = ()
    while (text := next_message(several, BRIEF, Random(1), transcript)) is not None:
        transcript = (*transcript, Exchange(user=text, reply="Hm."))
    assert len(transcript) == several.scenario.patience
    assert not is_satisfied(several.scenario, transcript)


def test_a_turn_that_waits_for_a_person_settles_nothing(several: Prepared) -> None:
    waiting = (Exchange(user="Cancel it.", reply="It will be cancelled once approved.", status="waiting_approval"),)
    assert not is_satisfied(several.scenario, waiting)


@pytest.mark.parametrize("keep_calls", [True, False], ids=["whole history", "texts only"])
@pytest.mark.parametrize("persona", PERSONAS, ids=lambda each: each.name)
def test_every_persona_reaches_every_goal(world: World, persona: Persona, keep_calls: bool) -> None:
    failed = {}
    for scenario in all_scenarios():
        chosen = Cast(
            session_id=f"{persona.name}-{scenario.scenario_id}", scenario=scenario, persona=persona, faults=()
        )
        found, _ = play(world, world.prepare(scenario, chosen.session_id), chosen, seed=3, keep_calls=keep_calls)
        if not found.passed:
            failed[scenario.scenario_id] = found.reasons
    assert failed == {}


def test_the_same_chance_gives_the_same_session(world: World) -> None:
    scenario = scenario_named("refund_17")
    chosen = Cast(session_id="same", scenario=scenario, persona=persona_named("chatty"), faults=())
    first = play(world, world.prepare(scenario, "same"), chosen, seed=9)
    assert play(world, world.prepare(scenario, "same"), chosen, seed=9) == first
    assert play(world, world.prepare(scenario, "same"), chosen, seed=10)[0].passed


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda each: each.name)
def test_a_manner_changes_no_fact(world: World, persona: Persona) -> None:
    for scenario in all_scenarios():
        prepared = world.prepare(scenario, f"manner-{persona.name}-{scenario.scenario_id}")
        text = next_message(prepared, persona, Random(4), ())
        facts = [each for each in prepared.names.values() if each in prepared.scenario.requests[0].openings[0]]
        if len(prepared.scenario.requests[0].openings) == 1:
            assert all(fact in str(text) for fact in facts)
        assert any(opening.lower() in str(text).lower() for opening in prepared.scenario.requests[0].openings)


@pytest.mark.parametrize("reply", ["", "?", "???", "\x00", "x" * 60_000, "Which" * 5000 + "?", "{tent} {}", "∅"])
def test_any_reply_gets_a_message(several: Prepared, reply: str) -> None:
    assert says(several, reply)


def test_an_unknown_persona_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no persona 'rude'; there are brief"):
        persona_named("rude")
