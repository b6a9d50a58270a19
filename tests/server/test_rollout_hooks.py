"""What Argo Rollouts and Flagger are told, over sessions in the real lake: a healthy candidate, one that errs, one of
which nothing comes."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest

from core.clock import NS_PER_S, system_clock
from core.records import Principal, Role
from experiments.canary.certificate import verify
from store.control.records import PlanSpec, ReleaseSpec
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.store.build import fill, row

ERRORS = {"guardrails": "error_rate,cost", "mature_s": "30"}
MINUTES = 100
NUMBERS = count(10, 10)


def sessions(shell: Shell, app: str, rates: dict[str, float], *, began_min: dict[str, int], until_min: int = 0) -> None:
    """Four sessions a minute of each release, from `began_min` minutes ago on; some with an errored turn."""
    rng, now = random.Random(4), system_clock()
    rows: list[dict[str, Any]] = []
    for release, rate in rates.items():
        for number in range(4 * (began_min[release] - until_min)):
            at = now - began_min[release] * 60 * NS_PER_S + number * 15 * NS_PER_S
            name = f"{app}-{release}-{number}"
            known = {"tenant": AIRLINE, "app": app, "release": release, "session_id": name, "start_ns": at}
            failed = 2 if rng.random() < rate else 1
            trace = next(NUMBERS)
            rows.append(row(**known, trace_id=trace, span_id=trace, kind="AGENT", status_code=failed, ms=100))
            rows.append(
                row(
                    **known, trace_id=trace, span_id=trace + 1, parent=trace, kind="LLM", usage_counted=True,
                    cost_usd=Decimal(str(round(rng.uniform(0.001, 0.01), 6))),
                )
            )  # fmt: skip
    fill(shell.services.lake, rows)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("hooks")) as running:
        ann = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann")
        for app in ("good", "bad", "gone"):
            for release in ("v1", "v2"):
                running.services.control.register_release(AIRLINE, ReleaseSpec(app=app, name=release), by=ann)
        early = {"v1": MINUTES + 60, "v2": MINUTES}
        sessions(running, "good", {"v1": 0.05, "v2": 0.05}, began_min=early)
        sessions(running, "bad", {"v1": 0.05, "v2": 0.5}, began_min=early)
        sessions(running, "gone", {"v1": 0.05}, began_min=early)
        sessions(running, "gone", {"v2": 0.05}, began_min=early, until_min=20)
        fast, trace = system_clock() + 1800 * NS_PER_S, next(NUMBERS)  # a clock that hides nothing
        fill(
            running.services.lake,
            [
                row(
                    tenant=AIRLINE, app="gone", release="v2", session_id="fast", start_ns=fast, trace_id=trace,
                    span_id=trace, kind="AGENT", status_code=1, ms=100,
                )
            ],
        )  # fmt: skip
        yield running


def asked(shell: Shell, app: str, **given: str) -> Any:
    address = f"/api/v1/rollouts/{app}/analysis"
    return shell.client.get(address, params={**ERRORS, "candidate": "v2", **given}, headers=shell.headers(Role.VIEWER))


def test_a_healthy_candidate_is_promoted(shell: Shell) -> None:
    found = asked(shell, "good").json()
    assert (found["decision"], found["value"], found["controlled_by"]) == ("promote", 1, "external")
    assert (found["candidate"], found["baseline"], found["certificate"]) == ("v2", "v1", None)
    assert any("error_rate: highest e-value for harm" in one and "boundary 28.6" in one for one in found["reasons"])


def test_one_that_errs_is_rolled_back_with_a_certificate_that_holds(shell: Shell) -> None:
    found = asked(shell, "bad", certificate="true").json()
    assert (found["decision"], found["value"]) == ("roll_back", -1)
    assert found["certificate"]["decision"] == "roll_back"
    assert verify(found["certificate"]) == []


def test_the_newest_release_is_found_by_itself(shell: Shell) -> None:
    assert asked(shell, "bad", candidate="newest").json()["candidate"] == "v2"


def test_more_units_than_there_are_hold(shell: Shell) -> None:
    found = asked(shell, "good", min_units="5000").json()
    assert (found["decision"], found["value"]) == ("hold", 0)
    assert "5000 asked for" in found["reasons"][0]


def test_a_proof_that_is_not_there_is_inconclusive(shell: Shell) -> None:
    found = asked(shell, "good", proves="true", since=str(system_clock() - 1200 * NS_PER_S)).json()
    assert (found["decision"], found["value"]) == ("inconclusive", 0)
    assert any("worse by less than" in one for one in found["reasons"])


def test_missing_evidence_is_inconclusive(shell: Shell) -> None:
    found = asked(shell, "good", guardrails="error_rate,resolution").json()
    assert found["decision"] == "inconclusive"
    assert found["reasons"][0].startswith("resolution: 0 scored units of the candidate")
    nobody = asked(shell, "good", candidate="v9").json()
    assert (nobody["decision"], nobody["since"]) == ("inconclusive", None)
    assert nobody["reasons"][0].startswith("0 sessions of v9")


def test_a_candidate_whose_sessions_stopped_is_not_promoted(shell: Shell) -> None:
    found = asked(shell, "gone").json()
    assert found["decision"] == "inconclusive"
    assert found["reasons"][0].startswith("no session of v2 began in the last")


def test_assays_own_rollout_is_told_without_a_candidate(shell: Shell) -> None:
    headers = shell.headers(Role.ADMIN)
    assert shell.client.get("/api/v1/rollouts/good/analysis", headers=headers).status_code == 404
    ann = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann")
    shell.services.control.set_plan(AIRLINE, PlanSpec(app="good", baseline="v1", weights={"v1": 1.0}), by=ann)
    wanted = {"app": "good", "candidate": "v2", "steps": [{"weight": 0.5}], "endpoint_elsewhere": True}
    made = shell.client.post("/api/v1/rollouts", headers=headers, json=wanted | {"requires": {"approval": True}})
    assert made.status_code == 201, made.text
    found = shell.client.get("/api/v1/rollouts/good/analysis", headers=headers).json()
    assert (found["decision"], found["controlled_by"], found["rollout"]) == ("hold", "assay", made.json()["id"])
    shell.client.post("/api/v1/rollouts/good/abort", headers=headers, json={})
    assert shell.client.get("/api/v1/rollouts/good/analysis", headers=headers).json()["value"] == -1


@pytest.mark.parametrize(
    ("app", "ask", "status"),
    [
        ("good", "promote", 200),
        ("good", "no_harm", 200),
        ("good", "roll_back", 409),
        ("bad", "promote", 409),
        ("bad", "no_harm", 409),
        ("bad", "roll_back", 200),
        ("gone", "promote", 409),
        ("gone", "no_harm", 200),
    ],
)
def test_flagger_is_answered_by_status(shell: Shell, app: str, ask: str, status: int) -> None:
    """Over a socket, with the key in the address as Go's client sends it."""
    key = shell.keys[AIRLINE, Role.VIEWER]
    hook = {"name": "shop", "namespace": "test", "phase": "Progressing", "checksum": "1", "metadata": {"a": "b"}}
    basic = b64encode(f"assay:{key}".encode()).decode()
    with served(shell.services) as url:
        found = httpx.post(
            f"{url}/api/v1/rollouts/{app}/flagger",
            params={**ERRORS, "candidate": "v2", "ask": ask},
            json=hook,
            headers={"Authorization": f"Basic {basic}"},
            timeout=30,
        )
    assert found.status_code == status, found.text
    if status == 409:
        assert found.json()["code"] == "conflict"
        assert f"no to {ask.replace('_', ' ')}: " in found.json()["detail"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"baseline": "v2"}, "one release"),
        ({"since": "yesterday"}, "since"),
        ({"since": "0"}, "seven days"),
        ({"guardrails": " , "}, "name 1 to"),
        ({"alpha": "2"}, "alpha"),
        ({"mature_s": "-1"}, "mature_s"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_asked_is_told(shell: Shell, given: dict[str, str], says: str) -> None:
    found = asked(shell, "good", **given)
    assert found.status_code in (400, 422), found.text
    assert says in found.text


def test_a_policy_without_a_candidate_is_told(shell: Shell) -> None:
    found = shell.client.get("/api/v1/rollouts/good/analysis?alpha=0.01", headers=shell.headers())
    assert found.status_code in (400, 422)
    assert "name the candidate" in found.text


def test_another_tenant_sees_no_session(shell: Shell) -> None:
    address = "/api/v1/rollouts/bad/analysis"
    found = shell.client.get(address, params={**ERRORS, "candidate": "v2"}, headers=shell.headers(tenant=SHOP))
    assert found.json()["decision"] == "inconclusive"
