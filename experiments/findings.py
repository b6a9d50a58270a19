"""What each metric says of each treatment, so that the whole keeps the design's error rate.

- Primary: at its design's boundary, alpha split over the treatments (Bonferroni). With a margin it is a test of no loss
  beyond the margin, else of a difference.
- Guardrails: "worse" means a loss beyond the margin is shown, by Holm over all guardrails and treatments on p-values
  that hold at every look. "Not worse" means a loss beyond the margin is excluded; since shipping needs that of every
  guardrail, no correction is due (intersection-union test, Berger 1982, Technometrics 24:295).
- Secondary: Benjamini-Hochberg on p-values that hold at every look, over the secondary metrics and treatments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluators.statistics.multiplicity import benjamini_hochberg, holm
from experiments.analysed import Finding
from experiments.looks import Held, Path, Plan, held
from experiments.records import Better, MetricRole, MetricSpec
from experiments.statistics.effects import Contrast
from experiments.statistics.records import NoEffect


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """One metric of one treatment: the path that is decided by, and what came of it. `against_margin`, `against_none`:
    held against the margin's end and against no difference."""

    spec: MetricSpec
    variant: str
    path: Path
    against_margin: Held
    against_none: Held
    finding: Finding = Finding.UNSETTLED
    p_adjusted: float | None = None


def weighed(spec: MetricSpec, variant: str, path: Path, taken: Plan, alpha: float) -> Weighed:
    """Holds a path against its margin and against no difference; the finding comes with the family, by `settled`."""
    none = held(path, taken, alpha)
    slack = margin_of(spec, path.last)
    margin = held(path, taken, alpha, -slack if spec.better is Better.HIGHER else slack) if slack else none
    return Weighed(spec=spec, variant=variant, path=path, against_margin=margin, against_none=none)


def margin_of(spec: MetricSpec, found: Contrast | NoEffect) -> float:
    """The margin in the metric's unit; a relative one as a share of the control's mean at this look, whose own error is
    small beside the difference's (by the factor of the margin)."""
    if not spec.margin:
        return 0.0
    if not spec.relative:
        return spec.margin
    return 0.0 if isinstance(found, NoEffect) else spec.margin * abs(found.control.mean)


def settled(all_weighed: Sequence[Weighed], alpha: float, n_treatments: int) -> list[Weighed]:
    """Findings of all metrics and treatments with their families' corrections, in the order given."""
    by_role = {role: [one for one in all_weighed if one.spec.role is role] for role in MetricRole}
    done = {
        **{id(one): _primary(one, alpha, n_treatments) for one in by_role[MetricRole.PRIMARY]},
        **_guardrails(by_role[MetricRole.GUARDRAIL], alpha),
        **_secondary(by_role[MetricRole.SECONDARY], alpha),
    }
    return [done[id(one)] for one in all_weighed]


def _primary(one: Weighed, alpha: float, n_treatments: int) -> Weighed:
    if isinstance(one.path.last, NoEffect):
        return replace(one, finding=Finding.MISSING)
    none, margin = one.against_none, one.against_margin
    p = min(1.0, n_treatments * min(none.above_p, none.below_p))
    good, bad = _sides(one.spec)
    if none.crossed == good:
        return replace(one, finding=Finding.BETTER, p_adjusted=p)
    if margin.crossed == bad:
        return replace(one, finding=Finding.WORSE, p_adjusted=p)
    if one.spec.margin and margin.crossed == good:
        return replace(one, finding=Finding.NOT_WORSE, p_adjusted=p)
    return replace(one, finding=Finding.UNSETTLED, p_adjusted=p)


def _guardrails(family: Sequence[Weighed], alpha: float) -> dict[int, Weighed]:
    there = [one for one in family if not isinstance(one.path.last, NoEffect)]
    done = {id(one): replace(one, finding=Finding.MISSING) for one in family if one not in there}
    harm = holm([_p(one.against_margin, _sides(one.spec)[1]) for one in there])
    for one, p in zip(there, harm, strict=True):
        if p <= alpha:
            finding = Finding.WORSE
        elif one.against_margin.crossed == _sides(one.spec)[0]:
            finding = Finding.NOT_WORSE
        else:
            finding = Finding.UNSETTLED
        done[id(one)] = replace(one, finding=finding, p_adjusted=p)
    return done


def _secondary(family: Sequence[Weighed], alpha: float) -> dict[int, Weighed]:
    there = [one for one in family if not isinstance(one.path.last, NoEffect)]
    done = {id(one): replace(one, finding=Finding.MISSING) for one in family if one not in there}
    told = benjamini_hochberg([min(one.against_none.above_p, one.against_none.below_p) for one in there])
    for one, p in zip(there, told, strict=True):
        up = one.against_none.above_p < one.against_none.below_p
        side = Finding.BETTER if up == (one.spec.better is Better.HIGHER) else Finding.WORSE
        done[id(one)] = replace(one, finding=side if p <= alpha else Finding.UNSETTLED, p_adjusted=p)
    return done


def _sides(spec: MetricSpec) -> tuple[str, str]:
    """Which side of the held value is good and which is bad."""
    return ("above", "below") if spec.better is Better.HIGHER else ("below", "above")


def _p(one: Held, side: str) -> float:
    return one.above_p if side == "above" else one.below_p
