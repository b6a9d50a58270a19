"""An app with an experiment on live traffic, on a clock that the test turns: spans and outcomes as they would be
stored, users put into arms by the product's own hash."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from core.clock import NS_PER_S, to_datetime
from core.records import EvaluatorKind, Role, TargetKind
from experiments.registered import definition_of
from experiments.splits import placed
from store.scores import NewScore, append_scores
from tests.server.shell import AIRLINE, Shell, running_shell
from tests.store.build import T0, fill, row

APP: Final = "desk"
NAME: Final = "refund-prompt"
ARMS: Final = [
    {"variant": "control", "release": "v1", "weight": 50},
    {"variant": "treatment", "release": "v2", "weight": 50},
]
METRICS: Final = [
    {"name": "resolution", "role": "primary"},
    {"name": "error_rate", "role": "secondary"},
    {"name": "p95_latency", "role": "secondary"},
]
HOUR: Final = 3600.0
DAY: Final = 86_400.0


@dataclass(kw_only=True)
class Live:
    """The server, its clock (seconds after T0, 2026-09-21T14:13:20Z), and what happened so far by unit."""

    shell: Shell
    at: list[float]
    rng: random.Random
    rows: list[dict[str, Any]] = field(default_factory=list)
    scores: list[NewScore] = field(default_factory=list)
    outcomes: dict[str, list[float]] = field(default_factory=dict)
    met: dict[str, str] = field(default_factory=dict)
    n: int = 0

    def post(self, path: str, body: dict[str, Any], expect: int = 200) -> Any:
        """Asks the API as a power user."""
        answer = self.shell.client.post(f"/api/v1{path}", json=body, headers=self.shell.headers(Role.POWER_USER))
        assert answer.status_code == expect, answer.text
        return answer.json()

    def get(self, path: str, expect: int = 200, **asked: Any) -> Any:
        """Asks the API as a viewer."""
        answer = self.shell.client.get(f"/api/v1{path}", params=asked, headers=self.shell.headers(Role.VIEWER))
        assert answer.status_code == expect, answer.text
        return answer.json()

    def analysis(self, **asked: Any) -> Any:
        """What the experiment has found by now."""
        self.store()
        return self.get(f"/experiments/{NAME}/analysis", **asked)

    def begin(self, **change: Any) -> None:
        """Registers the experiment and starts it, all of the app's units in it."""
        body = {"name": NAME, "app": APP, "arms": ARMS, "metrics": METRICS, "start": True}
        self.post("/experiments", body | change)

    def visit(self, user: str | None, at_s: float, *, outcome: float | None = None, **given: Any) -> str:
        """A session of one turn: the gateway's span, the agent's, a model call. It meets the arm that the hash gives
        the user, unless `release` and `variant` say otherwise. `told_s`: when the outcome was told."""
        self.n += 1
        told_s = given.pop("told_s", at_s + 60)
        seen = given.pop("seen", True)
        attributes, door = given.pop("attributes", {}), given.pop("door", {})
        ms, status = given.pop("ms", 1000), given.pop("status", 1)
        record = self.shell.services.control.experiment(AIRLINE, NAME)
        session = str(given.pop("session_id", f"s{self.n}"))
        spot = placed(definition_of(record), 1.0, user or session)
        said = {"release": spot.release, "variant": spot.variant, **given}
        same = {"trace_id": self.n, "app": APP, "session_id": session, "user_id": user, "tenant": str(AIRLINE), **said}
        first = self.n * 10
        usage = {"usage_counted": True, "input_tokens": 100, "output_tokens": 10, "cost_usd": Decimal("0.002")}
        gate = {"scope_name": "assay.gateway", "name": f"session {APP}", "attributes": door, "status_code": status}
        agent = {"parent": first, "ms": ms * 0.8, "kind": "AGENT", "attributes": attributes}
        self.rows.append(row(**same, **gate, span_id=first, at_s=at_s, ms=ms))
        if seen:
            self.rows.append(row(**same, **agent, span_id=first + 1, at_s=at_s + 0.1))
            self.rows.append(row(**same, **usage, span_id=first + 2, parent=first + 1, at_s=at_s + 0.2, kind="LLM"))
        if outcome is not None:
            self.scores.append(outcome_of(session, outcome, told_s))
            self.outcomes.setdefault(user or session, []).append(outcome)
        self.met[user or session] = str(said["variant"])
        return session

    def users(self, n: int, days: float, rates: Sequence[float], *, of: str = "u", **given: Any) -> None:
        """So many users with one or two sessions each over the days, successes by arm as `rates` say."""
        definition = definition_of(self.shell.services.control.experiment(AIRLINE, NAME))
        for i in range(n):
            user = f"{of}{i}"
            treated = placed(definition, 1.0, user).variant != "control"
            at_s = 60 + days * DAY * i / n
            for again in range(1 + i % 2):
                outcome = float(self.rng.random() < rates[treated])
                self.visit(user, at_s + again * HOUR, outcome=outcome, ms=900 + self.rng.randrange(200), **given)

    def store(self) -> None:
        """Writes what happened since the last time."""
        if self.rows:
            now = to_datetime(self.shell.services.clock())
            self.rows = [{**one, "ingested_at": now} for one in self.rows]
            fill(self.shell.services.lake, self.rows)
        if self.scores:
            ids = [f"{one.session_id}-{one.at_ns}" for one in self.scores]
            tenant = self.shell.services.store.tenant(AIRLINE)
            append_scores(tenant, self.scores, ids=ids, author="t", now_ns=self.shell.services.clock())
        self.rows, self.scores = [], []


@contextmanager
def live(folder: Path) -> Iterator[Live]:
    """A server whose app has the releases v1 and v2."""
    at = [0.0]
    with running_shell(folder, clock=lambda: T0 + int(at[0] * NS_PER_S)) as shell:
        for name in ("v1", "v2"):
            body = {"app": APP, "name": name, "endpoint": f"http://127.0.0.1:1/{name}"}
            assert shell.client.post("/api/v1/releases", json=body, headers=shell.headers()).status_code == 201
        yield Live(shell=shell, at=at, rng=random.Random(3))


def outcome_of(session: str, value: float, at_s: float) -> NewScore:
    """Whether a session went well, told so many seconds after T0."""
    return NewScore(
        evaluator="task_success",
        evaluator_kind=EvaluatorKind.OUTCOME,
        target=TargetKind.SESSION,
        session_id=session,
        value=value,
        at_ns=T0 + int(at_s * NS_PER_S),
    )
