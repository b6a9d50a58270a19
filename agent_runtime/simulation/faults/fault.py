"""What a fault is, and whether a session has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from random import Random
from typing import Final

from agent_runtime.records import Document, Parameters
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.scenario import Scenario
from agent_runtime.tools.backend import Backend

TASK_SUCCESS: Final = "task_success"


class Seam(StrEnum):
    """Where a fault changes the course of a session."""

    MODEL = "model"
    BACKEND = "backend"
    DOCUMENTS = "documents"
    USERS = "users"
    PARAMETERS = "parameters"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a planted session shows: `fact` is task_success or another measured fact, `change` says how it moves.

    For task_success the change is -1: every planted session to which the fault applies fails.
    """

    fact: str
    change: float
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A planted fault. Only the function of its own seam (and, for some, `parameters`) does anything.

    `applies` says in which scenarios it bites: only there is it ever planted. `parameters` changes a planted
    session's parameters: what a careless release would have set.
    """

    name: str
    seam: Seam
    what: str
    lowers: Effect
    applies: Callable[[Scenario], bool]
    alter_reply: Callable[[Proposal, Situation], Proposal] | None = None
    wrap_backend: Callable[[Backend], Backend] | None = None
    documents: Callable[[Sequence[Document]], list[Document]] | None = None
    parameters: Callable[[Parameters], Parameters] | None = None
    choose: Callable[[Sequence[Scenario], Random], Scenario] | None = None

    @property
    def fails_task(self) -> bool:
        """Whether a planted session fails its task."""
        return self.lowers.fact == TASK_SUCCESS


def planted(seed: int, fault: str, session_id: str, rate: float) -> bool:
    """Whether chance plants `fault` in this session: a hash below the rate, so always the same answer."""
    digest = blake2b(f"{seed}\0{fault}\0{session_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < rate
