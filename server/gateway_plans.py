"""The plans and experiments that the directory has read, as the session door asks for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from experiments.registered import definition_of
from gateway.enrolment import Running
from gateway.session_door import Plan
from store.control.experiment_records import LiveExperiment
from store.control.records import LivePlan


class Read(Protocol):
    """Who reads plans now and then."""

    @property
    def plans(self) -> tuple[LivePlan, ...]:
        """The plans that hold, as they were read last; another object after each reading."""

    @property
    def experiments(self) -> tuple[LiveExperiment, ...]:
        """The running experiments over releases, as they were read last; another object after each reading."""


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


class GatewayExperiments:
    """Running experiments by tenant and app, by name."""

    def __init__(self, source: Read) -> None:
        self._source = source
        self._seen: tuple[LiveExperiment, ...] = ()
        self._running: dict[tuple[str, str], list[Running]] = {}

    def of(self, tenant: str, app: str) -> Sequence[Running]:
        """The running experiments over releases of an app."""
        read = self._source.experiments
        if read is not self._seen:
            found: dict[tuple[str, str], list[Running]] = defaultdict(list)
            for each in read:
                found[each.record.tenant, each.record.app].append(_running(each))
            self._running, self._seen = dict(found), read
        return self._running.get((tenant, app), ())


def _running(live: LiveExperiment) -> Running:
    record = live.record
    return Running(
        definition=definition_of(record),
        coverage=record.coverage,
        endpoints=live.endpoints,
        overrides=record.overrides,
        override_key=record.override_key,
    )


def _plan(live: LivePlan) -> Plan:
    spec = live.plan.spec
    return Plan(
        baseline=spec.baseline,
        weights=dict(spec.weights),
        salt=live.plan.salt,
        endpoints={**live.others, **live.endpoints},
        variants={name: variant for name, variant in live.variants.items() if variant},
    )
