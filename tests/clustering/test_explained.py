"""What changed is told of every finding of a look, not of the first few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from clustering.service_emerging import look_now
from core.windows import day_of
from store.control.cluster_records import Concluded
from store.memberships import write_memberships
from tests.clustering.sittings import APP, NOW_NS, TENANT, sitting
from tests.clustering.test_emerging_looked import DAY_NS, MIDNIGHT, cluster
from tests.store.build import fill, row

N = 24  # clusters that grow


def sessions() -> list[dict[str, Any]]:
    """Of each cluster one failing session a day, and nine a day in the last week; of the app 100 others a day."""
    found = []
    for ago in range(35):
        names = [f"C-{number:04d}" for number in range(1, N + 1) for _ in range(9 if ago < 7 else 1)]
        for at, name in enumerate([*names, *[None] * 100]):
            found.append(
                {
                    "session_id": f"d{ago}-{at}", "at_ns": MIDNIGHT - ago * DAY_NS, "app": APP, "run_id": "r",
                    "embedder": "t", "cluster_id": name, "failed": name is not None, "user_hash": ago * 1000 + at,
                }
            )  # fmt: skip
    return found


def test_every_finding_of_a_look_says_what_changed(tmp_path: Path) -> None:
    with sitting(tmp_path / "sat", []) as sat:
        taken = sat.begun()
        clusters = tuple(cluster(number, taken.run_id) for number in range(1, N + 1))
        told = {"run_at_ns": NOW_NS, "space": "t 1:1:1", "params": dict(taken.params)}
        sat.control.conclude_cluster_run(
            Concluded(run=taken, clusters=clusters, events=(), marks={}, told=told), n_tries=1
        )
        rows = sessions()
        write_memberships(sat.store, pl.DataFrame(rows, schema_overrides={"cluster_id": pl.String}), now_ns=NOW_NS)
        spans = [
            row(
                trace_id=number, span_id=number, session_id=one["session_id"], app=APP, start_ns=one["at_ns"],
                date=day_of(one["at_ns"]), release="r1" if one["at_ns"] < MIDNIGHT - 7 * DAY_NS else "r2",
            )
            for number, one in enumerate((one for one in rows if one["failed"]), start=1)
        ]  # fmt: skip
        fill(sat.store._lake, spans)
        found = look_now(sat.control, sat.store, APP, NOW_NS, nightly=True)
        assert sorted(one.cluster_id for one in found) == [f"C-{number:04d}" for number in range(1, N + 1)]
        changes = [[(each["kind"], each["name"]) for each in one.body["changed"]] for one in found]
        assert changes == [[("release", "r2")]] * N
        assert {one.tenant for one in found} == {TENANT}
