"""Traffic shifts to the hard tasks: no failing of the agent, and it must not be taken for one."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from agent_runtime.simulation.faults.fault import Effect, Fault, Seam
from agent_runtime.simulation.scenario import Difficulty, Scenario


def _hard(scenarios: Sequence[Scenario], chance: Random) -> Scenario:
    hard = [each for each in scenarios if each.difficulty is Difficulty.HARD] or list(scenarios)
    return hard[chance.randrange(len(hard))]


FAULT = Fault(
    name="harder_users",
    seam=Seam.USERS,
    what="the session plays a hard task",
    lowers=Effect(fact="difficulty", change=+1, unit="share of hard tasks"),
    applies=lambda scenario: True,
    choose=_hard,
)
