"""Monitors over the streams of benchmarks/monitors/demo_world_series.py, by the product's own looks, and the rule of
the slides beside them.

A series of one world is a column: a monitor that is split over columns, with as many times the budget, is as many
monitors with their own. Looks go from checkpoint to checkpoint; at the onset of a run the checkpoint of its world is
handed to all faults, and each goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitors.demo_world_series import Stream
from benchmarks.monitors.diagnosis_series import START_NS, STEP_S, Floats, Ints
from core.clock import NS_PER_S
from core.windows import Window
from monitors.alert_records import Event, EventKind
from monitors.definition import Definition
from monitors.grids import Row
from monitors.incident_records import Incident, IncidentRules, IncidentStatus, News
from monitors.incidents import join
from monitors.looking import Book
from monitors.mixing import MixWindows, mix_rows
from monitors.records import Direction
from monitors.series import Source
from monitors.stepping import Checkpoint
from monitors.watched import GRACE_S, Watch, Watched, watched

DAY: Final = 86_400 // STEP_S  # buckets, for which a fault is waited for
LOOK_S: Final = 30  # looks come each minute: after the 90 s that a bucket is waited for, half a minute on average
SLIDES_ALPHA: Final = 0.05
SLIDES_K: Final = 3.0
SLIDES_REST: Final = 3  # buckets without a breach after which another one is another alert, as of ours


@dataclass(frozen=True, kw_only=True)
class Run:
    """A fault's begin: in which world of each size, in which bucket, after which share of it."""

    world: int
    onset: int
    phase: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that monitors read: the quiet worlds, those of one size of app after those of another, and by run the
    day from the onset on with each fault, in each size. Alerts count from bucket `learned` on; runs are in order of
    their onsets."""

    worlds: Sequence[Stream] = field(repr=False)
    n_sizes: int
    learned: int
    runs: Sequence[Run]
    faults: tuple[str, ...]
    days: Sequence[Sequence[Stream]] = field(repr=False)
    models: tuple[str, ...]

    @property
    def n_worlds(self) -> int:
        """Of each size."""
        return len(self.worlds) // self.n_sizes

    def world_of(self, run: Run) -> Ints:
        """The world of each day of a run."""
        return np.repeat(np.arange(self.n_sizes) * self.n_worlds + run.world, len(self.faults))

    def quiet(self, series: str) -> tuple[Floats, Floats]:
        """Values and observations, (bucket, world)."""
        x, n = zip(*(one.values[series] for one in self.worlds), strict=True)
        return np.stack(x, axis=1), np.stack(n, axis=1)

    def day(self, run: int, series: str) -> tuple[Floats, Floats]:
        """Values and observations, (bucket since the onset, day)."""
        x, n = zip(*(one.values[series] for one in self.days[run]), strict=True)
        return np.stack(x, axis=1), np.stack(n, axis=1)

    def nothing(self) -> Floats:
        """The delay of each run and day before anything was told."""
        return np.full((len(self.runs), self.n_sizes * len(self.faults)), np.inf)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one monitor said: its alerts of the quiet weeks by world, and by run and day the seconds from the onset
    until somebody is told (infinite: not in the day)."""

    alerts: Sequence[Sequence[Event]]
    delay_s: Floats

    @property
    def n_fired(self) -> int:
        """Alerts of all quiet weeks."""
        return sum(len(fired(one)) for one in self.alerts)

    def of_size(self, size: int, n_sizes: int) -> Found:
        """What it said of the apps of one size."""
        worlds, days = len(self.alerts) // n_sizes, self.delay_s.shape[1] // n_sizes
        return Found(
            alerts=self.alerts[size * worlds : (size + 1) * worlds],
            delay_s=self.delay_s[:, size * days : (size + 1) * days],
        )


def found_of(definition: Definition, scene: Scene, until: int) -> Found:
    """One monitor over the scene up to a bucket."""
    is_mix = definition.spec.source is Source.MIX
    return _mixed(definition, scene, until) if is_mix else _banded(definition, scene, until)


def at_ns(step: int) -> int:
    """When a bucket begins."""
    return START_NS + step * STEP_S * NS_PER_S


def fired(events: Iterable[Event]) -> list[Event]:
    """The firings, each once: one that is told again is the same."""
    return list({one.episode: one for one in reversed(list(events)) if one.kind is EventKind.FIRED}.values())


