"""The certificate that an automatic action of a rollout leaves: all that it was decided from, and what follows from it.

It holds the counts of every block, chained by SHA-256, the policy with its hash, the e-values and boundaries, the
decision with its reasons, and a digest over all of it. `verify` computes everything again from the counts, so a figure
that was changed shows even where its digest was made anew. What no arithmetic can show - that the counts are those of
the traffic - is left to the control database, whose rows are sealed, and to `verify_all`, by which each certificate
holds what the one before it held.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final

from core.errors import InvalidInput
from experiments.canary.decide import Act, AtStep, Figures, StepDecision, step_gate
from experiments.canary.records import Block, CanaryPolicy, Guardrail, GuardrailKind, Step
from experiments.canary.watched import Watched, replayed, watched
from experiments.records import Better

KIND: Final = "assay.canary_certificate"
FORMAT: Final = 1
_SAME: Final = 1e-9  # relative: what another machine's logarithm may differ by
_COUNTS: Final = (
    "at_ns",
    "n_candidate",
    "failures_candidate",
    "n_baseline",
    "failures_baseline",
    "n_missing_candidate",
    "n_missing_baseline",
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a rollout is of."""

    rollout: str
    app: str
    baseline: str
    candidate: str


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What one guardrail has counted: every block since the rollout began; the baseline's failures and units before it
    (0 of 0: not used); the threshold of a guardrail of the kind exceeds."""

    blocks: Sequence[Block] = ()
    history: tuple[float, float] = (0.0, 0.0)
    threshold: float | None = None


def make(
    subject: Subject,
    policy: Mapping[str, Any],
    ledgers: Mapping[str, Ledger],
    at: AtStep,
    *,
    previous: str | None = None,
) -> dict[str, Any]:
    """The certificate of what the gate says at this step from these counts.

    `policy` is the rollout's policy as JSON; what it says beyond the canary's part is hashed with it. `previous`: the
    digest of the rollout's certificate before this one. Raises InvalidInput for a policy or counts that cannot be.
    """
    canary = canary_policy(policy)
    counted = {one.name: ledgers.get(one.name, Ledger()) for one in canary.guardrails}
    states = {one.name: _replayed(one, counted[one.name], at, canary.mature_s) for one in canary.guardrails}
    body: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        **asdict(subject),
        "step": at.index,
        "entered_at_ns": at.entered_at_ns,
        "at_ns": at.now_ns,
        "policy": dict(policy),
        "policy_hash": hashed(policy),
        "evidence": {name: _ledger_json(ledger) for name, ledger in counted.items()},
        **decision_json(step_gate(canary, states, at)),
        "previous": previous,
    }
    return {**body, "digest": hashed(body)}


def hashed(value: Any) -> str:
    """SHA-256, in hex, of canonical JSON: keys sorted, no spaces, ASCII."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()


def canary_policy(said: Mapping[str, Any]) -> CanaryPolicy:
    """The canary's part of a rollout's policy. Raises InvalidInput."""
    try:
        guardrails = tuple(
            Guardrail(**{**one, "kind": GuardrailKind(one["kind"]), "better": Better(one["better"])})
            for one in said["guardrails"]
        )
        return CanaryPolicy(
            steps=tuple(Step(**one) for one in said["steps"]),
            guardrails=guardrails,
            **{name: said[name] for name in ("alpha", "mature_s", "max_missing_share")},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"not the policy of a rollout: {error}") from error


def decision_json(decision: StepDecision) -> dict[str, Any]:
    """A decision as JSON: `decision`, `reasons` and `figures` by guardrail."""
    return {
        "decision": decision.act.value,
        "reasons": [{**asdict(one), "cause": one.cause.value} for one in decision.reasons],
        "figures": {one.guardrail.name: _figures_json(one) for one in decision.figures},
    }


def verify(certificate: Mapping[str, Any]) -> list[str]:
    """What is wrong with it, a sentence each; empty: everything follows from the counts and the policy in it."""
    try:
        body = {key: value for key, value in certificate.items() if key != "digest"}
        if (body["kind"], body["format"]) != (KIND, FORMAT):
            return [f"this is {body['kind']!r}, format {body['format']!r}; only {KIND}, format {FORMAT}, is known here"]
        at = AtStep(index=body["step"], entered_at_ns=body["entered_at_ns"], now_ns=body["at_ns"])
        subject = Subject(**{name: body[name] for name in ("rollout", "app", "baseline", "candidate")})
        evidence = body["evidence"]
        again = make(
            subject,
            body["policy"],
            {name: _ledger_of(one) for name, one in evidence.items()},
            at,
            previous=body["previous"],
        )
        problems = [] if hashed(body) == certificate["digest"] else ["digest: the certificate is not as it was written"]
        problems.extend(_out_of_order(evidence))
        return problems + list(_differences({**again, "digest": None}, {**body, "digest": None}, ""))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, InvalidInput) as error:
        return [f"not a certificate of a canary: {type(error).__name__}: {error}"]


