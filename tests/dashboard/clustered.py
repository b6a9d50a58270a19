"""A server with an app whose sessions form groups (one fails, one is spelled by an attacker), an app
with too few of them, and dashboards of two roles. Spans are as the collector's; all that was found is the product's."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from clustering.emerging.records import Change, Finding, Kind
from core.clock import NS_PER_S
from core.ids import TenantId
from core.records import EvaluatorKind, Role, TargetKind
from core.windows import day_of
from server.clustering import ClusterRunner
from store.control.cluster_records import FindingRecord
from store.scores import NewScore, append_scores
from tests.dashboard.alone import running_dashboard
from tests.dashboard.test_gates_page import ATTACK
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.store.build import T0, fill, row
from tests.waiting import wait_until

TENANT: Final = TenantId("acme")
APP, FEW = "shop", "kiosk"
_DAY_S: Final = 86_400
_DAYS: Final = 12
DONE_S: Final = 600.0  # a busy machine that compiles


@dataclass(frozen=True, kw_only=True)
class Group:
    """What sessions of one kind say and do: `n` of them, of which a share `fails` as the tool does."""

    asks: tuple[str, ...]
    answer: str
    tool: str
    n: int
    fails: float


GROUPS: Final = {
    "refund": Group(
        asks=("I want my money back, the {thing} came broken", "refund for the broken {thing} please",
              "my refund for the {thing} never arrived on my account"),
        answer="I am sorry, the refund could not be booked.", tool="book_refund", n=60, fails=0.75,
    ),
    "login": Group(
        asks=("I cannot log in, please reset my password", "the login code never reaches my phone {thing}",
              "password reset link expired, log in fails"),
        answer="I have sent you a link to reset the password.", tool="reset_password", n=60, fails=0.05,
    ),
    "parcel": Group(
        asks=("where is my parcel with the {thing}", "tracking of my parcel says it is stuck in {city}",
              "the parcel for {city} is late, when does it come"),
        answer="Your parcel is on its way and comes tomorrow.", tool="track_parcel", n=60, fails=0.1,
    ),
    "coupon": Group(
        asks=("the coupon code is not accepted at checkout", "checkout refuses my coupon for the {thing}",
              "coupon invalid at checkout although it is new"),
        answer="The coupon service did not answer.", tool="apply_coupon", n=60, fails=0.3,
    ),
    "attack": Group(
        asks=(f"{ATTACK} unsubscribe newsletter {{thing}}", f"unsubscribe me from the newsletter {ATTACK}",
              f"newsletter unsubscribe {ATTACK} in {{city}}"),
        answer=f"Done. {ATTACK}", tool="unsubscribe_newsletter", n=40, fails=0.05,
    ),
}  # fmt: skip
_THINGS: Final = ("lamp", "kettle", "chair", "mirror", "blanket", "radio", "bicycle", "clock")
_CITIES: Final = ("Lyon", "Porto", "Gdansk", "Graz", "Ghent", "Turku")


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """The dashboard with a key of role power_user, and with a viewer's of a tenant that has nothing."""

    shell: Shell
    url: str
    bare_url: str
    headers: dict[str, str]
    clusters: list[dict[str, Any]]

    def get(self, path: str, **asked: Any) -> dict[str, Any]:
        """What the API answers."""
        found = self.shell.client.get(f"/api/v1{path}", params=asked, headers=self.headers).raise_for_status()
        told: dict[str, Any] = found.json()
        return told

    def about(self, word: str) -> dict[str, Any]:
        """The cluster whose exemplars speak of something; of several that with most failures."""
        told = [self.get(f"/clusters/{one['id']}") for one in self.clusters]
        speak = [one for one in told if any(word in each["first_input"] for each in one["exemplars"])]
        return max(speak, key=lambda one: one["n_failed"])


@contextmanager
def clustered_dashboard(folder: Path) -> Iterator[Clustered]:
    """Builds it with one run over everything, and tears it down."""
    with running_shell(folder, trusted_hosts=("*",)) as shell, served(shell.services) as api:
        control = shell.services.control
        control.ensure_tenant(TENANT)
        _, key = control.create_key(TENANT, Role.POWER_USER, "power user key")
        headers = {"Authorization": f"Bearer {key}"}
        _Writer(shell=shell).write()
        runner = ClusterRunner(shell.services)
        runner.start()
        try:
            _run(shell, headers)
            asked: dict[str, str | int] = {"app": APP, "limit": 100}
            clusters = shell.client.get("/api/v1/clusters", params=asked, headers=headers).json()["items"]
            with (
                running_dashboard(api, key, folder / "dashboard.log") as url,
                running_dashboard(api, shell.keys[AIRLINE, Role.VIEWER], folder / "bare.log") as bare_url,
            ):
                made = Clustered(shell=shell, url=url, bare_url=bare_url, headers=headers, clusters=clusters)
                found(shell, made.about("coupon")["id"])
                yield made
        finally:
            runner.close()


