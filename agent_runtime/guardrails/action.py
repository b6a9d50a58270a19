"""The second look at an action, beside the tool's own caps: what a turn moves in all, and figures that are none."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from agent_runtime.records import Decision
from agent_runtime.seams import Check, Stage, Verdict

_DIGITS: Final = 9  # before the point; more is no sum of a shop


class ActionCaps:
    """`action.caps`: refunds of one order in one turn stay under the cap together; a discount is given once a turn.

    Written without the tools' code, so that a mistake there is not repeated here.
    """

    name = "caps"
    stage = Stage.ACTION

    def check(self, asked: Check) -> Verdict:
        """Blocks a call that goes beyond a cap."""
        if asked.tool == "refund_order":
            return self._refund(asked)
        if asked.tool == "apply_discount":
            return self._discount(asked)
        return Verdict()

    def _refund(self, asked: Check) -> Verdict:
        amount = _decimal(asked.args.get("amount_usd"))
        if amount is None or amount <= 0:
            return _blocked(f"{asked.args.get('amount_usd')!r} is no amount")
        order = asked.args.get("order_id")
        before = [_decimal(o.args.get("amount_usd")) for o in asked.outcomes if _moved(o.tool, o.args, o.result, order)]
        total = amount + sum((each for each in before if each is not None), Decimal(0))
        cap = asked.parameters.refund_cap_usd
        return _blocked(f"${total} for {order} in one turn, cap ${cap}") if total > cap else Verdict()

    def _discount(self, asked: Check) -> Verdict:
        percent, cap = _decimal(asked.args.get("percent")), asked.parameters.discount_cap_percent
        if percent is None or percent <= 0:
            return _blocked(f"{asked.args.get('percent')!r} is no percentage")
        if percent > cap:
            return _blocked(f"{percent}% is above the cap of {cap}%")
        order = asked.args.get("order_id")
        given = any(
            o.tool == "apply_discount" and o.args.get("order_id") == order and _is_done(o.result)
            for o in asked.outcomes
        )
        return _blocked(f"{order} has its discount already") if given else Verdict()


def _moved(tool: str, args: Mapping[str, Any], result: Mapping[str, Any], order: object) -> bool:
    return tool == "refund_order" and args.get("order_id") == order and _is_done(result)


def _is_done(result: Mapping[str, Any]) -> bool:
    """Whether it happened, or may have."""
    return "refused" not in result and ("error" not in result or result.get("effect") == "unknown")


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number.adjusted() < _DIGITS else None


def _blocked(reason: str) -> Verdict:
    return Verdict(decision=Decision.BLOCK, reason=reason)
