"""Budgets: what a tenant, an app, a user or a team may spend in a day or a month (UTC), and what happens beyond it.

A call's estimated cost is reserved before it is made and settled to its real cost when it is over, also when it failed
or was aborted. A budget that refuses lets a call pass only when what was spent, what is reserved and the call's own
estimate fit into it: calls under way together overshoot it by no more than the sum of what each cost beyond its
estimate, and by nothing where callers bound their output (`max_tokens`). A budget that downgrades never refuses: the
cheapest model goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Final

from core.clock import NS_PER_S, Clock, system_clock, to_datetime, to_ns
from gateway.chain import StreamFilter
from gateway.config import BudgetConfig, BudgetScope, RoutingConfig, WhenSpent
from gateway.errors import Refused
from gateway.estimates import Estimates
from gateway.ledger import OTHERS, Account, Ledger
from gateway.prices import NANO, Price, Prices
from gateway.records import Answer, Call, VirtualModel

MOST_ROWS: Final = 50  # of one budget in the status, those that spent most


@dataclass(frozen=True, kw_only=True, slots=True)
class _Budget:
    """One budget in nano-dollars."""

    config: BudgetConfig
    limit: int
    warn: int
    daily: bool

    def spent(self, account: Account) -> int:
        return account.day_nano if self.daily else account.month_nano


@dataclass(frozen=True, kw_only=True, slots=True)
class _Over:
    """A budget into which a call does not fit."""

    budget: _Budget
    account: Account


class Budgets:
    """The policy. The ledger, the estimates and the prices outlive it when the configuration changes."""

    name = "budgets"

    def __init__(
        self,
        rules: Iterable[BudgetConfig],
        models: Mapping[str, VirtualModel],
        prices: Prices,
        ledger: Ledger,
        estimates: Estimates,
        clock: Clock = system_clock,
        routing: Mapping[str, RoutingConfig] | None = None,
    ) -> None:
        self._budgets = tuple(map(_budget, rules))
        self._models = models
        self._routing = dict(routing or {})
        self._prices = prices
        self._ledger = ledger
        self._estimates = estimates
        self._clock = clock

    def before(self, call: Call) -> Answer | None:
        """Reserves what the call may cost, of a cheaper model if need be. Raises Refused (429)."""
        now_ns = self._clock()
        self._ledger.turn(now_ns)
        accounts = self._ledger.accounts(call.caller)
        for account in accounts:
            if account.ruled_by is not self:
                self._rule(account, call)
        while True:
            need = self._need(call)
            warned, over = _judged(accounts, need)
            if over and any(each.budget.config.then is WhenSpent.DOWNGRADE for each in over):
                cheaper = self._cheaper(call.model)
                if cheaper is not None:
                    _flag(call, f"budget_downgrade:{call.model.name}->{cheaper.name}")
                    call.model = cheaper
                    continue
            break
        for each in over:
            if each.budget.config.then is WhenSpent.REFUSE:
                raise self._refused(call, each, need, now_ns)
            _flag(call, f"budget_over:{each.budget.config.name}")
        for each in warned:
            _flag(call, f"budget_warn:{each.budget.config.name}")
        if over or warned:
            call.state.setdefault("headers", {})["x-assay-budget"] = "; ".join(map(_share, over + warned))
        for account in accounts:
            account.reserved += need
        call.state["budgets"] = (accounts, need)
        return None

    def after(self, call: Call, answer: Answer) -> None:
        """Nothing."""

    def stream(self, call: Call) -> StreamFilter | None:
        """Nothing."""
        return None

    def done(self, call: Call) -> None:
        """Gives back what was reserved and counts what the call cost; a call that cost nothing leaves no line."""
        held = call.state.pop("budgets", None)
        if held is None:
            return
        nano = None if call.cost_usd is None else round(call.cost_usd * NANO)
        if nano != 0:
            self._ledger.add(call, nano)
        accounts, reserved = held
        for account in accounts:
            account.reserved -= reserved
        self._estimates.learn(call)

    def status(self, tenant: str) -> list[dict[str, Any]]:
        """The budgets of one tenant, with what was spent: a row for every app (user, team) that spent something, the
        biggest first. `of` says whose; a user is named by the ledger's hash."""
        accounts = self._ledger.of_tenant(tenant)
        day = self._ledger.day()
        return [row for budget in self._budgets for row in self._rows(budget, tenant, accounts, day)]

    def _rows(self, budget: _Budget, tenant: str, accounts: list[Account], day: date) -> list[dict[str, Any]]:
        if not fnmatchcase(tenant, budget.config.tenant):
            return []
        if budget.config.scope is BudgetScope.TENANT and not fnmatchcase(tenant, budget.config.match):
            return []
        counted = [account for account in accounts if self._counts(budget, account)]
        counted = sorted(counted, key=budget.spent, reverse=True)[:MOST_ROWS]
        if not counted:
            return [_row(budget, None, day)]
        return [_row(budget, account, day) for account in counted]

    def _counts(self, budget: _Budget, account: Account) -> bool:
        if account.scope is not budget.config.scope:
            return False
        if account.ruled_by is self:
            return budget in account.rules
        # Nobody called since the start: a user's name is not known, only the hash of it.
        return budget.config.match == "*" or (
            account.scope is not BudgetScope.USER and fnmatchcase(account.value, budget.config.match)
        )

    def _rule(self, account: Account, call: Call) -> None:
        name = call.caller.user if account.scope is BudgetScope.USER and account.value != OTHERS else account.value
        account.ruled_by = self
        account.rules = tuple(
            budget
            for budget in self._budgets
            if budget.config.scope is account.scope
            and fnmatchcase(call.caller.tenant, budget.config.tenant)
            and fnmatchcase(name, budget.config.match)
        )

    def _need(self, call: Call) -> int:
        """Nano-dollars that the call may cost; 1 where nobody knows the price, so that a spent budget is spent."""
        usage = self._estimates.of(call, call.model.name)
        price = self._price(call.model)
        return 1 if price is None else price.nano_usd(usage)

    def _price(self, model: VirtualModel) -> Price | None:
        routed = self._routing.get(model.name)
        if routed is None:
            return self._prices.dearest(model)
        parts = [self._models[name] for name in (routed.simple, routed.complex) if name in self._models]
        targets = tuple(target for part in parts for target in part.targets)
        return self._prices.dearest(VirtualModel(name=model.name, kind=model.kind, targets=targets))

    def _cheaper(self, model: VirtualModel) -> VirtualModel | None:
        routed = self._routing.get(model.name)
        return self._models.get(model.cheaper if routed is None else routed.simple)

    @staticmethod
    def _refused(call: Call, over: _Over, need: int, now_ns: int) -> Refused:
        budget, account = over.budget, over.account
        spent = budget.spent(account)
        moment = to_datetime(now_ns)
        resets_at = _resets_at(budget, moment.date())
        waits = spent + need <= budget.limit  # only calls under way are in its place
        whom = "" if account.scope is BudgetScope.TENANT else f" of {_whom(call, account)}"
        said = (
            f"the budget {budget.config.name}{whom} has spent {_usd(spent)} of {_usd(budget.limit)} USD "
            f"this {budget.config.period} (UTC), {_usd(account.reserved)} USD are held for calls under way, and this "
            f"call may cost {_usd(need)} USD; "
            + ("try again when others have ended" if waits else f"it begins anew at {resets_at:%Y-%m-%dT%H:%M:%SZ}")
        )
        if not waits:
            call.state.setdefault("headers", {})["x-should-retry"] = "false"  # OpenAI's clients try 429 again
        retry_after_s = 1.0 if waits else (to_ns(resets_at) - now_ns) / NS_PER_S
        return Refused(said, status=429, kind="insufficient_quota", code="budget", retry_after_s=retry_after_s)


