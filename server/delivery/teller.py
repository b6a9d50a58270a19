"""The threads of the server that send what monitors tell: at least once, in order for each incident and channel.

A try is claimed in the control database before it is made and noted after; who is killed between the two leaves it to
the next process, which sends it again under the same id. Each channel has at most one message under way, so that a
receiver that hangs holds up nobody else; one that fails is left alone for a while with all that waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

from core.clock import NS_PER_S, Clock
from core.errors import AssayError, Conflict
from server.delivery.channels import Channels
from server.delivery.outbox import MOST_TRIES, Outbox, wait_s
from server.delivery.records import Message, NotDelivered
from server.delivery.state import Standing
from store.control.monitor_records import Delivery, DeliveryState

LOOK_EVERY_S: Final = 2.0
WHOLE_EVERY: Final = 300  # looks, about ten minutes, between two that go through all messages that are kept
MOST_AT_ONCE: Final = 8
MOST_DUE: Final = 10_000
_LOG: Final = logging.getLogger("assay.delivery")


class Teller:
    """Sends what is due in `outbox` over `channels`. `start` it once; `round` is one look, for tests and for `start`.

    `owner` names this process, and `gone` says whether another is no more.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Channels,
        owner: str,
        *,
        clock: Clock,
        gone: Callable[[str], bool] = lambda _: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox, self._channels, self._owner = outbox, channels, owner
        self._clock, self._gone = clock, gone
        self.standing = Standing(monotonic)
        self._busy: set[str] = set()
        self._n_looks = 0
        self._lock = threading.Lock()
        self._stopping, self._again = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="delivery")
        self._thread = threading.Thread(target=self._run, name="deliveries", daemon=True)

    def start(self) -> None:
        """Sends from now on."""
        self._thread.start()

    def close(self) -> None:
        """Ends after the messages under way, each of which has a deadline."""
        self._stopping.set()
        self._again.set()
        if self._thread.is_alive():
            self._thread.join(15.0)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def round(self) -> int:
        """Sends all that is due now, and waits for it; how many messages came to their end. Raises AssayError as the
        outbox does."""
        n = 0
        while found := sum(one.result() for one in wait(self._begun()).done):
            n += found
        return n

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._again.clear()
            try:
                self._begun()
            except AssayError as error:
                _LOG.error("messages cannot be sent now: %s", error)
            except Exception:
                _LOG.exception("sending messages ended in a defect; it is tried again")
            self._again.wait(LOOK_EVERY_S)

    def _begun(self) -> list[Future[int]]:
        """Begins to send what is due over every channel that is not at work or left alone."""
        waiting: dict[str, list[Delivery]] = defaultdict(list)
        whole = self._n_looks % WHOLE_EVERY == 0
        self._n_looks += 1  # before it is looked: what is altered fails the whole look, not those between
        for one in self._outbox.due_deliveries(MOST_DUE, whole=whole):
            waiting[self._line(one)].append(one)
        begun = []
        for name, some in waiting.items():
            with self._lock:
                if name in self._busy or self._stopping.is_set() or self.standing.is_left_alone(name):
                    continue
                self._busy.add(name)
            begun.append(self._pool.submit(self._serve, name, some))
        return begun

    def _line(self, one: Delivery) -> str:
        """What waits together: all of a channel. Who may not use it, or names one that is not there, waits alone."""
        is_theirs = self._channels.find(one.channel, str(one.tenant)) is not None
        return one.channel if is_theirs else f"{one.channel} of {one.tenant}"

    def _serve(self, name: str, some: Sequence[Delivery]) -> int:
        """Sends these over one channel until one fails; how many ended."""
        n = 0
        try:
            for one in some:
                ended = None if self._stopping.is_set() else self._sent(one)
                if ended is None:
                    break
                n += ended
        except AssayError as error:  # what was sent and could not be noted is sent again
            _LOG.error("messages of %s cannot be sent now: %s", name, error)
        except Exception:
            _LOG.exception("sending to %s ended in a defect; it is tried again", name)
        finally:
            with self._lock:
                self._busy.discard(name)
        if n:
            self._again.set()  # those behind them are due now
        return n

    def _sent(self, due: Delivery) -> bool | None:
        """Whether a message came to its end; None where the channel is to be left alone."""
        taken = self._outbox.claim_delivery(due, self._owner, self._gone)
        if taken is None:
            return False
        try:
            self._send(taken)
        except NotDelivered as error:
            return self._failed(taken, error)
        self.standing.sent(self._line(taken))
        self._note(taken, DeliveryState.SUCCEEDED)
        return True

    def _send(self, one: Delivery) -> None:
        channel = self._channels.find(one.channel, str(one.tenant))
        if channel is None:
            # Dead at once: no try helps until an operator sets it, and whoever names it must not stop the heartbeat.
            raise NotDelivered(f"there is no channel {one.channel[:80]!r} for {one.tenant}", for_good=True)
        try:
            channel.send(Message.of(one, self._channels.dashboard))
        except NotDelivered:
            raise
        except Exception as error:  # a defect of ours: it is seen, and tried again like any failure
            _LOG.exception("delivery %s to %s ended in a defect", one.id, one.channel)
            raise NotDelivered(f"a defect: {type(error).__name__}") from None

    def _failed(self, one: Delivery, error: NotDelivered) -> bool | None:
        said = str(error)
        if error.for_good or one.tries >= MOST_TRIES:
            _LOG.error("delivery %s to %s is given up after %d tries: %s", one.id, one.channel, one.tries, said)
            self._note(one, DeliveryState.DEAD, error=said)
            return True
        after_s = max(wait_s(one.id, one.tries), error.after_s or 0.0)
        rest_s = self.standing.failed(
            self._line(one), pages=one.payload.get("severity") == "page", after_s=error.after_s
        )
        told = (one.id, one.channel, one.tries, said, after_s)
        _LOG.warning("delivery %s to %s failed, try %d: %s; again in %.0f s", *told)
        next_ns = self._clock() + int(max(after_s, rest_s) * NS_PER_S)
        self._note(one, DeliveryState.RETRYING, error=said, next_at_ns=next_ns)
        return None

    def _note(
        self, one: Delivery, state: DeliveryState, *, error: str | None = None, next_at_ns: int | None = None
    ) -> None:
        try:
            self._outbox.note_delivery(one, state, error=error, next_at_ns=next_at_ns)
        except Conflict as conflict:  # our time for it was over, and another process has it
            _LOG.warning("delivery %s: %s", one.id, conflict)
