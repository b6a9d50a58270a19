"""Outcomes that come after sessions were placed: what emerges is looked for in what is known now, at no further run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
import pytest

from clustering.service_emerging import look_now
from core.records import EvaluatorKind, TargetKind
from store.control.cluster_records import Concluded
from store.memberships import write_memberships
from store.scores import NewScore, append_scores
from tests.clustering.sittings import APP, NOW_NS, TENANT, Sitting, sitting
from tests.clustering.test_emerging_looked import GREW, cluster, rows


@pytest.fixture
def sat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sitting]:
    """The weeks of the look's own test, in which one cluster grew, noted before an outcome was there."""
    with sitting(tmp_path_factory.mktemp("late"), []) as one:
        taken = one.begun()
        clusters = tuple(cluster(number, taken.run_id) for number in range(1, 13))
        told = {"run_at_ns": NOW_NS, "space": "t 1:1:1", "params": dict(taken.params)}
        one.control.conclude_cluster_run(
            Concluded(run=taken, clusters=clusters, events=(), marks={}, told=told), n_tries=1
        )
        placed = pl.DataFrame(rows(), schema_overrides={"cluster_id": pl.String})
        write_memberships(one.store, placed.with_columns(failed=pl.lit(None, pl.Boolean)), now_ns=NOW_NS)
        yield one


def told(sat: Sitting) -> Mapping[str, Any]:
    """What the app's line says of the last look."""
    line = sat.control.cluster_app(TENANT, APP)
    assert line is not None
    return line.told


def test_a_look_counts_outcomes_that_came_after_the_sessions_were_placed(sat: Sitting) -> None:
    scores = [
        NewScore(
            evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
            session_id=row["session_id"], value=float(not row["failed"]), at_ns=NOW_NS,
        )
        for row in rows()
    ]  # fmt: skip
    ids = [f"outcome of {one.session_id}" for one in scores]
    append_scores(sat.store, scores, ids=ids, author="test", now_ns=NOW_NS)
    (found,) = look_now(sat.control, sat.store, APP, NOW_NS, nightly=True)
    assert (found.cluster_id, found.body["n"]) == (GREW, 63)
    assert told(sat)["n_known"] == told(sat)["n_sessions"] > 0
    assert told(sat)["known_says"] == []


def test_a_look_without_an_outcome_says_that_nothing_is_known(sat: Sitting) -> None:
    assert look_now(sat.control, sat.store, APP, NOW_NS, nightly=True) == []
    assert told(sat)["n_known"] == 0 < told(sat)["n_sessions"]
    assert "of none of" in told(sat)["known_says"][0]
