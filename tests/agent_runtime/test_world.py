"""The shop: a clean state for every session, every tool, every refusal, and writes that happen once per key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent_runtime.errors import BackendRefused, CorruptState, InvalidInput
from agent_runtime.simulation.backend import Shop
from agent_runtime.simulation.documents import current, every_version, versioned_ids
from agent_runtime.simulation.loading import scenario_named
from agent_runtime.simulation.scenario import Prepared
from agent_runtime.simulation.seed import demo_customer, demo_scenario, open_world
from agent_runtime.simulation.shop_orders import Caps
from agent_runtime.simulation.world import World
from agent_runtime.tools.table import TOOLS


def call(world: World, prepared: Prepared, tool: str, key: str | None = None, **args: Any) -> dict[str, Any]:
    return asyncio.run(Shop(world).call(tool, prepared.user_id, args, key=key))


def refusal(world: World, prepared: Prepared, tool: str, **args: Any) -> str:
    with pytest.raises(BackendRefused) as caught:
        call(world, prepared, tool, **args)
    return str(caught.value)


@pytest.fixture
def prepared(world: World, request: pytest.FixtureRequest) -> Prepared:
    """A customer with a tent to be sent (189 + 39), boots to be sent, and a delivered headlamp (59) with socks (18)."""
    return world.prepare(demo_scenario(), request.node.name)


def test_the_shop_has_every_tool_of_the_table(world: World) -> None:
    assert Shop(world).tools == frozenset(TOOLS)


def test_documents_have_versions_and_one_is_valid(world: World) -> None:
    assert len(current()) >= 25
    assert len(versioned_ids()) >= 5
    assert world.documents() == current()
    assert world.documents(versions=True) == every_version()
    assert all(each.doc_id.startswith("policy-") for each in world.documents(kind="policy"))


def test_the_same_session_gets_the_same_world_wherever_it_is(tmp_path: Path, world: World) -> None:
    scenario = scenario_named("refund_17")
    other = open_world(tmp_path / "other.db")
    assert other.prepare(scenario, "same").names == world.prepare(scenario, "same").names
    other.close()


def test_a_session_starts_clean_however_it_was_left(world: World) -> None:
    scenario = scenario_named("order_01")
    first = world.prepare(scenario, "again")
    call(world, first, "cancel_order", key="k-again", order_id=first.names["tent"], reason="x")
    call(world, first, "escalate", key="e-again", summary="s", reason="r")
    again = world.prepare(scenario, "again")
    assert again == first
    assert call(world, again, "get_order", order_id=again.names["tent"])["status"] == "processing"
    assert call(world, again, "cancel_order", key="k-again", order_id=again.names["tent"], reason="x")
    assert world.rows("SELECT 1 FROM tickets WHERE user_id = ?", again.user_id) == []


def test_sessions_side_by_side_share_nothing(world: World) -> None:
    scenario = scenario_named("order_12")
    many = [world.prepare(scenario, f"side-{number}") for number in range(200)]
    orders = [each.names[ref] for each in many for ref in ("tent", "boots", "lamp")]
    assert len(set(orders)) == len(orders)
    call(world, many[0], "cancel_order", key="side", order_id=many[0].names["boots"], reason="x")
    left = world.rows("SELECT 1 FROM orders WHERE status = 'cancelled' AND order_id IN (?, ?)", *orders[1:4:2])
    assert len(left) == 1
    assert len(call(world, many[1], "find_orders")["orders"]) == 3


def test_a_write_happens_once_per_key(world: World, prepared: Prepared) -> None:
    lamp = prepared.names["lamp"]
    args = {"order_id": lamp, "item_ids": [f"{lamp}/1"], "amount_usd": "20.00", "reason": "scratched"}
    first = call(world, prepared, "refund_order", key=f"once-{lamp}", **args)
    assert call(world, prepared, "refund_order", key=f"once-{lamp}", **args) == first
    assert call(world, prepared, "get_order", order_id=lamp)["refunded_usd"] == "20.00"
    call(world, prepared, "refund_order", key=f"twice-{lamp}", **args)
    assert call(world, prepared, "get_order", order_id=lamp)["refunded_usd"] == "40.00"
    with pytest.raises(BackendRefused, match="used for another action"):
        call(world, prepared, "reset_password", key=f"once-{lamp}")


def test_a_refused_write_leaves_nothing_behind(world: World, prepared: Prepared) -> None:
    assert "cannot be cancelled" in refusal(
        world, prepared, "cancel_order", order_id=prepared.names["lamp"], reason="x"
    )
    assert world.rows("SELECT 1 FROM effects WHERE user_id = ?", prepared.user_id) == []


def test_somebody_elses_order_does_not_exist(world: World, prepared: Prepared) -> None:
    other = world.prepare(scenario_named("order_01"), "the-other").names["tent"]
    for tool, more in _ORDER_TOOLS.items():
        assert refusal(world, prepared, tool, order_id=other, **more) == f"there is no order {other} of this customer"
    strange = world.prepare(scenario_named("order_09"), "the-other-2").names["lamp.return"]
    assert "there is no return" in refusal(world, prepared, "cancel_return", return_id=strange)


_ORDER_TOOLS: Mapping[str, dict[str, Any]] = {
    "get_order": {},
    "cancel_order": {"reason": "x"},
    "change_address": {"address": "y"},
    "refund_order": {"item_ids": ["LK-1/1"], "amount_usd": "1.00", "reason": "x"},
    "apply_discount": {"percent": 5, "reason": "x"},
    "create_return": {"item_ids": ["LK-1/1"]},
}


def test_refunds_are_held_by_cap_price_and_payment(world: World, prepared: Prepared) -> None:
    lamp = prepared.names["lamp"]
    item: dict[str, Any] = {"order_id": lamp, "item_ids": [f"{lamp}/1"], "reason": "broken"}
    assert "above the cap of 200.00" in refusal(world, prepared, "refund_order", amount_usd="200.01", **item)
    assert "above what was paid: at most 59.00" in refusal(world, prepared, "refund_order", amount_usd="59.01", **item)
    assert "above 0" in refusal(world, prepared, "refund_order", amount_usd="-1", **item)
    for nonsense in ("NaN", "1.005", "many", "Infinity", None):
        assert "not an amount" in refusal(world, prepared, "refund_order", amount_usd=nonsense, **item)
    call(world, prepared, "refund_order", amount_usd="59.00", **item)
    assert "at most 18.00" in refusal(world, prepared, "refund_order", amount_usd="18.01", **item)
    assert "not an item" in refusal(world, prepared, "refund_order", **{**item, "item_ids": ["x"], "amount_usd": "1"})
    tent = {"order_id": prepared.names["tent"], "item_ids": [prepared.names["tent.1"]], "amount_usd": "1", "reason": ""}
    assert refusal(world, prepared, "refund_order", **tent) == "it has not shipped yet"


def test_discounts_are_held_by_cap_and_given_once(world: World, prepared: Prepared) -> None:
    order = {"order_id": prepared.names["boots"], "reason": "x"}
    assert "above the cap of 15" in refusal(world, prepared, "apply_discount", percent=16, **order)
    assert "whole number" in refusal(world, prepared, "apply_discount", percent=0, **order)
    assert call(world, prepared, "apply_discount", percent=15, **order)["value_usd"] == "25.35"
    assert "already given" in refusal(world, prepared, "apply_discount", percent=5, **order)
    wide = Shop(world, caps=Caps(discount_percent=50))
    args = {"order_id": prepared.names["tent"], "percent": 40, "reason": "x"}
    assert asyncio.run(wide.call("apply_discount", prepared.user_id, args, key=None))["percent"] == 40


def test_returns_open_once_and_can_be_withdrawn(world: World, prepared: Prepared) -> None:
    lamp = prepared.names["lamp"]
    opened = call(world, prepared, "create_return", order_id=lamp, item_ids=[f"{lamp}/1"])
    assert "already open" in refusal(world, prepared, "create_return", order_id=lamp, item_ids=[f"{lamp}/1"])
    assert call(world, prepared, "cancel_return", return_id=opened["return_id"])["status"] == "cancelled"
    assert "already cancelled" in refusal(world, prepared, "cancel_return", return_id=opened["return_id"])
    again = call(world, prepared, "create_return", order_id=lamp, item_ids=[f"{lamp}/1"])
    assert again["return_id"] != opened["return_id"]


def test_an_account_closes_only_when_nothing_is_on_its_way(world: World, prepared: Prepared) -> None:
    assert "on their way" in refusal(world, prepared, "close_account", reason="x")
    for order in ("tent", "boots"):
        call(world, prepared, "cancel_order", order_id=prepared.names[order], reason="x")
    assert call(world, prepared, "close_account", reason="x") == {"status": "closed"}
    assert refusal(world, prepared, "update_address", address="1 New Road") == "this account is closed"


def test_an_email_address_is_nobody_elses(world: World, prepared: Prepared) -> None:
    other = world.prepare(scenario_named("order_01"), "mail-owner").names["email"]
    assert "cannot be used" in refusal(world, prepared, "update_email", email=other)
    assert "not an e-mail" in refusal(world, prepared, "update_email", email="nobody")


@pytest.mark.parametrize("tool", sorted(set(TOOLS) - {"find_orders", "get_account", "reset_password", "close_account"}))
def test_missing_arguments_are_a_refusal(world: World, prepared: Prepared, tool: str) -> None:
    assert "is missing" in refusal(world, prepared, tool)


def test_unknown_tools_and_customers_are_refused(world: World, prepared: Prepared) -> None:
    assert "the shop has no teleport" in refusal(world, prepared, "teleport")
    with pytest.raises(BackendRefused, match="not known"):
        asyncio.run(Shop(world).call("get_account", "u-nobody", {}, key=None))
    with pytest.raises(BackendRefused, match="not known"):
        asyncio.run(Shop(world).call("reset_password", "u-nobody", {}, key=None))


def test_text_of_a_user_is_never_a_statement(world: World, prepared: Prepared) -> None:
    evil = "x'); DROP TABLE orders; --"
    call(world, prepared, "update_address", address=evil)
    assert call(world, prepared, "get_account")["address"] == evil
    assert "there is no order" in refusal(world, prepared, "get_order", order_id=evil)
    assert call(world, prepared, "find_orders", status=evil) == {"orders": []}


def test_a_file_that_is_no_world_is_named(tmp_path: Path) -> None:
    (tmp_path / "world.db").write_bytes(b"this is not a database, whatever it is called" * 100)
    with pytest.raises(CorruptState, match=r"world\.db is not a world"):
        World.open(tmp_path / "world.db")


def test_a_session_needs_an_id(world: World) -> None:
    with pytest.raises(InvalidInput, match="needs an id"):
        world.prepare(scenario_named("order_01"), "")


def test_the_demo_customer_can_be_played(world: World) -> None:
    played = demo_customer(world)
    assert {each["status"] for each in call(world, played, "find_orders")["orders"]} == {"processing", "delivered"}
