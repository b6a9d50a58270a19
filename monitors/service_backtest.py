"""What a monitor would have done over a time that is past: the alerts it would have raised, its chart, and the false
alarms a week that its band was made for. Nothing is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import Window
from monitors.alert_records import EventKind
from monitors.alerting import VERDICTS
from monitors.banding import arl0_of, expected_of
from monitors.budget import WEEK_S
from monitors.definition import Definition
from monitors.service_series import Judges, Wanted, rows_of
from monitors.stepping import Checkpoint, Judgements
from monitors.watched import Watch, Watched, history_ns, watched
from store.tenant import TenantStore

MOST_BUCKETS: Final = 20_000
MOST_CHARTED: Final = 5  # series of one answer, those with alerts first
MOST_POINTS: Final = 3_000  # of a chart; of more, the worst of each stretch


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """What came of it."""

    window: Window
    watched: Watched
    expected: float | None
    """False alarms a week of all its series together; None: the band has no null from which one could be told."""
    why: str

    def as_json(self) -> dict[str, Any]:
        """Alerts, chart and figures."""
        found = self.watched.judgements
        weeks = (self.window.end_ns - self.window.start_ns) / NS_PER_S / WEEK_S
        alerts = alerts_told(self.watched)
        n_points = int(np.isfinite(found.grid.x[self.first :]).sum())
        return {
            "start_ns": self.window.start_ns,
            "end_ns": self.window.end_ns,
            "n_series": len(found.grid.keys),
            "n_points": n_points,
            "n_missing": int(found.grid.x[self.first :].size) - n_points,
            "alerts": alerts,
            "alerts_per_week": len(alerts) / weeks,
            "expected_false_alarms_per_week": self.expected,
            "why": self.why,
            "charts": [self._chart(key) for key in self._charted(alerts)],
        }

    @property
    def first(self) -> int:
        """The first bucket of the window; those before it are what the band learned from."""
        grid = self.watched.judgements.grid
        return int((self.window.start_ns - grid.start_ns) // (grid.step_s * NS_PER_S))

    def _charted(self, alerts: list[dict[str, Any]]) -> list[str]:
        first = list(dict.fromkeys(one["series"] for one in alerts))
        rest = [key for key in self.watched.judgements.grid.keys if key not in first]
        return [*first, *rest][:MOST_CHARTED]

    def _chart(self, key: str) -> dict[str, Any]:
        return chart_of(self.watched.judgements, key, self.first)


def backtest(
    store: TenantStore, definition: Definition, window: Window, *,
    judges: Judges | None = None,
) -> Backtest:  # fmt: skip
    """What the monitor would have done in `window`, having learned from four weeks before. Raises InvalidInput for a
    window of too many buckets."""
    step_ns = definition.step_s * NS_PER_S
    start, end = window.start_ns // step_ns * step_ns, window.end_ns // step_ns * step_ns
    begin = start - history_ns(definition)
    if end <= start:
        raise InvalidInput(f"the window is shorter than a step of {definition.step}", field="since")
    if (end - begin) // step_ns > MOST_BUCKETS:
        most = (MOST_BUCKETS * step_ns - history_ns(definition)) // (86_400 * NS_PER_S)
        raise InvalidInput(
            f"with steps of {definition.step} a backtest reaches {max(most, 0)} days back at most; take a longer step, "
            f"or a shorter window",
            field="since",
        )
    watch = Watch(
        name="backtest", definition=definition, before=Checkpoint(settled_ns=begin), alerts_ns=start, until_ns=end
    )
    wanted = Wanted(
        name="backtest", app=definition.app, spec=definition.spec, step_s=definition.step_s, by=definition.by,
        window=watch.window, band=definition.band, level=1 / arl0_of(definition, 1),
    )  # fmt: skip
    rows = rows_of(store, [wanted], judges)["backtest"]
    found = watched(watch, rows, lambda _: (None, False), end)
    expected, why = expected_of(definition, len(found.judgements.grid.keys))
    return Backtest(window=Window(start_ns=start, end_ns=end), watched=found, expected=expected, why=why)


def alerts_told(one: Watched) -> list[dict[str, Any]]:
    """The alerts, in order of time. They are told by what happened: a book forgets what late data cannot touch."""
    told: dict[tuple[str, int], dict[str, Any]] = {}
    for key, event in one.events:
        if event.kind is EventKind.FIRED:
            told[key, event.episode] = {
                "series": key, "from_ns": event.fired_ns, "until_ns": None, "severity": event.severity.value,
                "text": event.text,
            }  # fmt: skip
        elif (key, event.episode) in told:
            found = told[key, event.episode]
            found["severity"] = event.severity.value
            if event.kind is EventKind.RESOLVED:
                found["until_ns"] = event.at_ns
    return sorted(told.values(), key=lambda each: (each["from_ns"], each["series"]))


def chart_of(found: Judgements, key: str, first: int = 0) -> dict[str, Any]:
    """The points of one series with their band, from bucket `first` on; of very many the one farthest out of each
    stretch, so that no breach is lost."""
    column = found.grid.keys.index(key)
    at = np.arange(first, len(found.grid.x))
    if len(at) > MOST_POINTS:
        at = _worst(found, column, at)
    rows = [(int(found.grid.at_ns[t]), found.judged[t].one(column), int(t)) for t in at]
    return {
        "series": key,
        "at_ns": [at_ns for at_ns, _, _ in rows],
        "value": [_number(found.grid.x[t, column]) for _, _, t in rows],
        "n": [_number(found.grid.n[t, column]) for _, _, t in rows],
        "expected": [one.expected for _, one, _ in rows],
        "low": [one.low for _, one, _ in rows],
        "high": [one.high for _, one, _ in rows],
        "verdict": [VERDICTS[int(found.verdicts[t, column])].value for _, _, t in rows],
    }


def _worst(found: Judgements, column: int, at: Any) -> Any:
    z = np.array([found.judged[t].z[column] for t in at])
    size = np.where(np.isfinite(z), np.abs(z), -1.0)
    size += np.array([1e6 * abs(int(found.judged[t].breach[column])) for t in at])
    parts = np.array_split(np.arange(len(at)), MOST_POINTS)
    return np.array([at[part[np.argmax(size[part])]] for part in parts])


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
