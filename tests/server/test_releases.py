"""Releases at the API: registered once, and beside them what traffic and scores say of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from core.records import Role
from store.releases import interval
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.store.build import T0, agent_trace, fill, trace

WINDOW = {"start": str(T0 - 10**9), "end": str(T0 + 3600 * 10**9)}
DESK: dict[str, Any] = {
    "app": "desk",
    "name": "v1",
    "variant": "control",
    "model": "gpt-4o",
    "provider": "openai",
    "prompt_version": "3",
    "parameters": {"temperature": 0.0, "limits": {"steps": 12}},
    "endpoint": "https://models.example/v1",
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Two turns of desk v1 in one session, one of v2 (nobody registers it), one of an app with slashes, one of SHOP."""
    with running_shell(tmp_path_factory.mktemp("releases")) as running:
        common: dict[str, Any] = {"tenant": AIRLINE, "app": "desk"}
        rows = [
            *agent_trace(1, **common, release="v1", variant="control", session_id="s1"),
            *agent_trace(2, at_s=60, **common, release="v1", variant="treatment", session_id="s1"),
            *agent_trace(3, at_s=120, **common, release="v2", session_id="s2"),
            *agent_trace(4, at_s=180, tenant=AIRLINE, app="org/desk", release="a/b c"),
            *agent_trace(5, at_s=240, tenant=SHOP, app="desk", release="v1"),
        ]
        for number in range(0, len(rows), 4):
            fill(running.services.lake, rows[number : number + 4], batches=2)
        yield running


def register(shell: Shell, change: dict[str, Any] | None = None, role: Role = Role.POWER_USER) -> Any:
    sent = shell.headers(role) | {"Content-Type": "application/json"}
    return shell.client.post("/api/v1/releases", content=json.dumps(DESK | (change or {})), headers=sent)


def listed(shell: Shell, tenant: Any = AIRLINE, **params: str) -> dict[tuple[str, str], dict[str, Any]]:
    answer = shell.client.get("/api/v1/releases", params=WINDOW | params, headers=shell.headers(Role.VIEWER, tenant))
    assert answer.status_code == 200, answer.text
    return {(row["app"], row["name"]): row for row in answer.json()["items"]}


def test_registering_twice_is_one_release_and_other_content_a_conflict(shell: Shell) -> None:
    first = register(shell)
    assert (first.status_code, register(shell, role=Role.ADMIN).status_code) == (201, 200)
    assert first.json()["created_by"] == "power_user of airline"
    refused = register(shell, {"model": "gpt-5", "parameters": {}})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "another model, parameters;" in refused.json()["detail"]
    told = listed(shell)["desk", "v1"]
    assert {name: told[name] for name in DESK} == DESK
    audit = shell.client.get("/api/v1/audit", headers=shell.headers()).json()["items"]
    assert [one["resource"] for one in audit if one["action"] == "release.register"] == ["release/desk/v1"]