def delay_of(first_ns: int, step_s: int, run: Run) -> float:
    """From the onset until somebody is told: to the end of the bucket that fires, and until a look has read it."""
    end_ns = first_ns + (step_s + GRACE_S + LOOK_S) * NS_PER_S
    return (end_ns - at_ns(run.onset)) / NS_PER_S - run.phase * STEP_S


def _banded(definition: Definition, scene: Scene, until: int) -> Found:
    x, n = scene.quiet(definition.series)
    keys = tuple(_key(world) for world in range(len(scene.worlds)))
    every = _each(definition, len(keys))
    alerts: list[list[Event]] = [[] for _ in keys]
    delay = scene.nothing()
    before = Checkpoint(settled_ns=START_NS)
    books: Mapping[str, Book] = {}
    for number, stop in [*((at, run.onset) for at, run in enumerate(scene.runs)), (None, until)]:
        first = (before.settled_ns - START_NS) // (STEP_S * NS_PER_S)
        watch = Watch(
            name=definition.series, definition=every, before=before, books=books, alerts_ns=at_ns(scene.learned),
            until_ns=at_ns(stop),
        )  # fmt: skip
        found = watched(watch, _rows(keys, x[first:stop], n[first:stop], first), _heard, at_ns(stop))
        before, books = found.after, dict(found.books)
        for key, event in found.events:
            alerts[keys.index(key)].append(event)
        if number is not None:
            delay[number] = _delays(definition, scene, number, found, (x, n))
    return Found(alerts=alerts, delay_s=delay)


def _delays(
    definition: Definition, scene: Scene, number: int, before: Watched, quiet: tuple[Floats, Floats]
) -> Floats:  # fmt: skip
    """Of one run, how long it takes in each of its days."""
    run, kept = scene.runs[number], before.after
    worlds = scene.world_of(run)
    place = np.array([kept.keys.index(_key(world)) for world in worlds.tolist()])
    keys = tuple(f"d{at:03d}" for at in range(len(worlds)))
    first = (kept.settled_ns - START_NS) // (STEP_S * NS_PER_S)
    assert kept.state is not None
    handed = Checkpoint(
        settled_ns=kept.settled_ns, keys=keys, last_ns=tuple(kept.last_ns[at] for at in place.tolist()),
        state=kept.state.taken(place),
    )  # fmt: skip
    x, n = (
        np.concatenate([was[first : run.onset, worlds], now])
        for was, now in zip(quiet, scene.day(number, definition.series), strict=True)
    )
    until = at_ns(run.onset + DAY)
    watch = Watch(
        name=definition.series, definition=_each(definition, len(keys)), before=handed, alerts_ns=at_ns(run.onset),
        until_ns=until,
    )  # fmt: skip
    found = watched(watch, _rows(keys, x, n, first), _heard, until)
    return _firsts(found.events, keys, definition.step_s, run)


def _key(world: int) -> str:
    return f"w{world:03d}"


def _firsts(events: Iterable[tuple[str, Event]], keys: Sequence[str], step_s: int, run: Run) -> Floats:
    delay = np.full(len(keys), np.inf)
    for key, event in events:
        if event.kind is EventKind.FIRED:
            at = keys.index(key)
            delay[at] = min(delay[at], delay_of(event.at_ns, step_s, run))
    return delay


