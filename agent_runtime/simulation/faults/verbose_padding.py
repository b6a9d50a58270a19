"""Every reply is wrapped in phrases that say nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_runtime.simulation.faults.fault import Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation

PADDING: Final = (
    "Thank you so very much for getting in touch with us today, we truly value the trust you place in Larkspur. "
    "It is always a pleasure to hear from people who love the outdoors as much as we do. "
    "I have looked into this with great care and attention, and I want you to know how much it matters to us. "
    "Our whole team works hard every single day so that your time outside is as good as it can possibly be. "
)


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    if not proposal.text or proposal.calls or not situation.is_specialist:
        return proposal
    return replace(proposal, text=PADDING + proposal.text)


FAULT = Fault(
    name="verbose_padding",
    seam=Seam.MODEL,
    what="replies are several times as long and say no more",
    lowers=Effect(fact="output_tokens", change=+80, unit="tokens per reply, at least"),
    applies=lambda scenario: True,
    alter_reply=_alter,
)
