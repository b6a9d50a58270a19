"""A look for what emerges over stored memberships: what it keeps, and whom it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import polars as pl
import pytest

from clustering.service_emerging import look_if_due, look_now
from core.clock import NS_PER_S
from store.control.cluster_records import ClusterRecord, Concluded
from store.memberships import write_memberships
from tests.clustering.sittings import APP, NOW_NS, TENANT, Sitting, sitting

DAY_NS: Final = 86_400 * NS_PER_S
MIDNIGHT: Final = NOW_NS // DAY_NS * DAY_NS
GREW, RENAMED = "C-0001", "C-0012"  # the second is born 10 days ago, and was looked for since 17 days ago


@pytest.fixture(scope="module")
def sat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sitting]:
    """Five weeks of an app with twelve clusters of three failing sessions a day, one of nine in the last week."""
    with sitting(tmp_path_factory.mktemp("looked"), []) as one:
        taken = one.begun()
        clusters = tuple(cluster(number, taken.run_id) for number in range(1, 13))
        told = {"run_at_ns": NOW_NS, "space": "t 1:1:1", "params": dict(taken.params)}
        one.control.conclude_cluster_run(
            Concluded(run=taken, clusters=clusters, events=(), marks={}, told=told), n_tries=1
        )
        write_memberships(one.store, pl.DataFrame(rows(), schema_overrides={"cluster_id": pl.String}), now_ns=NOW_NS)
        yield one


def cluster(number: int, run_id: str) -> ClusterRecord:
    name = f"C-{number:04d}"
    return ClusterRecord(
        tenant=TENANT, cluster_id=name, app=APP, state="continued", embedder="t 1:1:1", centroid=b"\0\0\0\0",
        n_sessions=9, n_failed=9, n_known=9, said={"title": name}, standing={"alive": True, "radius": 0.1},
        run_id=run_id, first_seen_ns=MIDNIGHT - 90 * DAY_NS, last_seen_ns=NOW_NS,
        born_at_ns=MIDNIGHT - (10 if name == RENAMED else 90) * DAY_NS,
    )  # fmt: skip


def rows() -> list[dict[str, Any]]:
    found = []
    for ago in range(35):
        at_ns = MIDNIGHT - ago * DAY_NS
        of = {f"C-{number:04d}": 9 if number == 1 and ago < 7 else 3 for number in range(1, 13)}
        if ago > 17:
            del of[RENAMED]
        names = [name for name, n in of.items() for _ in range(n)]
        for at, name in enumerate([*names, *[None] * 60]):
            found.append(
                {
                    "session_id": f"d{ago}-{at}", "at_ns": at_ns, "app": APP, "run_id": "r", "embedder": "t",
                    "cluster_id": name, "confidence": 1.0, "failed": name is not None, "user_hash": ago * 1000 + at,
                }
            )  # fmt: skip
    return found


def test_growth_is_kept_once_with_its_figures_and_a_renamed_cluster_is_no_growth(sat: Sitting) -> None:
    (found,) = look_now(sat.control, sat.store, APP, NOW_NS, nightly=True)
    assert (found.cluster_id, found.kind, found.app) == (GREW, "growing", APP)
    assert (found.body["n"], found.body["expected"], found.body["n_users"]) == (63, pytest.approx(22.7, abs=0.1), 63)
    assert found.body["q_value"] < 0.05
    assert 1 < found.body["low"] < found.body["rate_ratio"] < found.body["high"]
    assert found.body["at_least"] > 1.5
    assert found.body["first_seen_ns"] == MIDNIGHT - 90 * DAY_NS  # it failed before, only less
    line = sat.control.cluster_app(TENANT, APP)
    assert line is not None
    assert (line.told["n_tested"], line.told["fdr"], line.told["week"]["nights"] != []) == (12, 0.05, True)
    assert look_now(sat.control, sat.store, APP, NOW_NS + 1, nightly=False) == []  # known since tonight
    assert look_now(sat.control, sat.store, APP, NOW_NS + 2, nightly=False) == []  # a second one in this hour: no look
    assert [one.cluster_id for one in sat.control.cluster_findings(TENANT, APP)] == [GREW]


def test_within_the_hour_nothing_is_due(sat: Sitting) -> None:
    assert look_if_due(sat.control, sat.store, APP, NOW_NS + 60 * NS_PER_S) == []
    assert look_if_due(sat.control, sat.store, "another app", NOW_NS) == []
