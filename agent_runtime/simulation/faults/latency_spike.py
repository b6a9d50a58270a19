"""The model answers late."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_runtime.simulation.faults.fault import Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation

_DELAY_MS: Final = 1_500.0


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    return replace(proposal, delay_ms=proposal.delay_ms + _DELAY_MS)


FAULT = Fault(
    name="latency_spike",
    seam=Seam.MODEL,
    what="every model call takes 1.5 seconds more",
    lowers=Effect(fact="latency_ms", change=_DELAY_MS, unit="ms per model call"),
    applies=lambda scenario: True,
    alter_reply=_alter,
)
