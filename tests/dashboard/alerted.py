"""A server with a shop in which a new release breaks a tool: one alert is told, one silenced, one pending, and their
incident diagnosed; and a tenant whose monitors nobody has looked at for hours. Traffic is written on a clock that is
set by hand; everything that fired, joined and diagnosed is the product's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from core.clock import NS_PER_S, system_clock
from core.ids import TenantId
from core.records import EvaluatorKind, Principal, Role, TargetKind
from monitors.service_evaluate import Evaluator
from store.control.monitor_records import DeliveryState
from store.control.monitoring import MONITORS_JOB
from store.control.records import PlanSpec, ReleaseSpec
from store.scores import NewScore, append_scores
from tests.dashboard.alone import running_dashboard
from tests.dashboard.test_gates_page import ATTACK
from tests.monitors.watching import Hands
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.store.build import fill, row

APP: Final = "shop"
TOOL: Final = "search_orders"
QUARTER: Final = 900 * NS_PER_S
TROUBLE: Final = 5  # quarters of an hour in which the new release answers most sessions
LEARNED: Final = 2 * 96
AFTER: Final = 8
PER_QUARTER: Final = 12
HOUR: Final = 3600 * NS_PER_S
ASKS: Final = ("where is my order", "I want to return the lamp", "is the parcel for Graz late", "change my address")
BAND: Final = {"kind": "ema", "alpha": 0.1, "season": False}


@dataclass(frozen=True, kw_only=True)
class Alerted:
    """The dashboard with a key of role power_user, and a viewer's of the tenant at whose monitors nobody looks."""

    shell: Shell
    hands: Hands
    onset_ns: int
    url: str
    idle_url: str

    def get(self, path: str, tenant: TenantId = AIRLINE, **asked: Any) -> Any:
        """What the API answers."""
        found = self.shell.client.get(f"/api/v1{path}", params=asked, headers=self.shell.headers(Role.ADMIN, tenant))
        return found.raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        """What the API answers who acts."""
        found = self.shell.client.post(f"/api/v1{path}", json=body, headers=self.shell.headers(Role.ADMIN))
        return found.raise_for_status().json()

    def look_after(self, quarters: int) -> None:
        """Sets the clock to when so many quarters since the onset can be read, and looks."""
        self.hands.ns = self.onset_ns + quarters * QUARTER + 100 * NS_PER_S
        look(self.shell, AIRLINE)


@contextmanager
def alerted_dashboard(folder: Path) -> Iterator[Alerted]:
    """Builds it, and tears it down."""
    hands = Hands(system_clock())
    with running_shell(folder, hands, trusted_hosts=("*",)) as shell, served(shell.services) as api:
        onset = system_clock() // QUARTER * QUARTER - TROUBLE * QUARTER
        _idle(shell, hands, onset - 6 * HOUR)
        _trouble(shell, hands, onset)
        with (
            running_dashboard(api, shell.keys[AIRLINE, Role.POWER_USER], folder / "dashboard.log") as url,
            running_dashboard(api, shell.keys[SHOP, Role.VIEWER], folder / "idle.log") as idle_url,
        ):
            yield Alerted(shell=shell, hands=hands, onset_ns=onset, url=url, idle_url=idle_url)


def look(shell: Shell, tenant: TenantId, next_ns: int = 24 * HOUR) -> None:
    """One look at the monitors of a tenant, as the job takes it; the next is due so much later."""
    control, clock = shell.services.control, shell.services.clock
    if any(one.name == MONITORS_JOB for one in control.jobs(tenant)):
        control.run_job(tenant, MONITORS_JOB, by=_admin(tenant))
    assert control.take_job(tenant, MONITORS_JOB, "test") is not None
    store = shell.services.store.tenant(tenant)
    made = Evaluator(control=control, store=store, clock=clock, owner="test").look()
    control.end_job(tenant, MONITORS_JOB, "test", next_ns=clock() + next_ns, told=made.as_json())


def _admin(tenant: TenantId) -> Principal:
    return Principal(tenant=tenant, role=Role.ADMIN, name="ann")


def _monitor(shell: Shell, tenant: TenantId, name: str, **given: Any) -> None:
    definition = {"app": APP, "step": "15m", "band": BAND, **given}
    body = {"name": name, "definition": definition}
    answer = shell.client.post("/api/v1/monitors", json=body, headers=shell.headers(Role.ADMIN, tenant))
    assert answer.status_code == 201, answer.text


def _idle(shell: Shell, hands: Hands, onset_ns: int) -> None:
    """A tenant whose last look was hours ago, at an alert that fires."""
    _Writer(shell=shell, tenant=SHOP, onset_ns=onset_ns).write(60, TROUBLE)
    hands.ns = onset_ns
    _monitor(shell, SHOP, "resolution", series="resolution", channels=["oncall"])
    hands.ns = onset_ns + TROUBLE * QUARTER + 100 * NS_PER_S
    look(shell, SHOP, 60 * NS_PER_S)


