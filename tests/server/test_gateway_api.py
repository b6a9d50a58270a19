"""The gateway at the API: what its calls say of it, from spans of the lake, and what it says of itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.records import Role
from server.routes.gateway import GatewayStatus, GatewaySummary
from tests.loopback import listening
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.store.build import T0, fill
from tests.store.test_gateway_calls import NONE, call

WINDOW = {"start": str(T0 - 10**9), "end": str(T0 + 3600 * 10**9)}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("gateway")) as running:
        own: dict[str, Any] = {"tenant": AIRLINE}
        refused = {"refused": "budget", "upstream": None}
        rows = [
            call(1, **own, said={"masked.email": "2"}),
            call(2, **own, **NONE, status_code=2, status_message="over 5 USD", said=refused),
            call(3, **own, app="else"),
            call(4, tenant=SHOP),
        ]  # fmt: skip
        fill(running.services.lake, rows)
        yield running


def summary(shell: Shell, tenant: Any = AIRLINE, **params: str) -> dict[str, Any]:
    sent = shell.headers(Role.VIEWER, tenant)
    answer = shell.client.get("/api/v1/gateway/summary", params=WINDOW | params, headers=sent)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    GatewaySummary.model_validate(told, strict=True)
    assert set(told) == set(GatewaySummary.model_fields)
    return told


def test_the_summary_is_of_the_tenant_the_app_and_the_window(shell: Shell) -> None:
    assert summary(shell)["n_calls"] == 3
    assert summary(shell, app="desk")["n_calls"] == 2
    assert summary(shell, SHOP)["n_calls"] == 1
    assert summary(shell, start="2026-01-01T00:00:00Z", end="2026-01-02T00:00:00Z")["n_calls"] == 0


def test_the_summary_says_what_was_refused_and_masked(shell: Shell) -> None:
    told = summary(shell, app="desk")
    assert told["masked"] == [{"entity": "email", "n": 2}]
    assert [(one["code"], one["n"], one["examples"][0]["why"]) for one in told["refused"]] == [
        ("budget", 1, "over 5 USD")
    ]
    assert told["policies"][0]["policy"] == "masking"
    assert told["upstreams"][0]["upstream"] == "east"


def test_the_series_has_the_bucket_that_was_asked_for(shell: Shell) -> None:
    assert summary(shell)["bucket_s"] == 60
    assert summary(shell, bucket="1h")["bucket_s"] == 3600
    sent = shell.headers(Role.VIEWER)
    answer = shell.client.get("/api/v1/gateway/summary", params=WINDOW | {"bucket": "7s"}, headers=sent)
    assert (answer.status_code, answer.json()["field"]) == (422, "bucket")


class Door(BaseHTTPRequestHandler):
    """Answers as a gateway does, to one key."""

    key: ClassVar[str]
    status: ClassVar[int] = 200
    body: ClassVar[bytes] = b'{"upstreams": [{"upstream": "east", "state": "open"}], "n_open": 3}'

    def do_GET(self) -> None:
        right = self.path == "/status" and self.headers["Authorization"] == f"Bearer {self.key}"
        self.send_response(self.status if right else 401)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[tuple[Shell, type[Door]]]:
    """A server whose gateway is a door of the test."""

    class OneDoor(Door):
        """Of this test."""

    with listening(OneDoor) as url, running_shell(tmp_path, gateway_port=int(url.rpartition(":")[2])) as running:
        OneDoor.key = running.keys[AIRLINE, Role.VIEWER]
        yield running, OneDoor


def status(shell: Shell) -> dict[str, Any]:
    answer = shell.client.get("/api/v1/gateway/status", headers=shell.headers(Role.VIEWER))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    GatewayStatus.model_validate(told, strict=True)
    return told


def test_the_status_is_what_the_gateway_says_to_this_caller(beside: tuple[Shell, type[Door]]) -> None:
    shell, door = beside
    told = status(shell)
    assert (told["running"], told["why"], told["n_open"], told["budgets"]) == (True, None, 3, [])
    assert told["upstreams"] == [{"upstream": "east", "state": "open"}]
    for code, body in ((200, b"<html>"), (200, b"[1]"), (404, b"{}")):
        door.status, door.body = code, body
        told = status(shell)
        assert (told["running"], told["upstreams"]) == (False, [])
        assert "on port" in told["why"]


def test_without_a_gateway_the_status_says_so(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with running_shell(tmp_path, gateway_port=free.getsockname()[1]) as shell:
            told = status(shell)
    assert told["running"] is False
    assert told["why"].startswith("no gateway answers on port")
