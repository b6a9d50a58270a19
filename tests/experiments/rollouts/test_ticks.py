"""The tick over a real control database and lake: releases that harm, one that does not, and gaps in the evidence."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import AssayError, Conflict, Forbidden
from experiments.canary.records import DEFAULT_GUARDRAILS, GuardrailKind
from experiments.rollouts.policy import guardrail_named
from experiments.rollouts.records import Requires
from experiments.rollouts.state import state_of
from experiments.rollouts.told import told
from experiments.service_deploying import abort, approve, pause, report_check, resume, verify, verify_kept
from store.control.records import PlanSpec
from store.control.rollout_records import CheckRecord, RolloutRecord, RolloutStatus
from tests.experiments.rollouts.shop import ANN, APP, BEN, TENANT, Nature, Shop, open_shop
from tests.store.control_rows import decided


def weights(shop: Shop) -> dict[str, float]:
    return dict(shop.control.plans(TENANT, APP)[0].spec.weights)


def newest(shop: Shop) -> RolloutRecord:
    return shop.control.rollouts(TENANT, APP)[0]


def shown(shop: Shop) -> dict[str, Any]:
    record = newest(shop)
    blocks = shop.control.rollout_blocks(TENANT, record.rollout_id)
    return told(record, blocks, shop.control.rollout_events(TENANT, record.rollout_id))


def kinds(shop: Shop) -> list[str]:
    return [one.kind for one in shop.control.rollout_events(TENANT, newest(shop).rollout_id)]


def test_a_release_that_fails_its_users_is_rolled_back_for_good(tmp_path: Path) -> None:
    with open_shop(tmp_path, {"v2": Nature(success=0.2)}) as shop:
        shop.deploy()
        assert weights(shop) == {"v1": 1.0, "v2": 0.0}  # nothing before its first step
        shop.tick()
        assert weights(shop) == {"v1": 0.95, "v2": 0.05}
        ended = shop.minutes(30, a_minute=120)
        assert ended is not None
        assert (ended.status, weights(shop)) == (RolloutStatus.ROLLED_BACK, {"v1": 1.0, "v2": 0.0})
        found = shown(shop)
        (reason,) = found["reasons"]
        assert reason.startswith("resolution: e-value for harm ")
        assert ("boundary 57.1" in reason, "candidate" in reason, "baseline" in reason) == (True, True, True)
        assert kinds(shop) == ["deploy", "step", "roll_back"]
        assert [one.action for one in shop.control.list_audit(TENANT)][:2] == ["plan.set", "rollout.roll_back"]

        # Once is for ever: by no rollout, no bypass and no plan.
        with pytest.raises(Conflict, match="was rolled back by rollout"):
            shop.deploy()
        with pytest.raises(Conflict, match="was rolled back by rollout"):
            shop.deploy(bypass="an obvious bug")
        with pytest.raises(Conflict, match="register what mends it under another name"):
            shop.control.set_plan(TENANT, PlanSpec(app=APP, baseline="v1", weights={"v1": 1, "v2": 1}), by=ANN)
        with pytest.raises(Conflict, match="gets no sessions again"):  # as the baseline of a plan: neither
            shop.control.set_plan(TENANT, PlanSpec(app=APP, baseline="v2", weights={"v1": 1}), by=ANN)
        assert abort(shop.control, shop.clock, newest(shop), None, by=ANN) == newest(shop)  # idempotent
        assert shop.minutes(2, a_minute=10) is None
        assert shop.deploy(candidate="v3").status is RolloutStatus.WAITING


def test_one_that_is_no_worse_goes_step_by_step_to_all_sessions(tmp_path: Path) -> None:
    with open_shop(tmp_path, {"v2": Nature(success=0.97)}) as shop:
        shop.deploy()
        seen = []
        for _ in range(40):
            shop.minutes(1, a_minute=60)
            seen.append(tuple(weights(shop).items()))
            if newest(shop).status.ended:
                break
        assert list(dict.fromkeys(seen)) == [
            (("v1", 0.95), ("v2", 0.05)),
            (("v1", 0.5), ("v2", 0.5)),
            (("v2", 1.0),),
        ]
        assert shop.control.plans(TENANT, APP)[0].spec.baseline == "v2"
        assert kinds(shop) == ["deploy", "step", "step", "promote"]
        with pytest.raises(Conflict, match="ended in a promotion"):
            abort(shop.control, shop.clock, newest(shop), None, by=ANN)

        # Each action left a certificate that comes out the same, and does not when a count in it is another.
        record = newest(shop)
        kept = [one.body for one in shop.control.rollout_certificates(TENANT, record.rollout_id)]
        assert [one["decision"] for one in kept] == ["promote", "promote"]
        assert verify_kept(shop.control, record) == verify(kept) == []
        forged = copy.deepcopy(kept)
        forged[0]["evidence"]["resolution"]["blocks"][0][2] += 1
        assert verify(forged) != []

        # Nor do they when one is missing, or where they are held against another rollout.
        short = replace(record, n_certificates=3)
        assert verify_kept(shop.control, short) == ["2 certificates are kept of 3 that were made"]
        elsewhere = verify_kept(shop.control, replace(record, candidate="v9"))
        assert elsewhere == [f"certificate {n}: candidate is not the rollout's" for n in (1, 2)]


def test_the_last_step_takes_proof(tmp_path: Path) -> None:
    with open_shop(tmp_path, {"v2": Nature()}) as shop:
        policy = shop.wanted().policy.canary
        shop.deploy(steps=tuple(replace(one, proves=None) for one in policy.steps))
        shop.minutes(9)
        record = newest(shop)
        assert (record.status, state_of(record.state).step) == (RolloutStatus.RUNNING, 1)
        assert any("e-value for worse by less than" in one for one in state_of(record.state).reasons)


@pytest.mark.parametrize(
    ("nature", "guardrail"),
    [
        (Nature(error=0.6), "error_rate"),
        (Nature(ms=4000), "p95_latency"),
        (Nature(usd=0.05), "cost"),
        (Nature(leak=0.3), "safety"),
        (Nature(model="sim-1-mini"), "model_as_registered"),
    ],
)
def test_each_guardrail_sees_what_it_is_for(tmp_path: Path, nature: Nature, guardrail: str) -> None:
    with open_shop(tmp_path, {"v2": nature}) as shop:
        shop.deploy(guardrails=(*DEFAULT_GUARDRAILS, guardrail_named("model_as_registered")))
        ended = shop.minutes(25, a_minute=120)
        assert ended is not None
        assert ended.status is RolloutStatus.ROLLED_BACK
        assert state_of(ended.state).reasons[0].startswith(f"{guardrail}: ")
        assert verify_kept(shop.control, ended) == []


def test_a_server_that_is_restarted_after_every_look_decides_the_same(tmp_path: Path) -> None:
    def ended(folder: Path, *, restarts: bool) -> list[str]:
        with open_shop(folder, {"v2": Nature(success=0.3)}) as shop:
            shop.control.set_plan(TENANT, PlanSpec(app=APP, baseline="v1", weights={"v1": 1.0}), by=ANN)
            shop.deploy()
            for _ in range(30):
                shop.minutes(1, a_minute=120)
                if restarts:
                    shop.restart()
                if newest(shop).status.ended:
                    break
            record = newest(shop)
            assert record.status is RolloutStatus.ROLLED_BACK
            blocks = shop.control.rollout_blocks(TENANT, record.rollout_id)
            sessions = sum(sum(one.counts["sessions"]) for one in blocks)
            assert verify_kept(shop.control, record) == []
            sums = shown(shop)["guardrails"]
            assert sums[0]["n_candidate"] + sums[0]["n_baseline"] == sessions
            return kinds(shop)

    assert ended(tmp_path / "a", restarts=True) == ended(tmp_path / "b", restarts=False)


def test_an_outage_of_telemetry_holds_and_what_comes_after_it_counts(tmp_path: Path) -> None:
    with open_shop(tmp_path, {}) as shop:
        shop.deploy()
        shop.minutes(1)
        shop.natures = {name: Nature(traced=False) for name in ("v1", "v2")}
        shop.minutes(9)
        assert weights(shop) == {"v1": 0.95, "v2": 0.05}
        assert "without evidence it holds" in state_of(newest(shop).state).reasons[0]
        assert kinds(shop)[-1] == "hold"
        shop.natures = {"v2": Nature(success=0.1)}
        ended = shop.minutes(30, a_minute=120)
        assert ended is not None
        assert ended.status is RolloutStatus.ROLLED_BACK


def test_a_candidate_whose_traces_are_missing_is_not_promoted(tmp_path: Path) -> None:
    with open_shop(tmp_path, {}) as shop:
        shop.deploy()
        shop.minutes(4)
        shop.natures = {"v2": Nature(traced=False)}
        shop.minutes(6, a_minute=120)
        found = newest(shop)
        assert (found.status, weights(shop)["v2"] < 1) == (RolloutStatus.RUNNING, True)
        reasons = " ".join(state_of(found.state).reasons)
        assert "traces of one release are missing" in reasons or "0 scored units of the candidate" in reasons


def test_units_without_a_score_hold(tmp_path: Path) -> None:
    with open_shop(tmp_path, {"v2": Nature(scored=False)}) as shop:
        shop.deploy()
        shop.minutes(5, a_minute=120)
        found = newest(shop)
        assert found.status is RolloutStatus.RUNNING
        assert weights(shop) == {"v1": 0.95, "v2": 0.05}
        assert any(
            one.startswith("resolution: 0 scored units of the candidate") for one in state_of(found.state).reasons
        )
        figures = {one["name"]: one for one in shown(shop)["guardrails"]}
        assert figures["resolution"]["finding"] == "missing"
        assert figures["resolution"]["n_missing_candidate"] > 5


def test_a_threshold_is_fixed_before_what_is_held_against_it(tmp_path: Path) -> None:
    with open_shop(tmp_path, {"v2": Nature(ms=5000)}, before=0) as shop:  # nothing is known of the baseline
        shop.deploy()
        shop.tick()
        assert state_of(newest(shop).state).thresholds == {}
        ended = shop.minutes(30, a_minute=120)
        assert ended is not None
        assert ended.status is RolloutStatus.ROLLED_BACK
        fixed = state_of(ended.state).thresholds["p95_latency"]
        assert 1000 < fixed < 2500  # the baseline's, whose median is a second, and not the candidate's


def test_it_waits_for_gate_checks_and_somebody_elses_approval(tmp_path: Path) -> None:
    with open_shop(tmp_path, {}) as shop:
        shop.deploy(requires=Requires(gate=True, checks=("licence",), approval=True))
        shop.minutes(2, a_minute=5)
        assert (newest(shop).status, weights(shop)["v2"]) == (RolloutStatus.WAITING, 0.0)
        assert [one.split(" ")[0] for one in state_of(newest(shop).state).reasons] == ["no", "check", "no"]
        shop.control.add_gate(replace(decided(TENANT, app=APP), decision="fail"), b"{}", by=ANN)
        check = CheckRecord(app=APP, release="v2", name="licence", passed=False, link="https://ci.example.com/1")
        report_check(shop.control, check, by=BEN)
        shop.tick()
        assert "gate gate_1 says fail" in state_of(newest(shop).state).reasons[0]
        assert "check licence failed, by ben (https://ci" in state_of(newest(shop).state).reasons[1]
        with pytest.raises(Forbidden, match="somebody else approves it"):
            approve(shop.control, newest(shop), None, by=ANN)
        later = decided(TENANT, "gate_2", app=APP, at_ns=2 * 10**18)
        shop.control.add_gate(later, b"{}", by=ANN)
        report_check(shop.control, replace(check, passed=True), by=BEN)
        shop.tick()
        assert newest(shop).status is RolloutStatus.WAITING
        approve(shop.control, newest(shop), None, by=BEN)
        shop.tick()
        assert (newest(shop).status, weights(shop)["v2"]) == (RolloutStatus.RUNNING, 0.05)


def test_what_failed_meanwhile_is_not_promoted(tmp_path: Path) -> None:
    with open_shop(tmp_path, {"v2": Nature(success=0.97)}) as shop:
        check = CheckRecord(app=APP, release="v2", name="licence", passed=True)
        shop.deploy(requires=Requires(checks=("licence",)))
        report_check(shop.control, check, by=BEN)
        shop.minutes(1)
        assert newest(shop).status is RolloutStatus.RUNNING
        report_check(shop.control, replace(check, passed=False), by=BEN)
        shop.minutes(7)
        assert (newest(shop).status, weights(shop)["v2"]) == (RolloutStatus.RUNNING, 0.5)
        assert state_of(newest(shop).state).reasons[0].startswith("check licence failed, by ben")
        report_check(shop.control, check, by=BEN)
        shop.tick()
        assert newest(shop).status is RolloutStatus.PROMOTED


def test_a_clock_that_is_fast_is_named_and_hides_no_outage(tmp_path: Path) -> None:
    with open_shop(tmp_path, {}) as shop:
        shop.deploy()
        shop.minutes(1, a_minute=120)
        shop.natures = {name: Nature(ahead_s=3000) for name in ("v1", "v2")}
        shop.minutes(1, a_minute=2)
        shop.natures = {name: Nature(traced=False) for name in ("v1", "v2")}
        shop.minutes(9)
        assert (newest(shop).status, weights(shop)["v2"]) == (RolloutStatus.RUNNING, 0.05)
        silent, fast = state_of(newest(shop).state).reasons[:2]
        assert "without evidence it holds" in silent
        assert fast.startswith("2 sessions of v1 began up to ")
        assert "clocks there are fast" in fast


def test_a_paused_one_goes_no_further_and_is_still_rolled_back(tmp_path: Path) -> None:
    with open_shop(tmp_path, {}) as shop:
        shop.deploy()
        shop.minutes(2)
        pause(shop.control, newest(shop), "lunch", by=BEN)
        shop.minutes(4)
        assert (newest(shop).status, weights(shop)["v2"]) == (RolloutStatus.PAUSED, 0.05)
        assert state_of(newest(shop).state).reasons[0].startswith("paused: ")
        resume(shop.control, newest(shop), None, by=BEN)
        shop.tick()
        assert weights(shop)["v2"] == 0.5
        pause(shop.control, newest(shop), None, by=BEN)
        shop.natures = {"v2": Nature(success=0.1)}
        ended = shop.minutes(20)
        assert ended is not None
        assert ended.status is RolloutStatus.ROLLED_BACK


def test_an_abort_puts_the_baseline_back_and_the_release_may_come_again(tmp_path: Path) -> None:
    with open_shop(tmp_path, {}) as shop:
        shop.deploy()
        shop.minutes(2)
        seen = newest(shop)
        shop.minutes(1)  # a look changed it meanwhile
        abort(shop.control, shop.clock, seen, "the desk is full", by=BEN)
        assert (newest(shop).status, weights(shop)) == (RolloutStatus.ABORTED, {"v1": 1.0, "v2": 0.0})
        event = shop.control.rollout_events(TENANT, newest(shop).rollout_id)[-1]
        assert (event.kind, event.text, event.made_by) == ("abort", "the desk is full", "ben")
        with pytest.raises(Conflict, match="only one that runs is paused"):
            pause(shop.control, newest(shop), None, by=BEN)
        assert shop.deploy().status is RolloutStatus.WAITING


def test_a_bypass_is_at_once_and_says_why(tmp_path: Path) -> None:
    with open_shop(tmp_path, {}) as shop:
        made = shop.deploy(bypass="v1 shows other people's orders")
        assert (made.status, weights(shop)) == (RolloutStatus.PROMOTED, {"v2": 1.0})
        assert shown(shop)["bypass"] == "v1 shows other people's orders"
        (audit,) = [one for one in shop.control.list_audit(TENANT) if one.action == "rollout.deploy"]
        assert audit.after is not None
        assert audit.after["bypass"] == {"reason": "v1 shows other people's orders"}
        assert shop.tick() is None


REFUSED: list[tuple[Callable[[Shop], object], str]] = [
    (lambda shop: shop.deploy(candidate="v1"), "is the baseline itself"),
    (lambda shop: shop.deploy(candidate="v9"), "v9 is not registered for this app"),
    (lambda shop: shop.deploy(candidate="nowhere"), "without an endpoint"),
    (lambda shop: (shop.deploy(), shop.deploy(candidate="v3")), "of v2 is open for this app"),
    (
        lambda shop: (
            shop.deploy(),
            shop.control.set_plan(TENANT, PlanSpec(app=APP, baseline="v1", weights={"v1": 1.0}), by=ANN),
        ),
        "assay rollouts abort shop",
    ),
    (
        lambda shop: (
            shop.control.set_plan(TENANT, PlanSpec(app=APP, baseline="v1", weights={"v1": 1, "v3": 1}), by=ANN),
            shop.deploy(),
        ),
        "gives sessions to v3 beside the baseline",
    ),
]


@pytest.mark.parametrize(("act", "said"), REFUSED)
def test_what_cannot_be_is_refused_with_what_to_do(tmp_path: Path, act: Callable[[Shop], object], said: str) -> None:
    with open_shop(tmp_path, {}, before=0) as shop, pytest.raises(AssayError, match=said):
        act(shop)


def test_zero_tolerance_is_of_sessions_and_takes_no_alpha() -> None:
    found = guardrail_named("model_as_registered")
    assert (found.kind, found.tolerated) == (GuardrailKind.ZERO_TOLERANCE, 0)
