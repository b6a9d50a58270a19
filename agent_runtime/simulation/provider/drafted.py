"""An answer that is ready for the wire: the proposal with its calls named, its tokens counted and its length cut."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent_runtime.simulation.provider.asked import Call


class Stop(StrEnum):
    """Why the model stopped."""

    END = "end"
    CALLS = "calls"
    LENGTH = "length"


@dataclass(frozen=True, kw_only=True)
class Drafted:
    """One answer. `content` is the thought line and the text; `digest` names the request, `created` is in Unix s."""

    model: str
    content: str
    calls: tuple[Call, ...]
    stop: Stop
    input_tokens: int
    output_tokens: int
    digest: str
    created: int
