"""How many bytes of request bodies are open at once: bounded for all together, and for one tenant to half of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.errors import CallFailed


class OpenBodies:
    """Counts by tenant. Of one event loop."""

    def __init__(self) -> None:
        self._all = 0
        self._of: dict[str, int] = {}

    @contextmanager
    def of(self, tenant: str, most: int) -> Iterator[Callable[[int], None]]:
        """Gives what is told of every piece's bytes: it raises CallFailed (503) when there is no room. They count until
        the end of the block."""
        kept = 0

        def keep(n_bytes: int) -> None:
            nonlocal kept
            mine = self._of.get(tenant, 0) + n_bytes
            if self._all + n_bytes > most or mine > max(most // 2, 1):
                said = "too many large requests are open at once; try again in a second"
                raise CallFailed(said, status=503, code="overloaded", retry_after_s=1)
            kept += n_bytes
            self._all += n_bytes
            self._of[tenant] = mine

        try:
            yield keep
        finally:
            self._all -= kept
            left = self._of.get(tenant, 0) - kept
            if left:
                self._of[tenant] = left
            else:
                self._of.pop(tenant, None)
