"""The budget of false pages in figures: never one that is not known, and nothing counted twice."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.parts.budget_shares import asked, moved, shares


def monitor(name: str, app: str, **more: Any) -> dict[str, Any]:
    same = {
        "severity": "page",
        "asked": 0.1,
        "allotted": None,
        "points": 2016.0,
        "expected": 0.1,
        "pages": 0,
        "why": "",
    }
    return {"name": name, "app": app, **same, **more}


def told(budgets: dict[str | None, float], *monitors: dict[str, Any]) -> dict[str, Any]:
    allowed = [{"app": app, "false_pages_per_week": n} for app, n in budgets.items()]
    return {"budgets": allowed, "monitors": list(monitors)}


def test_each_app_stands_against_its_own_and_all_against_the_whole() -> None:
    found = shares(
        told(
            {None: 0.5, "shop": 0.2},
            monitor("a", "shop", expected=0.2, pages=2),
            monitor("b", "desk", expected=0.3, pages=6),
            monitor("c", "desk", severity="ticket", expected=9.0),
        )
    )
    assert [(one.app, one.allowed) for one in found] == [(None, 0.5), ("desk", None), ("shop", 0.2)]
    assert [one.expected for one in found] == pytest.approx([0.5, 0.3, 0.2])
    assert [one.paged for one in found] == [2.0, 1.5, 0.5]
    assert [one.is_over for one in found] == [True, False, True]


def test_a_monitor_of_no_law_is_counted_as_unknown_and_not_as_none() -> None:
    (only,) = shares(told({}, monitor("a", "shop"), monitor("b", "shop", expected=None, points=None)))
    assert (only.app, only.n_unknown, only.expected, only.allowed) == ("shop", 1, 0.1, None)
    assert not only.is_over


def test_an_app_without_monitors_keeps_its_budget_and_one_app_is_not_told_twice() -> None:
    assert [(one.app, one.allowed, one.expected) for one in shares(told({"kiosk": 0.1}))] == [("kiosk", 0.1, 0)]
    assert [one.app for one in shares(told({None: 1.0}, monitor("a", "shop")))] == [None, "shop"]
    assert shares(told({})) == []


def test_a_budget_begins_with_what_those_ask_for_that_can_keep_to_it() -> None:
    some = told(
        {}, monitor("a", "shop"), monitor("b", "desk", asked=0.4), monitor("c", "shop", points=None),
        monitor("d", "shop", severity="ticket"),
    )  # fmt: skip
    assert (asked(some, None), asked(some, "shop"), asked(some, "nobody")) == (0.5, 0.1, 0)


def test_only_those_whose_share_changes_are_told() -> None:
    before = told({}, monitor("a", "shop"), monitor("b", "shop"), monitor("t", "shop", severity="ticket"))
    after = told({None: 0.2}, *(
        monitor(name, "shop", allotted=0.1 if name != "t" else None) for name in ("a", "b", "t", "new")
    ))  # fmt: skip
    assert [(then["name"], then["allotted"], now["allotted"]) for then, now in moved(before, after)] == [
        ("a", None, 0.1), ("b", None, 0.1),
    ]  # fmt: skip
