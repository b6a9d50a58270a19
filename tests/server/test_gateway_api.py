"""The gateway at the API: what its calls say of it, from spans of the lake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.records import Role
from server.routes.gateway import GatewaySummary
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
