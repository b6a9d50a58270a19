"""The gateway put together: from one configuration to doors, and from one to the next while it serves.

What calls leave behind outlives a change of the configuration: counts of the last minute, spending, answers in the
cache, breakers, sessions and spans that wait. What the configuration says is made anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from core.clock import Clock, system_clock
from core.pii.find import Allowance, TooMuch, find
from core.records import PiiEntity, Principal, Role
from gateway.app import Doors, Gateway
from gateway.chain import Chain, Policy
from gateway.config import CacheConfig, GatewayConfig, ModelConfig
from gateway.enrolment import RunningOf
from gateway.errors import Refused
from gateway.estimates import Estimates
from gateway.exporter import Exporter
from gateway.ledger import Ledger
from gateway.masking.bodies import MOST_STEPS
from gateway.model_door import ModelDoor
from gateway.policies.budgets import Budgets
from gateway.policies.cache import Cache
from gateway.policies.content import Content
from gateway.policies.limits import Limits, Windows
from gateway.policies.masking import Masking
from gateway.policies.repair import Repair
from gateway.policies.routing import Routing
from gateway.prices import PROVIDER_OF, Prices
from gateway.records import Call, VirtualModel
from gateway.session_door import PlanOf, SessionDoor, Sessions
from gateway.spans import span_of
from gateway.spool import Spool
from gateway.sticky import Sticky
from gateway.upstreams.pool import Pool

_LOG: Final = logging.getLogger("assay.gateway")
FOLD_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the gateway is given by the process that it runs in.

    `folder` is its own, for spending, sessions and spans that wait; `spool_key` 32 bytes that seal the latter.
    `principal` judges a key's text, `ingest_key` gives the key that a tenant's spans are sent with to `otlp_url`,
    `plan_of` and `running_of` the plan and the running experiments of a tenant's app that were read last.
    `more_status` is what the process adds to the status.
    """

    folder: Path
    spool_key: bytes
    otlp_url: str
    principal: Callable[[str | None], Principal]
    ingest_key: Callable[[str], str | None]
    plan_of: PlanOf = lambda tenant, app: None
    running_of: RunningOf = lambda tenant, app: ()
    more_status: Callable[[Principal], Mapping[str, Any]] = lambda principal: {}
    clock: Clock = system_clock


