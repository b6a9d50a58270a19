"""Judges a candidate whose traffic a deployment tool steers: reads its sessions and the baseline's, decides, keeps
nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from core.clock import Clock, to_datetime
from core.errors import InvalidInput
from core.windows import Window
from experiments.canary.decide import Act
from experiments.rollouts.evidence import NS_PER_S, Arms, past_of
from experiments.rollouts.external import MOST_AGE_NS, Judged, judged, seen_in
from experiments.rollouts.records import RolloutPolicy
from experiments.service_sessions import sessions_of
from store.control.control import Control
from store.control.rollout_records import RolloutStatus
from store.tenant import TenantStore

NEWEST: Final = "newest"  # a candidate of this name is the release that was registered last
PAST_NS: Final = 86_400 * NS_PER_S  # of the baseline, before the candidate came
AHEAD_NS: Final = 3600 * NS_PER_S  # clocks of agents that are fast


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Whom to judge: `baseline` None is the release with most other sessions, `since_ns` None when the candidate was
    first seen."""

    app: str
    candidate: str
    policy: RolloutPolicy
    baseline: str | None = None
    since_ns: int | None = None


def judge_external(control: Control, store: TenantStore, clock: Clock, asked: Asked) -> Judged:
    """What is to be done with the candidate now. Raises InvalidInput for a moment that lies too far back or ahead, and
    where the newest release is asked for and none is registered."""
    now = clock()
    if asked.since_ns is not None and not now - MOST_AGE_NS <= asked.since_ns <= now:
        raise InvalidInput(
            f"since lies {'ahead' if asked.since_ns > now else 'too far back'}; name a moment of the last seven days",
            "since",
        )
    candidate = asked.candidate if asked.candidate != NEWEST else _newest(control, store, asked.app)
    rolled = [one for one in control.rollouts(store.tenant, asked.app) if one.status is RolloutStatus.ROLLED_BACK]
    if gone := next((one for one in rolled if one.candidate == candidate), None):
        return Judged(act=Act.ROLL_BACK, reasons=(f"rollout {gone.rollout_id} rolled {candidate} back, for good",))
    guardrails = asked.policy.canary.guardrails
    earliest = now - MOST_AGE_NS if asked.since_ns is None else asked.since_ns
    window = Window(start_ns=earliest - PAST_NS, end_ns=now + AHEAD_NS)
    frame = sessions_of(control, store, asked.app, window, guardrails)
    seen = seen_in(frame.filter(pl.col("start_ns") >= earliest), candidate, asked.baseline, asked.since_ns)
    if seen is None:
        since = to_datetime(earliest).isoformat(timespec="seconds")
        text = f"0 sessions of {candidate} beside those of another release since {since}, at least 1 of each is needed"
        return Judged(act=Act.HOLD, reasons=(text,))
    if seen.baseline == candidate:
        raise InvalidInput("candidate and baseline are one release; name two", "baseline")
    arms = Arms(
        candidate=candidate, baseline=seen.baseline, models=_models(control, store, asked.app, candidate, seen.baseline)
    )
    before = (pl.col("start_ns") < seen.since_ns) & (pl.col("start_ns") >= seen.since_ns - PAST_NS)
    past = past_of(frame.filter(before), guardrails, arms)
    return judged(asked.app, frame, seen, arms, past, asked.policy, now_ns=now)


def _newest(control: Control, store: TenantStore, app: str) -> str:
    known = control.releases(store.tenant, app)
    if not known:
        raise InvalidInput(f"no release of {app[:80]} is registered, so that none is the newest", "candidate")
    return max(known, key=lambda one: (one.created_at_ns, one.spec.name)).spec.name


def _models(control: Control, store: TenantStore, app: str, *names: str) -> dict[str, tuple[str, ...]]:
    known = {one.spec.name: one.spec.model or "" for one in control.releases(store.tenant, app)}
    return {
        name: tuple(each.strip() for each in known.get(name, "").split(",") if each.strip()) for name in names
    }  # fmt: skip
