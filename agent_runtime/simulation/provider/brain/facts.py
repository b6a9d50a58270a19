"""What tool results say, read with care: a tool may answer anything, and what is missing is left empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from agent_runtime.simulation.provider.brain import words
from agent_runtime.simulation.provider.brain.understanding import content_words

CENT: Final = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An item of an order; `price_usd` is of all its units, `refundable_usd` what was paid for them, 0 if not due."""

    item_id: str
    name: str
    sku: str
    price_usd: Decimal
    refundable_usd: Decimal
    final_sale: bool


@dataclass(frozen=True, kw_only=True)
class Bought:
    """An order. `why` says of an act (cancel, change_address, return, refund, discount) why it is not allowed."""

    order_id: str
    status: str
    pieces: tuple[Piece, ...]
    total_usd: Decimal
    address: str
    placed_on: str
    delivered_on: str
    late_days: int
    why: Mapping[str, str]
    return_ids: tuple[str, ...]

    def names(self) -> str:
        """Gives its items in words."""
        return ", ".join(piece.name for piece in self.pieces) or "no items"


def bought(result: Mapping[str, Any]) -> Bought:
    """Reads an order from `get_order` or from one row of `find_orders`."""
    order = result.get("order", result)
    order = order if isinstance(order, Mapping) else {}
    pieces = tuple(_piece(item) for item in _rows(order.get("items")))
    why, returns = order.get("why"), _rows(order.get("returns"))
    return Bought(
        order_id=str(order.get("order_id", "")),
        status=str(order.get("status", "")),
        pieces=pieces,
        total_usd=money(order.get("paid_usd", order.get("total_usd")))
        or sum((piece.price_usd for piece in pieces), Decimal(0)),
        address=str(order.get("address") or ""),
        placed_on=str(order.get("placed_on") or ""),
        delivered_on=str(order.get("delivered_on") or ""),
        late_days=order["late_days"] if isinstance(order.get("late_days"), int) else 0,
        why={str(name): str(text) for name, text in why.items()} if isinstance(why, Mapping) else {},
        return_ids=tuple(
            str(row["return_id"]) for row in returns if row.get("status") == "open" and row.get("return_id")
        ),
    )


def orders_in(result: Mapping[str, Any]) -> list[Bought]:
    """Reads the orders that `find_orders` listed."""
    return [order for order in map(bought, _rows(result.get("orders", result.get("result")))) if order.order_id]


def _piece(item: Mapping[str, Any]) -> Piece:
    return Piece(
        item_id=str(item.get("item_id", "")),
        name=str(item.get("name", "item")),
        sku=str(item.get("sku", "")),
        price_usd=money(item.get("price_usd")) or Decimal(0),
        refundable_usd=money(item.get("refundable_usd")) or Decimal(0),
        final_sale=item.get("final_sale") is True,
    )


def _rows(given: object) -> list[Mapping[str, Any]]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        return []
    return [row if isinstance(row, Mapping) else {"name": str(row), "order_id": str(row)} for row in given]


def money(given: object) -> Decimal | None:
    """Reads an amount of dollars, None when it is none."""
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        return None
    return amount.quantize(CENT) if amount.is_finite() and abs(amount) < 10**9 else None


def fitting(orders: Sequence[Bought], said: str) -> list[Bought]:
    """Gives the orders that the user's words fit best: by item names, then by state, then by age; all when none do."""
    told = content_words(said)
    overlap = [len(told & content_words(order.names())) for order in orders]
    most = max(overlap, default=0)
    found = [order for order, n in zip(orders, overlap, strict=True) if n == most] if most else list(orders)
    if len(found) > 1:
        found = [order for order in found if order.status and order.status in said.lower()] or found
    if len(found) > 1 and all(order.placed_on for order in found):
        if words.LATEST.search(said):
            found = [max(found, key=lambda order: order.placed_on)]
        elif words.EARLIEST.search(said):
            found = [min(found, key=lambda order: order.placed_on)]
    return found


def chosen_pieces(order: Bought, said: str, item_ids: Sequence[str]) -> tuple[Piece, ...]:
    """Gives the items that the user's words name; empty when they name none of several."""
    if len(order.pieces) == 1:
        return order.pieces
    by_id = tuple(piece for piece in order.pieces if piece.item_id in item_ids)
    if by_id:
        return by_id
    told = content_words(said)
    common = frozenset.intersection(*(content_words(p.name) for p in order.pieces)) if order.pieces else frozenset()
    scored = [(len((told - common) & content_words(piece.name)), piece) for piece in order.pieces]
    named = tuple(piece for score, piece in scored if score and score * 2 >= len(content_words(piece.name) - common))
    named = named or tuple(piece for score, piece in scored if score)
    if named:
        return named
    return order.pieces if words.WHOLE.search(said) else ()
