"""A session as its facets are made of it: what was said, what was done, and what the spans say of it. Records only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoken:
    """A message. `role` is user or assistant, `turn` counts from 0."""

    role: str
    turn: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Called:
    """A tool call, arguments by name. `result` is text as it was written."""

    turn: int
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    result: str | None = None
    error: str | None = None
    duration_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A model call; `asked` and `answered` name the model that was asked for and the one that answered."""

    turn: int
    asked: str | None = None
    answered: str | None = None
    duration_ms: float | None = None
    input_tokens: int | None = None
    finish_reasons: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One session in order of turn and time. `agents` are the names of its agents as they come up, `retrieved` the ids
    of documents by retrieval, `errors` what failed beside tools and models (name: what), `broken` whether the last
    turn failed as a whole, `texts` each retrieved document's id with a hash of its text."""

    messages: tuple[Spoken, ...] = ()
    calls: tuple[Called, ...] = ()
    models: tuple[Asked, ...] = ()
    agents: tuple[str, ...] = ()
    retrieved: tuple[tuple[str, ...], ...] = ()
    errors: tuple[str, ...] = ()
    n_turns: int = 0
    broken: bool = False
    release: str | None = None
    texts: tuple[tuple[str, int], ...] = ()

    def said_by(self, role: str) -> list[str]:
        """The texts of a role's messages, in order."""
        return [one.text for one in self.messages if one.role == role]
