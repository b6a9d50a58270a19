"""A language model that clustering may ask, behind pydantic-ai: titles, and facets where that is wished.

What is asked holds text of strangers and what is answered is untrusted: replies are read up to a limit, as one JSON
object, and a model that fails is an answer that says so, never an error of the run. A request is tried again after 408,
409, 429, 5xx, a lost connection and a timeout; a key that is refused, a model that does not exist and five questions in
a row that failed end the asking.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from core.errors import InvalidInput

if TYPE_CHECKING:  # what asks models costs memory that a run without one need not spend
    from clustering.model_calls import Line

PROVIDERS: Final = ("openai", "anthropic", "simulated")
MOST_REPLY: Final = 262_144  # bytes of a reply that are read
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_NONCE: Final = re.compile(r"[0-9a-f]{16,64}")
_MOST_IN_A_ROW: Final = 5


@dataclass(frozen=True, kw_only=True)
class ModelAccess:
    """How a model is reached. `url` None is the provider's own; `key` is never shown. `pauses_s` are those before each
    further try."""

    provider: str  # openai, anthropic or simulated
    name: str
    url: str | None = None
    key: str = field(default="none", repr=False)
    timeout_s: float = 60.0
    pauses_s: tuple[float, ...] = (1.0, 5.0)
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
    text: str | None,
    *,
    url: str | None = None,
    key: str | None = None,
    environment: Mapping[str, str],
    simulated_url: str | None = None,
) -> ModelAccess | None:
    """Reads `PROVIDER:NAME`; None where nothing is set. `url` is an OpenAI-compatible server's base URL and `key` opens
    it; without them the provider's own address and its key in `environment`, which no other server is given. Raises
    InvalidInput that says what is wrong."""
    if not text or not text.strip():
        return None
    provider, _, name = text.strip().partition(":")
    if provider not in PROVIDERS or not _MODEL.fullmatch(name):
        listed = ", ".join(f"{one}:NAME" for one in PROVIDERS)
        raise InvalidInput(f"{text[:80]!r} names no model; write one of {listed}", field="clusters_model")
    if url is not None:
        _check_url(provider, url)
        return ModelAccess(provider=provider, name=name, url=url, key=key or "none")
    if provider == "simulated":
        if not simulated_url:
            raise InvalidInput("there is no simulated provider here; name another model", field="clusters_model")
        return ModelAccess(provider=provider, name=name, url=simulated_url)
    prefix = provider.upper()
    own = environment.get(f"{prefix}_BASE_URL") or None
    key = key or environment.get(f"{prefix}_API_KEY", "")
    if not key and own is None:
        said = f"{provider}:{name} needs a key: set {prefix}_API_KEY or ASSAY_CLUSTERS_MODEL_KEY"
        raise InvalidInput(said, field="clusters_model")
    return ModelAccess(provider=provider, name=name, url=own, key=key or "none")


def ask_all(
    access: ModelAccess, questions: Sequence[Question], done: Callable[[int, int], None] = lambda n, total: None
) -> list[Answer]:
    """Answers in the order of the questions; `done` is told how many there are, and what it raises ends the asking.
    Runs its own event loop: not for callers that are in one."""
    return asyncio.run(_ask_all(access, questions, done)) if questions else []


def fenced(parts: Sequence[str], nonce: str) -> str:
    """Untrusted texts between two lines that hold `nonce` (16 to 64 hex digits), which is taken out of them first, so
    that no text can end the fence. Raises InvalidInput for another nonce."""
    if not _NONCE.fullmatch(nonce):
        raise InvalidInput("a fence needs a nonce of 16 to 64 hex digits", field="nonce")
    pattern = re.compile(re.escape(nonce), re.IGNORECASE)
    text = "\n".join(parts)
    while pattern.search(text):  # also such as its removal makes
        text = pattern.sub("", text)
    return f"<<<{nonce}\n{text}\n{nonce}>>>"


def json_object(text: str) -> Mapping[str, Any] | None:
    """The first JSON object of a reply, whatever stands around it; None where there is none."""
    at = text.find("{")
    if at < 0:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


async def _ask_all(
    access: ModelAccess, questions: Sequence[Question], done: Callable[[int, int], None]
) -> list[Answer]:
    from clustering.model_calls import opened

    asking = _Asking(gate=asyncio.Semaphore(access.concurrency))
    async with opened(access, MOST_REPLY) as line:
        tasks = [asyncio.create_task(asking.answer(line, question)) for question in questions]
        try:
            for n, task in enumerate(asyncio.as_completed(tasks), start=1):
                await task
                done(n, len(tasks))
        finally:
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return [one.result() for one in tasks]


@dataclass(kw_only=True)
class _Asking:
    """One round of questions; `hopeless` says why no further one is asked."""

    gate: asyncio.Semaphore
    hopeless: str | None = None
    in_a_row: int = 0

    async def answer(self, line: Line, question: Question) -> Answer:
        async with self.gate:
            if self.hopeless is not None:
                return Answer(values=None, failed=self.hopeless)
            said = await line.ask(question)
        if said.reply is None:
            self.in_a_row += 1
            if said.final or self.in_a_row >= _MOST_IN_A_ROW:
                self.hopeless = f"the model is not asked further: {said.failed}"
            return Answer(values=None, failed=said.failed)
        self.in_a_row = 0
        values = json_object(said.reply)
        return Answer(
            values=values,
            failed=None if values is not None else "the model's reply holds no JSON object",
            cost_usd=said.cost_usd,
        )


def _check_url(provider: str, url: str) -> None:
    if provider != "openai":
        raise InvalidInput(
            "a URL names an OpenAI-compatible server: write the model as openai:NAME", "clusters_model_url"
        )
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username or parts.password or parts.query or parts.fragment or any(c.isspace() for c in url):
        raise InvalidInput(f"{url[:80]!r} is no base URL; write it as https://host/v1", field="clusters_model_url")
