"""A rollout's policy as JSON: written canonically, so that its hash names it, and read back with what is wrong with it.

{"steps": [{"weight": 0.01, "min_units": 20, "bake_s": 1800, "proves": null}, ...], "alpha": 0.05, "mature_s": 60,
 "max_missing_share": 0.1, "unit": "session",
 "guardrails": [{"name": "resolution", "kind": "rate", "better": "higher", "margin": 0.05, "alpha_share": 0.35,
                 "tolerated": 0}, ...],
 "requires": {"gate": false, "checks": [], "approval": false}, "bypass": null}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final

from core.errors import InvalidInput
from experiments.canary.records import DEFAULT_GUARDRAILS, CanaryPolicy, Guardrail, GuardrailKind, Step
from experiments.metrics import metric_or_own
from experiments.records import Better, UnitKind
from experiments.rollouts.records import Requires, RolloutPolicy

WEIGHTS: Final = (0.01, 0.05, 0.25, 0.5, 1.0)
BAKE_S: Final = 1800.0
MIN_UNITS: Final = 20
MOST_STEPS: Final = 50
LEAST_SHARE: Final = 1e-4  # of sessions, of the candidate and of the baseline
MOST_GUARDRAILS: Final = 20
MODEL_AS_REGISTERED: Final = "model_as_registered"
# Beside the defaults, what can be asked for by name alone; any other name is an evaluator's.
KNOWN: Final = (
    {one.name: one for one in DEFAULT_GUARDRAILS}
    | {MODEL_AS_REGISTERED: Guardrail(name=MODEL_AS_REGISTERED, kind=GuardrailKind.ZERO_TOLERANCE)}
    | {
        name: Guardrail(name=name, kind=GuardrailKind.EXCEEDS, margin=0.05, alpha_share=0.15)
        for name in ("latency", "p50_latency", "p99_latency", "tokens", "turns")
    }
)


def guardrail_named(name: str, better: Better | None = None) -> Guardrail:
    """The guardrail of this name with its defaults: one of KNOWN, or the failures that an evaluator tells. Raises
    InvalidInput for a name that is neither, unless it is said which way is better."""
    if name in KNOWN:
        return KNOWN[name]
    return Guardrail(name=name, better=metric_or_own(name, better).better, margin=0.05, alpha_share=0.35)


def steps_of(
    weights: Sequence[float] = WEIGHTS, *, bake_s: float = BAKE_S, min_units: int = MIN_UNITS
) -> tuple[Step, ...]:
    """Canary steps of these shares. 1 is what a promotion gives: it has nothing beside it and is not waited at; where
    it is left out it is added. Raises InvalidInput for shares that do not rise, or leave no step to look at."""
    if not weights or len(weights) > MOST_STEPS:
        raise InvalidInput(f"a canary has 1 to {MOST_STEPS} steps", field="steps")
    if any(not 0 < one <= 1 for one in weights):
        raise InvalidInput("a step's weight is above 0 and at most 1 (100 %)", field="steps")
    if any(one < LEAST_SHARE or 1 - LEAST_SHARE < one < 1 for one in weights):
        raise InvalidInput("a step below 100 % is from 0.01 % to 99.99 %, so that both releases get sessions", "steps")
    if any(one >= other for one, other in pairwise(weights)):
        told = ", ".join(f"{100 * one:g} %" for one in weights)
        raise InvalidInput(f"the weights do not rise: {told}; each step gives the candidate more", field="steps")
    watched = [one for one in weights if one < 1]
    if not watched:
        raise InvalidInput(
            "a canary has a step below 100 %, with the baseline beside it; where testing would do harm, say so: "
            "--bypass REASON",
            field="steps",
        )
    last = Step(weight=1.0, min_units=0, bake_s=0.0)
    return (*(Step(weight=one, min_units=min_units, bake_s=bake_s) for one in watched), last)


def policy_json(policy: RolloutPolicy) -> dict[str, Any]:
    """The policy as a JSON object."""
    canary = policy.canary
    return {
        "steps": [asdict(one) for one in canary.steps],
        "guardrails": [
            {**asdict(one), "kind": one.kind.value, "better": one.better.value} for one in canary.guardrails
        ],
        "alpha": canary.alpha,
        "mature_s": canary.mature_s,
        "max_missing_share": canary.max_missing_share,
        "unit": policy.unit.value,
        "requires": {**asdict(policy.requires), "checks": list(policy.requires.checks)},
        "bypass": None if policy.bypass is None else {"reason": policy.bypass},
    }


def policy_of(said: Mapping[str, Any]) -> RolloutPolicy:
    """The policy that `policy_json` wrote. Raises InvalidInput."""
    guardrails = tuple(
        Guardrail(**{**one, "kind": GuardrailKind(one["kind"]), "better": Better(one["better"])})
        for one in said["guardrails"]
    )
    if len(guardrails) > MOST_GUARDRAILS:
        raise InvalidInput(f"a rollout has at most {MOST_GUARDRAILS} guardrails", field="guardrails")
    canary = CanaryPolicy(
        steps=tuple(Step(**one) for one in said["steps"]),
        guardrails=guardrails,
        alpha=said["alpha"],
        mature_s=said["mature_s"],
        max_missing_share=said["max_missing_share"],
    )
    requires = said["requires"]
    return RolloutPolicy(
        canary=canary,
        unit=UnitKind(said["unit"]),
        requires=Requires(gate=requires["gate"], checks=tuple(requires["checks"]), approval=requires["approval"]),
        bypass=None if said["bypass"] is None else said["bypass"]["reason"],
    )


def hash_of(said: Mapping[str, Any]) -> str:
    """SHA-256 of a policy's canonical JSON, in hex."""
    text = json.dumps(said, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()
