"""Which running experiment a session takes part in: by hash of its user or of itself, and for how long it stays.

A session is enrolled when it begins, or never: one that was seen before the experiment started, or before a ramp let
its user in, stays where it was. One that was enrolled keeps its arm, which the hash says again at every request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from experiments.records import Definition, UnitKind
from experiments.splits import override_of, placed
from gateway.sticky import Kept


@dataclass(frozen=True, kw_only=True)
class Running:
    """A running experiment over releases, with the coverage that holds, and the addresses of its releases where they
    are known. `overrides`: hash of a unit under `override_key` -> variant."""

    definition: Definition
    coverage: float
    endpoints: Mapping[str, str | None] = field(default_factory=dict)
    overrides: Mapping[str, str | None] = field(default_factory=dict)
    override_key: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        """NAME:VERSION, as it is stamped."""
        return self.definition.salt


RunningOf = Callable[[str, str], Sequence[Running]]  # of a tenant and an app


@dataclass(frozen=True, kw_only=True)
class Enrolled:
    """The arm that a session meets. `endpoint` None: nobody said."""

    experiment: str
    variant: str
    release: str
    endpoint: str | None
    is_tester: bool = False

    @property
    def arm(self) -> str:
        """What the session is remembered by."""
        return f"{self.experiment}/{self.variant}"


def enrolled(running: Sequence[Running], user: str, session: str, kept: Kept | None) -> Enrolled | None:
    """The arm of a session, None for one that is in no experiment. `kept`: what is remembered of it, None: it begins
    now. A tester's variant wins over everything."""
    found = [(one, each) for one in running if (each := _placed(one, user, session)) is not None]
    for _, each in found:
        if each.is_tester:
            return each
    for _, each in found:
        if kept is None or kept.arm.startswith(f"{each.experiment}/"):
            return each
    return _as_it_began(running, user, kept)


def _placed(one: Running, user: str, session: str) -> Enrolled | None:
    unit = user if one.definition.unit is UnitKind.USER else session
    if not unit:
        return None
    tester = override_of(one.overrides, one.override_key, unit)
    found = placed(one.definition, one.coverage, unit, tester=tester)
    if found.variant is None or found.release is None:
        return None
    return Enrolled(
        experiment=one.id,
        variant=found.variant,
        release=found.release,
        endpoint=one.endpoints.get(found.release),
        is_tester=not found.counts,
    )


def _as_it_began(running: Sequence[Running], user: str, kept: Kept | None) -> Enrolled | None:
    """The arm that a session was given, where this request does not say again whose it is."""
    if kept is None or user:
        return None
    for one in running:
        for arm in one.definition.arms:
            if kept.arm == f"{one.id}/{arm.variant}" and arm.release is not None:
                address = one.endpoints.get(arm.release)
                return Enrolled(experiment=one.id, variant=arm.variant, release=arm.release, endpoint=address)
    return None
