"""Keys through the API: made once, shown once, revoked everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.records import Role
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.waiting import wait_until


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with running_shell(tmp_path) as running:
        yield running


def test_a_key_is_shown_once(shell: Shell) -> None:
    made = shell.client.post("/api/v1/keys", headers=shell.headers(), json={"role": "ingest", "name": "prod"})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    text = made.json()["key"]
    listed = shell.client.get("/api/v1/keys", headers=shell.headers())
    assert text[17:] not in listed.text
    newest = listed.json()["items"][-1]
    assert (newest["key_id"], newest["role"], newest["name"]) == (text[4:16], "ingest", "prod")
    assert "digest" not in newest


def test_a_new_key_works_and_a_revoked_one_stops(shell: Shell) -> None:
    made = shell.client.post("/api/v1/keys", headers=shell.headers(), json={"role": "viewer", "name": "x"}).json()
    bearer = {"Authorization": f"Bearer {made['key']}"}
    assert shell.client.get("/api/v1/me", headers=bearer).json()["name"] == "x"
    gone = shell.client.delete(f"/api/v1/keys/{made['key_id']}", headers=shell.headers())
    assert gone.json()["revoked_at"] is not None
    wait_until(
        lambda: shell.client.get("/api/v1/me", headers=bearer).status_code == 401, 5, "the revoked key to stop working"
    )


def test_the_list_is_of_the_callers_tenant(shell: Shell) -> None:
    items = shell.client.get("/api/v1/keys", headers=shell.headers(tenant=SHOP)).json()["items"]
    assert {item["name"] for item in items} == {f"{role.value} of shop" for role in Role}


@pytest.mark.parametrize(
    "body",
    [
        {"role": "viewer"},
        {"role": "owner", "name": "x"},
        {"role": "viewer", "name": ""},
        {"role": "viewer", "name": "a\u0000b"},
        {"role": "viewer", "name": "x", "tenant": "shop"},
        {"role": "viewer", "name": "x", "created_by": "root"},
        {"role": "viewer", "name": "x", "expires_at": "2027-01-01T00:00:00"},
        {"role": "viewer", "name": "x", "expires_at": "2001-01-01T00:00:00Z"},
        {"role": "viewer", "name": "x", "expires_at": 5},
        ["role", "viewer"],
        None,
    ],
)
def test_a_wrong_wish_is_refused_and_makes_nothing(shell: Shell, body: object) -> None:
    answer = shell.client.post("/api/v1/keys", headers=shell.headers(), json=body)
    assert answer.status_code == 422, answer.text
    assert len(shell.services.control.list_keys(AIRLINE)) == len(Role)


def test_the_last_admin_key_cannot_be_revoked(shell: Shell) -> None:
    key_id = shell.keys[AIRLINE, Role.ADMIN][4:16]
    answer = shell.client.delete(f"/api/v1/keys/{key_id}", headers=shell.headers())
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert shell.client.get("/api/v1/me", headers=shell.headers()).status_code == 200


def test_many_at_once_all_succeed(shell: Shell) -> None:
    def make(n: int) -> int:
        wish = {"role": "viewer", "name": f"key {n}"}
        return int(shell.client.post("/api/v1/keys", headers=shell.headers(), json=wish).status_code)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(make, range(64))) == {201}
    assert shell.services.control.verify(AIRLINE).ok


def test_the_last_use_is_told(shell: Shell) -> None:
    shell.client.get("/api/v1/me", headers=shell.headers(Role.VIEWER))
    items = shell.client.get("/api/v1/keys", headers=shell.headers()).json()["items"]
    used = {item["role"]: item["last_used_at"] is not None for item in items}
    assert used == {"ingest": False, "viewer": True, "user": False, "power_user": False, "admin": True}
