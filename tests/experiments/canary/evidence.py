"""A policy and blocks that tests of canaries share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.canary.decide import AtStep
from experiments.canary.records import Block, CanaryPolicy, Guardrail, GuardrailKind, Step
from experiments.canary.watched import Watched, replayed, watched

SECOND = 1_000_000_000
POLICY = CanaryPolicy(
    steps=(
        Step(weight=0.05, min_units=50, bake_s=600),
        Step(weight=0.5, min_units=100, bake_s=600),
        Step(weight=1.0, min_units=50, bake_s=600),
    ),
    guardrails=(
        Guardrail(name="resolution", margin=0.08, alpha_share=3),
        Guardrail(name="error_rate", margin=0.05, alpha_share=1),
        Guardrail(name="safety", kind=GuardrailKind.ZERO_TOLERANCE),
    ),
    mature_s=60,
)
RATES = {"resolution": 0.15, "error_rate": 0.03, "safety": 0.0}


def blocks(
    rate_candidate: float,
    rate_baseline: float,
    *,
    n: int = 40,
    many: int = 20,
    missing: tuple[int, int] = (0, 0),
    from_s: int = 60,
) -> list[Block]:
    """`many` blocks of `n` units an arm, 30 s apart from `from_s` on, each with the rates' share of failures as nearly
    as whole units allow; `missing` units in each."""
    rng = np.random.default_rng(7)
    return [
        Block(
            at_ns=(from_s + 30 * i) * SECOND,
            n_candidate=n,
            failures_candidate=float(rng.binomial(n, rate_candidate)),
            n_baseline=n,
            failures_baseline=float(rng.binomial(n, rate_baseline)),
            n_missing_candidate=missing[0],
            n_missing_baseline=missing[1],
        )
        for i in range(many)
    ]


def at_step(index: int, *, entered_s: int = 0, now_s: int = 700) -> AtStep:
    return AtStep(index=index, entered_at_ns=entered_s * SECOND, now_ns=now_s * SECOND)


def healthy(**other: Sequence[Block]) -> dict[str, Sequence[Block]]:
    """Blocks of a candidate that is as the baseline; `other` ones by guardrail."""
    return {name: blocks(rate, rate) for name, rate in RATES.items()} | other


def states(counted: Mapping[str, Sequence[Block]], at: AtStep, policy: CanaryPolicy = POLICY) -> dict[str, Watched]:
    return {
        one.name: replayed(watched(one).at_step(at.entered_at_ns, policy.mature_s), counted[one.name])[0]
        for one in policy.guardrails
        if one.name in counted
    }
