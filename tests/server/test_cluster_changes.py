"""What is done with a cluster that ended, that nobody came to lately, or that is larger than one freeze."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from core.clock import NS_PER_S
from core.records import Principal, Role
from evaluators.datasets.traced import MOST_SESSIONS
from server.cli.main import main
from server.cli.outcome import ExitCode
from store.control.cluster_records import ClusterEvent, ClusterRecord, ClusterRunRecord, Concluded
from store.memberships import write_memberships
from tests.server.clustered import arrive
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.server.test_cluster_rounds import APP, clustered, members

API = "/api/v1/clusters"
HOUR_NS = 3_600 * NS_PER_S
ANN = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """C-0001 lives and holds three sessions; C-0002 went into it."""
    with running_shell(tmp_path_factory.mktemp("changes")) as running:
        clustered(running)
        merged(running)
        arrive(running, "refund")
        yield running


def merged(shell: Shell) -> None:
    """A second run says that C-0002 ended in C-0001."""
    control, now = shell.services.control, shell.services.clock()
    run = ClusterRunRecord(
        tenant=AIRLINE, run_id="run_2", app=APP, start_ns=now - 24 * HOUR_NS, end_ns=now, params={}, params_hash="a" * 8
    )
    control.start_cluster_run(run, by=ANN)
    taken = control.take_cluster_run("me", ())
    assert taken is not None
    ended = ClusterRecord(
        tenant=AIRLINE, cluster_id="C-0002", app=APP, state="merged", embedder="t 1:1:1", centroid=b"\0\0\0\0",
        n_sessions=1, n_failed=0, n_known=0, said={"title": "parcel"}, standing={"alive": False, "radius": 0.1},
        run_id="run_2", first_seen_ns=now, last_seen_ns=now, born_at_ns=now,
    )  # fmt: skip
    text = "80% of its sessions are in C-0001"
    event = ClusterEvent(
        cluster_id="C-0002", kind="merged", n_sessions=8, n_failed=0, n_known=0, others=("C-0001",), text=text
    )
    control.conclude_cluster_run(Concluded(run=taken, clusters=(ended,), events=(event,), marks={}), n_tries=1)


def watched(shell: Shell, cluster_id: str) -> Any:
    return shell.client.put(f"{API}/{cluster_id}/watch", json={}, headers=shell.headers(Role.USER))


def test_watching_a_cluster_that_ended_is_refused_with_what_became_of_it(shell: Shell) -> None:
    refused = watched(shell, "C-0002")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert refused.json()["detail"] == (
        "C-0002 ended (merged): 80% of its sessions are in C-0001; watch C-0001 instead"
    )
    assert shell.services.control.cluster_watches(AIRLINE) == []


def test_a_cluster_of_an_app_without_recent_sessions_can_be_watched(shell: Shell) -> None:
    told = watched(shell, "C-0001")
    assert (told.status_code, told.json()["rate"]) == (200, None)


def test_a_freeze_of_a_large_cluster_says_that_it_does_not_look_at_all(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    def frozen() -> Any:
        body = {"dataset": "refunds", "dry_run": True}
        return shell.client.post(f"{API}/C-0001/freeze", json=body, headers=shell.headers(Role.USER)).json()

    members(shell, ["refund-0", "refund-1", "refund-2"], "C-0001", ago_ns=HOUR_NS)
    small = frozen()
    assert (small["n_sessions"], small["of"], small["capped"], small["says"]) == (3, 3, False, [])
    many(shell, MOST_SESSIONS)
    large = frozen()
    assert (large["n_sessions"], large["of"], large["capped"]) == (MOST_SESSIONS, MOST_SESSIONS + 3, True)
    assert large["n_examples"] == 3
    assert large["says"][0] == "of its 10,003 sessions only the latest 10,000 were looked at: no freeze takes more"
    with served(shell.services) as url:
        server = ["--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]
        assert main(["clusters", "freeze", "C-0001", "--dataset", "refunds", "--dry-run", *server]) == ExitCode.OK
    assert "of the latest 10,000 (there are 10,003) sessions of C-0001" in " ".join(capsys.readouterr().out.split())


def many(shell: Shell, n: int) -> None:
    """So many more sessions in C-0001, two days ago, of which nothing is stored any more."""
    now = shell.services.clock()
    rows = pl.DataFrame({"session_id": [f"old-{number}" for number in range(n)]}).with_columns(
        at_ns=pl.lit(now - 48 * HOUR_NS), app=pl.lit(APP), run_id=pl.lit("run_1"), embedder=pl.lit("t"),
        cluster_id=pl.lit("C-0001"), confidence=pl.lit(1.0), waiting=pl.lit(False),
    )  # fmt: skip
    write_memberships(shell.services.store.tenant(AIRLINE), rows, now_ns=now)
