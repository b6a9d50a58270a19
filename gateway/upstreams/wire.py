"""What an upstream's wire has to do: from a call in OpenAI's shape to a request, and from its answer back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.errors import CallFailed
from gateway.records import Answer, Call, Target, Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """One request: its path (and query) after the upstream's base URL, its headers with the key, its body."""

    path: str
    headers: dict[str, str]
    body: bytes


class EventReader(Protocol):
    """Reads one streamed answer. What it yields does not depend on how the bytes were cut into pieces.

    `finished`: the provider said that it is whole. `failure`: an error event came, or what cannot be read; whatever
    `feed` returned before and with it still counts, nothing comes after it. `usage`: what the provider has reported,
    None before it did; `reported` is False in it while only the input was counted. `n_characters`: of the output.
    """

    finished: bool
    failure: CallFailed | None
    usage: Usage | None
    n_characters: int

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """The OpenAI chunks that are complete with this piece. Never raises."""

    def end(self) -> list[dict[str, Any]]:
        """The upstream closed its side in good order: what was held back, and whether that makes it `finished`."""


class Wire(Protocol):
    """One way to speak to a provider. `provider` is its name in the GenAI conventions."""

    provider: str

    def request(self, call: Call, target: Target, key: str) -> Outgoing:
        """The request that asks `target`. Raises BadCall for what this provider cannot do."""

    def answer(self, call: Call, body: bytes) -> dict[str, Any]:
        """A whole answer in OpenAI's shape. Raises CallFailed when it is none."""

    def reader(self, call: Call) -> EventReader:
        """A fresh reader of a streamed answer."""

    def error(self, status: int, body: bytes) -> CallFailed:
        """What an error answer of the provider means to the caller; UpstreamFailed where another attempt may help."""


class OpenStream(Protocol):
    """A streamed answer that has begun: chunks in OpenAI's shape, as many at a time as arrived together.

    The last chunk carries the usage with `choices` empty, whether the caller asked for it or not.
    """

    def __aiter__(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Raises UpstreamFailed when the upstream breaks off, hangs, or says what cannot be read."""

    async def close(self) -> None:
        """Gives the connection back, or drops it when the stream is not at its end. Never raises."""


class Upstreams(Protocol):
    """Everything that can answer. Both methods fill in the call's attempts, `answered_by`, `provider`, `usage`,
    `simulated`, `fallback_reason` and `upstream_ns`, also when they raise CallFailed. A stream's usage is
    known once it has ended or was closed."""

    async def ask(self, call: Call) -> Answer:
        """A whole answer from the first target that gives one."""

    async def open(self, call: Call) -> OpenStream:
        """A stream whose first chunk has arrived: until then other targets are tried."""
