"""From sessions to blocks: what of them is a failure, by guardrail, and which of them enter when. Pure, over frames of
store/experiment_units.py with the columns `models` (of store/session_models.py) and `value:NAME`, `n:NAME`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from experiments.canary.maturity import Cohort, Outcome, block_of, exceeding, threshold_of
from experiments.canary.records import Block, Guardrail, GuardrailKind
from experiments.records import Better, UnitKind
from experiments.rollouts.policy import MODEL_AS_REGISTERED

NS_PER_S: Final = 1_000_000_000
SETTLE_NS: Final = 5 * NS_PER_S  # from a change of weights until every gateway obeys it
LATE_NS: Final = 900 * NS_PER_S  # a session that is first seen so long after it is due is still counted
FINEST: Final = 1000  # blocks of one length that a step would have
ENOUGH_PAST: Final = 50  # sessions of the baseline from which a threshold is fixed
LATENCIES: Final = {"p50_latency": 0.5, "latency": 0.95, "p95_latency": 0.95, "p99_latency": 0.99}
OF_SESSION: Final = {"cost": "cost_usd", "tokens": "tokens", "turns": "n_turns"}
_SHARE: Final = 0.9  # of the baseline's past sessions lie at or below the threshold of what is told once a session
ERROR_RATE: Final = "error_rate"


@dataclass(frozen=True, kw_only=True)
class Arms:
    """Both releases, and the models that each was registered with (empty: nobody said)."""

    candidate: str
    baseline: str
    models: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Past:
    """The baseline before the rollout. Of guardrails: thresholds, failures and units of what has scores, and the names
    of those of which no session says anything."""

    n_sessions: int
    thresholds: Mapping[str, float]
    history: Mapping[str, tuple[float, int]]
    silent: tuple[str, ...]


def told_by_scores(guardrail: Guardrail) -> bool:
    """Whether a guardrail is an evaluator's, not a matter of spans."""
    return guardrail.name not in (ERROR_RATE, MODEL_AS_REGISTERED, *LATENCIES, *OF_SESSION)


def past_of(frame: pl.DataFrame, guardrails: Sequence[Guardrail], arms: Arms) -> Past:
    """What the baseline's own sessions say before a rollout."""
    own = frame.filter(pl.col("release") == arms.baseline)
    thresholds = {}
    for one in guardrails:
        found = threshold(own, one)
        if found is not None:
            thresholds[one.name] = found
    history: dict[str, tuple[float, int]] = {}
    for one in guardrails:
        scores = [s for s, _ in _scores(own, one, arms, thresholds.get(one.name)) if s is not None]
        if scores:
            history[one.name] = (sum(scores), len(scores))
    silent = tuple(one.name for one in guardrails if one.name not in history)
    return Past(n_sessions=own.height, thresholds=thresholds, history=history, silent=silent)


def threshold(own: pl.DataFrame, guardrail: Guardrail) -> float | None:
    """Beyond which a value of the baseline's was rare. None of other kinds, and of under ENOUGH_PAST sessions."""
    if guardrail.kind is not GuardrailKind.EXCEEDS or own.height < ENOUGH_PAST:
        return None
    if guardrail.name in LATENCIES:
        values = own["latencies_ms"].explode().drop_nulls().to_list()
        return threshold_of(values, LATENCIES[guardrail.name])
    column = OF_SESSION.get(guardrail.name, f"value:{guardrail.name}")
    values = own[column].drop_nulls().to_list()
    return threshold_of(values, _SHARE) if len(values) >= ENOUGH_PAST else None


def cohort_of(seen_until_ns: int, begins_ns: int, newest_ns: int | None, now_ns: int, mature_s: float) -> Cohort | None:
    """The sessions to be counted next: those that are mature, and began before the newest that was seen, since what
    began after it may be on its way. A cohort lies on one side of `begins_ns`, when the step's weight was obeyed. It is
    as long as a part of the step so far: a step of days has some thousand blocks, not one a second."""
    if newest_ns is None:
        return None
    until = min(now_ns - round(mature_s * NS_PER_S), newest_ns + 1)
    if seen_until_ns < begins_ns:
        until, least_ns = min(until, begins_ns), 0
    else:
        least_ns = (now_ns - begins_ns) // FINEST
    return Cohort(from_ns=seen_until_ns, until_ns=until) if until - seen_until_ns > least_ns else None


def blocks_of(
    frame: pl.DataFrame,
    cohort: Cohort,
    guardrails: Sequence[Guardrail],
    arms: Arms,
    *,
    unit: UnitKind,
    thresholds: Mapping[str, float],
    mature_s: float,
    late: Collection[str] = (),
) -> dict[str, Block]:
    """A block of every guardrail that can be told now. `late`: sessions that were due before and are first seen now.

    Its time is when its first session was mature, so that it is of the step in which that began. Of zero tolerance
    every session is a unit, whoever's it is.
    """
    at_ns = cohort.from_ns + round(mature_s * NS_PER_S)
    of_arms = frame.filter(pl.col("release").is_in([arms.candidate, arms.baseline]))
    new = pl.col("start_ns") >= cohort.from_ns
    fresh = of_arms.filter((new & (pl.col("start_ns") < cohort.until_ns)) | pl.col("session_id").is_in(list(late)))
    found = {}
    for one in guardrails:
        if one.kind is GuardrailKind.EXCEEDS and one.name not in thresholds:
            continue
        alone = one.kind is GuardrailKind.ZERO_TOLERANCE or unit is UnitKind.SESSION
        rows = fresh if alone else of_arms
        outcomes = _outcomes(rows, one, arms, thresholds.get(one.name), by_user=not alone)
        wide = Cohort(from_ns=-(2**63), until_ns=2**63 - 1) if alone else cohort
        found[one.name] = block_of(
            outcomes, wide, at_ns, zero_tolerance=one.kind is GuardrailKind.ZERO_TOLERANCE
        )  # fmt: skip
    return found


