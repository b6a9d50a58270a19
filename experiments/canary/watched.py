"""What is known of one guardrail so far: its e-processes and its counts, over the rollout and in the step at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.canary.eprocess import Harm, NonInferior, harm, non_inferior
from experiments.canary.records import Block, Guardrail, GuardrailKind


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sums over units of both arms."""

    n_candidate: int = 0
    failures_candidate: float = 0.0
    n_baseline: int = 0
    failures_baseline: float = 0.0
    n_missing_candidate: int = 0
    n_missing_baseline: int = 0

    def plus(self, block: Block) -> Counts:
        """With a block's."""
        return Counts(
            n_candidate=self.n_candidate + block.n_candidate,
            failures_candidate=self.failures_candidate + block.failures_candidate,
            n_baseline=self.n_baseline + block.n_baseline,
            failures_baseline=self.failures_baseline + block.failures_baseline,
            n_missing_candidate=self.n_missing_candidate + block.n_missing_candidate,
            n_missing_baseline=self.n_missing_baseline + block.n_missing_baseline,
        )

    @property
    def rate_candidate(self) -> float | None:
        """The candidate's failures a unit; None without a unit."""
        return self.failures_candidate / self.n_candidate if self.n_candidate else None

    @property
    def rate_baseline(self) -> float | None:
        """The baseline's failures a unit; None without a unit."""
        return self.failures_baseline / self.n_baseline if self.n_baseline else None


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One guardrail. `harm` and `non_inferior` are None of zero tolerance, which is counted, and go on over the steps.
    `in_step` is of the blocks whose units all began since the step did: those that entered from `step_from_ns` on."""

    guardrail: Guardrail
    harm: Harm | None
    non_inferior: NonInferior | None
    total: Counts = Counts()
    in_step: Counts = Counts()
    step_from_ns: int = 0

    def after(self, block: Block) -> Watched:
        """With one more block."""
        return replayed(self, [block])[0]

    def at_step(self, entered_at_ns: int, mature_s: float) -> Watched:
        """At the beginning of a step: its counts begin anew once units that began in it are mature."""
        return replace(self, in_step=Counts(), step_from_ns=entered_at_ns + round(mature_s * 1e9))


def watched(guardrail: Guardrail, *, history_failures: float = 0.0, history_units: float = 0.0) -> Watched:
    """A guardrail before its first block; the history is the baseline's before the rollout. Raises InvalidInput."""
    if guardrail.kind is GuardrailKind.ZERO_TOLERANCE:
        return Watched(guardrail=guardrail, harm=None, non_inferior=None)
    return Watched(
        guardrail=guardrail,
        harm=harm(history_failures, history_units),
        non_inferior=non_inferior(guardrail.margin, history_failures, history_units),
    )


def replayed(start: Watched, blocks: Sequence[Block]) -> tuple[Watched, tuple[float, ...], tuple[float, ...]]:
    """`start` after these blocks, with the natural logarithms after each of them of the e-values for harm and for
    non-inferiority; no such figures of zero tolerance."""
    total, in_step = start.total, start.in_step
    for block in blocks:
        total = total.plus(block)
        in_step = in_step.plus(block) if block.at_ns >= start.step_from_ns else in_step
    harmed, harm_path = (None, ()) if start.harm is None else start.harm.along(blocks)
    other, other_path = (None, ()) if start.non_inferior is None else start.non_inferior.along(blocks)
    return replace(start, harm=harmed, non_inferior=other, total=total, in_step=in_step), harm_path, other_path
