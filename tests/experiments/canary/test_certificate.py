"""Certificates: they say what the gate says, all of it can be computed again, and no field can be changed unseen."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from experiments.canary.certificate import Ledger, Subject, hashed, make, verify, verify_all
from experiments.canary.decide import step_gate
from tests.experiments.canary.evidence import POLICY, at_step, blocks, healthy, states
from tests.thorough import often

SUBJECT = Subject(rollout="r1", app="shop", baseline="v1", candidate="v2")
SAID: dict[str, Any] = {
    "steps": [{"weight": one.weight, "min_units": one.min_units, "bake_s": one.bake_s} for one in POLICY.steps],
    "guardrails": [
        {
            "name": one.name,
            "kind": one.kind.value,
            "better": one.better.value,
            "margin": one.margin,
            "alpha_share": one.alpha_share,
            "tolerated": one.tolerated,
        }
        for one in POLICY.guardrails
    ],
    "alpha": POLICY.alpha,
    "mature_s": POLICY.mature_s,
    "max_missing_share": POLICY.max_missing_share,
    "unit": "session",
    "requires": {"gate": True, "checks": ["pii"], "approval": False},
    "bypass": None,
}
COUNTED = healthy(error_rate=blocks(0.2, 0.03))
LEDGERS = {
    "resolution": Ledger(blocks=COUNTED["resolution"], history=(12.5, 90)),
    "error_rate": Ledger(blocks=COUNTED["error_rate"], threshold=1.5),
    "safety": Ledger(blocks=COUNTED["safety"]),
}
MADE = make(SUBJECT, SAID, LEDGERS, at_step(0), previous="0" * 64)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every leaf is."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        yield at
    else:
        for key, one in inside:
            yield from places(one, (*at, key))


PLACES = list(places(MADE))
# What is not computed from anything: who and when, and what stood before. The digest and the chain of certificates
# hold these; what the policy says is held by its hash.
FREE = {"rollout", "app", "baseline", "candidate", "previous"}


def altered(place: tuple[Any, ...], change: Any) -> dict[str, Any]:
    one = copy.deepcopy(MADE)
    inside: Any = one
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = change(inside[place[-1]])
    return one


def other(value: Any) -> Any:
    match value:
        case bool() | None:
            return 1 if value is None else not value
        case int():
            return value + 1
        case float():
            return value * 1.01 + 1
        case _:
            return f"{value}x"


def test_it_says_what_the_gate_says_and_holds_after_a_journey_through_json() -> None:
    at = at_step(0)
    ledgers = {name: Ledger(blocks=one.blocks) for name, one in LEDGERS.items()}
    found = make(SUBJECT, SAID, ledgers, at)
    decision = step_gate(POLICY, states(COUNTED, at), at)
    assert found["decision"] == decision.act.value == "roll_back"
    assert [one["text"] for one in found["reasons"]] == [one.text for one in decision.reasons]
    assert found["figures"]["error_rate"]["e_harm"] == decision.figures[1].e_harm
    assert verify(json.loads(json.dumps(found))) == []
    assert verify(MADE) == []


@settings(max_examples=often(80, 20), deadline=None)
@given(place=st.sampled_from(PLACES))
def test_any_field_that_is_altered_is_named(place: tuple[Any, ...]) -> None:
    assert verify(altered(place, other))


@settings(max_examples=often(80, 20), deadline=None)
@given(place=st.sampled_from([one for one in PLACES if one[0] not in FREE and one != ("digest",)]))
def test_a_new_digest_hides_no_figure(place: tuple[Any, ...]) -> None:
    """Not even one where every hash is made anew: the figures no longer follow."""
    forged = altered(place, other)
    forged["digest"] = hashed({key: value for key, value in forged.items() if key != "digest"})
    if place in {("at_ns",), ("entered_at_ns",)}:
        return  # one nanosecond later the same is decided
    assert verify(forged)


def test_counts_that_are_changed_with_their_chain_and_digest_belie_the_e_values() -> None:
    forged = copy.deepcopy(MADE)
    forged["evidence"]["error_rate"]["blocks"][3][2] += 3
    again = make(SUBJECT, SAID, {**LEDGERS, "error_rate": Ledger(blocks=blocks(0.21, 0.03), threshold=1.5)}, at_step(0))
    forged["evidence"]["error_rate"]["chain"] = again["evidence"]["error_rate"]["chain"]
    forged["digest"] = hashed({key: value for key, value in forged.items() if key != "digest"})
    problems = verify(forged)
    assert any(one.startswith("figures.error_rate.e_harm: says") for one in problems)
    assert any(one.startswith("evidence.error_rate.chain") for one in problems)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"kind": "assay.gate"},
        {**MADE, "evidence": None},
        {**MADE, "step": 9},
        {**MADE, "step": "0"},
        {**MADE, "policy": {**SAID, "alpha": 7}},
        {**MADE, "policy": []},
        {key: value for key, value in MADE.items() if key != "digest"},
        {key: value for key, value in MADE.items() if key != "reasons"},
        {**MADE, "more": 1},
        {**MADE, "at_ns": float("inf")},
        {**MADE, "evidence": {"safety": {**MADE["evidence"]["safety"], "blocks": [[1, 10**400, 0, 1, 0, 0, 0]]}}},
    ],
)
def test_what_is_no_certificate_is_said_to_be_none(given: dict[str, Any]) -> None:
    assert verify(given)


def test_a_policy_that_is_none_makes_no_certificate() -> None:
    with pytest.raises(InvalidInput, match="not the policy of a rollout"):
        make(SUBJECT, {"steps": 3}, {}, at_step(0))


def chain() -> list[dict[str, Any]]:
    first = make(SUBJECT, SAID, {name: Ledger(blocks=one) for name, one in healthy().items()}, at_step(0))
    more = {name: Ledger(blocks=[*one, *blocks(0.4, 0.03, from_s=800)]) for name, one in healthy().items()}
    second = make(SUBJECT, SAID, more, at_step(1, entered_s=700, now_s=1500), previous=first["digest"])
    return [first, second]


def test_the_certificates_of_a_rollout_hold_one_another() -> None:
    first, second = chain()
    assert (first["decision"], second["decision"]) == ("promote", "roll_back")
    assert verify_all([first, second]) == []
    assert verify_all([second]) == ["certificate 1: previous: it does not follow the certificate before it"]
    assert any("certificate 2: previous" in one for one in verify_all([second, first]))


def test_nothing_follows_a_roll_back_and_no_block_is_forgotten() -> None:
    first, second = chain()
    shorter = {name: Ledger(blocks=one) for name, one in healthy().items()}
    after = make(SUBJECT, SAID, shorter, at_step(1, now_s=1600), previous=second["digest"])
    problems = verify_all([first, second, after])
    assert "certificate 3: it follows a roll back, after which nothing is decided" in problems
    assert any("evidence.error_rate: blocks that were counted before" in one for one in problems)


def test_blocks_of_another_order_and_a_past_that_changes_are_named() -> None:
    first, _ = chain()
    turned = {name: Ledger(blocks=one[::-1]) for name, one in healthy().items()}
    problems = verify(make(SUBJECT, SAID, turned, at_step(0)))
    assert "evidence.error_rate: blocks are not in the order of time" in problems

    # The same blocks, held against another past of the baseline than at the step before.
    past = {name: Ledger(blocks=one, history=(40.0, 90)) for name, one in healthy().items()}
    other_past = make(SUBJECT, SAID, past, at_step(1, now_s=1600), previous=first["digest"])
    assert verify(other_past) == []
    assert any(
        "evidence.error_rate.history: [40.0, 90], before [0.0, 0.0]" in p for p in verify_all([first, other_past])
    )
