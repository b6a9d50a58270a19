"""A bundle gives the decision again without a server, and an altered one is refused."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from core.errors import Corrupt, InvalidInput
from experiments.gates.bundle import Evidence, bundle_of, digest_of, verify
from experiments.gates.records import Cause, GateDecision, Reason, as_json
from server.gate_policy import BadPolicy, read_policy
from tests.experiments.gates.evidence import ASKED, BASELINE, CANDIDATE, FACTS, NOW, POLICY, rewritten, run


def made(**other: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"baseline": BASELINE, "candidate": CANDIDATE, "absent": (), "policy_text": POLICY, **other}
    evidence = Evidence(asked=ASKED, facts=FACTS, now_ns=NOW, seed=0, **given)
    bundle = bundle_of(evidence, evidence.decided(read_policy(POLICY)), assay_version="0.1.0")
    read: dict[str, Any] = json.loads(json.dumps(bundle))
    return read


@pytest.mark.parametrize(
    ("other", "decision"),
    [
        ({}, GateDecision.PASS),
        ({"candidate": run("v2", better=-0.4)}, GateDecision.FAIL),
        ({"candidate": None}, GateDecision.INCONCLUSIVE),
        ({"absent": (Reason(cause=Cause.NOT_FINISHED, text="later"),)}, GateDecision.INCONCLUSIVE),
        ({"candidate": rewritten(CANDIDATE, pl.col("value") > 0, float("nan"))}, GateDecision.INCONCLUSIVE),
    ],
)
def test_it_gives_the_same_decision_and_figures_again(other: dict[str, Any], decision: GateDecision) -> None:
    bundle = made(**other)
    again = verify(bundle, read_policy)
    assert again.decision is decision
    assert json.loads(json.dumps(as_json(again))) == bundle["decision"]


ALTERED = {
    "decision": lambda b: b["decision"].update(decision="fail"),
    "a figure": lambda b: b["decision"]["metrics"][0]["measured"].update(difference=0.5),
    "a score": lambda b: b["runs"]["candidate"]["rows"]["value"].__setitem__(0, 0.123),
    "a release": lambda b: b["runs"]["candidate"].update(release="v1"),
    "policy": lambda b: b.update(policy=b["policy"].replace("0.05}", "0.5}")),
    "when": lambda b: b.update(now_ns=b["now_ns"] + 10**15),
    "a reason": lambda b: b["decision"]["reasons"].clear(),
    "direction": lambda b: b["facts"]["correctness"].update(direction="lower"),
}


@pytest.mark.parametrize("part", list(ALTERED))
def test_an_altered_one_is_refused(part: str) -> None:
    bundle = made()
    ALTERED[part](bundle)
    with pytest.raises(Corrupt, match="was altered"):
        verify(bundle, read_policy)


@pytest.mark.parametrize("part", [part for part in ALTERED if part != "direction"])
def test_one_with_a_new_digest_still_has_to_give_what_it_says(part: str) -> None:
    """`direction` stands in the policy already, of all others the evidence tells."""
    bundle = made()
    ALTERED[part](bundle)
    bundle["digest"] = digest_of(bundle)
    with pytest.raises(Corrupt, match="does not give what it says"):
        verify(bundle, read_policy)


def test_a_time_beyond_all_numbers_is_refused() -> None:
    bundle = made()
    bundle["now_ns"] = 10**400
    bundle["digest"] = digest_of(bundle)
    with pytest.raises(Corrupt, match="of another kind"):
        verify(bundle, read_policy)


@pytest.mark.parametrize("part", ["policy", "asked", "facts", "absent", "now_ns", "seed", "runs", "decision"])
def test_one_that_lacks_a_part_is_refused(part: str) -> None:
    for how in ("gone", "other"):
        bundle = made()
        if how == "gone":
            del bundle[part]
        else:
            bundle[part] = [[1]]
        bundle["digest"] = digest_of(bundle)
        with pytest.raises((Corrupt, BadPolicy)):
            verify(bundle, read_policy)


@pytest.mark.parametrize(
    "what", [None, [], 7, "x", {}, {"format": "other"}, {"format": "assay-gate-bundle", "version": 2}]
)
def test_what_is_no_bundle_is_named(what: object) -> None:
    with pytest.raises(InvalidInput, match=r"no bundle|of version"):
        verify(what, read_policy)
