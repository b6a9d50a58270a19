"""The plans that the directory has read, as the session door asks for them."""

from __future__ import annotations

from typing import Protocol

from gateway.session_door import Plan
from store.control.records import LivePlan


class Read(Protocol):
    """Who reads plans now and then."""

    @property
    def plans(self) -> tuple[LivePlan, ...]:
        """The plans that hold, as they were read last; another object after each reading."""


class GatewayPlans:
    """Plans by tenant and app. One that says the same as before stays the same object."""

    def __init__(self, source: Read) -> None:
        self._source = source
        self._seen: tuple[LivePlan, ...] = ()
        self._plans: dict[tuple[str, str], Plan] = {}

    def of(self, tenant: str, app: str) -> Plan | None:
        """The plan of an app, if it has one."""
        read = self._source.plans
        if read is not self._seen:
            made = {(each.plan.tenant, each.plan.spec.app): _plan(each) for each in read}
            self._plans = {key: self._same(key, plan) for key, plan in made.items()}
            self._seen = read
        return self._plans.get((tenant, app))

    def _same(self, key: tuple[str, str], plan: Plan) -> Plan:
        known = self._plans.get(key)
        return known if known == plan else plan


def _plan(live: LivePlan) -> Plan:
    spec = live.plan.spec
    return Plan(
        baseline=spec.baseline,
        weights=dict(spec.weights),
        salt=live.plan.salt,
        endpoints={**live.others, **live.endpoints},
        variants={name: variant for name, variant in live.variants.items() if variant},
    )