def _run(shell: Shell, headers: dict[str, str]) -> None:
    """Over all sessions, by words, without samples for stability: quick, and the same everywhere."""
    params = {"embedder": "tfidf", "n_resamples": 0}
    body = {"app": APP, "since": f"{_DAYS + 2}d", "params": params}
    answer = shell.client.post("/api/v1/clusters/runs", json=body, headers=headers)
    assert answer.is_success, answer.text
    path = f"/api/v1/clusters/runs/{answer.json()['id']}"

    def over() -> bool:
        status = shell.client.get(path, headers=headers).json()["status"]
        assert status in ("waiting", "running", "done"), shell.client.get(path, headers=headers).text
        return bool(status == "done")

    wait_until(over, DONE_S, "the run to be done")


def found(shell: Shell, cluster_id: str) -> None:
    """What a look keeps of a cluster that fails more than before, with a release that is spelled by an attacker."""
    now_ns = shell.services.clock()
    change = Change(
        kind="release", name=ATTACK, share_before=0.0, share_after=1.0, share_rest=0.1, log_odds=3.0, low=1.0, high=5.0,
        at_ns=now_ns - 3600 * NS_PER_S, text=f"release {ATTACK}: in none before, in all since",
    )  # fmt: skip
    finding = Finding(
        cluster_id=cluster_id, kind=Kind.GROWING, p_value=1e-6, q_value=0.0123, rate_ratio=6.4, low=2.1, high=19.5,
        level=0.95, at_least=2.4, n=24, n_before=18, expected=3.75, n_users=24, first_seen_ns=now_ns - 7200 * NS_PER_S,
        changed=(change,),
    )  # fmt: skip
    record = FindingRecord(
        tenant=TENANT, cluster_id=cluster_id, day=day_of(now_ns), app=APP, kind=finding.kind.value, at_ns=now_ns,
        body=finding.as_json(),
    )  # fmt: skip
    told = {"looked_at_ns": now_ns, "n_tested": 5, "fdr": 0.05, "dispersion": 0.1}
    shell.services.control.put_findings(TENANT, APP, [record], told)


@dataclass(kw_only=True)
class _Writer:
    """Sessions of one turn each, with their outcomes."""

    shell: Shell
    rng: random.Random = field(default_factory=lambda: random.Random(9))
    rows: list[dict[str, Any]] = field(default_factory=list)
    scores: list[NewScore] = field(default_factory=list)
    n: int = 0

    def write(self) -> None:
        """Into the lake."""
        start_s = time.time_ns() // NS_PER_S - _DAYS * _DAY_S - T0 // NS_PER_S
        for group in GROUPS.values():
            for number in range(group.n):
                at_s = start_s + number % _DAYS * _DAY_S + self.rng.randrange(600, _DAY_S - 1200)
                self._session(APP, group, number, at_s, "v1", self.rng.random() < group.fails)
        for number in range(8):
            self._session(FEW, GROUPS["login"], number, start_s + (_DAYS - 1) * _DAY_S, "v1", False)
        fill(self.shell.services.lake, self.rows)
        store = self.shell.services.store.tenant(TENANT)
        ids = [f"outcome-of-{one.session_id}" for one in self.scores]
        append_scores(store, self.scores, ids=ids, author="test", now_ns=self.shell.services.clock())

    def _session(self, app: str, group: Group, number: int, at_s: int, release: str, failed: bool) -> None:
        self.n += 1
        first = self.n * 10
        name = f"{app}-{self.n}"
        asked = group.asks[number % len(group.asks)]
        asked = asked.replace("{thing}", self.rng.choice(_THINGS)).replace("{city}", self.rng.choice(_CITIES))
        same: dict[str, Any] = {
            "trace_id": self.n, "app": app, "session_id": name, "release": release, "user_id": f"u{self.n}",
        }  # fmt: skip
        cost = Decimal(str(round(0.002 * self.rng.lognormvariate(0, 0.2), 6)))
        self.rows += [
            row(**same, span_id=first, at_s=at_s, ms=2400, kind="AGENT", name="shop agent", input=asked,
                output=group.answer, status_code=1),
            row(**same, span_id=first + 1, parent=first, at_s=at_s + 0.1, ms=700, kind="LLM", name="chat",
                usage_counted=True, input_tokens=200, output_tokens=20, cost_usd=cost, model_request="sim-1"),
            row(**same, span_id=first + 2, parent=first, at_s=at_s + 1, ms=300, kind="TOOL", name=group.tool,
                tool_name=group.tool, status_code=2 if failed else 1,
                status_message=f"{group.tool}: no answer from the service" if failed else None),
        ]  # fmt: skip
        self.scores.append(
            NewScore(
                evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
                session_id=name, value=float(not failed), at_ns=T0 + (at_s + 60) * NS_PER_S,
            )
        )  # fmt: skip
