"""A server that watched an app for a day: one monitor that fires, one that is silenced, one without data and one that
is off; an app that nobody watches; dashboards of two roles. Traffic is made up; what was decided is the product's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from core.clock import NS_PER_S, system_clock
from core.ids import TenantId
from core.records import EvaluatorKind, Role, TargetKind
from core.windows import day_of
from server.scheduler import Scheduler
from store.control.records import ReleaseSpec
from store.scores import NewScore, append_scores
from tests.dashboard.alone import running_dashboard
from tests.dashboard.test_gates_page import ATTACK
from tests.experiments.rollouts.shop import ANN
from tests.monitors.watching import Hands
from tests.server.shell import Shell, running_shell, served
from tests.store.build import fill, row

TENANT: Final = TenantId("acme")
APP, UNWATCHED = "shop", "kiosk"
STEP_S: Final = 900
STEP: Final = STEP_S * NS_PER_S
DAYS: Final = 4
BUCKETS: Final = DAYS * 86_400 // STEP_S
PER: Final = 10
SHIFTED: Final = 2 * 86_400 // STEP_S  # the bucket from which on turns take longer, for good
FELL: Final = range(BUCKETS - 48, BUCKETS - 42)  # half a day ago, for an hour and a half
FALLS: Final = range(BUCKETS - 4, BUCKETS)  # and now
WATCHED_FROM: Final = BUCKETS - 96
EMA: Final = {"kind": "ema", "alpha": 0.05, "season": False}


@dataclass(frozen=True, kw_only=True)
class Monitored:
    """The dashboard with a key of role power_user, and with one of a viewer."""

    shell: Shell
    url: str
    viewer_url: str
    headers: dict[str, str]

    def get(self, path: str, **asked: Any) -> dict[str, Any]:
        """What the API answers."""
        found = self.shell.client.get(f"/api/v1{path}", params=asked, headers=self.headers).raise_for_status()
        told: dict[str, Any] = found.json()
        return told


@contextmanager
def monitored_dashboard(folder: Path) -> Iterator[Monitored]:
    """Builds it, and tears it down."""
    end = system_clock() // STEP * STEP
    hands = Hands(end + 120 * NS_PER_S)
    with running_shell(folder, hands, trusted_hosts=("*",)) as shell, served(shell.services) as api:
        shell.services.control.ensure_tenant(TENANT)
        keys = {role: shell.services.control.create_key(TENANT, role, f"{role.value} key")[1] for role in Role}
        headers = {"Authorization": f"Bearer {keys[Role.POWER_USER]}"}
        _Past(shell=shell, hands=hands, begin=end - BUCKETS * STEP, headers=headers).lived()
        with (
            running_dashboard(api, keys[Role.POWER_USER], folder / "dashboard.log") as url,
            running_dashboard(api, keys[Role.VIEWER], folder / "viewer.log") as viewer_url,
        ):
            yield Monitored(shell=shell, url=url, viewer_url=viewer_url, headers=headers)


@dataclass(kw_only=True)
class _Past:
    """Four days of traffic, and one of looks at it."""

    shell: Shell
    hands: Hands
    begin: int
    headers: dict[str, str]
    rng: random.Random = field(default_factory=lambda: random.Random(4))
    n: int = 0

    def lived(self) -> None:
        """Writes it, then looks at it as the server's job does."""
        self._traffic()
        now = self.hands.ns
        self._release("v2", SHIFTED)
        self._release("v3", BUCKETS - 49)
        self.hands.ns = self._at(WATCHED_FROM)
        self._monitors()
        rounds = Scheduler(self.shell.services)
        for bucket in (WATCHED_FROM + 1, FELL[-1], FELL[-1] + 8):
            self.hands.ns = self._at(bucket)
            assert rounds.round("monitors") == 1
        self._post("/silences", {"matcher": {"monitor": "slow"}, "lasts": "24h", "why": f"a new model {ATTACK}"})
        self._post("/silences", {"matcher": {"app": APP}, "lasts": "1h", "why": "deploy"})
        self.hands.ns = now
        assert rounds.round("monitors") == 1

    def _at(self, bucket: int) -> int:
        """When the buckets before this one, and it, can be read."""
        return self.begin + (bucket + 1) * STEP + 100 * NS_PER_S

    def _traffic(self) -> None:
        spans: list[dict[str, Any]] = []
        scores: list[NewScore] = []
        for bucket in range(BUCKETS):
            spans += [self._turn(APP, bucket, scores) for _ in range(PER)]
            if bucket >= BUCKETS - 8:
                spans.append(self._turn(UNWATCHED, bucket, scores))
        fill(self.shell.services.lake, spans)
        ids = [f"outcome-of-{one.session_id}" for one in scores]
        store = self.shell.services.store.tenant(TENANT)
        append_scores(store, scores, ids=ids, author="test", now_ns=self.hands.ns)

    def _turn(self, app: str, bucket: int, scores: list[NewScore]) -> dict[str, Any]:
        self.n += 1
        name, at = f"{app}-{self.n}", self.begin + bucket * STEP + self.rng.randrange(STEP)
        rate = 0.1 if bucket in FELL or bucket in FALLS else 0.87
        scores.append(
            NewScore(
                evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
                session_id=name, value=float(self.rng.random() < rate), at_ns=min(at + NS_PER_S, self.hands.ns),
            )
        )  # fmt: skip
        ms = self.rng.lognormvariate(0, 0.15) * (1800 if bucket >= SHIFTED else 900)
        release = "v2" if bucket >= SHIFTED else "v1"
        return row(
            tenant=str(TENANT), app=app, release=release, session_id=name, user_id=f"u{self.n}", trace_id=self.n,
            span_id=self.n, date=day_of(at), start_ns=at, ms=ms, kind="AGENT", seq=(1 << 48) + self.n,
        )  # fmt: skip

    def _release(self, name: str, bucket: int) -> None:
        self.hands.ns = self._at(bucket)
        spec = ReleaseSpec(app=APP, name=name, model="sim-1", endpoint="http://127.0.0.1:1/x")
        self.shell.services.control.register_release(TENANT, spec, by=ANN)

    def _monitors(self) -> None:
        same: dict[str, Any] = {"app": APP, "step": "15m", "channels": ["oncall"], "owner": "ann"}
        for name, definition in {
            "resolution": {**same, "series": "resolution", "band": EMA},
            "slow": {**same, "series": "p95_latency", "band": {**EMA, "adopt_after": 12}, "severity": "ticket"},
            "by-release": {**same, "series": "error_rate", "by": "release", "channels": []},
            "groundless": {**same, "series": "grounding", "owner": ATTACK, "runbook": ATTACK},
            "asleep": {**same, "series": "traffic"},
        }.items():
            self._post("/monitors", {"name": name, "definition": definition})
        path = "/api/v1/monitors/asleep"
        self.shell.client.patch(path, json={"enabled": False}, headers=self.headers).raise_for_status()

    def _post(self, path: str, body: dict[str, Any]) -> None:
        answer = self.shell.client.post(f"/api/v1{path}", json=body, headers=self.headers)
        assert answer.status_code == 201, answer.text