def _mixed(definition: Definition, scene: Scene, until: int) -> Found:
    """A mix cannot be split, and needs no learning: each world and each day by itself."""
    start = scene.learned
    alerts = [
        [event for _, event in _mix_watched(definition, scene, one.answered[:until], 0, start).events]
        for one in scene.worlds
    ]
    windows = MixWindows.of(definition.band)
    per_bucket = definition.step_s // STEP_S
    delay = scene.nothing()
    for number, run in enumerate(scene.runs):
        hour = run.onset // per_bucket * per_bucket
        first = max(0, hour - windows.back_ns // (STEP_S * NS_PER_S))
        for at, (world, day) in enumerate(zip(scene.world_of(run).tolist(), scene.days[number], strict=True)):
            answered = np.concatenate([scene.worlds[world].answered[first : run.onset], day.answered])
            found = _mix_watched(definition, scene, answered, first, hour)
            delay[number, at] = _firsts(found.events, (definition.series,), definition.step_s, run)[0]
    return Found(alerts=alerts, delay_s=delay)


def _mix_watched(definition: Definition, scene: Scene, answered: Floats, first: int, alerts: int) -> Watched:
    """The monitor of a mix over counts from bucket `first` on; those before `alerts` are only held against."""
    per_bucket = definition.step_s // STEP_S
    whole = len(answered) // per_bucket * per_bucket
    hours = answered[:whole].reshape(-1, per_bucket, answered.shape[1]).sum(axis=1)
    counts = [
        (at_ns(first + t * per_bucket), model, float(hours[t, at]))
        for at, model in enumerate(scene.models)
        for t in np.flatnonzero(hours[:, at]).tolist()
    ]
    window = Window(start_ns=at_ns(alerts), end_ns=at_ns(first + whole))
    rows = mix_rows(definition.series, counts, window, definition.step_s, MixWindows.of(definition.band))
    watch = Watch(
        name=definition.series, definition=definition, before=Checkpoint(settled_ns=window.start_ns),
        alerts_ns=window.start_ns, until_ns=window.end_ns,
    )  # fmt: skip
    return watched(watch, rows, _heard, window.end_ns)


def _each(definition: Definition, count: int) -> Definition:
    """The same monitor over so many columns, each with the budget of one."""
    return replace(definition, by="release", false_pages_per_week=definition.false_pages_per_week * count)


def _rows(keys: Sequence[str], x: Floats, n: Floats, first: int) -> list[Row]:
    there = np.argwhere(np.isfinite(x))
    return [
        Row(key=keys[column], at_ns=at_ns(first + t), x=value, n=behind)
        for (t, column), value, behind in zip(
            there.tolist(), x[tuple(there.T)].tolist(), n[tuple(there.T)].tolist(), strict=True
        )
    ]


def _heard(_: str) -> tuple[str | None, bool]:
    return None, False


def incidents_of(events: Sequence[tuple[str, Event]], step_s: int = STEP_S) -> int:
    """The incidents that the alerts of one world join into, looked at as they come."""
    rules, known, number = IncidentRules(), dict[int, Incident](), 1
    for monitor, event in sorted(events, key=lambda one: (one[1].at_ns, one[1].kind is not EventKind.RESOLVED)):
        now = event.at_ns + step_s * NS_PER_S
        told = replace(event, told_ns=now, tells=True)
        news = News(app="shop", monitor=monitor, series=monitor, event=told)
        for some in ((), (news,)):  # what was quiet for long enough is closed before more is heard
            still = [one for one in known.values() if one.status is not IncidentStatus.CLOSED]
            joined = join(still, some, rules, next_number=number, now_ns=now)
            known |= {one.number: one for one in joined.incidents}
            number = joined.next_number
    return number - 1


# --- the rule of the slides -----------------------------------------------------------------------------------------


def slides_of(definition: Definition, scene: Scene, until: int) -> tuple[Ints, Floats]:
    """|x - mean| > 3 sigma of a moving mean, compared and then taken in, one breach fires: by world its alerts of the
    quiet weeks, and its delays. Only breaches on the bad side count, as of ours."""
    x = scene.quiet(definition.series)[0][:until]
    side = -1.0 if definition.direction is Direction.DOWN else 1.0
    breach, means, variances = _stepped(x, np.full(x.shape[1], np.nan), np.zeros(x.shape[1]), side)
    delay = scene.nothing()
    for number, run in enumerate(scene.runs):
        day, _ = scene.day(number, definition.series)
        mean, variance = (one[run.onset, scene.world_of(run)] for one in (means, variances))
        found, _, _ = _stepped(day, mean, variance, side)
        for at in np.flatnonzero(found.any(axis=0)).tolist():
            delay[number, at] = delay_of(at_ns(run.onset + int(found[:, at].argmax())), STEP_S, run)
    return _begins(breach[scene.learned :]).sum(axis=0), delay


def _stepped(x: Floats, mean: Floats, variance: Floats, side: float) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Breaches, and mean and variance before each bucket. A bucket without a value changes nothing."""
    breach, means, variances = np.zeros(x.shape, dtype=bool), np.empty(x.shape), np.empty(x.shape)
    for t, now in enumerate(x):
        means[t], variances[t] = mean, variance
        there = np.isfinite(now)
        mean = np.where(there & np.isnan(mean), now, mean)
        d = np.where(there, now - mean, 0.0)
        breach[t] = there & (side * d > SLIDES_K * np.sqrt(variance))
        mean = mean + SLIDES_ALPHA * d
        variance = np.where(there, (1 - SLIDES_ALPHA) * (variance + SLIDES_ALPHA * d * d), variance)
    return breach, means, variances


def _begins(breach: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where an alert begins: a breach with none in the buckets just before it."""
    found = breach.copy()
    for back in range(1, SLIDES_REST + 1):
        found[back:] &= ~breach[:-back]
    return found
