"""What an erasure takes out of a bundle: the ids are gone, and the decision is given again, figure by figure."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from experiments.gates.bundle import Evidence, bundle_of, digest_of, verify
from experiments.gates.forgetting import MARK, without
from experiments.gates.records import Cause, Reason, as_json
from server.gate_policy import read_policy
from tests.experiments.gates.evidence import ASKED, BASELINE, CANDIDATE, FACTS, NOW, POLICY, changed


def bundle(*, dataset: str = "golden", example: str = "ex_", **other: Any) -> dict[str, Any]:
    """A bundle as it is read back; `example` begins the ids of the examples."""
    named = pl.col("example_id").str.replace("ex_", example)
    trace = pl.concat_str(pl.lit("trace of "), "session_id")
    runs: dict[str, Any] = {
        side: changed(
            one,
            dataset=dataset,
            rows=one.rows.with_columns(example_id=named, trace_id=trace),
            examples={name.replace("ex_", example): said for name, said in one.examples.items()},
        )
        for side, one in (("baseline", BASELINE), ("candidate", CANDIDATE))
    }
    policy = POLICY.replace("dataset: golden", f"dataset: {json.dumps(dataset)}")
    evidence = Evidence(
        policy_text=policy,
        asked=ASKED,
        facts=FACTS,
        now_ns=NOW,
        seed=0,
        absent=other.pop("absent", ()),
        **runs,
        **other,
    )
    made = bundle_of(evidence, evidence.decided(read_policy(policy)), assay_version="0.1.0")
    read: dict[str, Any] = json.loads(json.dumps(made))
    return read


def worst_ids(told: dict[str, Any]) -> set[str]:
    return {one[name] for one in told["decision"]["worst"] for name in ("baseline_session", "candidate_trace")}


@pytest.mark.parametrize("dataset", ["golden", "-"])
def test_ids_go_and_the_decision_stays(dataset: str) -> None:
    before = bundle(dataset=dataset, example="session-" if dataset == "-" else "ex_")
    gone = worst_ids(before) | {"session-0003"}
    assert len(gone) > 10
    after = without(before, gone, lambda one: f"erased-{len(one)}")
    assert after is not None
    text = json.dumps(after)
    assert [one for one in gone if f'"{one}"' in text] == []
    assert after["digest"] == digest_of(after) != before["digest"]
    assert after[MARK] == len(gone) - (dataset == "golden")
    again = verify(after, read_policy)
    assert json.loads(json.dumps(as_json(again))) == after["decision"]
    for part in ("metrics", "strata", "reasons", "decision"):
        assert after["decision"][part] == before["decision"][part], part
    assert ("session-" in text) is False
    assert without(after, gone, str) is None


def test_what_names_none_of_them_stays_as_it_is() -> None:
    assert without(bundle(), frozenset({"nobody", "ex_0001"}), str) is None


def test_a_reason_that_names_one_names_it_no_more() -> None:
    told = Reason(cause=Cause.CONTRADICTORY, text="run r1: two scores of tone for example s-1, trial 0")
    before = bundle(absent=(told,))
    after = without(before, frozenset({"s-1", "r"}), lambda one: "erased-7")
    assert after is not None
    assert after["absent"][0]["text"] == "run r1: two scores of tone for example erased-7, trial 0"
    assert "s-1," not in json.dumps(after)
    verify(after, read_policy)
