"""The budget of false pages in figures: by app what is allowed, what the bands are made for, what was paged. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dashboard.api import Row
from dashboard.parts.monitor_words import number

WEEKS: Final = 4  # that the server looks back for pages
ALL: Final = "all apps"


@dataclass(frozen=True, kw_only=True)
class Share:
    """Of an app (None: of all together): false pages a week that are allowed (None: nothing is said of it), for which
    its bands are made, and pages a week there were, false or not. `n_unknown`: monitors that page of which no law says
    how often they do so falsely."""

    app: str | None
    allowed: float | None
    expected: float
    paged: float
    n_unknown: int

    @property
    def is_over(self) -> bool:
        """Whether more was paged than may be false: either there was trouble, or the budget is not kept."""
        return self.allowed is not None and self.paged > self.allowed


def shares(told: Row) -> list[Share]:
    """All together first, where that says more than one app does; then by app, the one that pages most first."""
    allowed = {one["app"]: float(one["false_pages_per_week"]) for one in told["budgets"]}
    monitors: Sequence[Row] = told["monitors"]
    apps = sorted({str(one["app"]) for one in monitors} | {str(app) for app in allowed if app is not None})
    found = [_share(app, allowed.get(app), [one for one in monitors if one["app"] == app]) for app in apps]
    found.sort(key=lambda one: (-one.paged, -one.expected, str(one.app)))
    if len(found) < 2 and None not in allowed:
        return found
    return [_share(None, allowed.get(None), monitors), *found]


def _share(app: str | None, allowed: float | None, monitors: Sequence[Row]) -> Share:
    pages = [one for one in monitors if one["severity"] == "page"]
    known = [number(one["expected"]) for one in pages]
    return Share(
        app=app, allowed=allowed, expected=sum(one for one in known if one is not None),
        paged=sum(int(one["pages"]) for one in monitors) / WEEKS, n_unknown=sum(one is None for one in known),
    )  # fmt: skip


def asked(told: Row, app: str | None) -> float:
    """What the monitors (of an app) that can keep to a share ask for together: what a budget begins with."""
    mine = [one for one in told["monitors"] if app in (None, one["app"]) and one["severity"] == "page"]
    return sum(float(one["asked"]) for one in mine if one["points"] is not None)


def moved(before: Row, after: Row) -> list[tuple[Row, Row]]:
    """The monitors whose share would be another, each before and after."""
    then = {str(one["name"]): one for one in before["monitors"]}
    return [
        (then[str(one["name"])], one)
        for one in after["monitors"]
        if str(one["name"]) in then and one["allotted"] != then[str(one["name"])]["allotted"]
    ]