def _judged(accounts: tuple[Account, ...], need: int) -> tuple[list[_Over], list[_Over]]:
    """The budgets of which a call of this cost reaches the warning, and those into which it does not fit."""
    warned: list[_Over] = []
    over: list[_Over] = []
    for account in accounts:
        more = account.reserved + need
        day, month = account.day_nano + more, account.month_nano + more
        for budget in account.rules:
            would = day if budget.daily else month
            if would > budget.warn:
                (over if would > budget.limit else warned).append(_Over(budget=budget, account=account))
    return warned, over


def _budget(config: BudgetConfig) -> _Budget:
    limit = int(Decimal(str(config.limit_usd)) * NANO)
    warn = int(limit * Decimal(str(config.warn_at)))
    return _Budget(config=config, limit=limit, warn=warn, daily=config.period == "day")


def _flag(call: Call, flag: str) -> None:
    if flag not in call.flags:
        call.flags.append(flag)


def _share(each: _Over) -> str:
    spent = each.budget.spent(each.account)
    return f"{each.budget.config.name} {_usd(spent)}/{_usd(each.budget.limit)} USD"


def _whom(call: Call, account: Account) -> str:
    name = call.caller.user if account.scope is BudgetScope.USER else account.value
    return f"the {account.scope.value} {name!r}" if name else f"calls without {account.scope.value}, together,"


def _usd(nano: int) -> str:
    """With cents, and with as many more digits as it takes to see something."""
    whole, rest = divmod(nano, NANO)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{whole}.{digits}"


def _resets_at(budget: _Budget, day: date) -> datetime:
    following = day + timedelta(days=1) if budget.daily else (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime.combine(following, time(), UTC)


def _row(budget: _Budget, account: Account | None, day: date) -> dict[str, Any]:
    config = budget.config
    of = "" if account is None else account.value
    return {
        "name": config.name,
        "scope": config.scope.value,
        "match": config.match,
        "of": "(others)" if of == OTHERS else of,
        "spent_usd": 0.0 if account is None else budget.spent(account) / NANO,
        "reserved_usd": 0.0 if account is None else account.reserved / NANO,
        "n_unpriced": 0 if account is None else (account.day_unpriced if budget.daily else account.month_unpriced),
        "limit_usd": config.limit_usd,
        "warn_at": config.warn_at,
        "period": config.period,
        "resets_at": f"{_resets_at(budget, day):%Y-%m-%dT%H:%M:%SZ}",
        "then": config.then.value,
    }
