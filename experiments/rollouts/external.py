"""Judging a candidate whose traffic somebody else steers, from the traces of both releases alone. Pure.

Nothing is kept between two looks. Blocks are cut at times that are fixed by when the candidate was first seen, so that
every look adds blocks to those of the look before, and what holds of e-processes holds of the looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from experiments.canary.certificate import Ledger, Subject, make
from experiments.canary.decide import Act, AtStep
from experiments.canary.maturity import Cohort
from experiments.canary.records import Block
from experiments.rollouts.evidence import NS_PER_S, Arms, Past, blocks_of
from experiments.rollouts.policy import policy_json
from experiments.rollouts.records import RolloutPolicy

MOST_AGE_NS: Final = 7 * 86_400 * NS_PER_S  # how far back a candidate is looked for
SILENCE_NS: Final = 300 * NS_PER_S
# How long blocks are, until how long after the candidate was first seen: a minute, then ten, then an hour.
_LENGTHS: Final = ((7200, 60), (86_400, 600), (8 * 86_400, 3600))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Both releases, and when the candidate's first session began: from then on both are compared."""

    candidate: str
    baseline: str
    since_ns: int


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is to be done, why, and the certificate of it. `act` may be to hold where the certificate promotes: when
    sessions stopped coming, which no count tells. None: there is nothing to compare yet."""

    act: Act
    reasons: tuple[str, ...]
    seen: Seen | None = None
    certificate: Mapping[str, Any] | None = None


def cohorts(since_ns: int, until_ns: int) -> list[Cohort]:
    """The whole cohorts from `since_ns` that are over at `until_ns`."""
    found, at = [], since_ns
    for most_s, length_s in _LENGTHS:
        while at < since_ns + most_s * NS_PER_S and at + length_s * NS_PER_S <= until_ns:
            found.append(Cohort(from_ns=at, until_ns=at + length_s * NS_PER_S))
            at = found[-1].until_ns
    return found


def seen_in(frame: pl.DataFrame, candidate: str, baseline: str | None, since_ns: int | None) -> Seen | None:
    """Who is compared since when. A baseline that is not named is the release that had most other sessions, before the
    candidate came if there are any; None: the candidate has none, or there is no other."""
    began = frame.filter(pl.col("release") == candidate)["start_ns"].min()
    if not isinstance(began, int):
        return None
    since = began if since_ns is None else since_ns
    others = frame.filter((pl.col("release") != candidate) & pl.col("release").is_not_null())
    if baseline is None:
        before = others.filter(pl.col("start_ns") < since)
        counted = (before if before.height else others).group_by("release").len().sort("len", "release")
        if not counted.height:
            return None
        baseline = str(counted["release"][-1])
    return Seen(candidate=candidate, baseline=baseline, since_ns=since)


def judged(
    app: str, frame: pl.DataFrame, seen: Seen, arms: Arms, past: Past, policy: RolloutPolicy, *, now_ns: int
) -> Judged:
    """What the sessions in `frame` say; `past` is the baseline's, before `seen.since_ns`."""
    since, mature_ns = seen.since_ns, round(policy.canary.mature_s * NS_PER_S)
    rows = frame.filter(pl.col("start_ns") >= since)
    blocks: dict[str, list[Block]] = {one.name: [] for one in policy.canary.guardrails}
    for cohort in cohorts(since, now_ns - mature_ns):
        found = blocks_of(
            rows, cohort, policy.canary.guardrails, arms,
            unit=policy.unit, thresholds=past.thresholds, mature_s=policy.canary.mature_s,
        )  # fmt: skip
        for name, block in found.items():
            blocks[name].append(block)
    ledgers = {
        name: Ledger(blocks=each, history=past.history.get(name, (0.0, 0)), threshold=past.thresholds.get(name))
        for name, each in blocks.items()
    }
    subject = Subject(rollout="external", app=app, baseline=seen.baseline, candidate=seen.candidate)
    at = AtStep(index=0, entered_at_ns=since, now_ns=max(now_ns, since))
    made = make(subject, policy_json(policy), ledgers, at)
    act, texts = Act(made["decision"]), tuple(one["text"] for one in made["reasons"])
    silent = _silence(rows, seen, now_ns - mature_ns)
    if act is Act.PROMOTE and silent:
        act, texts = Act.HOLD, silent
    return Judged(act=act, reasons=texts, seen=seen, certificate=made)


def _silence(rows: pl.DataFrame, seen: Seen, until_ns: int) -> tuple[str, ...]:
    """Releases of which no session began for long before `until_ns`; one that began later has a fast clock."""
    texts, come = [], rows.filter(pl.col("start_ns") <= until_ns)
    for name in (seen.candidate, seen.baseline):
        newest = come.filter(pl.col("release") == name)["start_ns"].max()
        since = until_ns - (newest if isinstance(newest, int) else seen.since_ns)
        if since > SILENCE_NS:
            limit = SILENCE_NS // NS_PER_S
            texts.append(f"no session of {name} began in the last {since // NS_PER_S} s, at most {limit} s may pass")
    return tuple(texts)
