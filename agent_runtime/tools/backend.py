"""The seam between the agent and the shop it works for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Backend(Protocol):
    """The shop's systems: orders, payments, accounts, devices, tickets."""

    async def call(self, tool: str, user_id: str, args: Mapping[str, Any], *, key: str | None) -> dict[str, Any]:
        """Does what `tool` says for this user and returns its facts as JSON values (money as decimal strings).

        A write with a `key` seen before answers as it did then and changes nothing. Raises BackendRefused,
        BackendUnavailable (nothing happened), BackendTimeout (unknown: repeat with the same key only).
        """
        ...
