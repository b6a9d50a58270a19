"""The shop behind the agent's tools: a Backend on world.db, whose writes happen once per key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from agent_runtime.errors import BackendRefused
from agent_runtime.simulation import shop_accounts, shop_orders
from agent_runtime.simulation.shop_orders import Caps
from agent_runtime.simulation.world import World

Act = Callable[[World, str, Mapping[str, Any]], dict[str, Any]]

_READS: Final[Mapping[str, Act]] = {
    "find_orders": shop_orders.find_orders,
    "get_order": shop_orders.get_order,
    "get_account": shop_accounts.get_account,
    "run_diagnostic": shop_accounts.run_diagnostic,
    "search_help": lambda world, user_id, args: shop_accounts.search(world, "help", args),
    "search_policy": lambda world, user_id, args: shop_accounts.search(world, "policy", args),
}
_WRITES: Final[Mapping[str, Act]] = {
    "cancel_order": shop_orders.cancel_order,
    "change_address": shop_orders.change_address,
    "create_return": shop_orders.create_return,
    "cancel_return": shop_orders.cancel_return,
    "update_email": shop_accounts.update_email,
    "update_address": shop_accounts.update_address,
    "reset_password": shop_accounts.reset_password,
    "close_account": shop_accounts.close_account,
    "create_ticket": shop_accounts.create_ticket,
    "escalate": shop_accounts.escalate,
}


class Shop:
    """Implements tools.backend.Backend. `caps` are the shop's own; a refusal changes nothing and is not remembered."""

    def __init__(self, world: World, *, caps: Caps | None = None) -> None:
        held = caps or Caps()
        self._world = world
        self._writes: Mapping[str, Act] = {
            **_WRITES,
            "refund_order": partial(shop_orders.refund_order, caps=held),
            "apply_discount": partial(shop_orders.apply_discount, caps=held),
        }

    @property
    def tools(self) -> frozenset[str]:
        """What can be called."""
        return frozenset(_READS) | frozenset(self._writes)

    async def call(self, tool: str, user_id: str, args: Mapping[str, Any], *, key: str | None) -> dict[str, Any]:
        """Does what `tool` says for this user. Raises BackendRefused: unknown tool or customer, or not allowed."""
        read = _READS.get(tool)
        if read is not None:
            shop_accounts.account(self._world, user_id)
            return read(self._world, user_id, args)
        write = self._writes.get(tool)
        if write is None:
            raise BackendRefused(f"the shop has no {tool[:100]}")
        with self._world.writing():
            return self._once(tool, write, user_id, args, key)

    def _once(self, tool: str, write: Act, user_id: str, args: Mapping[str, Any], key: str | None) -> dict[str, Any]:
        known = None if key is None else self._world.row("SELECT * FROM effects WHERE key = ?", key)
        if known is not None:
            if (known["tool"], known["user_id"]) != (tool, user_id):
                raise BackendRefused("this key was used for another action")
            return dict(json.loads(known["result"]))
        if shop_accounts.account(self._world, user_id)["status"] == "closed":
            raise BackendRefused("this account is closed")
        result = write(self._world, user_id, args)
        row = self._world.row("SELECT COALESCE(MAX(number), 0) + 1 AS next FROM effects WHERE user_id = ?", user_id)
        number = int(row["next"]) if row else 1
        self._world.change(
            "INSERT INTO effects VALUES (?, ?, ?, ?, ?, ?)",
            *(key or f"{user_id}:{number}", number, user_id, tool, json.dumps(dict(args)), json.dumps(result)),
        )
        return result
