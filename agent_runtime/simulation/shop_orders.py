"""What the shop does with orders: the facts it gives, what it allows and why not. Refusals are BackendRefused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from agent_runtime.errors import BackendRefused
from agent_runtime.simulation.scenario import cents, usd
from agent_runtime.simulation.world import World

RETURN_DAYS: Final = 30
DAMAGE_DAYS: Final = 14
LATE_DAYS: Final = 3
LATE_CLAIM_DAYS: Final = 60
LATE_PERCENT: Final = 10
_NOT_PROCESSING: Final = {
    "shipped": "it has already shipped",
    "delivered": "it was already delivered",
    "cancelled": "it is already cancelled",
    "returned": "it was returned",
}


@dataclass(frozen=True, kw_only=True)
class Caps:
    """The shop's own limits, besides those of the runtime."""

    refund_cents: int = 20_000
    discount_percent: int = 15


def text_of(args: Mapping[str, Any], name: str) -> str:
    """An argument that must be a text. Raises BackendRefused."""
    value = args.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BackendRefused(f"{name} is missing")
    return value.strip()


def find_orders(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The user's orders, newest first, of one status if it is given."""
    status = str(args.get("status") or "")
    found = world.rows(
        "SELECT order_id FROM orders WHERE user_id = ? AND (? = '' OR status = ?) ORDER BY placed_on DESC, order_id",
        *(user_id, status, status),
    )
    return {"orders": [_facts(world, user_id, row["order_id"]) for row in found]}


def get_order(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """One order with its items, its money and what the shop allows."""
    return _facts(world, user_id, text_of(args, "order_id"))


def cancel_order(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Cancels an order that has not shipped and releases its payment."""
    order = _order(world, user_id, text_of(args, "order_id"))
    _must_be_processing(order, "cancelled")
    order_id, left = order["order_id"], _paid(world, order) - _refunded(world, order)
    reason = str(args.get("reason", ""))
    world.change("UPDATE orders SET status = 'cancelled', cancel_reason = ? WHERE order_id = ?", reason, order_id)
    if left > 0:
        _pay_back(world, order, left, [], "cancelled")
    return {"order_id": order_id, "status": "cancelled", "refunded_usd": usd(left)}


def change_address(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Sends an order that has not shipped elsewhere."""
    order, address = _order(world, user_id, text_of(args, "order_id")), text_of(args, "address")
    _must_be_processing(order, "redirected")
    world.change("UPDATE orders SET address = ? WHERE order_id = ?", address, order["order_id"])
    return {"order_id": order["order_id"], "address": address}


def refund_order(world: World, user_id: str, args: Mapping[str, Any], caps: Caps) -> dict[str, Any]:
    """Pays money back for items that were delivered: up to the cap, their price, and what is left of the payment."""
    order = _order(world, user_id, text_of(args, "order_id"))
    items = _items(world, order, args)
    try:
        amount = cents(args.get("amount_usd"))
    except ValueError as error:
        raise BackendRefused(str(error)) from None
    if amount <= 0:
        raise BackendRefused("the amount must be above 0")
    if amount > caps.refund_cents:
        raise BackendRefused(f"above the cap of {usd(caps.refund_cents)} USD")
    _refuse_unless(_refund_refusal(world, order))
    _refuse_unless(_final_sale(world, items, str(args.get("reason", ""))))
    price = sum(_price(world, order, each) for each in items)
    left = _paid(world, order) - _refunded(world, order)
    if amount > min(price, left):
        raise BackendRefused(f"above what was paid: at most {usd(min(price, left))} USD can be refunded")
    _pay_back(world, order, amount, [each["item_id"] for each in items], str(args.get("reason", "")))
    return {"order_id": order["order_id"], "refunded_usd": usd(amount), "item_ids": [i["item_id"] for i in items]}


def apply_discount(world: World, user_id: str, args: Mapping[str, Any], caps: Caps) -> dict[str, Any]:
    """Gives a discount, once per order and up to the cap. Whether there is a cause is the agent's to know."""
    order, percent = _order(world, user_id, text_of(args, "order_id")), args.get("percent")
    if not isinstance(percent, int) or percent < 1:
        raise BackendRefused("percent must be a whole number above 0")
    if percent > caps.discount_percent:
        raise BackendRefused(f"above the cap of {caps.discount_percent} percent")
    if order["status"] == "cancelled":
        raise BackendRefused("it is cancelled")
    if _discount(world, order):
        raise BackendRefused("a discount was already given on it")
    world.change(
        "INSERT INTO discounts (order_id, user_id, percent, reason) VALUES (?, ?, ?, ?)",
        *(order["order_id"], user_id, percent, str(args.get("reason", ""))),
    )
    return {"order_id": order["order_id"], "percent": percent, "value_usd": usd(_paid(world, order) * percent // 100)}


def create_return(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Opens a return for delivered items, within its days."""
    order = _order(world, user_id, text_of(args, "order_id"))
    items = _items(world, order, args)
    _refuse_unless(_return_refusal(world, order))
    _refuse_unless(_final_sale(world, items, ""))
    held, wanted = _returning(world, order), [each["item_id"] for each in items]
    if held & set(wanted):
        raise BackendRefused("a return is already open for it")
    known = world.rows("SELECT 1 FROM returns WHERE order_id = ?", order["order_id"])
    return_id = f"RT-{order['order_id'].removeprefix('LK-')}{len(known) or ''}"
    world.change(
        "INSERT INTO returns VALUES (?, ?, ?, ?, 'open')", return_id, order["order_id"], user_id, json.dumps(wanted)
    )
    return {"return_id": return_id, "order_id": order["order_id"], "item_ids": wanted, "status": "open"}


def cancel_return(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Withdraws an open return."""
    return_id = text_of(args, "return_id")
    found = world.row("SELECT * FROM returns WHERE return_id = ? AND user_id = ?", return_id, user_id)
    if found is None:
        raise BackendRefused(f"there is no return {return_id} of this customer")
    if found["status"] != "open":
        raise BackendRefused("it is already cancelled")
    world.change("UPDATE returns SET status = 'cancelled' WHERE return_id = ?", return_id)
    return {"return_id": return_id, "order_id": found["order_id"], "status": "cancelled"}


def _order(world: World, user_id: str, order_id: str) -> dict[str, Any]:
    """Somebody else's order does not exist for this user: the answer must not tell that it does."""
    found = world.row("SELECT * FROM orders WHERE order_id = ? AND user_id = ?", order_id, user_id)
    if found is None:
        raise BackendRefused(f"there is no order {order_id} of this customer")
    return found


def _items(world: World, order: Mapping[str, Any], args: Mapping[str, Any]) -> list[dict[str, Any]]:
    named, known = args.get("item_ids"), _all_items(world, order)
    if not isinstance(named, list | tuple) or not named:
        raise BackendRefused("item_ids is missing")
    by_id = {each["item_id"]: each for each in known}
    strange = [str(each) for each in named if each not in by_id]
    if strange:
        raise BackendRefused(f"not an item of {order['order_id']}: {', '.join(strange)[:200]}")
    return [by_id[each] for each in dict.fromkeys(named)]


def _all_items(world: World, order: Mapping[str, Any]) -> list[dict[str, Any]]:
    return world.rows(
        "SELECT i.*, COALESCE(p.final_sale, 0) AS final_sale FROM order_items i LEFT JOIN products p USING (sku) "
        "WHERE order_id = ? ORDER BY item_id",
        order["order_id"],
    )


def _must_be_processing(order: Mapping[str, Any], done: str) -> None:
    if order["status"] != "processing":
        raise BackendRefused(f"{order['order_id']} cannot be {done}: {_NOT_PROCESSING[order['status']]}")


def _refuse_unless(refusal: str) -> None:
    if refusal:
        raise BackendRefused(refusal)


def _days_since(world: World, day: str) -> int:
    return (world.today - date.fromisoformat(day)).days


def _sum(world: World, order: Mapping[str, Any], kind: str) -> int:
    row = world.row(
        "SELECT COALESCE(SUM(amount_cents), 0) AS total FROM payments WHERE order_id = ? AND kind = ?",
        *(order["order_id"], kind),
    )
    return int(row["total"]) if row else 0


def _paid(world: World, order: Mapping[str, Any]) -> int:
    return _sum(world, order, "charge")


def _refunded(world: World, order: Mapping[str, Any]) -> int:
    return _sum(world, order, "refund")


def _pay_back(world: World, order: Mapping[str, Any], amount: int, item_ids: list[str], reason: str) -> None:
    world.change(
        "INSERT INTO payments (order_id, user_id, kind, amount_cents, item_ids, reason) VALUES (?, ?, ?, ?, ?, ?)",
        *(order["order_id"], order["user_id"], "refund", amount, json.dumps(item_ids), reason),
    )


def _discount(world: World, order: Mapping[str, Any]) -> int:
    row = world.row("SELECT percent FROM discounts WHERE order_id = ?", order["order_id"])
    return int(row["percent"]) if row else 0


def _price(world: World, order: Mapping[str, Any], item: Mapping[str, Any]) -> int:
    """What was paid for an item: its share of the order's payment, whatever discount was in it."""
    whole = sum(each["price_cents"] * each["quantity"] for each in _all_items(world, order))
    return int(item["price_cents"] * item["quantity"] * _paid(world, order) // whole)


def _returning(world: World, order: Mapping[str, Any]) -> set[str]:
    rows = world.rows("SELECT item_ids FROM returns WHERE order_id = ? AND status = 'open'", order["order_id"])
    return {item for row in rows for item in json.loads(row["item_ids"])}


def _return_refusal(world: World, order: Mapping[str, Any]) -> str:
    if order["status"] != "delivered":
        return {"processing": "it has not shipped yet", "shipped": "it has not been delivered yet"}.get(
            order["status"], _NOT_PROCESSING.get(order["status"], "")
        )
    days = _days_since(world, order["delivered_on"])
    return f"it was delivered {days} days ago, more than {RETURN_DAYS}" if days > RETURN_DAYS else ""


def _refund_refusal(world: World, order: Mapping[str, Any]) -> str:
    return _return_refusal(world, order)


def _final_sale(world: World, items: list[dict[str, Any]], reason: str) -> str:
    fixed = [each["name"] for each in items if each["final_sale"]]
    return f"{', '.join(fixed)} is final sale" if fixed and "damag" not in reason.lower() else ""


def _late_percent(world: World, order: Mapping[str, Any]) -> tuple[int, str]:
    if _discount(world, order):
        return 0, "a discount was already given on it"
    if order["late_days"] <= LATE_DAYS or order["delivered_on"] is None:
        return 0, "it was not delivered late"
    if _days_since(world, order["delivered_on"]) > LATE_CLAIM_DAYS:
        return 0, f"it was delivered more than {LATE_CLAIM_DAYS} days ago"
    return LATE_PERCENT, ""


def _facts(world: World, user_id: str, order_id: str) -> dict[str, Any]:
    order = _order(world, user_id, order_id)
    held, back = _returning(world, order), _return_refusal(world, order)
    paid, refunded = _paid(world, order), _refunded(world, order)
    percent, no_discount = _late_percent(world, order)
    processing = order["status"] == "processing"
    why = {
        "cancel": "" if processing else _NOT_PROCESSING[order["status"]],
        "change_address": "" if processing else _NOT_PROCESSING[order["status"]],
        "return": back,
        "refund": back,
        "discount": no_discount,
    }
    items = [
        {
            "item_id": each["item_id"],
            "sku": each["sku"],
            "name": each["name"],
            "quantity": each["quantity"],
            "price_usd": usd(each["price_cents"] * each["quantity"]),
            "refundable_usd": "0.00" if back or each["final_sale"] else usd(_price(world, order, each)),
            "final_sale": bool(each["final_sale"]),
            "returnable": not back and not each["final_sale"] and each["item_id"] not in held,
        }
        for each in _all_items(world, order)
    ]
    returns = world.rows("SELECT return_id, item_ids, status FROM returns WHERE order_id = ?", order_id)
    return {
        "order_id": order_id,
        "status": order["status"],
        "placed_on": order["placed_on"],
        "delivered_on": order["delivered_on"],
        "late_days": order["late_days"],
        "address": order["address"],
        "paid_usd": usd(paid),
        "refunded_usd": usd(refunded),
        "discount_percent": _discount(world, order),
        "items": items,
        "returns": [{**each, "item_ids": json.loads(each["item_ids"])} for each in returns],
        "allowed": {
            "cancel": processing,
            "change_address": processing,
            "return": not back,
            "refund_usd": "0.00" if back else usd(paid - refunded),
            "discount_percent": percent,
        },
        "why": {name: reason for name, reason in why.items() if reason},
    }
