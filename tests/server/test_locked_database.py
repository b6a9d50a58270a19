"""The control database locked by a process that is not ours: changes fail soon and clearly, reading goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.records import Counts, Role
from store.control.database import DatabaseBusy
from tests.server.shell import AIRLINE, Shell, running_shell
from tests.waiting import wait_until

LONG_S = 25  # far more than the patience with a lock, less than the half minute it once was


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with running_shell(tmp_path) as running:
        yield running


@contextmanager
def somebody_elses_lock(shell: Shell) -> Iterator[None]:
    """Another connection holds the write lock, as a backup tool or a forgotten shell would."""
    with closing(sqlite3.connect(shell.services.settings.data / "control.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_locked_database_refuses_a_key_soon_and_says_so(shell: Shell) -> None:
    wanted = {"role": "viewer", "name": "late"}
    with somebody_elses_lock(shell), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(shell.client.post, "/api/v1/keys", headers=shell.headers(), json=wanted)
        wait_until(asked.done, LONG_S, "the key to be refused")
        refused = asked.result()
        assert shell.client.get("/api/v1/keys", headers=shell.headers()).status_code == 200
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) > 0
    said = refused.json()
    assert said["code"] == "database_busy"
    assert "locked by another process" in said["detail"]
    assert "try again" in said["detail"]
    assert str(shell.services.settings.data) not in refused.text
    made = shell.client.post("/api/v1/keys", headers=shell.headers(), json=wanted)
    assert made.status_code == 201
    names = [key["name"] for key in shell.client.get("/api/v1/keys", headers=shell.headers()).json()["items"]]
    assert names.count("late") == 1


def test_writers_behind_each_other_wait_together(shell: Shell) -> None:
    control = shell.services.control
    with somebody_elses_lock(shell), ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(control.create_key, AIRLINE, Role.VIEWER, f"key {n}") for n in range(8)]
        wait_until(lambda: all(one.done() for one in asked), LONG_S, "all writers to give up")
    assert [type(one.exception()) for one in asked] == [DatabaseBusy] * 8
    control.settle(1, 1, {(AIRLINE, "spans"): Counts(received=1, stored=1)})


def test_a_lock_that_ends_in_time_is_waited_for(shell: Shell) -> None:
    with ThreadPoolExecutor(1) as pool:
        with somebody_elses_lock(shell):
            asked = pool.submit(shell.services.control.create_key, AIRLINE, Role.VIEWER, "patient")
            assert not asked.done()
        assert asked.result(timeout=LONG_S)[0].name == "patient"
