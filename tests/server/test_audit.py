"""The audit chain through the API."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.records import Role
from tests.server.shell import SHOP, Shell, running_shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with running_shell(tmp_path) as running:
        yield running


def test_every_change_through_the_api_leaves_a_record(shell: Shell) -> None:
    client, admin = shell.client, shell.headers()
    made = client.post("/api/v1/keys", headers=admin, json={"role": "viewer", "name": "x"}).json()
    client.delete(f"/api/v1/keys/{made['key_id']}", headers=admin)
    wanted = {"pii": {"default": "hash", "by_entity": {}}, "retention_days": 7}
    client.put("/api/v1/tenant/settings", headers=admin, json=wanted)
    lines = client.get("/api/v1/audit", headers=admin, params={"limit": 3}).json()["items"]
    assert [line["action"] for line in lines] == ["tenant.settings", "key.revoke", "key.create"]
    assert {line["actor"] for line in lines} == {"admin of airline"}
    assert lines[0]["after"] == wanted
    assert made["key"] not in str(lines)


def test_pages_follow_each_other_without_a_gap(shell: Shell) -> None:
    seqs: list[int] = []
    params: dict[str, str] = {"limit": "2"}
    while True:
        page = shell.client.get("/api/v1/audit", headers=shell.headers(), params=params).json()
        seqs += [line["seq"] for line in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seqs == list(range(6, 0, -1))


def test_reading_it_is_recorded(shell: Shell) -> None:
    shell.client.get("/api/v1/audit", headers=shell.headers())
    newest = shell.client.get("/api/v1/audit", headers=shell.headers(), params={"limit": 1}).json()["items"][0]
    assert newest["action"] == "audit.read"


def test_a_cursor_of_another_tenant_is_refused(shell: Shell) -> None:
    page = shell.client.get("/api/v1/audit", headers=shell.headers(), params={"limit": 1}).json()
    params = {"cursor": page["next_cursor"]}
    answer = shell.client.get("/api/v1/audit", headers=shell.headers(Role.ADMIN, SHOP), params=params)
    assert (answer.status_code, answer.json()["code"]) == (400, "undecodable")


def test_tampering_shows(shell: Shell, tmp_path: Path) -> None:
    before = shell.client.get("/api/v1/audit/verify", headers=shell.headers()).json()
    assert before["ok"]
    connection = sqlite3.connect(tmp_path / "data" / "control.db")
    with connection:
        connection.execute("UPDATE audit SET actor = 'eve' WHERE tenant = 'airline' AND seq = 2")
    connection.close()
    after = shell.client.get("/api/v1/audit/verify", headers=shell.headers()).json()
    assert (after["ok"], after["first_bad_seq"]) == (False, 2)
    assert shell.client.get("/api/v1/audit/verify", headers=shell.headers(tenant=SHOP)).json()["ok"]


def test_a_noted_head_is_checked(shell: Shell) -> None:
    head = shell.client.get("/api/v1/audit/verify", headers=shell.headers()).json()["head"]
    noted = {"noted_seq": head["seq"], "noted_hash": head["hash"]}
    assert shell.client.get("/api/v1/audit/verify", headers=shell.headers(), params=noted).json()["ok"]
    other = {**noted, "noted_hash": "0" * 64}
    assert not shell.client.get("/api/v1/audit/verify", headers=shell.headers(), params=other).json()["ok"]
