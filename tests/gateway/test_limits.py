"""Limits: no minute holds more than the limit, what was estimated is settled, and nobody counts for another tenant."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S
from gateway.config import LimitConfig, LimitScope
from gateway.errors import Refused
from gateway.estimates import Estimates
from gateway.policies import limits
from gateway.policies.limits import Limits, Windows
from gateway.records import Call
from tests.gateway.spent_calls import Turned, answer, call_of
from tests.thorough import often


def _limits(clock: Turned, *rules: LimitConfig, windows: Windows | None = None) -> Limits:
    return Limits(rules, windows or Windows(), Estimates(), clock)


def _rule(scope: str = "tenant", requests: int | None = None, tokens: int | None = None, **more: str) -> LimitConfig:
    return LimitConfig(scope=LimitScope(scope), requests_per_minute=requests, tokens_per_minute=tokens, **more)


def _refusal(policy: Limits, call: Call) -> Refused | None:
    try:
        policy.before(call)
    except Refused as refused:
        policy.done(call)
        return refused
    return None


def _passes(policy: Limits, call: Call) -> bool:
    return _refusal(policy, call) is None


def _begun(policy: Limits, call: Call) -> Call:
    policy.before(call)
    return call


def test_the_request_beyond_the_limit_is_refused_as_openai_does() -> None:
    clock = Turned()
    policy = _limits(clock, _rule(requests=3))
    for left in ("2", "1", "0"):
        call = call_of()
        policy.before(call)
        assert call.state["headers"]["x-ratelimit-remaining-requests"] == left
        clock.on(1)
    call = call_of()
    with pytest.raises(Refused) as refused:
        policy.before(call)
    assert (refused.value.status, refused.value.kind, refused.value.code) == (429, "requests", "limit_requests")
    assert refused.value.retry_after_s is not None
    assert 57 <= refused.value.retry_after_s <= 58
    assert "the tenant 'acme' may take 3 requests a minute and took 3" in refused.value.message
    assert call.state["headers"]["x-ratelimit-limit-requests"] == "3"
    assert call.state["headers"]["x-ratelimit-reset-requests"].endswith("s")


def test_who_comes_again_when_told_passes() -> None:
    clock = Turned()
    policy = _limits(clock, _rule(requests=2, tokens=500))
    n_refused = 0
    for _ in range(20):
        refused = _refusal(policy, call_of(at_most=150))
        if refused is not None:
            n_refused += 1
            clock.on(refused.retry_after_s or 0)
            policy.before(call_of(at_most=150))
    assert n_refused > 5


@settings(max_examples=often(200, 50), deadline=None)
@given(st.lists(st.floats(0, 45), min_size=1, max_size=80), st.integers(1, 8))
def test_no_minute_holds_more_than_the_limit(pauses: list[float], most: int) -> None:
    clock = Turned()
    policy = _limits(clock, _rule(requests=most))
    passed: list[int] = []
    for pause in pauses:
        clock.on(pause)
        if _passes(policy, call_of()):
            passed.append(clock.ns)
    for n, at in enumerate(passed):
        assert sum(at <= other < at + 60 * NS_PER_S for other in passed[n:]) <= most


@settings(max_examples=often(200, 50), deadline=None)
@given(st.data())
def test_settled_tokens_are_the_real_sum_whatever_the_order(data: st.DataObject) -> None:
    windows = Windows()
    policy = _limits(Turned(), _rule(tokens=10**9), _rule("app", tokens=10**9), windows=windows)
    under_way: list[Call] = []
    real = 0
    for n in data.draw(st.lists(st.one_of(st.none(), st.integers(0, 5000)), max_size=40)):
        if n is None or not under_way:
            under_way.append(_begun(policy, call_of(at_most=data.draw(st.one_of(st.none(), st.integers(1, 1000))))))
            continue
        call = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
        if n:
            answer(call, n_input=n, n_output=n)
        policy.done(call)
        real += 2 * n
    for call in under_way:
        policy.done(call)
    for scope, value in ((LimitScope.TENANT, "acme"), (LimitScope.APP, "")):
        count = windows.of("acme", scope, value, 0)
        assert count.tokens.total == real == sum(n for _, n in count.tokens.slots)


@settings(max_examples=often(100, 25), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 20), st.integers(1, 400)), max_size=60))
def test_no_tenant_changes_what_another_is_told(steps: list[tuple[str, float, int]]) -> None:
    rules = (
        _rule(requests=5, tokens=800),
        _rule("app", requests=4),
        _rule("user", tokens=600),
        _rule("key", requests=3),
    )
    clock = Turned()
    together = _limits(clock, *rules)
    alone = {tenant: _limits(clock, *rules) for tenant in ("a", "b")}
    for tenant, pause, n in steps:
        clock.on(pause)
        said = []
        for policy in (together, alone[tenant]):
            call = call_of(at_most=None, n_input=n, tenant=tenant, app="same", user="same", key_id="same")
            passed = _passes(policy, call)
            if passed:
                policy.done(answer(call, n, n))
            said.append((passed, call.state["headers"]))
        assert said[0] == said[1]


def test_a_refused_call_takes_nothing_anywhere() -> None:
    clock = Turned()
    windows = Windows()
    policy = _limits(clock, _rule(requests=10), _rule("app", requests=1), windows=windows)
    assert _passes(policy, call_of(app="a"))
    assert not _passes(policy, call_of(app="a"))
    assert windows.of("acme", LimitScope.TENANT, "acme", 0).requests.total == 1


def test_tokens_wait_for_the_estimate_and_are_given_back() -> None:
    clock = Turned()
    policy = _limits(clock, _rule(tokens=1000))
    first = _begun(policy, call_of(at_most=800))
    with pytest.raises(Refused, match=r"took 900; this call takes about 900 more") as refused:
        policy.before(call_of(at_most=800))
    assert refused.value.code == "limit_tokens"
    policy.done(answer(first, 50, 50))
    assert _passes(policy, call_of(at_most=800))


def test_a_cached_answer_takes_a_request_and_no_tokens() -> None:
    windows = Windows()
    policy = _limits(Turned(), _rule(requests=10, tokens=1000), windows=windows)
    policy.done(_begun(policy, call_of()))
    count = windows.of("acme", LimitScope.TENANT, "acme", 0)
    assert (count.requests.total, count.tokens.total) == (1, 0)


def test_a_call_above_the_whole_limit_passes_alone_so_that_a_wrong_estimate_is_not_forever() -> None:
    clock = Turned()
    policy = _limits(clock, _rule(tokens=1000))
    assert _passes(policy, call_of(at_most=5000))
    assert not _passes(policy, call_of(at_most=1))
    clock.on(61)
    assert _passes(policy, call_of(at_most=5000))


def test_a_settlement_after_its_minute_changes_nothing() -> None:
    clock = Turned()
    windows = Windows()
    policy = _limits(clock, _rule(tokens=10_000), windows=windows)
    call = _begun(policy, call_of())
    clock.on(90)
    policy.before(call_of())
    policy.done(answer(call, 9000, 9000))
    assert windows.of("acme", LimitScope.TENANT, "acme", clock.ns // NS_PER_S).tokens.total == 200


def test_the_least_of_what_matches_holds_and_globs_say_for_whom() -> None:
    clock = Turned()
    policy = _limits(
        clock,
        _rule("app", requests=100),
        _rule("app", requests=2, match="bot-*"),
        _rule("app", requests=1, match="bot-*", tenant="small"),
    )
    assert [_passes(policy, call_of(app="bot-1")) for _ in range(3)] == [True, True, False]
    assert [_passes(policy, call_of(app="bot-2")) for _ in range(3)] == [True, True, False]
    assert [_passes(policy, call_of(app="bot-1", tenant="small")) for _ in range(2)] == [True, False]
    assert all(_passes(policy, call_of(app="web")) for _ in range(100))


def test_calls_without_a_user_are_counted_together() -> None:
    policy = _limits(Turned(), _rule("user", requests=1))
    assert _passes(policy, call_of(user="ann"))
    assert _passes(policy, call_of())
    with pytest.raises(Refused, match="calls without user, together, may take 1 requests"):
        policy.before(call_of())


@pytest.mark.parametrize("name", ["a\0b", "漢字 é", "[x]*", "\ud800", "a\nb", "x" * 10_000])
def test_odd_names_are_names(name: str) -> None:
    policy = _limits(Turned(), _rule("user", requests=1))
    assert _passes(policy, call_of(user=name))
    assert not _passes(policy, call_of(user=name))
    assert _passes(policy, call_of(user=name + "!"))


def test_a_new_configuration_goes_on_with_what_was_counted() -> None:
    clock = Turned()
    windows = Windows()
    for _ in range(5):
        assert _passes(_limits(clock, _rule(requests=5), windows=windows), call_of())
    assert not _passes(_limits(clock, _rule(requests=5), windows=windows), call_of())
    assert _passes(_limits(clock, _rule(requests=6), windows=windows), call_of())


def test_what_nobody_used_for_a_minute_is_forgotten() -> None:
    clock = Turned()
    windows = Windows()
    policy = _limits(clock, _rule("user", requests=5), windows=windows)
    for tenant in ("a", "b"):
        for n in range(500):
            policy.before(call_of(tenant=tenant, user=f"u{n}"))
    assert windows.n_names() == 1000
    clock.on(62)
    for _ in range(600):
        _passes(policy, call_of(tenant="c", user="u"))
    assert windows.n_names() == 1


def test_names_made_up_by_one_tenant_cost_little_and_push_out_nobody_elses() -> None:
    clock = Turned()
    windows = Windows()
    policy = _limits(clock, _rule("user", requests=1), windows=windows)
    assert _passes(policy, call_of(tenant="quiet", user="u"))
    tracemalloc.start()
    for n in range(limits.MOST_NAMES + 2000):
        policy.before(call_of(tenant="loud", user=f"u{n}"))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert windows.n_names() == limits.MOST_NAMES + 1
    assert size < 40 << 20
    assert not _passes(policy, call_of(tenant="quiet", user="u"))


def test_outputs_are_guessed_from_earlier_ones_of_the_same_tenant_and_model() -> None:
    known = Estimates()
    for _ in range(50):
        known.learn(answer(call_of(at_most=None), n_input=1100, n_output=500))
    guess = known.of(call_of(at_most=None), "large")
    assert 500 <= guess.output_tokens <= 510
    assert 1000 <= guess.input_tokens <= 1100  # 1000 tokens of it are not in the text's length
    assert known.of(call_of(at_most=None, tenant="other"), "large").output_tokens == 256
    assert known.of(call_of(at_most=None), "mini").output_tokens == 256
    assert known.of(call_of("embed", at_most=None), "embed").output_tokens == 0
    call = call_of(at_most=10)
    call.body["n"] = 3
    assert known.of(call, "large").output_tokens == 30
