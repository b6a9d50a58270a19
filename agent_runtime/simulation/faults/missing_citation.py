"""Answers about policies name no source."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.scenario import Scenario

_CITATION: Final = re.compile(r"\s*\[(?:policy|help)-[a-z0-9-]+\]")


def _applies(scenario: Scenario) -> bool:
    return bool(scenario.goal.cites)


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    return replace(proposal, text=_CITATION.sub("", proposal.text))


FAULT = Fault(
    name="missing_citation",
    seam=Seam.MODEL,
    what="the document ids are left out of an answer that rests on them",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    alter_reply=_alter,
)
