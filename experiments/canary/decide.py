"""The gate of a canary step: what was counted against the policy, to roll back, promote, hold or wait, with reasons.

Pure. Every reason carries the figure and the figure that it was held against.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.errors import InvalidInput
from experiments.canary.records import CanaryPolicy, Guardrail
from experiments.canary.watched import Counts, Watched, watched


class Act(StrEnum):
    """What is to be done. Wait: time and units are not there yet. Hold: they are, and evidence is missing or does not
    suffice; traffic stays as it is until it does, or until a person acts."""

    ROLL_BACK = "roll_back"
    PROMOTE = "promote"
    HOLD = "hold"
    WAIT = "wait"


class Finding(StrEnum):
    """What is known of one guardrail."""

    OK = "ok"  # neither harm nor its absence is shown
    NOT_WORSE = "not_worse"
    HARM = "harm"
    MISSING = "missing"


class Cause(StrEnum):
    """What was held against what."""

    HARM = "harm"  # the highest e-value for harm, 1 / alpha of the guardrail
    VIOLATION = "violation"  # the candidate's units with a violation, how many are tolerated
    BAKING = "baking"  # seconds of mature traffic in the step, those asked for
    FEW_UNITS = "few_units"  # mature units of the candidate in the step, those asked for
    NO_SCORES = "no_scores"  # scored units of an arm in the step, 1
    MISSING_SCORES = "missing_scores"  # the share of an arm's units without a score, what is borne
    NOT_PROVED = "not_proved"  # the e-value for non-inferiority, 1 / alpha
    PROVED = "proved"  # the same
    NO_HARM = "no_harm"  # the same as of harm
    NO_VIOLATION = "no_violation"  # the same as of a violation


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One reason: `value` was held against `bound`. `guardrail` None: of the step as a whole."""

    cause: Cause
    guardrail: str | None
    value: float
    bound: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One guardrail's figures. `alpha`, the boundaries and e-values are None of zero tolerance. `e_harm` is the highest
    so far: what was proved once stays proved. `boundary` is 1 / alpha of this guardrail."""

    guardrail: Guardrail
    finding: Finding
    alpha: float | None
    boundary: float | None
    e_harm: float | None
    boundary_non_inferior: float | None
    e_non_inferior: float | None
    counts: Counts
    in_step: Counts


@dataclass(frozen=True, kw_only=True)
class AtStep:
    """Where the rollout is: the step's place in the policy (from 0), when it was entered, and now."""

    index: int
    entered_at_ns: int
    now_ns: int


@dataclass(frozen=True, kw_only=True)
class StepDecision:
    """What a step's gate says, with the figures of every guardrail in the policy's order."""

    act: Act
    reasons: tuple[Reason, ...]
    figures: tuple[Figures, ...]


def step_gate(policy: CanaryPolicy, states: Mapping[str, Watched], at: AtStep) -> StepDecision:
    """What the evidence says at this step.

    Harm and violations come first, whatever else is missing or not due. Then time and units; then evidence that is
    missing; then, in a step that proves, what is not proved. A guardrail without a state has no units. Raises
    InvalidInput for a step that the policy does not have.
    """
    if not 0 <= at.index < len(policy.steps):
        raise InvalidInput(f"step {at.index} of {len(policy.steps)}: steps count from 0")
    alphas = policy.alphas()
    known = [states.get(one.name) or watched(one) for one in policy.guardrails]
    lacks = {one.guardrail.name: list(_missing(policy, one, at)) for one in known}
    figures = tuple(
        _figures(one, policy.alpha, alphas.get(one.guardrail.name), lacks[one.guardrail.name]) for one in known
    )
    harm = tuple(_harm(one) for one in figures if one.finding is Finding.HARM)
    if harm:
        return StepDecision(act=Act.ROLL_BACK, reasons=harm, figures=figures)
    missing = tuple(reason for reasons in lacks.values() for reason in reasons)
    early = tuple(_early(policy, known, at))
    if any(reason.cause is Cause.BAKING for reason in early) or (early and not missing):
        return StepDecision(act=Act.WAIT, reasons=early + missing, figures=figures)
    if early or missing:
        return StepDecision(act=Act.HOLD, reasons=missing + early, figures=figures)
    proofs = tuple(_proof(one) for one in figures if one.alpha is not None) if policy.proving(at.index) else ()
    unproved = tuple(reason for reason in proofs if reason.cause is Cause.NOT_PROVED)
    if unproved:
        return StepDecision(act=Act.HOLD, reasons=unproved, figures=figures)
    return StepDecision(act=Act.PROMOTE, reasons=tuple(_unharmed(one) for one in figures) + proofs, figures=figures)


