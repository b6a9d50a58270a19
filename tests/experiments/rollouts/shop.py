"""An app with two releases, a control database and a lake on a clock that the test turns: minutes of traffic in a call.

Sessions are split by the plan as the gateway would, spans and scores are written as the collector would; everything
that decides is the product's own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from core.clock import NS_PER_S
from core.ids import TenantId
from core.records import EvaluatorKind, Principal, Role, TargetKind
from experiments.assignment import WHOLE, layout, place_of
from experiments.canary.records import DEFAULT_GUARDRAILS, CanaryPolicy
from experiments.rollouts.policy import steps_of
from experiments.rollouts.records import Requires, RolloutPolicy
from experiments.service_deploying import Wanted, deploy
from experiments.service_rollouts import Ticker
from store.control.control import Control
from store.control.records import PlanSpec, ReleaseSpec
from store.control.rollout_records import RolloutRecord
from store.engines import engine_for
from store.lake import Lake
from store.scores import NewScore, append_scores
from store.tenant import Store, TenantStore
from tests.first_start import begun
from tests.store.build import T0, fill, row
from tests.store.databases import PEPPER

TENANT, APP = TenantId("acme"), "shop"
ANN = Principal(tenant=TENANT, role=Role.ADMIN, name="ann", key_id="0123456789ab")
BEN = Principal(tenant=TENANT, role=Role.ADMIN, name="ben", key_id="abcdef012345")
QUICK = (0.05, 0.5)


@dataclass(frozen=True, kw_only=True)
class Nature:
    """How the sessions of a release go: chances of a success, of an errored turn and of a leak, the milliseconds and
    dollars of a turn, the model that answers, by how many seconds the clock of its host is fast."""

    success: float = 0.85
    error: float = 0.02
    leak: float = 0.0
    ms: float = 1000.0
    usd: float = 0.01
    model: str = "sim-1"
    ahead_s: int = 0
    scored: bool = True
    traced: bool = True


@dataclass(kw_only=True)
class Shop:
    """Turn the clock with `minutes`."""

    control: Control
    lake: Lake
    store: TenantStore
    clock: Clock
    rng: random.Random
    natures: dict[str, Nature] = field(default_factory=dict)
    n: int = 0
    ticker: Ticker | None = None

    def wanted(self, **policy: Any) -> Wanted:
        """A rollout of v2 over v1 in two short steps with proof by harm alone."""
        made: dict[str, Any] = {
            "steps": tuple(replace(one, proves=False) for one in steps_of(QUICK, bake_s=100, min_units=3)),
            "guardrails": tuple(one for one in DEFAULT_GUARDRAILS if one.name != "safety"),
            "mature_s": 30,
        }
        requires = policy.pop("requires", Requires())
        bypass = policy.pop("bypass", None)
        return Wanted(
            app=APP,
            candidate=policy.pop("candidate", "v2"),
            policy=RolloutPolicy(canary=CanaryPolicy(**{**made, **policy}), requires=requires, bypass=bypass),
        )

    def deploy(self, by: Principal = ANN, **policy: Any) -> RolloutRecord:
        """Begins it."""
        return deploy(self.control, self.store, self.clock, self.wanted(**policy), by=by).record

    def restart(self) -> None:
        """What a process remembered is gone."""
        self.ticker = Ticker(control=self.control, store_of=lambda _: self.store, clock=self.clock)

    def tick(self) -> RolloutRecord | None:
        """A look at the open rollout; None where there is none."""
        if self.ticker is None:
            self.restart()
        found = self.control.open_rollout(TENANT, APP)
        return None if found is None or self.ticker is None else self.ticker.tick(found)

    def minutes(self, n: int, *, a_minute: int = 90, ticks: bool = True) -> RolloutRecord | None:
        """Traffic and looks for so many minutes, or until the rollout has ended."""
        found = None
        for _ in range(n):
            self.traffic(a_minute)
            self.clock.now_ns += 60 * NS_PER_S
            found = self.tick() if ticks else None
            if found is not None and found.status.ended:
                break
        return found

    def traffic(self, n: int) -> None:
        """So many sessions, spread over the minute that begins now."""
        live = next(one.plan for one in self.control.live_plans() if one.plan.spec.app == APP)
        laid = layout(live.spec.weights, live.spec.baseline)
        rows: list[dict[str, Any]] = []
        scores: list[NewScore] = []
        for number in range(n):
            # The plan's salt differs from run to run, the releases drawn here do not: only a name that the plan sends
            # there is taken, so that a test sees the same evidence each time.
            release = laid.at(self.rng.randrange(WHOLE))
            self.n += 1
            while laid.at(place_of(f"s{self.n}", live.salt)) != release:
                self.n += 1
            session = f"s{self.n}"
            nature = self.natures.get(release, Nature())
            if nature.traced:
                at_ns = self.clock.now_ns + number * 60 * NS_PER_S // n + nature.ahead_s * NS_PER_S
                rows += self._turn(session, release, nature, at_ns)
                scores += self._scores(session, nature)
        if rows:
            fill(self.lake, rows)
        if scores:
            ids = [f"{one.session_id}-{one.evaluator}" for one in scores]
            append_scores(self.store, scores, ids=ids, author="test", now_ns=self.clock.now_ns + 60 * NS_PER_S)

    def _turn(self, session: str, release: str, nature: Nature, at_ns: int) -> list[dict[str, Any]]:
        first = self.n * 10
        common = {"trace_id": self.n, "app": APP, "release": release, "session_id": session, "start_ns": at_ns}
        failed = 2 if self.rng.random() < nature.error else 1
        ms = nature.ms * self.rng.lognormvariate(0, 0.3)
        usd = Decimal(str(round(nature.usd * self.rng.lognormvariate(0, 0.3), 6)))
        model = {"kind": "LLM", "usage_counted": True, "model_response": nature.model, "cost_usd": usd}
        return [
            row(**common, span_id=first, ms=ms, name="agent", kind="AGENT", status_code=failed),
            row(**common, **model, span_id=first + 1, parent=first, ms=ms / 2, name="chat", input_tokens=100),
        ]

    def _scores(self, session: str, nature: Nature) -> list[NewScore]:
        if not nature.scored:
            return []
        told = {"target": TargetKind.SESSION, "session_id": session}
        success, leak = self.rng.random() < nature.success, self.rng.random() < nature.leak
        outcome = NewScore(evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, value=float(success), **told)  # type: ignore[arg-type]
        rule = NewScore(evaluator="pii_leak", evaluator_kind=EvaluatorKind.RULE, value=float(leak), **told)  # type: ignore[arg-type]
        return [outcome, rule]


@dataclass(kw_only=True)
class Clock:
    """Nanoseconds that only the test moves."""

    now_ns: int

    def __call__(self) -> int:
        return self.now_ns


@contextmanager
def open_shop(
    folder: Path, natures: Mapping[str, Nature], *, before: int = 2, releases: Sequence[str] = ("v1", "v2", "v3")
) -> Iterator[Shop]:
    """A shop whose baseline v1 has had so many minutes of traffic."""
    clock = Clock(now_ns=T0)
    control = Control.open(f"sqlite:///{begun(folder) / 'control.db'}", pepper=PEPPER, clock=clock)
    control.ensure_tenant(TENANT)
    for name in releases:
        spec = ReleaseSpec(app=APP, name=name, model="sim-1", endpoint=f"http://127.0.0.1:1/{name}")
        control.register_release(TENANT, spec, by=ANN)
    control.register_release(TENANT, ReleaseSpec(app=APP, name="nowhere"), by=ANN)
    control.set_plan(TENANT, PlanSpec(app=APP, baseline="v1", weights={"v1": 1.0}), by=ANN)
    lake = Lake(str(folder / "lake"), clock=clock)
    store = Store(lake, engine_for(lake, None), clock).tenant(TENANT)
    shop = Shop(
        control=control, lake=lake, store=store, clock=clock, rng=random.Random(1), natures=dict(natures)
    )  # fmt: skip
    shop.minutes(before, ticks=False)
    yield shop
    control.close()
