"""The shell of the API: hosts, bodies, and one shape for every error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from fastapi import APIRouter

from core.errors import (
    AssayError,
    Conflict,
    Corrupt,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    StorageFailed,
    TooLarge,
    Unauthenticated,
    Undecodable,
)
from core.records import Role
from server.policy import require_policies
from server.problems import of_error
from store.schema import TABLES
from tests.server.shell import AIRLINE, Shell, running_shell


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("shell")) as running:
        yield running


def problem_of(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["code"] == code
    assert {"type", "title", "detail", "instance"} <= found.keys()
    return found


def test_every_error_has_one_shape(shell: Shell) -> None:
    client, admin = shell.client, shell.headers()
    json_body = {**admin, "Content-Type": "application/json"}
    problem_of(client.get("/nope"), 404, "not_found")
    assert "/api/v1/openapi.json" in problem_of(client.get("/"), 404, "not_found")["detail"]
    problem_of(client.get("/api/v1/me/"), 404, "not_found")
    problem_of(client.put("/healthz"), 405, "method_not_allowed")
    problem_of(client.get("/api/v1/me"), 401, "unauthenticated")
    problem_of(client.get("/api/v1/keys", headers=shell.headers(Role.VIEWER)), 403, "forbidden")
    problem_of(client.delete("/api/v1/keys/000000000000", headers=admin), 404, "not_found")
    problem_of(client.post("/api/v1/keys", headers=json_body, content=b"{"), 400, "undecodable")
    problem_of(client.post("/api/v1/keys", headers=json_body, content=b"[" * 100_000), 400, "undecodable")
    problem_of(client.post("/api/v1/keys", headers=json_body, content=b"\xff\xfe"), 400, "undecodable")
    problem_of(client.post("/api/v1/keys", headers=json_body, content=b" " * (9 << 20)), 413, "too_large")
    refused = problem_of(
        client.post("/api/v1/keys", headers=admin, json={"role": "king", "name": "x"}), 422, "invalid_input"
    )
    assert refused["field"] == "role"


def test_a_body_without_a_declared_length_is_counted(shell: Shell) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * (1 << 20)

    headers = {**shell.headers(), "Content-Type": "application/json"}
    problem_of(shell.client.post("/api/v1/keys", headers=headers, content=pieces()), 413, "too_large")


def test_an_unexpected_error_tells_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_tenant: str) -> None:
        raise RuntimeError("secret detail of the inside")

    monkeypatch.setattr(shell.services.control, "ledger", fail)
    answer = shell.client.get("/api/v1/ledger", headers=shell.headers())
    problem_of(answer, 500, "internal")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Undecodable("x"), 400),
        (TooLarge("x"), 413),
        (InvalidInput("x", "f"), 422),
        (Unauthenticated("x"), 401),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (Overloaded("x", 7), 503),
        (StorageFailed("/path/of/this/machine"), 503),
        (Corrupt("/path/of/this/machine"), 500),
        (AssayError("x"), 500),
    ],
)
def test_each_of_our_errors_has_its_status(error: AssayError, status: int) -> None:
    answer = of_error(error, "/here")
    body = json.loads(bytes(answer.body))
    assert (answer.status_code, body["status"], body["code"], body["instance"]) == (status, status, error.code, "/here")
    assert "/path" not in body["detail"]
    if isinstance(error, Overloaded):
        assert answer.headers["retry-after"] == "7"
    if isinstance(error, Unauthenticated):
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil", "127.0.0.1:80:80"])
def test_another_host_is_refused(shell: Shell, host: str) -> None:
    problem_of(shell.client.get("/healthz", headers={"Host": host}), 400, "unknown_host")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "LOCALHOST:1", "[::1]:8080"])
def test_our_hosts_are_served(shell: Shell, host: str) -> None:
    assert shell.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/v1/keys%2F..%2Fhealth", "/healthz/../api/v1/keys", "//api/v1/keys", "/API/v1/keys"]
)
def test_a_path_in_disguise_opens_nothing(shell: Shell, path: str) -> None:
    assert shell.client.get(path).status_code in (401, 404)


def test_an_unknown_parameter_is_refused_by_name(shell: Shell) -> None:
    answer = shell.client.get("/api/v1/ledger", params={"tenant": "shop"}, headers=shell.headers())
    assert problem_of(answer, 422, "invalid_input")["field"] == "tenant"


def test_health_is_open_and_says_what_fails(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    well = shell.client.get("/api/v1/health")
    assert (well.status_code, well.json()["status"]) == (200, "ok")

    def fail() -> None:
        raise StorageFailed("disk")

    monkeypatch.setattr(shell.services.control, "check", fail)
    ill = shell.client.get("/api/v1/health")
    assert (ill.status_code, ill.json()["checks"]["control"]) == (503, "failed")
    assert shell.client.get("/healthz").status_code == 200


def test_the_description_is_openapi_3_1_of_assay(shell: Shell) -> None:
    described = shell.client.get("/api/v1/openapi.json").json()
    assert described["openapi"].startswith("3.1.")
    assert described["info"]["title"] == "Assay"
    assert "/api/v1/keys" in described["paths"]


def test_me_is_the_keys_principal(shell: Shell) -> None:
    answer = shell.client.get("/api/v1/me", headers=shell.headers(Role.USER)).json()
    assert answer == {"tenant": "airline", "role": "user", "name": "user of airline"}


def test_a_route_without_a_policy_cannot_be_served() -> None:
    router = APIRouter()

    @router.get("/bare")
    def bare() -> None:
        """Nobody guards this."""

    with pytest.raises(RuntimeError, match="/bare"):
        require_policies(router.routes)


def test_the_quarantine_is_a_list_of_a_window(shell: Shell) -> None:
    power = shell.headers(Role.POWER_USER)
    assert shell.client.get("/api/v1/quarantine?since=7d", headers=power).json() == {"items": [], "next_cursor": None}
    for query in ("", "?since=x", "?since=7d&limit=0", "?since=7d&limit=1001", "?start=2026-11-21T00:00:00"):
        problem_of(shell.client.get(f"/api/v1/quarantine{query}", headers=power), 422, "invalid_input")
    problem_of(shell.client.get("/api/v1/quarantine?since=7d&cursor=abc", headers=power), 400, "undecodable")


def test_rows_that_one_request_left_in_the_quarantine_are_all_on_the_pages(shell: Shell) -> None:
    def row(seq: int, number: int) -> dict[str, object]:
        at = datetime(2026, 9, 21, tzinfo=UTC)
        said = {"signal": "spans", "reason": "trace_id_invalid", "detail": f"span {number}", "payload": b"x"}
        return {"tenant": AIRLINE, "date": "2026-09-21", "seq": seq, "ingested_at": at, "payload_bytes": 1, **said}

    rows = [row(seq, number) for seq in (5, 6, 7) for number in range(10)]
    shell.services.lake.append("quarantine", pa.Table.from_pylist(rows, schema=TABLES["quarantine"]))
    expected = sorted((given["seq"], given["detail"]) for given in rows)
    for limit in (1, 4, 10, 15, 30):
        seen, params = [], {"start": "2026-09-20T00:00:00Z", "end": "2026-09-22T00:00:00Z", "limit": str(limit)}
        while True:
            answer = shell.client.get("/api/v1/quarantine", params=params, headers=shell.headers(Role.POWER_USER))
            seen += [(item["seq"], item["detail"]) for item in answer.json()["items"]]
            if answer.json()["next_cursor"] is None:
                break
            params["cursor"] = answer.json()["next_cursor"]
        assert sorted(seen) == expected
        assert [seq for seq, _ in seen] == sorted((seq for seq, _ in seen), reverse=True)


def test_tenant_settings_are_replaced_as_a_whole(shell: Shell) -> None:
    wanted = {"pii": {"default": "redact", "by_entity": {"email": "hash"}}, "retention_days": 30}
    assert shell.client.put("/api/v1/tenant/settings", headers=shell.headers(), json=wanted).json() == wanted
    assert shell.client.get("/api/v1/tenant/settings", headers=shell.headers()).json() == wanted
    for bad in (
        {**wanted, "retention_days": 0},
        {**wanted, "tenant": "shop"},
        {**wanted, "pii": {"default": "publish"}},
        {**wanted, "pii": {"default": "keep", "by_entity": {"shoe_size": "keep"}}},
        {"retention_days": 1},
    ):
        answer = shell.client.put("/api/v1/tenant/settings", headers=shell.headers(), json=bad)
        problem_of(answer, 422, "invalid_input")
    assert shell.client.get("/api/v1/tenant/settings", headers=shell.headers()).json() == wanted
