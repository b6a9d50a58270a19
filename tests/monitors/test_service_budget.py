"""The false pages that a tenant allows: divided over the monitors that page, kept to, and told with what is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from monitors.budget import pages_for
from monitors.definition import Definition
from monitors.service_budget import Budget, budget_of, checked, divided, set_budget, tried
from monitors.service_monitors import create
from store.control.budgeting import WHOLE
from tests.monitors.watching import ACME, ANN, Shop, open_shop

LEARNED = 100


def of(series: str = "resolution", app: str = "shop", asks: float = 0.1, **given: Any) -> Definition:
    return Definition.from_json({"app": app, "series": series, "false_pages_per_week": asks, **given})


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as made:
        made.traffic(range(LEARNED), lambda _: 0.87)
        made.at(LEARNED)
        yield made


def test_a_budget_is_divided_by_what_each_asks_for_over_all_its_series() -> None:
    definitions = {
        "a": of(), "twice": of("traffic", asks=0.2), "hours": of("cost_total", step="1h"),
        "elsewhere": of(app="desk"), "ticket": of("turns", severity="ticket"),
        "no-law": of("safety", band={"kind": "zero"}), "wide": of("grounding", band={"kind": "ema", "k": 5}),
    }  # fmt: skip
    found = divided({WHOLE: 0.5, "desk": 0.1}, definitions, {"a": 4, "twice": 1})
    assert set(found) == {"a", "twice", "hours", "elsewhere"}
    allotted = {name: one.false_pages_per_week for name, one in found.items()}
    assert allotted == {
        name: pytest.approx(n) for name, n in {"a": 0.1, "twice": 0.2, "hours": 0.1, "elsewhere": 0.1}.items()
    }
    assert sum(allotted.values()) == pytest.approx(0.5)
    for name, n_series in (("a", 4), ("twice", 1)):
        assert pages_for(found[name].arl0, n_series=n_series, step_s=300) == pytest.approx(allotted[name])
    assert divided({}, definitions, {}) == {}
    assert set(divided({"desk": 1.0}, definitions, {})) == {"elsewhere"}  # the others go by their own


@pytest.mark.parametrize("allowed", [{WHOLE: 0.1, "shop": 0.1}, {WHOLE: 0.0}, {"shop": float("nan")}, {"shop": 2000.0}])
def test_budgets_that_cannot_be_kept_are_refused(allowed: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        checked(allowed)


def test_the_next_look_keeps_to_the_budget(shop: Shop) -> None:
    shop.watch()
    shop.watch(name="traffic", series="traffic")
    shop.look()
    before = _low(shop)
    set_budget(shop.control, ACME, None, 0.002, shop.hands(), by=ANN)
    shop.at(LEARNED + 1)
    shop.traffic([LEARNED], lambda _: 0.87)
    shop.look()
    assert _low(shop) < before - 0.02  # each may page once in a thousand weeks: it takes a deeper fall
    definition = Definition.from_json(shop.control.monitor(ACME, "resolution").definition)
    assert definition.false_pages_per_week == 0.1
    assert tried(shop.control, ACME, "resolution", definition).false_pages_per_week == pytest.approx(0.001)


def test_what_is_used_is_told_with_what_is_allowed(shop: Shop) -> None:
    shop.watch()
    shop.watch(name="ticket", series="traffic", severity="ticket")
    shop.look()
    own = budget_of(shop.control, ACME, shop.hands())
    assert own.expected == pytest.approx(0.1)
    tried_out = set_budget(shop.control, ACME, "shop", 0.4, shop.hands(), by=ANN, dry_run=True)
    assert shop.control.monitor_budgets(ACME) == {}
    made = set_budget(shop.control, ACME, "shop", 0.4, shop.hands(), by=ANN)
    assert made == tried_out
    assert made.expected == pytest.approx(0.4)
    assert _allotted(made) == {"resolution": pytest.approx(0.4), "ticket": None}
    shop.traffic(range(LEARNED, LEARNED + 3), lambda _: 0.2)
    shop.at(LEARNED + 3)
    shop.look()
    found = budget_of(shop.control, ACME, shop.hands())
    assert {one.name: one.pages for one in found.monitors} == {"resolution": 1, "ticket": 0}
    assert found.pages_per_week == 0.25
    assert budget_of(shop.control, ACME, shop.hands(), app="desk").monitors == ()
    assert set_budget(shop.control, ACME, "shop", None, shop.hands(), by=ANN).allowed == {}


def test_a_name_that_would_hide_the_budget_is_none(shop: Shop) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(shop.control, ACME, "budget", {"app": "shop", "series": "resolution"}, by=ANN)
    assert refused.value.field == "name"


def _low(shop: Shop) -> float:
    state = shop.control.monitor_state(ACME, "resolution")
    assert state is not None
    return float(state.told["series"][0]["low"])


def _allotted(budget: Budget) -> dict[str, float | None]:
    return {one.name: one.allotted for one in budget.monitors}