def test_users_and_viewers_do_not_register(shell: Shell) -> None:
    assert [register(shell, role=role).status_code for role in (Role.USER, Role.VIEWER)] == [403, 403]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"app": ""}, "app"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"model": 4}, "model"),
        ({"parameters": [1]}, "parameters"),
        ({"parameters": {"a": "\ud800"}}, "parameters"),
        ({"parameters": {"a": "x" * 20_001}}, "parameters"),
        ({"endpoint": "https://ann:secret@models.example"}, "endpoint"),
        ({"faults": {"drop": 1}}, "faults"),
    ],
)
def test_a_wrong_release_is_named_and_not_kept(shell: Shell, change: dict[str, Any], field: str) -> None:
    answer = register(shell, {"app": "wrong"} | change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"].split(".")[-1] == field
    assert "secret" not in answer.text
    assert not [key for key in listed(shell) if key[0] == "wrong"]


def test_traffic_of_registered_and_unregistered_releases(shell: Shell) -> None:
    register(shell)
    rows = listed(shell, app="desk")
    assert set(rows) == {("desk", "v1"), ("desk", "v2")}
    first, second = rows["desk", "v1"]["traffic"], rows["desk", "v2"]
    assert (second["registered"], second["model"], second["parameters"]) == (False, None, None)
    assert second["traffic"]["n_turns"] == 1
    assert (first["n_turns"], first["n_errors"], first["n_sessions"]) == (2, 0, 1)
    assert (first["input_tokens"], first["output_tokens"]) == (400, 40)
    assert first["cost_usd"] == pytest.approx(0.004)
    assert first["latency_ms"]["p95"] == pytest.approx(1000, rel=0.02)
    assert first["ttft_ms"]["p50"] == pytest.approx(20, rel=0.02)
    assert (first["variants"], first["models"]) == (["control", "treatment"], ["gpt-4o"])
    assert (first["first_seen_at"], first["last_seen_at"]) == (
        "2026-09-21T14:13:20.000000Z",
        "2026-09-21T14:14:20.000000Z",
    )


def test_registered_without_traffic_stands_at_the_end(shell: Shell) -> None:
    register(shell, {"name": "v0"})
    answer = shell.client.get("/api/v1/releases", params=WINDOW, headers=shell.headers(Role.VIEWER)).json()["items"]
    assert (answer[-1]["name"], answer[-1]["traffic"]) == ("v0", None)
    assert answer[0]["name"] == "a/b c"


def test_another_tenant_sees_its_own(shell: Shell) -> None:
    register(shell)
    rows = listed(shell, SHOP)
    assert set(rows) == {("desk", "v1")}
    assert (rows["desk", "v1"]["registered"], rows["desk", "v1"]["traffic"]["n_turns"]) == (False, 1)


def test_scores_of_turns_and_sessions_count_for_their_release_however_late(shell: Shell) -> None:
    late = "2026-10-30T00:00:00Z"
    outcome = {"evaluator": "task_success", "evaluator_kind": "outcome", "target": "session", "at": late}
    fault = {"evaluator": "fault", "evaluator_kind": "outcome", "target": "session", "session_id": "s1", "at": late}
    judged = {"evaluator": "kind", "evaluator_kind": "rule", "target": "turn", "at": late}
    polite = {
        "evaluator": "polite",
        "evaluator_kind": "judge",
        "target": "turn",
        "at": late,
        "value": 1,
        "label": "yes",
    }
    items = [
        outcome | {"session_id": "s1", "value": 1},
        outcome | {"session_id": "s2", "value": 0},
        fault | {"label": "tool_loop"},
        judged | {"trace_id": trace(1), "value": 0.5},
        judged | {"trace_id": trace(2), "value": 1.0, "label": "warm"},
        judged | {"trace_id": trace(2), "unscored": "too long"},
        polite | {"trace_id": trace(1)},
    ]
    answer = shell.client.post("/api/v1/scores", json={"items": items}, headers=shell.headers(Role.USER))
    assert answer.status_code == 201, answer.text
    rows = listed(shell, app="desk")
    first = {one["evaluator"]: one for one in rows["desk", "v1"]["traffic"]["scores"]}
    assert (first["task_success"]["mean"], first["task_success"]["n"]) == (1.0, 1)
    assert (first["fault"]["mean"], first["fault"]["n"], first["fault"]["labels"]) == (None, 0, {"tool_loop": 1})
    assert (first["kind"]["mean"], first["kind"]["n"], first["kind"]["n_unscored"]) == (0.75, 2, 1)
    assert first["kind"]["low"] < 0.75 < first["kind"]["high"]
    judge = first["polite"]  # its raw mean stands nowhere without the corrected rate
    assert (judge["mean"], judge["low"], judge["high"], judge["n"], judge["labels"]) == (
        None,
        None,
        None,
        1,
        {"yes": 1},
    )
    (second,) = rows["desk", "v2"]["traffic"]["scores"]
    assert (second["evaluator"], second["mean"], second["n"]) == ("task_success", 0.0, 1)


def test_one_release_by_its_names_slashes_and_all(shell: Shell) -> None:
    headers = shell.headers(Role.VIEWER)
    with served(shell.services) as url:

        def ask(app: str, name: str) -> httpx.Response:
            path = f"{url}/api/v1/releases/{quote(app, safe='')}/{quote(name, safe='')}"
            return httpx.get(path, params=WINDOW, headers=headers)

        assert ask("org/desk", "a/b c").json()["traffic"]["n_turns"] == 1
        assert ask("desk", "v2").json()["registered"] is False
        assert (ask("desk", "v9").status_code, ask("org", "desk/a/b c").status_code) == (404, 404)


def test_intervals_are_wilsons_for_shares_and_normal_beyond() -> None:
    # Brown, Cai and DasGupta (2001): x = 0 of 10 gives [0, 0.2775]
    assert interval(10, 0.0, 0.0, 0, 0) == pytest.approx((0.0, 0.27753), abs=1e-4)
    sure = [(interval(n, 1.0, 0.0, 1, 1)[1], interval(n, 0.0, 0.0, 0, 0)[0]) for n in range(1, 400)]
    assert set(sure) == {(1.0, 0.0)}
    assert interval(100, 0.5, 0.5, 0, 1) == pytest.approx((0.40383, 0.59617), abs=1e-4)
    assert interval(4, 10.0, 2.0, 7, 13) == pytest.approx((10 - 1.96, 10 + 1.96), abs=1e-3)
