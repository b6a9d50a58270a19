"""Definitions: what is drawn up comes back from JSON as it was, slots are kept apart, what cannot be is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict, InvalidInput
from experiments.definition import drawn_up, gaps, may_start, slot_for
from experiments.records import AssignedBy, Better, Design, MetricKind, MetricRole, UnitKind
from experiments.registered import as_json, of_json
from tests.experiments.definitions import definition

ARMS = [
    {"variant": "control", "release": "v1", "weight": 90.0},
    {"variant": "treatment", "release": "v2", "weight": 10.0},
]
PRIMARY = {"name": "resolution", "role": "primary"}
EDGES = st.lists(st.floats(0, 1), min_size=0, max_size=8, unique=True)


def asked(**change: Any) -> dict[str, Any]:
    """A body."""
    return {"arms": ARMS, "metrics": [PRIMARY], **change}


def guardrail(name: str, **more: Any) -> dict[str, Any]:
    """A metric of that role."""
    return {"name": name, "role": "guardrail", **more}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "unit": st.sampled_from(["user", "session"]),
            "alpha": st.floats(1e-6, 0.2),
            "holdout": st.floats(0, 0.99),
            "horizon": st.fixed_dictionaries({"units": st.integers(2, 10**9), "days": st.none() | st.integers(1, 90)}),
            "strata": st.lists(st.text(min_size=1, max_size=8), max_size=5, unique=True),
            "hypothesis": st.text(max_size=20),
            "covariate_days": st.integers(0, 90),
            "mature_s": st.integers(0, 86_400),
        },
    )
)
def test_what_is_registered_comes_back_from_json(change: dict[str, Any]) -> None:
    one = drawn_up("n", "shop", asked(**change, metrics=[PRIMARY, guardrail("p95_latency")]))
    kept = json.loads(json.dumps(as_json(one)))
    assert kept == as_json(one), "and JSON changes nothing of it, so that digests of it are of what was asked"
    assert of_json("n", "shop", 1, kept) == one
    assert of_json("n", "shop", 7, kept) == replace(one, version=7)
    assert "version" not in kept, "the same content is the same, whatever its number"
    assert one.design is (Design.GROUP_SEQUENTIAL if "horizon" in change else Design.CONFIDENCE_SEQUENCE)


def test_metrics_take_from_the_table_what_is_not_said() -> None:
    metrics = [PRIMARY, guardrail("safety"), guardrail("cost", margin=0.03, relative=True), guardrail("p95_latency")]
    one = drawn_up("n", "shop", asked(metrics=metrics))
    primary, safety, cost, p95 = one.metrics
    assert (primary.margin, primary.better, primary.binary) == (None, Better.HIGHER, True)
    assert (safety.margin, safety.relative, safety.better) == (0.02, False, Better.HIGHER)
    assert (cost.margin, cost.relative, cost.better) == (0.03, True, Better.LOWER)
    assert (p95.kind, p95.quantile, p95.margin, p95.relative) == (MetricKind.QUANTILE, 0.95, 0.1, True)
    assert one.primary.role is MetricRole.PRIMARY


def test_a_metric_is_known_an_evaluators_a_judges_or_says_its_way() -> None:
    def of(name: str, judges: tuple[str, ...] = (), **more: Any) -> Better:
        return drawn_up(
            "n", "shop", asked(metrics=[{"name": name, "role": "primary", **more}]), judges=judges
        ).primary.better

    assert of("pii_leak") is Better.LOWER
    assert of("kindness", ("kindness",)) is Better.HIGHER
    assert of("returned_goods", better="lower") is Better.LOWER
    with pytest.raises(InvalidInput, match="kindness"):
        of("kindness")


@given(EDGES)
def test_gaps_are_what_slots_leave(edges: list[float]) -> None:
    ordered = sorted(edges)
    taken = list(zip(ordered[::2], ordered[1::2], strict=False))
    free = gaps(taken)
    total = sum(high - low for low, high in [*taken, *free])
    assert total == pytest.approx(1.0)
    for low, high in free:
        assert low < high
        assert not [slot for slot in taken if max(slot[0], low) < min(slot[1], high)]


@given(st.lists(st.floats(0.01, 1), max_size=6), st.floats(0.01, 1))
def test_slots_that_are_given_out_never_overlap(shares: list[float], last: float) -> None:
    taken: list[tuple[float, float]] = []
    for share in [*shares, last]:
        largest = max((high - low for low, high in gaps(taken)), default=0.0)
        if share > largest + 1e-9:
            with pytest.raises(
                Conflict, match=re.escape(f"the largest is {largest:g}" if largest else "all of it is taken")
            ):
                slot_for(share, taken, "release")
            continue
        slot = slot_for(share, taken, "release")
        assert slot[1] - slot[0] == pytest.approx(share)
        assert not [one for one in taken if max(one[0], slot[0]) < min(one[1], slot[1])]
        taken.append(slot)


def test_beside_what_runs() -> None:
    releases = ["v1", "v2"]
    low, high = definition(slot=(0.0, 0.5)), definition(name="tone", slot=(0.5, 1.0))
    may_start(low, [high], releases)
    with pytest.raises(Conflict, match=r"tone is running and has 0.5 to 1 of the layer release.*--slot 0.5"):
        may_start(definition(), [high], releases)
    with pytest.raises(Conflict, match="stop tone first"):
        may_start(low, [replace(high, slot=(0.0, 1.0))], releases)
    with pytest.raises(Conflict, match="one kind"):
        may_start(low, [replace(high, unit=UnitKind.SESSION)], releases)
    may_start(definition(), [definition(version=2)], releases)  # its own other version: the store sees to that
    may_start(definition(), [replace(high, layer="tone")], releases)
    with pytest.raises(InvalidInput, match="not registered for shop: v2"):
        may_start(low, [], ["v1"])
    may_start(definition(assigned_by=AssignedBy.APP), [], [])


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0, 0.0, 1e12])
def test_weights_that_are_no_weights(weight: float) -> None:
    with pytest.raises(InvalidInput, match="weight"):
        drawn_up("n", "shop", asked(arms=[ARMS[0], {**ARMS[1], "weight": weight}]))


def test_a_margin_of_a_share_that_holds_nothing_up_and_arms_that_look_the_same_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"'safety' is a share: a margin of 5 holds nothing up"):
        drawn_up("n", "shop", asked(metrics=[PRIMARY, guardrail("safety", margin=5)]))
    for name in ("Control", " control"):
        with pytest.raises(InvalidInput, match="but for case or spaces"):
            drawn_up("n", "shop", asked(arms=[{**ARMS[0], "variant": "control"}, {**ARMS[1], "variant": name}]))
    with pytest.raises(InvalidInput, match="alpha is 1e-300"):
        drawn_up("n", "shop", asked(alpha=1e-300))


@pytest.mark.parametrize("change", [{"alpha": float("nan")}, {"holdout": float("nan")}, {"slot": [float("nan"), 1.0]}])
def test_what_is_no_number(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        drawn_up("n", "shop", asked(**change))


@pytest.mark.parametrize("weights", [[1 / 3] * 3, [33.3, 33.3, 33.4], [0.1] * 10, [100 / 7] * 7])
def test_weights_that_sum_but_for_rounding_are_taken(weights: list[float]) -> None:
    arms = [{"variant": f"v{n}", "release": f"r{n}", "weight": weight} for n, weight in enumerate(weights)]
    assert len(drawn_up("n", "shop", asked(arms=arms)).arms) == len(weights)
