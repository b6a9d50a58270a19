"""A server with experiments of every kind over a week of traffic (one to ship, one under way, one whose arms have other
mixes, one without traffic, a draft), and the dashboard before it. Units are where the product puts them; spans are as
the collector's."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from starlette.testclient import TestClient

from core.clock import NS_PER_S
from core.ids import TenantId
from core.records import EvaluatorKind, Role, TargetKind
from experiments.records import UnitKind
from experiments.service_definitions import assigned
from server.app import create_app
from server.settings import Settings
from server.wiring import Services, build_services
from store.scores import NewScore, append_scores
from tests.dashboard.alone import running_dashboard
from tests.dashboard.test_gates_page import ATTACK
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.store.build import T0, fill
from tests.store.test_experiment_units import turn

TENANT: Final = TenantId("acme")
SHIP, UNDER_WAY, REVERSED, DRAFT = "refund-prompt", "tone-of-voice", "new-router", "search-v3"
UNSEEN: Final = "without-traffic"  # runs, and no test but one looks at it
ARMS: Final = (("control", "v1"), ("treatment", "v2"))
_DAY_S: Final = 86_400
_DAYS: Final = 6
_TOPICS: Final = {"billing": 0.78, "returns": 0.6, ATTACK: 0.7}


@dataclass(frozen=True, kw_only=True)
class Experimented:
    """The dashboard's address, that of a tenant without anything, and the API behind both."""

    shell: Shell
    url: str
    bare_url: str
    key: str

    def analysis(self, name: str) -> dict[str, Any]:
        """As the API tells it."""
        headers = {"Authorization": f"Bearer {self.key}"}
        found = self.shell.client.get(f"/api/v1/experiments/{name}/analysis", headers=headers)
        found.raise_for_status()
        told: dict[str, Any] = found.json()
        return told


@contextmanager
def experimented_dashboard(folder: Path) -> Iterator[Experimented]:
    """Builds it, and tears it down."""
    _history(folder / "data")
    with running_shell(folder, trusted_hosts=("*",)) as shell, served(shell.services) as api:
        key = shell.services.control.create_key(TENANT, Role.VIEWER, "a viewer")[1]
        with (
            running_dashboard(api, key, folder / "dashboard.log") as url,
            running_dashboard(api, shell.keys[AIRLINE, Role.VIEWER], folder / "bare.log") as bare_url,
        ):
            yield Experimented(shell=shell, url=url, bare_url=bare_url, key=key)


@dataclass(kw_only=True)
class _Writer:
    """Collects turns and outcomes, and writes them at once."""

    services: Services
    start_s: int
    rng: random.Random = field(default_factory=lambda: random.Random(8))
    rows: list[dict[str, Any]] = field(default_factory=list)
    scores: list[NewScore] = field(default_factory=list)
    n: int = 0

    def session(self, app: str, user: str, arm: tuple[str, str | None], topic: str, chance: float) -> None:
        """One of one turn, with its outcome; `arm`: variant and release. Users come evenly over the days."""
        self.n += 1
        day = int(user[1:]) // 2 % _DAYS
        at_s = self.start_s + day * _DAY_S + self.rng.randrange(3600, 80_000) - T0 // NS_PER_S
        failed = 2 if self.rng.random() < 0.04 else 1
        name = f"{app}-{self.n}"
        about: dict[str, Any] = {"app": app, "user_id": user, "variant": arm[0], "release": arm[1], "status": failed}
        rows = turn(self.n, name, at_s=at_s, attributes={"topic": topic}, door={"topic": topic}, **about)
        rows[-1]["cost_usd"] = Decimal(str(round(0.002 * self.rng.lognormvariate(0, 0.2), 6)))
        self.rows += rows
        self.scores.append(
            NewScore(
                evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
                session_id=name, value=float(self.rng.random() < chance), at_ns=T0 + (at_s + 60) * NS_PER_S,
            )
        )  # fmt: skip

    def write(self) -> None:
        """Into the lake."""
        fill(self.services.lake, self.rows)
        ids = [f"outcome-{number}" for number in range(len(self.scores))]
        store = self.services.store.tenant(TENANT)
        append_scores(store, self.scores, ids=ids, author="test", now_ns=self.services.clock())


