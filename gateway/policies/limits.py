"""Limits: how many requests and tokens a minute a tenant, an app, a user or a key may take.

A minute is a sliding one, counted by the second: no 60 s ever hold more than the limit. Tokens are taken by estimate
before the call and settled to what the upstream counted when it is over, in the second in which the call began. A call
that alone is estimated above a whole limit passes when nothing else is counted, since an estimate may be wrong forever.
Everything is counted per tenant; calls without a user (app, key) are counted together, as one.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, assert_never

from core.clock import NS_PER_S, Clock
from gateway.chain import StreamFilter
from gateway.config import LimitConfig, LimitScope
from gateway.errors import Refused
from gateway.estimates import Estimates
from gateway.records import Answer, Call, Caller

WINDOW_S: Final = 60
MOST_NAMES: Final = 10_000  # counted at once per tenant; beyond, the one longest unused is forgotten
_GONE: Final = -1


class _Window:
    """What was taken in the last minute: [second, how much], the oldest first."""

    __slots__ = ("slots", "total")

    def __init__(self) -> None:
        self.slots: deque[list[int]] = deque()
        self.total = 0

    def counted(self, second: int) -> int:
        """How much counts at `second`."""
        slots = self.slots
        while slots and slots[0][0] < second - WINDOW_S:
            slot = slots.popleft()
            self.total -= slot[1]
            slot[0] = _GONE
        return self.total

    def take(self, second: int, n: int) -> list[int]:
        """Counts `n` more; the answer is for `settle`."""
        slots = self.slots
        if not slots or slots[-1][0] != second:
            slots.append([second, 0])
        slots[-1][1] += n
        self.total += n
        return slots[-1]

    def settle(self, slot: list[int], more: int) -> None:
        """Corrects what was taken; nothing, when it counts no longer."""
        if slot[0] != _GONE:
            slot[1] += more
            self.total += more

    def wait_ns(self, most: int, now_ns: int) -> int:
        """How long until no more than `most` counts, when nothing else is taken."""
        left = self.total
        for second, n in self.slots:
            if left <= most:
                break
            left -= n
            if left <= most:
                return (second + WINDOW_S + 1) * NS_PER_S - now_ns
        return 0

    def empty_in_ns(self, now_ns: int) -> int:
        """How long until nothing counts."""
        return (self.slots[-1][0] + WINDOW_S + 1) * NS_PER_S - now_ns if self.slots else 0


class _Counted:
    """What one tenant, app, user or key took, and the least that any limit allows it."""

    __slots__ = ("limited_by", "most_requests", "most_tokens", "requests", "seen", "tokens")

    def __init__(self) -> None:
        self.requests, self.tokens = _Window(), _Window()
        self.most_requests: int | None = None
        self.most_tokens: int | None = None
        self.limited_by: object = None
        self.seen = 0  # the second of the last call


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limited:
    """One of the counts that a call is held to."""

    scope: LimitScope
    value: str
    count: _Counted


_Names = OrderedDict[tuple[LimitScope, str], _Counted]


class Windows:
    """What everybody took in the last minute. It outlives a change of the configuration."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, _Names] = OrderedDict()  # the longest unused first, inside as well

    def of(self, tenant: str, scope: LimitScope, value: str, second: int) -> _Counted:
        """The counts of one name."""
        names = self._tenants.get(tenant)
        if names is None:
            names = self._tenants[tenant] = OrderedDict()
        key = (scope, value)
        found = names.get(key)
        if found is None:
            found = names[key] = _Counted()
            if len(names) > MOST_NAMES:
                names.popitem(last=False)
        names.move_to_end(key)
        found.seen = second
        return found

    def sweep(self, tenant: str, second: int) -> None:
        """Forgets some of what nobody used for a minute: of this tenant, and of the one longest unused."""
        tenants = self._tenants
        if tenant in tenants:
            tenants.move_to_end(tenant)
        for each in {tenant, next(iter(tenants), tenant)}:
            names = tenants.get(each, ())
            for _ in range(2):
                if not names or next(iter(names.values())).seen >= second - WINDOW_S:
                    break
                names.popitem(last=False)
            if each in tenants and not names:
                del tenants[each]

    def __len__(self) -> int:
        return sum(map(len, self._tenants.values()))


