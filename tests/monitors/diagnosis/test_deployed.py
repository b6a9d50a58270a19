"""What was deployed of an app, as diagnosis is told of it: with what a page needs to open it."""

from __future__ import annotations

from pathlib import Path

from monitors.diagnosis.evidence import Onset, nearest
from monitors.service_diagnosis import deployed
from tests.experiments.rollouts.shop import APP, TENANT, open_shop


def test_a_rollout_that_came_before_is_named_by_its_id(tmp_path: Path) -> None:
    with open_shop(tmp_path, {}) as shop:
        record = shop.deploy()
        found = deployed(shop.control, TENANT, APP)
        assert {one.id for one in found if one.what == "rollout"} == {record.rollout_id}
        assert {one.id for one in found if one.what != "rollout"} == {None}
        only = [one for one in found if one.what == "rollout"]
        now = shop.clock()
        came = nearest(only, Onset(at_ns=now, low_ns=now, high_ns=now, z=9.0))
        assert came.found is not None
        assert came.found.id == record.rollout_id
