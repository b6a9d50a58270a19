"""The faults of a session, as the world recorded them, brought to the model's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent_runtime.simulation.faults.table import alter_reply
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.provider.drafting import Alter
from agent_runtime.simulation.world import World


def altering(faults_of: Callable[[str], Iterable[str]]) -> Alter:
    """Alters each session's proposals by the faults that `faults_of(session_id)` names."""

    def alter(proposal: Proposal, situation: Situation, release: str) -> Proposal:
        return alter_reply(faults_of(situation.session_id), proposal, situation)

    return alter


def planted_faults(world: World) -> Alter:
    """Alters proposals by the faults that world.db holds for the session; a session it does not know has none."""

    def faults_of(session_id: str) -> tuple[str, ...]:
        played = world.session(session_id) if session_id else None
        return played.faults if played else ()

    return altering(faults_of)
