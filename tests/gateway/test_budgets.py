"""Budgets: what is reserved becomes what was spent, the edge holds under parallel calls, and months and days end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S
from gateway.chain import Chain
from gateway.config import BudgetConfig, BudgetScope, LimitConfig, LimitScope, RoutingConfig, WhenSpent
from gateway.errors import Refused
from gateway.estimates import Estimates
from gateway.ledger import Ledger
from gateway.policies.budgets import Budgets
from gateway.policies.limits import Limits, Windows
from gateway.prices import NANO
from gateway.records import Answer, Call, CallKind, Target, VirtualModel
from tests.gateway.spent_calls import MODELS, Turned, answer, call_of, prices
from tests.thorough import often

COST = 0.001  # USD that a call of `call_of()` is estimated at, and costs when answered: 100 tokens in, 100 out
ALL = ("tenant", "app", "user", "team")


def _budget(limit: float, scope: str = "tenant", then: str = "refuse", **more: Any) -> BudgetConfig:
    named = {"name": f"{scope}-{then}", "scope": BudgetScope(scope), "limit_usd": limit, "then": WhenSpent(then)}
    return BudgetConfig(**{**named, **more})


def _budgets(*rules: BudgetConfig, clock: Turned | None = None, ledger: Ledger | None = None, **more: Any) -> Budgets:
    clock = clock or Turned()
    return Budgets(rules, MODELS, prices(), ledger or Ledger(None, clock), Estimates(), clock, **more)


def _spend(policy: Budgets, call: Call, n_input: int = 100, n_output: int = 100) -> Call:
    policy.before(call)
    policy.done(answer(call, n_input, n_output))
    return call


def _refusal(policy: Budgets, call: Call) -> Refused:
    with pytest.raises(Refused) as refused:
        policy.before(call)
    policy.done(call)
    return refused.value


def _spent(policy: Budgets, tenant: str = "acme") -> float:
    return float(policy.status(tenant)[0]["spent_usd"])


def test_a_spent_budget_refuses_and_says_everything() -> None:
    policy = _budgets(_budget(0.002, "app", name="support", match="my-*"))
    for _ in range(2):
        _spend(policy, call_of(app="my-agent"))
    call = call_of(app="my-agent")
    refused = _refusal(policy, call)
    assert (refused.status, refused.kind, refused.code) == (429, "insufficient_quota", "budget")
    assert refused.message == (
        "the budget support of the app 'my-agent' has spent 0.002 of 0.002 USD this month (UTC), 0.00 USD are held for "
        "calls under way, and this call may cost 0.001 USD; it begins anew at 2026-12-01T00:00:00Z"
    )
    assert refused.retry_after_s == 9.5 * 86_400
    assert call.state["headers"] == {"x-should-retry": "false"}
    _spend(policy, call_of(app="other"))
    _spend(policy, call_of(app="my-other"))


def test_one_hundred_parallel_calls_at_the_edge_do_not_overshoot_when_their_output_is_bounded() -> None:
    policy = _budgets(*(_budget(0.0305, scope) for scope in ALL))

    async def one() -> Refused | None:
        call = call_of()
        try:
            policy.before(call)
        except Refused as refused:
            policy.done(call)
            return refused
        await asyncio.sleep(0)
        policy.done(answer(call, 100, 100))
        return None

    async def together() -> list[Refused | None]:
        return await asyncio.gather(*(one() for _ in range(100)))

    refused = [each for each in asyncio.run(together()) if each is not None]
    assert len(refused) == 70
    assert _spent(policy) == 0.030
    assert {each.retry_after_s for each in refused} == {1}  # until those under way have ended
    assert all("try again when others have ended" in each.message for each in refused)


def test_the_overshoot_of_parallel_calls_is_what_each_cost_beyond_its_estimate() -> None:
    policy = _budgets(_budget(0.03))
    passed = []
    for _ in range(100):
        call = call_of(at_most=None)
        call.n_input_characters = 30  # as the estimate goes, 11 tokens in and 256 out: 0.00207 USD
        try:
            policy.before(call)
        except Refused:
            policy.done(call)
            continue
        passed.append(call)
    assert len(passed) == 14
    for call in passed:
        policy.done(answer(call, 1000, 1000))
    declared = 14 * (0.010 - 0.00207)
    assert _spent(policy) == pytest.approx(0.14)
    assert 0.03 < 0.14 <= 0.03 + declared
    _refusal(policy, call_of())


@settings(max_examples=often(200, 50), deadline=None)
@given(st.data())
def test_reservations_settle_to_exactly_the_real_sum_whatever_the_order(data: st.DataObject) -> None:
    clock = Turned()
    ledger = Ledger(None, clock)
    policy = _budgets(*(_budget(1e6, scope) for scope in ALL), clock=clock, ledger=ledger)
    under_way: list[Call] = []
    real: dict[str, int] = {"a": 0, "b": 0}
    for n in data.draw(st.lists(st.one_of(st.none(), st.integers(0, 10**6)), max_size=40)):
        if n is None or not under_way:
            tenant = data.draw(st.sampled_from(["a", "b"]))
            call = call_of(data.draw(st.sampled_from(["large", "mini", "odd"])), tenant=tenant, user="u")
            policy.before(call)
            under_way.append(call)
            continue
        call = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
        if n:
            answer(call, n, n // 2, reported=data.draw(st.booleans()))
            call.aborted = data.draw(st.booleans())
            call.error = "closed" if call.aborted else ""
        policy.done(call)
        real[call.caller.tenant] += round((call.cost_usd or 0) * NANO)
    for call in under_way:
        policy.done(call)
    for tenant, nano in real.items():
        for account in ledger.of_tenant(tenant):
            assert (account.month_nano, account.day_nano, account.reserved) == (nano, nano, 0)


def _rows(policy: Budgets, tenant: str) -> list[dict[str, Any]]:
    """Without the names of users: each ledger has its own key."""
    return [{name: value for name, value in row.items() if name != "of"} for row in policy.status(tenant)]


@settings(max_examples=often(100, 25), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 400), st.booleans()), max_size=40))
def test_no_tenant_changes_what_another_is_told(steps: list[tuple[str, int, bool]]) -> None:
    rules = [_budget(0.004, scope, then) for scope in ALL for then in ("refuse", "warn")] + [
        _budget(0.002, then="downgrade")
    ]
    together = _budgets(*rules)
    alone = {tenant: _budgets(*rules) for tenant in ("a", "b")}
    for tenant, n, ends in steps:
        said = []
        for policy in (together, alone[tenant]):
            call = call_of(at_most=None, tenant=tenant, app="same", user="same", team="same")
            try:
                policy.before(call)
                message = ""
            except Refused as refused:
                message = refused.message
            if ends and not message:
                policy.done(answer(call, n, n))
            said.append((message, call.model.name, call.flags, call.state.get("headers"), _rows(policy, tenant)))
        assert said[0] == said[1]


def test_near_its_end_a_budget_warns_in_a_flag_and_a_header() -> None:
    policy = _budgets(_budget(0.004, name="support", warn_at=0.5))
    calls = [_spend(policy, call_of()) for _ in range(3)]
    assert [call.flags for call in calls] == [[], [], ["budget_warn:support"]]
    assert calls[2].state["headers"] == {"x-assay-budget": "support 0.002/0.004 USD"}


def test_a_budget_that_only_warns_lets_everything_pass() -> None:
    policy = _budgets(_budget(0.001, then="warn", name="soft"))
    calls = [_spend(policy, call_of()) for _ in range(3)]
    assert calls[2].flags == ["budget_over:soft"]
    assert _spent(policy) == pytest.approx(0.003)


def test_a_budget_that_downgrades_goes_down_until_it_is_affordable() -> None:
    policy = _budgets(_budget(0.0013, then="downgrade"))
    names = [_spend(policy, call_of()).model.name for _ in range(4)]
    assert names == ["large", "middle", "mini", "mini"]
    assert _spent(policy) == pytest.approx(0.001 + 0.0002 + 2 * 0.00005)


def test_what_was_downgraded_is_told_and_the_cheapest_goes_on_even_beyond_the_budget() -> None:
    policy = _budgets(_budget(0.001, then="downgrade", name="soft"))
    _spend(policy, call_of())
    call = _spend(policy, call_of())
    assert call.model.name == "mini"
    assert call.flags == ["budget_downgrade:large->middle", "budget_downgrade:middle->mini", "budget_over:soft"]


def test_a_call_that_is_affordable_after_a_downgrade_is_not_refused_by_another_budget() -> None:
    policy = _budgets(_budget(0.0012, then="refuse"), _budget(0.0001, "app", then="downgrade"))
    _spend(policy, call_of("mini"))
    for _ in range(10):
        assert _spend(policy, call_of()).model.name == "mini"


def test_a_routed_name_is_reserved_as_its_dearest_part_and_downgraded_to_its_simple_one() -> None:
    routed = VirtualModel(name="auto", kind=CallKind.CHAT, targets=())
    policy = _budgets(
        _budget(0.0009, then="downgrade"), routing={"auto": RoutingConfig(simple="mini", complex="large")}
    )
    call = call_of()
    call.model = routed
    policy.before(call)
    assert call.model.name == "mini"


@pytest.mark.parametrize("ending", ["refused later", "cached", "failed unbilled"])
def test_a_call_that_cost_nothing_gives_everything_back_and_leaves_no_line(ending: str) -> None:
    clock = Turned()
    ledger = Ledger(None, clock)
    policy = _budgets(_budget(1), clock=clock, ledger=ledger)
    call = call_of()
    policy.before(call)
    assert policy.status("acme")[0]["reserved_usd"] == COST
    call.error = "" if ending == "cached" else ending
    prices().price(call)
    policy.done(call)
    policy.done(call)  # twice changes nothing
    row = policy.status("acme")[0]
    assert (row["spent_usd"], row["reserved_usd"]) == (0, 0)


class _Refuses:
    """A policy further on that says no."""

    name = "content"

    def before(self, call: Call) -> None:
        raise Refused("no")

    def after(self, call: Call, answer: Answer) -> None:
        raise AssertionError

    def stream(self, call: Call) -> None:
        raise AssertionError

    def done(self, call: Call) -> None:
        pass


def test_what_a_later_policy_refuses_holds_nothing_and_takes_no_tokens() -> None:
    clock = Turned()
    windows = Windows()
    limits = Limits([LimitConfig(scope=LimitScope.TENANT, tokens_per_minute=10**6)], windows, Estimates(), clock)
    budgets = _budgets(_budget(1), clock=clock)
    chain = Chain([limits, budgets, _Refuses()])
    for _ in range(10):
        call = call_of()
        with pytest.raises(Refused, match="no"):
            chain.before(call)
        prices().price(call)
        chain.done(call)
    row = budgets.status("acme")[0]
    assert (row["spent_usd"], row["reserved_usd"]) == (0, 0)
    counted = windows.of("acme", LimitScope.TENANT, "acme", clock() // NS_PER_S)
    assert (counted.requests.total, counted.tokens.total) == (10, 0)


def test_an_aborted_call_and_one_whose_attempt_failed_are_counted() -> None:
    policy = _budgets(_budget(1))
    call = call_of()
    policy.before(call)
    answer(call, 100, 10, reported=False)
    call.aborted, call.answered_by, call.status = True, None, 499
    policy.done(call)
    assert _spent(policy) == pytest.approx(0.00028)


def test_calls_whose_price_nobody_knows_are_counted_and_a_spent_budget_refuses_them_too() -> None:
    policy = _budgets(_budget(0.001))
    call = _spend(policy, call_of("odd"))
    assert call.flags == ["price_unknown"]
    row = policy.status("acme")[0]
    assert (row["n_unpriced"], row["spent_usd"]) == (1, 0)
    _spend(policy, call_of())
    assert _refusal(policy, call_of("odd")).code == "budget"


def test_a_day_and_a_month_end_in_utc() -> None:
    clock = Turned("2026-11-29T23:59:58")
    policy = _budgets(
        _budget(0.001, period="day", name="day"), _budget(0.002, period="month", name="month"), clock=clock
    )
    _spend(policy, call_of())
    assert _refusal(policy, call_of()).retry_after_s == 2
    clock.on(2)
    _spend(policy, call_of())
    assert "the budget day has" in _refusal(policy, call_of()).message
    clock.to("2026-11-30T23:59:59.999999")
    assert "the budget day has" in _refusal(policy, call_of()).message
    clock.to("2026-12-01T00:00:00")
    _spend(policy, call_of())
    assert "the budget day has" in _refusal(policy, call_of()).message
    clock.to("2026-12-02T00:00:00")
    _spend(policy, call_of())
    clock.to("2026-12-03T00:00:00")
    refused = _refusal(policy, call_of())
    assert "the budget month has" in refused.message
    assert "2027-01-01T00:00:00Z" in refused.message


def test_a_call_over_midnight_of_a_month_counts_in_the_new_one_and_holds_nothing_after() -> None:
    clock = Turned("2026-11-30T23:59:59")
    ledger = Ledger(None, clock)
    policy = _budgets(_budget(0.001), clock=clock, ledger=ledger)
    call = call_of(app="a", user="u", team="t")
    policy.before(call)
    clock.on(2)
    policy.done(answer(call))
    assert _spent(policy) == COST
    accounts = ledger.of_tenant("acme")
    assert {account.value for account in accounts} == {"acme", "a", "t", ledger.hashed("acme", "u")}
    assert all((account.reserved, account.month_nano) == (0, 1_000_000) for account in accounts)


def test_a_clock_that_goes_back_changes_nothing() -> None:
    clock = Turned("2026-12-01T00:00:01")
    policy = _budgets(_budget(0.001), clock=clock)
    _spend(policy, call_of())
    clock.to("2026-11-30T23:59:00")
    _refusal(policy, call_of())


@pytest.mark.parametrize("name", ["a\0b", "漢字 é", "[x]*", "a\nb", "\ud800"])
def test_odd_names_are_names(name: str) -> None:
    policy = _budgets(_budget(0.001, "user"))
    _spend(policy, call_of(user=name))
    assert repr(name) in _refusal(policy, call_of(user=name)).message
    _spend(policy, call_of(user=name + "!"))


def test_budgets_of_users_match_by_their_names() -> None:
    policy = _budgets(_budget(0.001, "user", match="trial-*"))
    _spend(policy, call_of(user="trial-1"))
    _refusal(policy, call_of(user="trial-1"))
    for _ in range(3):
        _spend(policy, call_of(user="paying-1"))
    assert len(policy.status("acme")) == 1


def test_a_new_configuration_goes_on_with_what_was_spent_and_reserved() -> None:
    clock = Turned()
    ledger = Ledger(None, clock)
    before = _budgets(_budget(0.001, "app"), clock=clock, ledger=ledger)
    under_way = call_of()
    before.before(under_way)
    after = _budgets(_budget(0.002, "team"), clock=clock, ledger=ledger)
    _spend(after, call_of())
    _refusal(after, call_of())
    before.done(under_way)
    _spend(after, call_of())
    _refusal(after, call_of())


def test_the_status_is_that_of_one_tenant_and_shows_no_user() -> None:
    policy = _budgets(
        _budget(1, "app", name="apps"),
        _budget(2, "user", name="users", period="day", then="warn"),
        _budget(3, name="mine", tenant="other"),
    )
    _spend(policy, call_of(tenant="other", app="secret", user="ann"))
    _spend(policy, call_of(app="small", user="bob@example.com"))
    _spend(policy, call_of(app="big", user="bob@example.com"), 1000, 1000)
    rows = policy.status("acme")
    assert [(row["name"], row["of"], row["spent_usd"]) for row in rows[:2]] == [
        ("apps", "big", 0.01),
        ("apps", "small", COST),
    ]
    assert rows[2] == {
        "name": "users", "scope": "user", "match": "*", "of": rows[2]["of"], "spent_usd": 0.011, "reserved_usd": 0.0,
        "n_unpriced": 0, "limit_usd": 2.0, "warn_at": 0.8, "period": "day", "resets_at": "2026-11-22T00:00:00Z",
        "then": "warn",
    }  # fmt: skip
    assert len(rows) == 3
    assert not {"secret", "ann", "bob@example.com"} & {str(value) for row in rows for value in row.values()}
    assert [row["of"] for row in policy.status("nobody")] == ["", ""]


def test_an_embedding_is_reserved_without_output_and_the_dearest_target_counts() -> None:
    policy = _budgets(_budget(1))
    call = call_of("embed")
    policy.before(call)
    assert policy.status("acme")[0]["reserved_usd"] == pytest.approx(100 * 0.1 / 10**6)
    both = VirtualModel(
        name="both", kind=CallKind.CHAT, targets=(*MODELS["mini"].targets, Target(upstream="one", model="sim-2"))
    )
    call = call_of()
    call.model = both
    policy.before(call)
    assert policy.status("acme")[0]["reserved_usd"] == pytest.approx(0.00001 + (50 + 200) / 10**6)
