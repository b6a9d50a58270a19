"""The ledger through the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.records import Counts, Role
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with running_shell(tmp_path) as running:
        yield running


def test_each_tenant_sees_its_own_counts(shell: Shell) -> None:
    shell.services.control.settle(
        1,
        5,
        {
            (AIRLINE, "spans"): Counts(received=10, stored=6, duplicate=2, quarantined=1, rejected=1),
            (SHOP, "log_records"): Counts(received=3, stored=3),
        },
    )
    answer = shell.client.get("/api/v1/ledger", headers=shell.headers(Role.VIEWER)).json()
    counts = {"received": 10, "stored": 6, "duplicate": 2, "quarantined": 1, "rejected": 1}
    assert answer == {"items": [{"signal": "spans", **counts, "balanced": True}], "next_cursor": None}
    of_shop = shell.client.get("/api/v1/ledger", headers=shell.headers(tenant=SHOP)).json()["items"]
    assert [line["signal"] for line in of_shop] == ["log_records"]


def test_a_ledger_that_does_not_add_up_says_so(shell: Shell) -> None:
    shell.services.control.count({(AIRLINE, "spans"): Counts(received=10, stored=9)})
    (line,) = shell.client.get("/api/v1/ledger", headers=shell.headers()).json()["items"]
    assert line["balanced"] is False