def _trouble(shell: Shell, hands: Hands, onset_ns: int) -> None:
    """A look at it, a message that was given up, two silences."""
    _Writer(shell=shell, tenant=AIRLINE, onset_ns=onset_ns).write(LEARNED, TROUBLE + AFTER)
    hands.ns = onset_ns - 2 * 24 * HOUR
    _release(shell, "v1", {"v1": 1.0})
    hands.ns = onset_ns - 600 * NS_PER_S
    _release(shell, "v2", {"v1": 0.25, "v2": 0.75})
    hands.ns = onset_ns
    runbook = f"https://runbooks.example/resolution {ATTACK}"
    _monitor(
        shell, AIRLINE, "resolution", series="resolution", channels=["oncall", "team"], owner="ann", runbook=runbook
    )
    _monitor(shell, AIRLINE, "orders", series=f"tool_errors:{TOOL}", channels=["oncall"], severity="ticket")
    _monitor(shell, AIRLINE, "patient", series="resolution", for_points=40)
    _monitor(shell, AIRLINE, "speed", series="p95_latency")
    hands.ns = onset_ns + TROUBLE * QUARTER + 100 * NS_PER_S
    look(shell, AIRLINE)
    _delivered(shell)
    weekly = {"days": ["sat", "sun"], "start": "23:00", "end": "01:00", "zone": "Europe/Berlin"}
    for body in (
        {"matcher": {"monitor": "orders"}, "lasts": "7d", "why": f"the supplier knows {ATTACK}"},
        {"matcher": {"app": "warehouse"}, "lasts": "84d", "weekly": weekly, "why": "stock is counted"},
    ):
        answer = shell.client.post("/api/v1/silences", json=body, headers=shell.headers(Role.USER))
        assert answer.status_code == 201, answer.text


def _release(shell: Shell, name: str, weights: dict[str, float]) -> None:
    control, by = shell.services.control, _admin(AIRLINE)
    spec = ReleaseSpec(app=APP, name=name, model="sim-1", endpoint=f"http://127.0.0.1:1/{name}")
    control.register_release(AIRLINE, spec, by=by)
    control.set_plan(AIRLINE, PlanSpec(app=APP, baseline="v1", weights=weights), by=by)


def _delivered(shell: Shell) -> None:
    """Of the first messages: what went to oncall has arrived, what went to team was given up."""
    control = shell.services.control
    newest_first = control.deliveries(AIRLINE)
    for one in {each.channel: each for each in newest_first}.values():
        taken = control.claim_delivery(one, "test")
        assert taken is not None
        if one.channel == "team":
            control.note_delivery(taken, DeliveryState.DEAD, error=f"the receiver answered 422 {ATTACK}")
        else:
            control.note_delivery(taken, DeliveryState.SUCCEEDED)


@dataclass(kw_only=True)
class _Writer:
    """Sessions of one turn each with their outcomes; from the onset on most of them are of a release whose tool fails,
    until the trouble is over."""

    shell: Shell
    tenant: TenantId
    onset_ns: int
    rng: random.Random = field(default_factory=lambda: random.Random(4))
    rows: list[dict[str, Any]] = field(default_factory=list)
    scores: list[NewScore] = field(default_factory=list)
    n: int = 0

    def write(self, before: int, since: int) -> None:
        """Into the lake: so many quarters before and since the onset."""
        for quarter in range(-before, since):
            for place in range(PER_QUARTER):
                at = self.onset_ns + quarter * QUARTER + place * (QUARTER // (PER_QUARTER + 1))
                in_trouble = 0 <= quarter < TROUBLE
                self._session(at, "v2" if in_trouble and place % 4 else "v1")
        fill(self.shell.services.lake, self.rows)
        store = self.shell.services.store.tenant(self.tenant)
        ids = [f"outcome-of-{one.session_id}" for one in self.scores]
        append_scores(store, self.scores, ids=ids, author="test", now_ns=self.shell.services.clock())

    def _session(self, at_ns: int, release: str) -> None:
        self.n += 1
        first, name = self.n * 10, f"{self.tenant}-{self.n}"
        failed = self.rng.random() < (0.85 if release == "v2" else 0.02)
        went_well = not failed and self.rng.random() < 0.93
        asked = ASKS[self.n % len(ASKS)] + (f" {ATTACK}" if self.n % 7 == 0 else "")
        same: dict[str, Any] = {
            "tenant": str(self.tenant), "trace_id": self.n, "app": APP, "session_id": name, "release": release,
            "user_id": f"u{self.n}",
        }  # fmt: skip
        cost = Decimal(str(round((0.006 if failed else 0.002) * self.rng.lognormvariate(0, 0.2), 6)))
        self.rows += [
            row(**same, span_id=first, start_ns=at_ns, ms=2400 * self.rng.lognormvariate(0, 0.2), kind="AGENT",
                name="shop agent", input=asked, output="I am looking.", status_code=1),
            row(**same, span_id=first + 1, parent=first, start_ns=at_ns + NS_PER_S // 10, ms=700, kind="LLM",
                name="chat", usage_counted=True, input_tokens=200, output_tokens=20, cost_usd=cost,
                model_request="sim-1", model_response="sim-1"),
            row(**same, span_id=first + 2, parent=first, start_ns=at_ns + NS_PER_S, ms=300, kind="TOOL", name=TOOL,
                tool_name=TOOL, status_code=2 if failed else 1, status_message="no answer" if failed else None),
        ]  # fmt: skip
        self.scores.append(
            NewScore(
                evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
                session_id=name, value=float(went_well), at_ns=at_ns + 60 * NS_PER_S,
            )
        )  # fmt: skip
