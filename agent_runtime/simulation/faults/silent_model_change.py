"""The provider answers with another model than the one asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_runtime.simulation.faults.fault import Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation

OTHER_MODEL: Final = "sim-1-mini"


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    return replace(proposal, model=OTHER_MODEL)


FAULT = Fault(
    name="silent_model_change",
    seam=Seam.MODEL,
    what=f"the response names {OTHER_MODEL}, whatever was asked for",
    lowers=Effect(fact="response_model", change=0, unit=OTHER_MODEL),
    applies=lambda scenario: True,
    alter_reply=_alter,
)
