"""Says with every answer that it had to do without damaged files of the lake: nobody takes a part for the whole.

Any answer, an error too, that comes from reads which left files out carries the header

    Assay-Incomplete: damaged-files=1; rows=20000

(`rows` counts what these files hold of the tenant, whether asked for or not); JSON objects carry `warnings` as well.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from store.trust import LEFT_OUT, Damage

HEADER: Final = "Assay-Incomplete"


class SaysIncomplete:
    """Collects what the reads of a request left out, and says it in the answer's head."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left_out: dict[str, Damage] = {}
        LEFT_OUT.set(left_out)

        async def sent(message: Message) -> None:
            if left_out and message["type"] == "http.response.start":
                n_rows = sum(damage.n_rows for damage in left_out.values())
                MutableHeaders(scope=message)[HEADER] = f"damaged-files={len(left_out)}; rows={n_rows}"
            await send(message)

        await self._app(scope, receive, sent)


def warnings() -> list[str]:
    """A sentence per table and day whose damaged files the request that is being answered did without."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(list)
    for damage in (LEFT_OUT.get() or {}).values():
        counts[damage.table, damage.date].append(damage.n_rows)
    return [
        f"incomplete: {len(rows)} damaged file{'s' * (len(rows) > 1)} of {table} of {date} with {sum(rows)} rows "
        f"left out; run assay doctor"
        for (table, date), rows in sorted(counts.items())
    ]