class Limits:
    """The policy. `clock` must never go back: the default is the time since the machine started."""

    name = "limits"

    def __init__(
        self,
        rules: Iterable[LimitConfig],
        windows: Windows,
        estimates: Estimates,
        clock: Clock = time.monotonic_ns,
    ) -> None:
        self._rules = tuple(rules)
        self._scopes = tuple(scope for scope in LimitScope if any(rule.scope is scope for rule in self._rules))
        self._windows = windows
        self._estimates = estimates
        self._clock = clock

    def before(self, call: Call) -> Answer | None:
        """Takes the call's request and estimated tokens, or nothing at all. Raises Refused (429)."""
        if not self._scopes:
            return None
        now_ns = self._clock()
        second = now_ns // NS_PER_S
        limited = self._limited(call.caller, second)
        if not limited:
            return None
        usage = self._estimates.of(call, call.model.name)
        n_tokens = usage.input_tokens + usage.output_tokens
        for each in limited:
            count = each.count
            most = count.most_requests
            if most is not None and count.requests.counted(second) >= most:
                raise _refused(call, limited, each, "requests", 1, now_ns)
            most = count.most_tokens
            if most is not None and (n := count.tokens.counted(second)) and n + min(n_tokens, most) > most:
                raise _refused(call, limited, each, "tokens", n_tokens, now_ns)
        held = []
        for each in limited:
            each.count.requests.take(second, 1)
            held.append((each.count.tokens, each.count.tokens.take(second, n_tokens)))
        call.state["limits"] = (n_tokens, held)
        _tell(call, limited, now_ns)
        return None

    def after(self, call: Call, answer: Answer) -> None:
        """Nothing."""

    def stream(self, call: Call) -> StreamFilter | None:
        """Nothing."""
        return None

    def done(self, call: Call) -> None:
        """Settles what was taken to what the call took; a cached answer takes no tokens."""
        n_estimated, held = call.state.pop("limits", (0, ()))
        n_tokens = call.usage.input_tokens + call.usage.output_tokens if call.attempts else 0
        for window, slot in held:
            window.settle(slot, n_tokens - n_estimated)
        self._estimates.learn(call)

    def _limited(self, caller: Caller, second: int) -> list[_Limited]:
        tenant = caller.tenant
        self._windows.sweep(tenant, second)
        found = []
        for scope in self._scopes:
            value = _value(scope, caller)
            count = self._windows.of(tenant, scope, value, second)
            if count.limited_by is not self:
                count.limited_by = self
                count.most_requests, count.most_tokens = self._least(tenant, scope, value)
            if count.most_requests is not None or count.most_tokens is not None:
                found.append(_Limited(scope=scope, value=value, count=count))
        return found

    def _least(self, tenant: str, scope: LimitScope, value: str) -> tuple[int | None, int | None]:
        rules = [
            rule
            for rule in self._rules
            if rule.scope is scope and fnmatchcase(tenant, rule.tenant) and fnmatchcase(value, rule.match)
        ]
        requests = [rule.requests_per_minute for rule in rules if rule.requests_per_minute is not None]
        tokens = [rule.tokens_per_minute for rule in rules if rule.tokens_per_minute is not None]
        return min(requests, default=None), min(tokens, default=None)


def _value(scope: LimitScope, caller: Caller) -> str:
    match scope:
        case LimitScope.TENANT:
            return caller.tenant
        case LimitScope.APP:
            return caller.app
        case LimitScope.USER:
            return caller.user
        case LimitScope.KEY:
            return caller.key_id
        case _:
            assert_never(scope)


def _refused(call: Call, limited: list[_Limited], by: _Limited, what: str, n_more: int, now_ns: int) -> Refused:
    _tell(call, limited, now_ns)
    window = by.count.requests if what == "requests" else by.count.tokens
    most = (by.count.most_requests if what == "requests" else by.count.most_tokens) or 0
    wait_ns = window.wait_ns(most - min(n_more, most), now_ns)
    who = f"the {by.scope.value} {by.value!r}" if by.value else f"calls without {by.scope.value}, together,"
    said = (
        f"{who} may take {most} {what} a minute and took {window.total}; this call takes "
        f"{'about ' if what == 'tokens' else ''}{n_more} more; try again in {-(-wait_ns // NS_PER_S)} s"
    )
    return Refused(said, status=429, kind=what, code=f"limit_{what}", retry_after_s=wait_ns / NS_PER_S)


def _tell(call: Call, limited: list[_Limited], now_ns: int) -> None:
    """The headers that OpenAI's clients know, of the limit that leaves the least."""
    headers = call.state.setdefault("headers", {})
    for what in ("requests", "tokens"):
        least: tuple[int, int, _Window] | None = None
        for each in limited:
            count = each.count
            window, most = (
                (count.requests, count.most_requests) if what == "requests" else (count.tokens, count.most_tokens)
            )
            if most is not None and (least is None or most - window.total < least[0]):
                least = (most - window.total, most, window)
        if least is not None:
            headers[f"x-ratelimit-limit-{what}"] = str(least[1])
            headers[f"x-ratelimit-remaining-{what}"] = str(max(0, least[0]))
            headers[f"x-ratelimit-reset-{what}"] = f"{-(-least[2].empty_in_ns(now_ns) // NS_PER_S)}s"
