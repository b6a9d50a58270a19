"""A run over a window that ended before now: what came since is placed after it all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clustering.params import params_of
from clustering.reduction import reduce
from clustering.service_assign import Assigner
from clustering.stages import quiet
from store.control.cluster_records import ClusterAppRecord
from tests.clustering.sittings import APP, PARAMS, TENANT, Sitting, Talk, sitting
from tests.store.build import fill, row

TALKS = [
    Talk(user=f"{words} {n}", agent=answer, tools=(tool,))
    for words, answer, tool in (
        ("please refund the broken lamp", "refunded", "refund_order"),
        ("where is my late parcel", "on its way", "track_parcel"),
        ("how do I wash the woollen jacket", "by hand", "search_help"),
    )
    for n in range(8)
]
LATER_S = 8 * 86_400  # behind the week of the runs


@pytest.fixture
def sat(tmp_path: Path) -> Iterator[Sitting]:
    """A first run over the week, then a session that began after it."""
    with sitting(tmp_path / "sat", TALKS) as one:
        one.done()
        said: dict[str, Any] = {"input": "please refund the broken lamp 99", "output": "refunded"}
        at: dict[str, Any] = {"trace_id": 900, "app": APP, "session_id": "later", "user_id": "u", "at_s": LATER_S}
        fill(one.store._lake, [row(**at, **said, span_id=900, seq=(1 << 48) + 10**6, name="agent", kind="AGENT")])
        yield one


def line_of(sat: Sitting) -> ClusterAppRecord:
    found = sat.control.cluster_app(TENANT, APP)
    assert found is not None
    return found


def test_a_run_over_a_past_window_leaves_what_came_since_to_be_placed(sat: Sitting) -> None:
    before = line_of(sat)
    sat.done()  # the same week again, while the session of after it is there
    after = line_of(sat)
    assert after.told["run_until_ns"] == before.told["run_until_ns"]
    assigner = Assigner(sat.control, lambda: sat.control._clock() + LATER_S * 10**9, "a test")
    assert assigner.work(sat.store, sat.means().place, APP).n == 1
    assert assigner.work(sat.store, sat.means().place, APP).n == 0


def test_more_components_than_sessions_are_as_many_as_there_can_be() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(31, 40)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    places = reduce(rows, params_of(PARAMS), 50, quiet)
    assert places.shape == (31, 29)
    assert np.isfinite(places).all()
