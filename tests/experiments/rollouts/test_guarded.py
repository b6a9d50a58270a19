"""What firing guardrail monitors ask of a rollout is done, as long as they ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.clock import NS_PER_S
from store.control.monitor_records import LookWritten, RolloutAsking
from store.control.monitoring import MONITORS_JOB
from store.control.rollout_records import RolloutStatus
from tests.experiments.rollouts.shop import TENANT, Shop, open_shop

ASKED_NS = 600 * NS_PER_S


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, {}) as made:
        yield made


def ask(shop: Shop, rollout_id: str, guard: str) -> None:
    """As a look at monitors does."""
    now = shop.clock()
    made = RolloutAsking(
        tenant=TENANT, rollout_id=rollout_id, guard=guard, reasons=("resolution of shop fires: 0.3, below 0.8",),
        at_ns=now, until_ns=now + ASKED_NS,
    )  # fmt: skip
    assert shop.control.take_job(TENANT, MONITORS_JOB, "test") is not None
    shop.control.write_look(LookWritten(tenant=TENANT, owner="test", askings=(made,)))
    shop.control.end_job(TENANT, MONITORS_JOB, "test", next_ns=now)


def test_a_rollout_is_held_while_a_monitor_asks_and_goes_on_afterwards(shop: Shop) -> None:
    rollout = shop.deploy()
    shop.minutes(1)
    ask(shop, rollout.rollout_id, "hold")
    held = shop.minutes(9)
    assert held is not None
    assert held.status is RolloutStatus.RUNNING
    assert held.state["step"] == 0
    events = shop.control.rollout_events(TENANT, rollout.rollout_id)
    assert any("a guardrail monitor: resolution of shop fires" in one.text for one in events)
    after = shop.minutes(12)  # nobody asks any more
    assert after is not None
    assert after.status is RolloutStatus.PROMOTED


def test_a_rollout_goes_back_when_a_monitor_asks_for_it(shop: Shop) -> None:
    rollout = shop.deploy()
    shop.minutes(1)
    ask(shop, rollout.rollout_id, "roll_back")
    after = shop.minutes(1)
    assert after is not None
    assert after.status is RolloutStatus.ROLLED_BACK
    event = shop.control.rollout_events(TENANT, rollout.rollout_id)[-1]
    assert "a guardrail monitor" in event.text
    assert event.certificate is None
    (live,) = [one for one in shop.control.live_plans() if one.plan.spec.app == rollout.app]
    assert live.plan.spec.weights.get("v2", 0.0) == 0
