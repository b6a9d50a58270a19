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
_UNLIMITED: Final = 1 << 62


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

    __slots__ = ("limited_by", "most_requests", "most_tokens", "requests", "scope", "seen", "tokens", "value")

    def __init__(self, scope: LimitScope, value: str) -> None:
        self.scope, self.value = scope, value
        self.requests, self.tokens = _Window(), _Window()
        self.most_requests = self.most_tokens = _UNLIMITED
        self.limited_by: object = None
        self.seen = 0  # the second of the last call


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
            found = names[key] = _Counted(scope, value)
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

    def n_names(self) -> int:
        """How many names are counted."""
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
            if each.requests.counted(second) >= each.most_requests:
                raise _refused(call, limited, each, "requests", 1, now_ns)
            n = each.tokens.counted(second)
            if n > 0 and n + n_tokens > each.most_tokens:
                raise _refused(call, limited, each, "tokens", n_tokens, now_ns)
        held = []
        for each in limited:
            each.requests.take(second, 1)
            held.append((each.tokens, each.tokens.take(second, n_tokens)))
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

    def _limited(self, caller: Caller, second: int) -> list[_Counted]:
        tenant = caller.tenant
        windows = self._windows
        windows.sweep(tenant, second)
        found = []
        for scope in self._scopes:
            value = _value(scope, caller)
            count = windows.of(tenant, scope, value, second)
            if count.limited_by is not self:
                count.limited_by = self
                count.most_requests, count.most_tokens = self._least(tenant, scope, value)
            if count.most_requests < _UNLIMITED or count.most_tokens < _UNLIMITED:
                found.append(count)
        return found

    def _least(self, tenant: str, scope: LimitScope, value: str) -> tuple[int, int]:
        rules = [
            rule
            for rule in self._rules
            if rule.scope is scope and fnmatchcase(tenant, rule.tenant) and fnmatchcase(value, rule.match)
        ]
        requests = [rule.requests_per_minute for rule in rules if rule.requests_per_minute is not None]
        tokens = [rule.tokens_per_minute for rule in rules if rule.tokens_per_minute is not None]
        return min(requests, default=_UNLIMITED), min(tokens, default=_UNLIMITED)


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


def _refused(call: Call, limited: list[_Counted], by: _Counted, what: str, n_more: int, now_ns: int) -> Refused:
    _tell(call, limited, now_ns)
    window, most = (by.requests, by.most_requests) if what == "requests" else (by.tokens, by.most_tokens)
    wait_ns = window.wait_ns(max(0, most - n_more), now_ns)
    who = f"the {by.scope.value} {by.value!r}" if by.value else f"calls without {by.scope.value}, together,"
    said = (
        f"{who} may take {most} {what} a minute and took {window.total}; this call takes "
        f"{'about ' if what == 'tokens' else ''}{n_more} more; try again in {_seconds(wait_ns)} s"
    )
    return Refused(said, status=429, kind=what, code=f"limit_{what}", retry_after_s=wait_ns / NS_PER_S)


def _tell(call: Call, limited: list[_Counted], now_ns: int) -> None:
    """The headers that OpenAI's clients know, each of the limit that leaves the least."""
    headers = call.state.setdefault("headers", {})
    by = limited[0]
    if len(limited) > 1:
        by = min(limited, key=_requests_left)
    if by.most_requests < _UNLIMITED:
        headers["x-ratelimit-limit-requests"] = str(by.most_requests)
        headers["x-ratelimit-remaining-requests"] = str(max(0, by.most_requests - by.requests.total))
        headers["x-ratelimit-reset-requests"] = f"{_seconds(by.requests.empty_in_ns(now_ns))}s"
    if len(limited) > 1:
        by = min(limited, key=_tokens_left)
    if by.most_tokens < _UNLIMITED:
        headers["x-ratelimit-limit-tokens"] = str(by.most_tokens)
        headers["x-ratelimit-remaining-tokens"] = str(max(0, by.most_tokens - by.tokens.total))
        headers["x-ratelimit-reset-tokens"] = f"{_seconds(by.tokens.empty_in_ns(now_ns))}s"


def _requests_left(count: _Counted) -> int:
    return count.most_requests - count.requests.total


def _tokens_left(count: _Counted) -> int:
    return count.most_tokens - count.tokens.total


def _seconds(ns: int) -> int:
    """Rounded up."""
    return -(-ns // NS_PER_S)