def verify_all(certificates: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with a rollout's certificates, oldest first: each alone, that each holds all that the one before
    it held and names its digest, and that nothing follows a roll back."""
    problems = [f"certificate {n}: {text}" for n, one in enumerate(certificates, 1) for text in verify(one)]
    if problems:
        return problems
    before: Mapping[str, Any] | None = None
    for n, one in enumerate(certificates, 1):
        problems.extend(f"certificate {n}: {text}" for text in _follows(before, one))
        before = one
    return problems


def _follows(before: Mapping[str, Any] | None, one: Mapping[str, Any]) -> list[str]:
    if one["previous"] != (before["digest"] if before else None):
        return ["previous: it does not follow the certificate before it"]
    if before is None:
        return []
    found = []
    if before["decision"] == Act.ROLL_BACK.value:
        found.append("it follows a roll back, after which nothing is decided")
    if one["at_ns"] < before["at_ns"] or one["step"] < before["step"]:
        found.append(f"at_ns, step: {one['at_ns']}, {one['step']} is before {before['at_ns']}, {before['step']}")
    subject = ("rollout", "app", "baseline", "candidate", "policy_hash")
    found.extend(f"{name}: {one[name]!r}, before {before[name]!r}" for name in subject if one[name] != before[name])
    for name, then in before["evidence"].items():
        now = one["evidence"].get(name, {"blocks": []})
        if now["blocks"][: len(then["blocks"])] != then["blocks"]:
            found.append(f"evidence.{name}: blocks that were counted before are other ones now")
        fixed = [part for part in ("history", "threshold") if then[part] is not None and now.get(part) != then[part]]
        found.extend(f"evidence.{name}.{part}: {now.get(part)!r}, before {then[part]!r}" for part in fixed)
    return found


def _out_of_order(evidence: Mapping[str, Any]) -> list[str]:
    """Blocks that entered before the one that stands before them."""
    entered = {name: [row[0] for row in one["blocks"]] for name, one in evidence.items()}
    return [f"evidence.{name}: blocks are not in the order of time" for name, at in entered.items() if at != sorted(at)]


def _replayed(guardrail: Guardrail, ledger: Ledger, at: AtStep, mature_s: float) -> Watched:
    failures, units = ledger.history
    start = watched(guardrail, history_failures=failures, history_units=units)
    return replayed(start.at_step(at.entered_at_ns, mature_s), ledger.blocks)[0]


def _ledger_json(ledger: Ledger) -> dict[str, Any]:
    rows = [[getattr(block, name) for name in _COUNTS] for block in ledger.blocks]
    chain = hashed([list(ledger.history), ledger.threshold])
    for row in rows:
        chain = hashed([chain, row])
    return {"history": list(ledger.history), "threshold": ledger.threshold, "blocks": rows, "chain": chain}


def _ledger_of(said: Mapping[str, Any]) -> Ledger:
    blocks = [Block(**dict(zip(_COUNTS, row, strict=True))) for row in said["blocks"]]
    failures, units = said["history"]
    return Ledger(blocks=blocks, history=(failures, units), threshold=said["threshold"])


def _figures_json(one: Figures) -> dict[str, Any]:
    guardrail = one.guardrail
    return {
        "kind": guardrail.kind.value,
        "finding": one.finding.value,
        "alpha": one.alpha,
        "boundary": one.boundary,
        "e_harm": one.e_harm,
        "boundary_non_inferior": one.boundary_non_inferior,
        "e_non_inferior": one.e_non_inferior,
        "margin": guardrail.margin,
        "tolerated": guardrail.tolerated,
        "rate_candidate": one.counts.rate_candidate,
        "rate_baseline": one.counts.rate_baseline,
        "counts": asdict(one.counts),
        "in_step": asdict(one.in_step),
    }


def _differences(again: Any, told: Any, at: str) -> list[str]:
    """Where what was told is not what is computed again."""
    if isinstance(again, Mapping) and isinstance(told, Mapping):
        found = []
        for key in sorted({*again, *told}):
            place = f"{at}.{key}" if at else str(key)
            if key not in again or key not in told:
                found.append(f"{place}: is {'there' if key in told else 'not there'}, and should not be so")
            else:
                found.extend(_differences(again[key], told[key], place))
        return found
    if isinstance(again, list) and isinstance(told, list) and len(again) == len(told):
        pairs = zip(again, told, strict=True)
        return [text for n, (one, other) in enumerate(pairs) for text in _differences(one, other, f"{at}[{n}]")]
    return [] if _same(again, told) else [f"{at}: says {told!r}; computed again it is {again!r}"]


def _same(one: Any, other: Any) -> bool:
    if type(one) is float and type(other) in (int, float):
        return math.isclose(one, other, rel_tol=_SAME)
    return type(one) is type(other) and bool(one == other)
