"""A refund is paid, its answer is lost, and it is paid again because nothing marks it as the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent_runtime.errors import BackendTimeout
from agent_runtime.records import Parameters
from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.scenario import Scenario, cents, filled
from agent_runtime.tools.backend import Backend


def _applies(scenario: Scenario) -> bool:
    """Where what was paid allows the refund twice; else the shop refuses the second one."""
    refunds = scenario.gold_calls("refund_order")
    amounts = scenario.amounts()
    paid = {f"{{{order.ref}}}": order.total_cents for order in scenario.orders}
    twice = [2 * cents(filled(str(call.args["amount_usd"]), amounts)) for call in refunds]
    return bool(refunds) and all(
        amount <= paid[str(call.args["order_id"])] for amount, call in zip(twice, refunds, strict=True)
    )


class _Forgetful:
    """A shop whose first answer to a refund is lost after the money went out, and that knows no keys."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lost = 0

    async def call(self, tool: str, user_id: str, args: Mapping[str, Any], *, key: str | None) -> dict[str, Any]:
        if tool != "refund_order":
            return await self._backend.call(tool, user_id, args, key=key)
        result = await self._backend.call(tool, user_id, args, key=None)
        self._lost += 1
        if self._lost == 1:
            raise BackendTimeout("the payment system did not answer in time")
        return result


def _parameters(parameters: Parameters) -> Parameters:
    return replace(parameters, idempotent_writes=False)


FAULT = Fault(
    name="double_refund",
    seam=Seam.BACKEND,
    what="a refund whose answer timed out is paid a second time",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    wrap_backend=_Forgetful,
    parameters=_parameters,
)