def _history(data: Path) -> None:
    start_s = (time.time_ns() // NS_PER_S // _DAY_S - _DAYS - 1) * _DAY_S
    services = build_services(Settings(data=data), lambda: (start_s + 600) * NS_PER_S)
    services.control.ensure_tenant(TENANT)
    key = services.control.create_key(TENANT, Role.ADMIN, "ann")[1]
    with TestClient(create_app(services), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {key}"
        _register(client)
    writer = _Writer(services=services, start_s=start_s)
    _shop(writer)
    _kiosk(writer)
    _desk(writer)
    writer.write()
    services.control.close()


def _register(client: TestClient) -> None:
    """Through the API."""
    for app in ("shop", "kiosk"):
        for _, release in ARMS:
            body = {"app": app, "name": release, "endpoint": f"http://127.0.0.1:1/{release}"}
            assert client.post("/api/v1/releases", json=body).status_code == 201
    arms = [{"variant": name, "release": release, "weight": 50} for name, release in ARMS]
    plain = [{"variant": name, "weight": 50} for name, _ in ARMS]
    metrics = [
        {"name": "resolution", "role": "primary"},
        {"name": "cost", "role": "guardrail"},
        {"name": "error_rate", "role": "secondary"},
        {"name": "latency", "role": "secondary"},  # the same in every turn: there is nothing to weigh
    ]
    known: dict[str, Any] = {"arms": arms, "metrics": metrics, "strata": ["topic"], "start": True}
    wanted: Sequence[dict[str, Any]] = (
        {"name": SHIP, "app": "shop", "horizon": {"units": 800, "days": 6}, "hypothesis": f"Refunds. {ATTACK}"},
        {"name": UNDER_WAY, "app": "kiosk", "horizon": {"units": 5000, "days": 60}},
        {"name": REVERSED, "app": "desk", "assigned_by": "app", "arms": plain},
        {"name": UNSEEN, "app": "lounge", "assigned_by": "app", "arms": plain},
        {"name": DRAFT, "app": "desk", "assigned_by": "app", "arms": plain, "start": False},
    )
    for one in wanted:
        answer = client.post("/api/v1/experiments", json=known | one)
        assert answer.status_code == 200, answer.text


def _arm_of(writer: _Writer, app: str, user: str) -> tuple[str, str | None]:
    ((_, one),) = assigned(writer.services.control, TENANT, app, user, UnitKind.USER)
    assert one.variant is not None
    return one.variant, one.release


def _shop(writer: _Writer) -> None:
    """The treatment resolves more, in every topic, of which one is spelled by an attacker."""
    for number in range(900):
        topic = list(_TOPICS)[number % 3]
        arm = _arm_of(writer, "shop", f"u{number}")
        writer.session("shop", f"u{number}", arm, topic, _TOPICS[topic] + (0.15 if arm[0] == "treatment" else 0.0))


def _kiosk(writer: _Writer) -> None:
    """Too few users to say anything yet."""
    for number in range(240):
        writer.session("kiosk", f"k{number}", _arm_of(writer, "kiosk", f"k{number}"), "billing", 0.7)


def _desk(writer: _Writer) -> None:
    """As many users in each arm, but the treatment gets the hard topic: pooled it is worse, within both better."""
    chances = {"control": {"easy": 0.9, "hard": 0.45}, "treatment": {"easy": 0.98, "hard": 0.6}}
    for number in range(600):
        variant = "treatment" if number % 2 else "control"
        often, seldom = ("hard", "easy") if variant == "treatment" else ("easy", "hard")
        topic = often if number % 10 < 8 else seldom
        writer.session("desk", f"d{number}", (variant, None), topic, chances[variant][topic])