def same_model(registered: str, seen: str) -> bool:
    """Whether a span's model is the registered one: the same name, without a provider before a slash, or a dated
    edition of it ("gpt-4o-2024-08-06" of "gpt-4o"), and not another one that begins alike ("gpt-4o-mini")."""
    wanted, found = registered.rpartition("/")[2], seen.rpartition("/")[2]
    if wanted == found:
        return True
    rest = found.removeprefix(wanted)
    return rest != found and rest[:1] in ("-", "@", ":") and rest[1:].replace("-", "").isdigit()


def counts_json(blocks: Mapping[str, Block], cohort: Cohort, sessions: tuple[int, int]) -> dict[str, Any]:
    """Blocks as they are kept: the cohort, how many sessions of candidate and baseline began in it, and of every
    guardrail units, failures and units without a score of the candidate, then of the baseline."""
    of = {
        name: [
            *(one.n_candidate, one.failures_candidate, one.n_missing_candidate),
            *(one.n_baseline, one.failures_baseline, one.n_missing_baseline),
        ]
        for name, one in blocks.items()
    }
    return {"from_ns": cohort.from_ns, "until_ns": cohort.until_ns, "sessions": list(sessions), "of": of}


def blocks_in(counts: Mapping[str, Any], mature_s: float) -> dict[str, Block]:
    """The blocks that `counts_json` wrote."""
    at_ns = counts["from_ns"] + round(mature_s * NS_PER_S)
    return {
        name: Block(
            at_ns=at_ns, n_candidate=n_c, failures_candidate=f_c, n_missing_candidate=m_c,
            n_baseline=n_b, failures_baseline=f_b, n_missing_baseline=m_b,
        )
        for name, (n_c, f_c, m_c, n_b, f_b, m_b) in counts["of"].items()
    }  # fmt: skip


def sessions_in(frame: pl.DataFrame, cohort: Cohort, arms: Arms) -> tuple[int, int]:
    """How many sessions of candidate and baseline began in a cohort."""
    began = frame.filter((pl.col("start_ns") >= cohort.from_ns) & (pl.col("start_ns") < cohort.until_ns))
    return tuple(began.filter(pl.col("release") == name).height for name in (arms.candidate, arms.baseline))  # type: ignore[return-value]


def _outcomes(
    rows: pl.DataFrame, guardrail: Guardrail, arms: Arms, limit: float | None, *, by_user: bool
) -> list[Outcome]:
    units = pl.coalesce("user_id", "session_id") if by_user else pl.col("session_id")
    about = rows.select(unit=units, candidate=pl.col("release") == arms.candidate, start_ns="start_ns").rows()
    scores = _scores(rows, guardrail, arms, limit)
    return [
        Outcome(unit=unit, candidate=candidate, began_at_ns=start_ns, score=score, observations=max(n, 1.0))
        for (unit, candidate, start_ns), (score, n) in zip(about, scores, strict=True)
    ]


def _scores(
    rows: pl.DataFrame, guardrail: Guardrail, arms: Arms, limit: float | None
) -> list[tuple[float | None, float]]:
    """Of every session its failure from 0 to 1 (None: not told) and of how many observations it is."""
    name = guardrail.name
    if name == ERROR_RATE:
        return [(float(n > 0), 1.0) for n in rows["n_errors"].to_list()]
    if name == MODEL_AS_REGISTERED:
        pairs = zip(rows["release"].to_list(), rows["models"].to_list(), strict=True)
        return [(_other_model(arms.models.get(release, ()), seen), 1.0) for release, seen in pairs]
    if name in LATENCIES:
        lists = [each or [] for each in rows["latencies_ms"].to_list()]
        return [(None if limit is None else exceeding(each, limit), float(len(each))) for each in lists]
    column = OF_SESSION.get(name, f"value:{name}")
    numbers = rows[f"n:{name}"].to_list() if told_by_scores(guardrail) else [1.0] * rows.height
    values = [_failure(value, guardrail, limit) for value in rows[column].to_list()]
    return list(zip(values, numbers, strict=True))


def _failure(value: float | None, guardrail: Guardrail, limit: float | None) -> float | None:
    if value is None:
        return None
    if guardrail.kind is GuardrailKind.EXCEEDS:
        return None if limit is None else float(value > limit)
    good = guardrail.better is Better.HIGHER or guardrail.kind is GuardrailKind.ZERO_TOLERANCE
    failure = 1 - value if good else value
    return failure if 0 <= failure <= 1 else None


def _other_model(registered: Sequence[str], seen: Sequence[str] | None) -> float | None:
    if not registered or not seen:
        return None
    return float(any(not any(same_model(one, each) for one in registered) for each in seen))
