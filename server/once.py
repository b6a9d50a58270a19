"""What a request with an Idempotency-Key asks for is done once, however often, and however much at once, it is sent.

The first request claims the key in the control database and renews its claim for as long as it works. Others wait for
its answer a little, then are told to come again. A claim that nobody renews belongs to a process that died; one request
takes it over and looks how far the work came.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from core.errors import AssayError, InProgress
from core.ids import TenantId
from store.control.claims import LEASE_NS
from store.control.control import Control
from store.control.records import Claim, ClaimState

WAIT_S: Final = 2.0  # how long a request waits for another's answer
POLL_S: Final = 0.05
RENEW_S: Final = 5.0
_LOG: Final = logging.getLogger("assay.server")
_UNDER_WAY: Final = (
    "another request with this Idempotency-Key is still being worked on; send again and get the same answer"
)


class Held:
    """A claim that this request holds, until `close`. Thread-safe."""

    def __init__(self, control: Control, tenant: TenantId, key: str, claim: Claim) -> None:
        self.claim = claim
        self._control, self._tenant, self._key = control, tenant, key
        self._since_ns: int | None = claim.since_ns
        self._over = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._keep, name="claim", daemon=True).start()

    def assure(self, now_ns: int) -> None:
        """To be asked right before what cannot be undone. Raises InProgress when the lease is over, so that another
        request may be doing the work: this process did not run for a while."""
        since_ns = self._since_ns
        if since_ns is None or now_ns >= since_ns + LEASE_NS:
            raise InProgress(_UNDER_WAY)

    def finish(self) -> None:
        """Notes that the work is done. Raises StorageFailed, Corrupt."""
        with self._lock:
            self._over.set()
            self._control.finish_claim(self._tenant, self._key)

    def give_up(self) -> None:
        """Lets the next request take over at once, without waiting for the end of the lease."""
        with self._lock:
            self._over.set()
            if self._since_ns is None:
                return
            try:
                self._control.give_up_claim(self._tenant, self._key, self._since_ns)
            except AssayError as error:
                _LOG.warning("an Idempotency-Key stays claimed until its lease ends: %s", error)

    def _keep(self) -> None:
        while not self._over.wait(RENEW_S):
            with self._lock:
                if self._over.is_set() or self._since_ns is None:
                    return
                try:
                    self._since_ns = self._control.renew_claim(self._tenant, self._key, self._since_ns)
                except AssayError as error:
                    _LOG.warning("the claim on an Idempotency-Key was not renewed; trying again: %s", error)


@contextmanager
def once(control: Control, tenant: TenantId, key: str, body_hash: bytes, answer: str) -> Iterator[Held | str]:
    """The answer, where the work is done; else the claim to do it under (NEW or ABANDONED), finished at the end.

    Raises Conflict when the key was used with another body, InProgress when another request does not come to an end.
    """
    claim = _claimed(control, tenant, key, body_hash, answer)
    if claim.state is ClaimState.DONE:
        yield claim.answer
        return
    held = Held(control, tenant, key, claim)
    try:
        yield held
        held.finish()
    except BaseException:
        held.give_up()
        raise


def _claimed(control: Control, tenant: TenantId, key: str, body_hash: bytes, answer: str) -> Claim:
    deadline = time.monotonic() + WAIT_S
    while True:
        claim = control.claim(tenant, key, body_hash, answer)
        if claim.state is not ClaimState.PENDING:
            return claim
        while control.claim_is_pending(tenant, key):
            if time.monotonic() >= deadline:
                raise InProgress(_UNDER_WAY)
            threading.Event().wait(POLL_S)
