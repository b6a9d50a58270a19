"""Definitions of experiments for tests that need one."""

from __future__ import annotations

from typing import Any

from experiments.records import Arm, Better, Definition, MetricRole, MetricSpec, UnitKind

TWO_ARMS = (Arm(variant="control", release="v1", weight=1.0), Arm(variant="treatment", release="v2", weight=1.0))
PRIMARY = MetricSpec(name="resolution", role=MetricRole.PRIMARY, better=Better.HIGHER, binary=True)


def definition(**given: Any) -> Definition:
    """Control v1 against treatment v2 of the app shop, over users, by resolution."""
    made: dict[str, Any] = {
        "name": "refund-prompt",
        "app": "shop",
        "version": 1,
        "unit": UnitKind.USER,
        "arms": TWO_ARMS,
        "metrics": (PRIMARY,),
    }
    return Definition(**(made | given))