def _figures(state: Watched, alpha: float, part: float | None, missing: list[Reason]) -> Figures:
    e_harm = state.harm.highest_e if state.harm else None
    e_other = state.non_inferior.e_value if state.non_inferior else None
    if part is None or e_harm is None or e_other is None:
        harmed, shown = state.total.failures_candidate > state.guardrail.tolerated, False
    else:
        harmed, shown = e_harm >= 1 / part, e_other >= 1 / alpha
    calm = Finding.MISSING if missing else Finding.NOT_WORSE if shown else Finding.OK
    return Figures(
        guardrail=state.guardrail,
        finding=Finding.HARM if harmed else calm,
        alpha=part,
        boundary=None if part is None else 1 / part,
        e_harm=e_harm,
        boundary_non_inferior=None if part is None else 1 / alpha,
        e_non_inferior=e_other,
        counts=state.total,
        in_step=state.in_step,
    )


def _early(policy: CanaryPolicy, known: list[Watched], at: AtStep) -> Iterator[Reason]:
    """Traffic of a step has baked when what began in it is mature: from `mature_s` after the step was entered."""
    step = policy.steps[at.index]
    baked = max(0.0, (at.now_ns - at.entered_at_ns) / 1e9 - policy.mature_s)
    if baked < step.bake_s:
        text = f"{baked:.0f} s of mature traffic in this step, {step.bake_s:.0f} s asked for"
        yield Reason(cause=Cause.BAKING, guardrail=None, value=baked, bound=step.bake_s, text=text)
    for one in known:
        n = one.in_step.n_candidate
        if n < step.min_units:
            name, text = one.guardrail.name, f"{n} mature units of the candidate in this step"
            text = f"{name}: {text}, {step.min_units} asked for"
            yield Reason(cause=Cause.FEW_UNITS, guardrail=name, value=n, bound=step.min_units, text=text)


def _missing(policy: CanaryPolicy, state: Watched, at: AtStep) -> Iterator[Reason]:
    """What lacks in this step. There is no baseline beside a candidate that has all the traffic."""
    name, counts = state.guardrail.name, state.in_step
    arms = [("candidate", counts.n_candidate, counts.n_missing_candidate)]
    if policy.steps[at.index].weight < 1:
        arms.append(("baseline", counts.n_baseline, counts.n_missing_baseline))
    for arm, n, n_missing in arms:
        if n == 0:
            text = (
                f"{name}: 0 scored units of the {arm} in this step, at least 1 is needed ({n_missing} without a score)"
            )
            yield Reason(cause=Cause.NO_SCORES, guardrail=name, value=0, bound=1, text=text)
        elif n_missing / (n + n_missing) > policy.max_missing_share:
            share, most = n_missing / (n + n_missing), policy.max_missing_share
            text = f"{name}: {share:.1%} of the {arm}'s {n + n_missing} units have no score, at most {most:.1%} may"
            yield Reason(cause=Cause.MISSING_SCORES, guardrail=name, value=share, bound=most, text=text)


def _harm(one: Figures) -> Reason:
    if one.boundary is None or one.e_harm is None:
        return _violations(one, Cause.VIOLATION)
    text = (
        f"{one.guardrail.name}: e-value for harm {_plain(one.e_harm)}, boundary {_plain(one.boundary)}; {_rates(one)}"
    )
    name = one.guardrail.name
    return Reason(cause=Cause.HARM, guardrail=name, value=one.e_harm, bound=one.boundary, text=text)


def _unharmed(one: Figures) -> Reason:
    if one.boundary is None or one.e_harm is None:
        return _violations(one, Cause.NO_VIOLATION)
    name = one.guardrail.name
    text = f"{name}: highest e-value for harm {_plain(one.e_harm)}, boundary {_plain(one.boundary)}; {_rates(one)}"
    return Reason(cause=Cause.NO_HARM, guardrail=name, value=one.e_harm, bound=one.boundary, text=text)


def _violations(one: Figures, cause: Cause) -> Reason:
    n, most, name = one.counts.failures_candidate, one.guardrail.tolerated, one.guardrail.name
    text = f"{name}: {n:g} of {one.counts.n_candidate} units of the candidate with a violation, {most} tolerated"
    return Reason(cause=cause, guardrail=name, value=n, bound=most, text=text)


def _proof(one: Figures) -> Reason:
    e, bound, name = one.e_non_inferior or 0.0, one.boundary_non_inferior or 0.0, one.guardrail.name
    cause = Cause.PROVED if e >= bound else Cause.NOT_PROVED
    claim = f"worse by less than {one.guardrail.margin:.1%}"
    text = f"{name}: e-value for {claim} {_plain(e)}, boundary {_plain(bound)}; {_rates(one)}"
    return Reason(cause=cause, guardrail=name, value=e, bound=bound, text=text)


def _rates(one: Figures) -> str:
    def arm(rate: float | None, n: int) -> str:
        return "no unit" if rate is None else f"{rate:.2%} of {n} units"

    counts = one.counts
    candidate, baseline = arm(counts.rate_candidate, counts.n_candidate), arm(counts.rate_baseline, counts.n_baseline)
    return f"failures: candidate {candidate}, baseline {baseline}"


def _plain(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.2e}"
