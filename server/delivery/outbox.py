"""Where deliveries wait, as the teller needs it: the control database is one (store/control/delivering.py). How long
one waits after a try that failed."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, Protocol

from store.control.monitor_records import Delivery, DeliveryState

MOST_WAIT_S: Final = 120.0  # between two tries: a receiver that was away hears soon after it is back
MOST_TRIES: Final = 720  # about a day of them
_DOUBLINGS: Final = 30


class Outbox(Protocol):
    """Deliveries that wait. Of one channel and incident none is due before the one ahead of it has ended."""

    def due_deliveries(self, limit: int = 100, *, whole: bool = False) -> list[Delivery]:
        """What may be sent now, the longest waiting first; `whole` trusts no index."""

    def claim_delivery(self, of: Delivery, owner: str, gone: Callable[[str], bool]) -> Delivery | None:
        """One, `owner`'s to send, with this try counted; None where it is not."""

    def note_delivery(
        self, of: Delivery, state: DeliveryState, *, error: str | None = None, next_at_ns: int | None = None
    ) -> Delivery:
        """What became of it. Raises Conflict where it is another's by now."""


def wait_s(key: str, tries: int) -> float:
    """How long until the next try after `tries` that failed: twice as long each time, up to two minutes, times a factor
    of 0.5 to 1.5 drawn from the delivery and the try, so that many that failed at once do not come back at once."""
    drawn = int.from_bytes(sha256(f"{key}:{tries}".encode()).digest()[:8]) / 2**64
    return min(MOST_WAIT_S, 2.0 ** min(max(tries, 1) - 1, _DOUBLINGS)) * (0.5 + drawn)
