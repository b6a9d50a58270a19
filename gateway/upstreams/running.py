"""One attempt while it runs: it is recorded, counted, and ended once, whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter_ns

from core.clock import Clock
from gateway.records import Attempt, Call, Target, Usage
from gateway.upstreams import billing
from gateway.upstreams.failures import AttemptFailed
from gateway.upstreams.slot import Slot
from gateway.upstreams.wire import EventReader

Seconds = Callable[[], float]
_LOG = logging.getLogger("assay.gateway")


class Waiting:
    """Adds the time spent in its block to the call's time of waiting for upstreams."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._began_ns = 0

    def __enter__(self) -> None:
        self._began_ns = perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        self._call.upstream_ns += perf_counter_ns() - self._began_ns


class Running:
    """In flight until `ended`, `failed` or `given_up`; whatever comes after the first of them changes nothing.

    `body` and `reader` are what has arrived of a whole or a streamed answer; `told` is the usage in a whole one.
    """

    def __init__(self, call: Call, target: Target, slot: Slot, key: int, clock: Clock, seconds: Seconds) -> None:
        self.call, self.slot = call, slot
        self.attempt = Attempt(target=target, started_ns=clock(), key=key)
        self.body = bytearray()
        self.reader: EventReader | None = None
        self.told: Usage | None = None
        self._clock, self._seconds = clock, seconds
        self._over = self._answered = False
        self._began_ns = perf_counter_ns()
        call.attempts.append(self.attempt)
        slot.health.in_flight += 1
        slot.health.tenants.add(call.caller.tenant)

    def answered(self) -> None:
        """A whole answer is there, or a stream's first chunk: this target answers the call."""
        self._answered = True
        self.call.answered_by = self.attempt.target
        self.call.provider = self.slot.wire.provider
        self.slot.breaker.succeeded(self._seconds())
        self.slot.health.answered((perf_counter_ns() - self._began_ns) / 1e6)

    def ended(self) -> None:
        """All went well."""
        self._end("", self._usage())

    def failed(self, failed: AttemptFailed) -> None:
        """The upstream failed. What is said of it is cleaned of secrets here."""
        slot, now = self.slot, self._seconds()
        slot.cleaner.error(failed.error)
        if self._over:
            return
        self.attempt.status = self.attempt.status or failed.status
        self._end(failed.reason, self._usage(failed.reason))
        slot.health.failed(failed.reason, self._clock())
        if failed.sick:
            if slot.breaker.failed(now):
                open_s = slot.config.breaker.open_s
                _LOG.warning("the upstream %s is left alone for %g s, after %s", slot.name, open_s, failed.reason)
        elif not self._answered:
            slot.breaker.succeeded(now) if failed.status else slot.breaker.dropped()

    def given_up(self) -> None:
        """The caller left, or nobody needs the rest."""
        if self._over:
            return
        self._end("aborted", self._usage("aborted"))
        self.slot.health.n_aborted += 1
        if not self._answered:
            self.slot.breaker.dropped()

    def _end(self, error: str, usage: Usage | None) -> None:
        if self._over:
            return
        self._over = True
        self.slot.health.in_flight -= 1
        self.attempt.error, self.attempt.usage = error, usage
        self.attempt.ended_ns = self._clock()
        self.call.usage = billing.total(self.call.attempts)

    def _usage(self, reason: str = "") -> Usage | None:
        n_characters = self.call.n_input_characters
        if self.attempt.status == 0:
            return billing.estimated(n_characters, 0) if reason in ("timeout", "aborted") else None
        if self.attempt.status != 200:
            return None
        if self.reader is None:
            return self.told or billing.of_body(n_characters, bytes(self.body))
        if not self._answered and (reason == "error_event" or reason == "garbage"):
            return self.reader.usage
        return billing.of_stream(n_characters, self.reader)
