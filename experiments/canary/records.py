"""What a canary is judged by: guardrails, the blocks of units that enter, and the policy that says when to go on.

Every score here is a failure from 0 to 1 of one unit: 1 is bad. An unresolved session, an errored session, a turn
slower than the threshold: whoever makes the blocks turns the metric round where higher is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import Final

from core.errors import InvalidInput
from experiments.records import Better

MAX_SHARES: Final = 1e-9  # room for floating point where shares of alpha are summed


class GuardrailKind(StrEnum):
    """Rate: the score is a failure rate. Exceeds: the share of a unit's observations beyond a threshold fixed from the
    baseline's past. Zero tolerance: the units with a violation, counted; chance has no part in it."""

    RATE = "rate"
    EXCEEDS = "exceeds"
    ZERO_TOLERANCE = "zero_tolerance"


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """What a candidate must not make worse. `margin`: by how much its failure rate may be above the baseline's and
    still count as no worse (absolute, 0 to 1). `better`: of the metric as users know it. `alpha_share`: its part of
    alpha, relative to those of the others. `tolerated`: how many units of the candidate with a violation are borne."""

    name: str
    kind: GuardrailKind = GuardrailKind.RATE
    better: Better = Better.LOWER
    margin: float = 0.05
    alpha_share: float = 1.0
    tolerated: int = 0

    def __post_init__(self) -> None:
        """Raises InvalidInput."""
        if not 0 < self.margin < 1:
            raise InvalidInput(f"guardrail {self.name}: margin is {self.margin}; write a share between 0 and 1")
        if not 0 < self.alpha_share < inf:
            raise InvalidInput(f"guardrail {self.name}: alpha_share is {self.alpha_share}; write a number above 0")
        if self.tolerated < 0:
            raise InvalidInput(f"guardrail {self.name}: tolerated is {self.tolerated}; write a count from 0 on")


@dataclass(frozen=True, kw_only=True)
class Block:
    """What entered at `at_ns`: units of both arms whose first sessions began in the same span of time and are mature.

    `failures_*` are sums over units of a score from 0 to 1, so at most the number of units. Units without a score are
    in `n_missing_*` only.
    """

    at_ns: int
    n_candidate: int
    failures_candidate: float
    n_baseline: int
    failures_baseline: float
    n_missing_candidate: int = 0
    n_missing_baseline: int = 0

    def __post_init__(self) -> None:
        """Raises InvalidInput: a sum that no scores from 0 to 1 can have would break what the e-values promise."""
        counts = (self.n_candidate, self.n_baseline, self.n_missing_candidate, self.n_missing_baseline)
        if any(n < 0 for n in counts):
            raise InvalidInput(f"a block counts {min(counts)} units; counts are from 0 on")
        for arm, n, failures in (
            ("candidate", self.n_candidate, self.failures_candidate),
            ("baseline", self.n_baseline, self.failures_baseline),
        ):
            if not 0 <= failures <= n + MAX_SHARES * max(1, n):
                raise InvalidInput(f"a block has {failures} failures of {n} units of the {arm}; write 0 to {n}")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One canary step: the candidate's share of sessions, how many of its units it takes, and for how long at least.
    `proves`: whether it is left only when every guardrail is shown to be no worse than its margin; None: the last
    step that still has a baseline beside it does, the others do not."""

    weight: float
    min_units: int
    bake_s: float
    proves: bool | None = None

    def __post_init__(self) -> None:
        """Raises InvalidInput."""
        if not 0 < self.weight <= 1:
            raise InvalidInput(f"a step's weight is {self.weight}; write a share above 0, at most 1")
        if self.min_units < 0 or not 0 <= self.bake_s < inf:
            raise InvalidInput(f"a step asks for {self.min_units} units and {self.bake_s} s; write numbers from 0 on")


@dataclass(frozen=True, kw_only=True)
class CanaryPolicy:
    """`alpha`: the chance, over a whole rollout however often it is looked at, that a candidate which is no worse in
    any guardrail is rolled back by a rate; and the chance that one which is worse than a margin is promoted as proved.
    `mature_s`: how old a unit is before it counts. `max_missing_share`: of the units of an arm without a score."""

    steps: tuple[Step, ...]
    guardrails: tuple[Guardrail, ...]
    alpha: float = 0.05
    mature_s: float = 60.0
    max_missing_share: float = 0.1

    def __post_init__(self) -> None:
        """Raises InvalidInput."""
        if not 0 < self.alpha < 1:
            raise InvalidInput(f"alpha is {self.alpha}; write a chance between 0 and 1")
        if not 0 <= self.max_missing_share < 1 or not 0 <= self.mature_s < inf:
            raise InvalidInput(
                f"max_missing_share is {self.max_missing_share} and mature_s {self.mature_s}; "
                "write a share below 1 and seconds from 0 on"
            )
        weights = [step.weight for step in self.steps]
        if not weights or any(one >= other for one, other in pairwise(weights)):
            raise InvalidInput(f"the steps' weights are {weights}; write at least one, each above the one before")
        names = [one.name for one in self.guardrails]
        if not names or len(set(names)) < len(names):
            raise InvalidInput(f"the guardrails are {names}; write at least one, each once")

    def alphas(self) -> Mapping[str, float]:
        """Alpha split by shares over the guardrails that are a matter of chance, by name; it sums to alpha (a union
        bound over e-processes). Zero tolerance takes none."""
        spending = [one for one in self.guardrails if one.kind is not GuardrailKind.ZERO_TOLERANCE]
        whole = sum(one.alpha_share for one in spending)
        return {one.name: self.alpha * one.alpha_share / whole for one in spending}

    def proving(self, index: int) -> bool:
        """Whether the step at `index` (from 0) is left by proof only."""
        asked = self.steps[index].proves
        if asked is not None:
            return asked
        beside = [i for i, step in enumerate(self.steps) if step.weight < 1]
        return bool(beside) and index == beside[-1]


# Of alpha, half goes to what users meet first and what has most failures to learn from; speed and cost share the rest.
DEFAULT_GUARDRAILS: Final = (
    Guardrail(name="resolution", better=Better.HIGHER, margin=0.05, alpha_share=0.35),
    Guardrail(name="safety", kind=GuardrailKind.ZERO_TOLERANCE),
    Guardrail(name="error_rate", margin=0.02, alpha_share=0.35),
    Guardrail(name="p95_latency", kind=GuardrailKind.EXCEEDS, margin=0.05, alpha_share=0.15),
    Guardrail(name="cost", kind=GuardrailKind.EXCEEDS, margin=0.05, alpha_share=0.15),
)
