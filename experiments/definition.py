"""Definitions of experiments: from what somebody asks for to a record that says everything, or what is wrong with it.

Pure. `drawn_up` checks one definition by itself, `may_start` beside what is running.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from core.errors import Conflict, InvalidInput
from experiments.metrics import spec_of
from experiments.records import (
    Arm,
    AssignedBy,
    Better,
    Definition,
    Horizon,
    MetricRole,
    MetricSpec,
    UnitKind,
)
from experiments.registered import PLAIN

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
RELEASES: Final = "release"  # the layer of every experiment over releases: a session meets one release
MOST_ARMS: Final = 20
MOST_METRICS: Final = 30
MOST_STRATA: Final = 10
MOST_WEIGHT: Final = 1e9
MOST_DAYS: Final = 3650
LEAST_ALPHA: Final = 1e-6
CLOSE: Final = 1e-9


def drawn_up(name: str, app: str, asked: Mapping[str, Any], *, judges: Collection[str] = ()) -> Definition:
    """The definition that `asked` (the API's body, of right types) says, with defaults filled in. `judges`: names that
    metrics may have beside those of the table; more of them is better unless it is said. Raises InvalidInput naming
    the field."""
    if not NAME.fullmatch(name):
        _wrong("name", "a name has 1 to 63 of a-z, 0-9, dot, underscore and dash, and begins with a letter or digit")
    by = AssignedBy(asked.get("assigned_by", AssignedBy.GATEWAY))
    horizon = asked.get("horizon")
    found = Definition(
        name=name,
        app=app,
        version=1,
        unit=UnitKind(asked.get("unit", UnitKind.USER)),
        assigned_by=by,
        arms=_arms(asked["arms"], by),
        metrics=_metrics(asked["metrics"], judges),
        horizon=None if horizon is None else Horizon(units=horizon["units"], days=horizon.get("days")),
        strata=tuple(asked.get("strata", ())),
        slot=_slot(asked.get("slot", (0.0, 1.0))),
        **{key: asked[key] for key in PLAIN if key in asked},
    )
    _check(found)
    return found


def may_start(one: Definition, running: Sequence[Definition], releases: Collection[str]) -> None:
    """Raises InvalidInput for releases that are not registered, Conflict for an experiment of its layer that has units
    in common with it."""
    missing = sorted({arm.release for arm in one.arms if arm.release is not None} - set(releases))
    if missing and one.assigned_by is AssignedBy.GATEWAY:
        _wrong("arms", f"not registered for {one.app}: {', '.join(missing)}; assay releases register {one.app} NAME")
    beside = [other for other in running if other.layer == one.layer and other.name != one.name]
    for other in beside:
        if other.unit is not one.unit:
            raise Conflict(
                f"{other.name} is running in the layer {one.layer} over {other.unit.value}s, this is over "
                f"{one.unit.value}s: slots keep units of one kind apart; take that unit, or stop {other.name}"
            )
        if max(one.slot[0], other.slot[0]) < min(one.slot[1], other.slot[1]):
            free = max((high - low for low, high in gaps([each.slot for each in beside])), default=0.0)
            todo = f"--slot {free:g} takes what is free" if free else f"stop {other.name} first"
            raise Conflict(
                f"{other.name} is running and has {_slot_text(other.slot)} of the layer {one.layer}, this has "
                f"{_slot_text(one.slot)}: a unit would be in both; {todo}"
            )


def gaps(taken: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What slots leave of a layer, from below."""
    found, at = [], 0.0
    for low, high in [*sorted(taken), (1.0, 1.0)]:
        if low > at:
            found.append((at, low))
        at = max(at, high)
    return found


def slot_for(share: float, taken: Sequence[tuple[float, float]], layer: str) -> tuple[float, float]:
    """The lowest free slot of this share. Raises InvalidInput for a share that is none, Conflict when none is free."""
    if not 0 < share <= 1:
        _wrong("slot_share", "the share of a layer is above 0 and at most 1")
    free = gaps(taken)
    for low, high in free:
        if high - low >= share - CLOSE:
            return low, min(high, low + share)
    largest = max((high - low for low, high in free), default=0.0)
    todo = f"the largest is {largest:g}: take that, or" if largest else "all of it is taken:"
    raise Conflict(f"the layer {layer} has no free slot of {share:g}; {todo} stop one of its experiments")


def _wrong(field: str, text: str) -> None:
    raise InvalidInput(text, field=field)


def _arms(asked: Sequence[Mapping[str, Any]], by: AssignedBy) -> tuple[Arm, ...]:
    if not 2 <= len(asked) <= MOST_ARMS:
        _wrong("arms", f"an experiment has 2 to {MOST_ARMS} arms, the control first; this has {len(asked)}")
    arms = tuple(Arm(variant=a["variant"], release=a.get("release"), weight=float(a["weight"])) for a in asked)
    names = [arm.variant for arm in arms]
    if len(set(names)) < len(names):
        _wrong("arms", f"two arms are called {max(names, key=names.count)!r}; variants have names of their own")
    folded = [name.strip().casefold() for name in names]
    if len(set(folded)) < len(names):
        _wrong("arms", f"two arms are called {max(folded, key=folded.count)!r} but for case or spaces; tell them apart")
    for arm in arms:
        if not 0 < arm.weight <= MOST_WEIGHT:  # NaN neither
            _wrong("arms", f"the weight of {arm.variant!r} is {arm.weight:g}; weights are above 0")
        if arm.release is None and by is AssignedBy.GATEWAY:
            _wrong("arms", f"the gateway needs a release for {arm.variant!r}; or let the app assign: assigned_by app")
    total = math.fsum(arm.weight for arm in arms)
    if not any(math.isclose(total, whole, rel_tol=CLOSE) for whole in (1.0, 100.0)):
        _wrong("arms", f"the weights sum to {total:g}; shares sum to 1, percentages to 100")
    return arms


def _metrics(asked: Sequence[Mapping[str, Any]], judges: Collection[str]) -> tuple[MetricSpec, ...]:
    if not 1 <= len(asked) <= MOST_METRICS:
        _wrong("metrics", f"an experiment has 1 to {MOST_METRICS} metrics")
    found = tuple(_metric(one, judges) for one in asked)
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        _wrong("metrics", f"{max(names, key=names.count)!r} stands twice; a metric has one role")
    n_primary = sum(one.role is MetricRole.PRIMARY for one in found)
    if n_primary != 1:
        _wrong("metrics", f"one metric is the primary, by which is decided; this has {n_primary}")
    return found


def _metric(asked: Mapping[str, Any], judges: Collection[str]) -> MetricSpec:
    name, margin, relative = asked["name"], asked.get("margin"), asked.get("relative")
    if margin is not None and not 0 <= margin < (1.0 if relative else 1e12):  # NaN neither
        _wrong("metrics", f"the margin of {name!r} is {margin:g}; it is from 0 on, and as a share below 1")
    better = Better(asked["better"]) if asked.get("better") else Better.HIGHER if name in judges else None
    spec = spec_of(name, MetricRole(asked["role"]), better=better, margin=margin, relative=relative)
    if spec.binary and not relative and margin is not None and margin >= 1:
        _wrong("metrics", f"{name!r} is a share: a margin of {margin:g} holds nothing up; 2 points are 0.02")
    return spec


def _slot(asked: Sequence[float]) -> tuple[float, float]:
    if len(asked) != 2 or not 0 <= asked[0] < asked[1] <= 1:  # NaN neither
        _wrong("slot", "a slot is two shares from 0 to 1, the lower first")
    return float(asked[0]), float(asked[1])


def _check(one: Definition) -> None:
    """Raises InvalidInput for what is out of range."""
    horizon = one.horizon
    if horizon is not None and not len(one.arms) <= horizon.units <= 10**10:
        _wrong("horizon", f"a horizon is units over all arms, at least {len(one.arms)}; this is {horizon.units}")
    if horizon is not None and horizon.days is not None and not 1 <= horizon.days <= MOST_DAYS:
        _wrong("horizon", f"a horizon has 1 to {MOST_DAYS} days")
    if not LEAST_ALPHA <= one.alpha <= 0.2:
        _wrong("alpha", f"alpha is {one.alpha:g}; it is at least {LEAST_ALPHA:g} and at most 0.2")
    if not 0 <= one.holdout < 1:
        _wrong("holdout", f"the holdout is {one.holdout:g}; it is from 0 to below 1")
    if len(one.strata) > MOST_STRATA or len(set(one.strata)) < len(one.strata):
        _wrong("strata", f"strata are up to {MOST_STRATA} attributes, each once")
    if not NAME.fullmatch(one.layer):
        _wrong("layer", "a layer is called as an experiment is: 1 to 63 of a-z, 0-9, dot, underscore and dash")
    if one.assigned_by is AssignedBy.GATEWAY and one.layer != RELEASES:
        _wrong("layer", f"a session meets one release: what the gateway assigns is in the layer {RELEASES!r}, in slots")
    if not 0 <= one.covariate_days <= 90:
        _wrong("covariate_days", "a covariate is of 0 to 90 days before")
    if not 0 <= one.mature_s <= 30 * 86_400:
        _wrong("mature_s", "an outcome is awaited for 0 seconds to 30 days")


def _slot_text(slot: tuple[float, float]) -> str:
    return "the whole" if slot == (0.0, 1.0) else f"{slot[0]:g} to {slot[1]:g}"