class Service:
    """One gateway. Make it, `start` it in the event loop, serve `app`, `close` it."""

    def __init__(self, config: GatewayConfig, given: Surroundings) -> None:
        self._given = given
        self._config = config
        self._pool = Pool(config.upstreams, clock=given.clock)
        self._windows, self._estimates = Windows(), Estimates()
        self._ledger = Ledger(given.folder / "spend", given.clock)
        self.spool = Spool(given.folder / "spool", given.spool_key)
        self._exporter = Exporter(self.spool, given.otlp_url, given.ingest_key)
        self._sessions = Sessions(Sticky(given.folder / "sessions", given.clock))
        self._folding: asyncio.Task[None] | None = None
        self._budgets: Budgets
        self._cached: tuple[CacheConfig, Cache] | None = None
        self.app = Gateway(self._doors(config), given.principal, self.status, given.clock)

    async def start(self) -> None:
        """Opens what needs an event loop."""
        self._pool.start()
        await self._exporter.start()
        self._sessions.start()
        self._folding = asyncio.get_running_loop().create_task(self._fold_always())

    async def close(self) -> None:
        """Sends what waits, and lets go of everything. Requests should have ended."""
        if self._folding is not None:
            self._folding.cancel()
            with suppress(asyncio.CancelledError):
                await self._folding
        await self._sessions.close()
        await self._exporter.close()
        await self._pool.close()
        self._ledger.close()

    def use(self, config: GatewayConfig) -> None:
        """From now on calls meet this configuration; those under way end as they began."""
        doors = self._doors(config)
        self._pool.use(config.upstreams)
        self._config = config
        self.app.use(doors)

    def status(self, principal: Principal) -> dict[str, Any]:
        """How everything is, as one tenant may see it."""
        tenant = principal.tenant
        seen = {target.upstream for model in self._seen_by(tenant).values() for target in model.targets}
        found = {
            "upstreams": [row for row in self._pool.status(tenant) if row["upstream"] in seen],
            "models": self._models_shown(tenant),
            "budgets": self._budgets.status(tenant),
            "apps": self._apps_shown(tenant),
            "ledger": {"trouble": self._ledger.state().trouble},
            "spans": asdict(self._exporter.status(tenant)),
            "n_open": self.app.n_open,
            **self._given.more_status(principal),
        }
        if principal.role is not Role.ADMIN:  # these count every tenant's calls
            found["spans"] = {"waiting": found["spans"]["waiting"]}
            del found["n_open"]
        return found

    def _seen_by(self, tenant: str) -> dict[str, ModelConfig]:
        return {name: model for name, model in self._config.models.items() if tenant in (model.tenants or (tenant,))}

    def _models_shown(self, tenant: str) -> list[dict[str, Any]]:
        return [
            {"name": name, "kind": model.kind.value, "targets": [f"{t.upstream}/{t.model}" for t in model.targets]}
            for name, model in self._seen_by(tenant).items()
        ]

    def _apps_shown(self, tenant: str) -> list[str]:
        told = self._config.sessions.items()
        return sorted(name for name, app in told if not app.tenants or tenant in app.tenants)

    def _doors(self, config: GatewayConfig) -> Doors:
        given = self._given
        providers = {name: PROVIDER_OF[upstream.wire] for name, upstream in config.upstreams.items()}
        prices = Prices(config.prices, providers, given.clock)
        models = models_of(config)
        prices.warm(models.values())
        model_door = ModelDoor(
            chain=Chain(self._policies(config, models, prices)),
            upstreams=self._pool,
            clock=given.clock,
            price=prices.price,
            finish=self._finish(content=config.spans.content != "none"),
            send_timeout_s=config.send_timeout_s,
        )
        return Doors(
            config=config,
            model_door=model_door,
            session_door=SessionDoor(
                config, self._sessions, given.plan_of, self._exporter.send, given.clock, given.running_of
            ),
            models=models,
            team_of=team_of(config),
        )

    def _policies(self, config: GatewayConfig, models: Mapping[str, VirtualModel], prices: Prices) -> list[Policy]:
        told, clock = config.policies, self._given.clock
        self._budgets = Budgets(
            told.budgets, models, prices, self._ledger, self._estimates, clock, routing=told.routing
        )
        return [
            Limits(told.limits, self._windows, self._estimates),
            self._budgets,
            Content(told.content, _entities),
            Masking(told.masking),
            Routing(told.routing, models),
            *self._cache(config),
            Repair(told.repair),
        ]

    def _cache(self, config: GatewayConfig) -> list[Policy]:
        """The cache, with what it keeps as long as its section says the same."""
        section, was = config.policies.cache, self._cached
        if section is None:
            self._cached = None
            return []
        behind = {name: f"{each.wire} {each.base_url} {each.api_version}" for name, each in config.upstreams.items()}
        if was is not None and was[0] == section:
            made = Cache(section, answers=was[1].answers, similar=was[1].similar, behind=behind)
        else:
            made = Cache(section, behind=behind)
        self._cached = (section, made)
        return [made]

    def _finish(self, *, content: bool) -> Callable[[Call], None]:
        send = self._exporter.send

        def finish(call: Call) -> None:
            send(call.caller.tenant, span_of(call, content=content))

        return finish

    async def _fold_always(self) -> None:
        while True:
            await asyncio.sleep(FOLD_S)
            work = self._ledger.fold()
            if work is not None:
                try:
                    await asyncio.get_running_loop().run_in_executor(None, work)
                except OSError as error:
                    _LOG.warning("the day's spending could not be summed up on disk: %s", error)


def _entities(text: str, kinds: frozenset[PiiEntity]) -> list[tuple[int, int]]:
    """Where some kinds of personal information are in a text. Raises Refused when there is too much to look at."""
    try:
        return [(each.start, each.end) for each in find(text, Allowance(MOST_STEPS)) if each.entity in kinds]
    except TooMuch:
        said = "the call holds more numbers and addresses than content rules can look at; send less in one call"
        raise Refused(said, status=413, code="content_too_much") from None


def models_of(config: GatewayConfig) -> dict[str, VirtualModel]:
    """Every name that a caller may ask for: the models, and the routed names, which begin as their `complex`."""
    models = config.virtual_models()
    for name, rule in config.policies.routing.items():
        found = models[rule.complex]
        models[name] = VirtualModel(
            name=name, kind=found.kind, targets=found.targets, cheaper=found.cheaper, cache=found.cache
        )
    return models


def team_of(config: GatewayConfig) -> dict[str, str]:
    """Teams by "app:NAME" and "key:ID"."""
    apps = {f"app:{app}": name for name, team in config.teams.items() for app in team.apps}
    return apps | {f"key:{key}": name for name, team in config.teams.items() for key in team.keys}
