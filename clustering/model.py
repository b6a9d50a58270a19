"""A language model that clustering may ask, behind pydantic-ai: titles, and facets where that is wished.

What is asked holds text of strangers and what is answered is untrusted: replies are read up to a limit, as one JSON
object, and a model that fails is an answer that says so, never an error of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ModelAccess:
    """How a model is reached. `url` None is the provider's own; `key` is never shown."""

    provider: str  # openai, anthropic or simulated
    name: str
    url: str | None = None
    key: str = field(default="none", repr=False)
    timeout_s: float = 60.0
    n_tries: int = 3
    concurrency: int = 4

    @property
    def text(self) -> str:
        """As it is written in settings and records: PROVIDER:NAME."""
        return f"{self.provider}:{self.name}"


@dataclass(frozen=True, kw_only=True)
class Question:
    """One request: `instructions` as system text, `text` as the user's, and the JSON schema of the answer."""

    instructions: str
    text: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`values` is the answer's JSON object; where there is none `failed` says why. `cost_usd` None: not known."""

    values: Mapping[str, Any] | None
    failed: str | None = None
    cost_usd: float | None = None


def model_access(
    text: str | None, *, url: str | None = None, environment: Mapping[str, str], simulated_url: str | None = None
) -> ModelAccess | None:
    """Reads the setting `PROVIDER:NAME`; None where nothing is set. The key is ASSAY_CLUSTERS_MODEL_KEY of the
    environment, else the provider's own variable, which only its own address is given. Raises InvalidInput."""
    raise NotImplementedError


def ask_all(
    access: ModelAccess, questions: Sequence[Question], done: Callable[[int, int], None] = lambda n, total: None
) -> list[Answer]:
    """Answers in the order of the questions; `done` is told how many there are, and what it raises ends the asking.
    Runs its own event loop: not for callers that are in one."""
    raise NotImplementedError


def fenced(parts: Sequence[str], nonce: str) -> str:
    """Untrusted texts between two lines that hold `nonce` (16 to 64 hex digits), which is taken out of them first.
    Raises InvalidInput for another nonce."""
    raise NotImplementedError
