"""The invented world of the demo: what people ask a shop's support agent, and what its turns look like.

Pure and seeded: the same `Random` gives the same conversations. Nothing here calls a model; every trace says so with
the resource attribute `assay.simulated`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from examples.shop_topics import FIRST_NAMES, FOLLOW_UP_REPLIES, FOLLOW_UPS, THINGS, TOPICS

SYSTEM_PROMPT: Final = (
    "You are the support agent of Larkspur, an online shop for outdoor gear. Answer briefly and kindly. "
    "Look things up before you state them. Refunds over 200 USD need a person: hand over."
)


@dataclass(frozen=True, kw_only=True)
class Release:
    """A version of the agent. Prices in USD per million tokens; the shares are of turns (errors) and of calls."""

    name: str
    variant: str
    model: str
    input_price: float
    output_price: float
    error_share: float
    tool_retry_share: float
    speed: float  # factor on the latency of model calls
    helpfulness: float  # mean of the judge's score


RELEASES: Final = (
    Release(
        name="v1",
        variant="control",
        model="gpt-4.1-mini",
        input_price=0.40,
        output_price=1.60,
        error_share=0.045,
        tool_retry_share=0.06,
        speed=0.8,
        helpfulness=0.74,
    ),
    Release(
        name="v2",
        variant="treatment",
        model="gpt-4.1",
        input_price=2.00,
        output_price=8.00,
        error_share=0.032,
        tool_retry_share=0.03,
        speed=1.1,
        helpfulness=0.84,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call inside a turn. Times in ms from the turn's start; `error` is an error type."""

    kind: str  # retrieval, chat, tool or http
    name: str
    start_ms: float
    end_ms: float
    input: str = ""
    output: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    ttft_ms: float = 0.0
    calls_tool: str | None = None
    documents: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a judge would say of the turn, sent as a gen_ai.evaluation.result event."""

    name: str
    value: float
    label: str
    explanation: str


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One user message to the agent's reply; `error` (a type) when there was none."""

    topic: str
    user_text: str
    reply: str | None
    duration_ms: float
    steps: tuple[Step, ...]
    history: tuple[tuple[str, str], ...]  # (role, text) before this turn
    evaluations: tuple[Evaluation, ...]
    error: str | None


class Session:
    """One user's conversation with one release; `next_turn` until `is_over`."""

    def __init__(self, random: Random, release: Release, number: int) -> None:
        self.release = release
        self.user = f"{random.choice(FIRST_NAMES)}-{random.randrange(400):03d}"
        self.number = number
        self._random = Random(random.getrandbits(64))
        self._topic = self._random.choices(TOPICS, weights=(5, 3, 4, 1, 2))[0]
        self._turns_left = self._random.choices((1, 2, 3, 4, 5, 6), weights=(4, 6, 5, 3, 2, 1))[0]
        self._history: list[tuple[str, str]] = []
        self._facts = {
            "order": f"LK-{self._random.randrange(10_000, 99_999)}",
            "number": f"{self._random.randrange(1_000, 9_999)}",
            "thing": self._random.choice(THINGS),
            "price": f"{self._random.randrange(25, 320)}",
            "day": self._random.choice(("on Monday", "tomorrow", "on Thursday", "by the weekend")),
            "mail": f"{self.user.split('-')[0]}@example.com",
        }

    @property
    def is_over(self) -> bool:
        """Whether the user has left."""
        return self._turns_left <= 0

    def next_turn(self) -> Turn:
        """The next question and all that the agent does about it."""
        random, first = self._random, not self._history
        follow_up = random.randrange(len(FOLLOW_UPS))
        question = random.choice(self._topic.opening) if first else FOLLOW_UPS[follow_up]
        reply = random.choice(self._topic.reply) if first else FOLLOW_UP_REPLIES[follow_up]
        text = question.format(**self._facts)
        steps, error = self._steps(text, reply.format(**self._facts), uses_tool=first or random.random() < 0.3)
        said = None if error else reply.format(**self._facts)
        turn = Turn(
            topic=self._topic.name,
            user_text=text,
            reply=said,
            duration_ms=steps[-1].end_ms + random.uniform(3, 20),
            steps=tuple(steps),
            history=tuple(self._history),
            evaluations=self._evaluations(error),
            error=error,
        )
        self._history += [("user", text), ("assistant", said or "")]
        self._turns_left = 0 if error and random.random() < 0.5 else self._turns_left - 1
        return turn

    def _steps(self, text: str, reply: str, *, uses_tool: bool) -> tuple[list[Step], str | None]:
        clock = _Clock(self._random)
        error = self._random.choice(("rate_limit_exceeded", "timeout", "content_filter")) if self._fails() else None
        if uses_tool and self._topic.query:
            clock.add(
                "retrieval", "help-center", 40, input=self._fill(self._topic.query), documents=self._topic.documents
            )
        if uses_tool:
            self._chat(clock, text, "", self._topic.tool, None)
            self._tool(clock)
        self._chat(clock, text, "" if error else reply, None, error)
        return clock.steps, error

    def _chat(self, clock: _Clock, text: str, reply: str, tool: str | None, error: str | None) -> None:
        seen = len(SYSTEM_PROMPT) + 900 + sum(len(part) for _, part in self._history) + len(text)
        output_tokens = 0 if error else (22 + self._random.randrange(12) if tool else len(reply) // 4 + 8)
        took_ms = (260 + 11 * output_tokens) * self.release.speed * self._random.lognormvariate(0, 0.35)
        clock.add(
            "chat",
            self.release.model,
            took_ms,
            input=text,
            output=reply,
            input_tokens=seen // 4,
            output_tokens=output_tokens,
            ttft_ms=min(took_ms * 0.8, 180 * self.release.speed * self._random.lognormvariate(0, 0.4)),
            calls_tool=tool,
            error=error,
        )

    def _tool(self, clock: _Clock) -> None:
        arguments, result = self._fill(self._topic.arguments), self._fill(self._topic.result)
        if self._random.random() < self.release.tool_retry_share:
            clock.add("tool", self._topic.tool, 2_000, input=arguments, output="upstream timed out", error="timeout")
        start_ms = clock.now_ms
        clock.add("tool", self._topic.tool, self._random.lognormvariate(4.2, 0.6), input=arguments, output=result)
        clock.add_inside("http", "GET /internal/orders", start_ms + 1, clock.now_ms - 1)

    def _fails(self) -> bool:
        return self._random.random() < self.release.error_share

    def _fill(self, template: str) -> str:
        return template.format(**self._facts)

    def _evaluations(self, error: str | None) -> tuple[Evaluation, ...]:
        if error or self._random.random() > 0.35:
            return ()
        value = min(1.0, max(0.0, self._random.gauss(self.release.helpfulness, 0.16)))
        label = "helpful" if value >= 0.6 else "unhelpful"
        said = "answers what was asked" if label == "helpful" else "leaves the question open"
        return (Evaluation(name="helpfulness", value=round(value, 3), label=label, explanation=said),)


class _Clock:
    """Steps one after the other, with the small gaps in which the agent itself works."""

    def __init__(self, random: Random) -> None:
        self.now_ms = random.uniform(2, 12)
        self.steps: list[Step] = []
        self._random = random

    def add(self, kind: str, name: str, took_ms: float, **fields: object) -> None:
        start_ms = self.now_ms
        self.now_ms = start_ms + took_ms
        self.steps.append(Step(kind=kind, name=name, start_ms=start_ms, end_ms=self.now_ms, **fields))  # type: ignore[arg-type]
        self.now_ms += self._random.uniform(0.5, 6)

    def add_inside(self, kind: str, name: str, start_ms: float, end_ms: float) -> None:
        self.steps.insert(-1, Step(kind=kind, name=name, start_ms=start_ms, end_ms=max(start_ms, end_ms)))


def conversation_before(turn: Turn) -> Sequence[tuple[str, str]]:
    """The messages a model call of this turn sees, oldest first."""
    return (*turn.history, ("user", turn.user_text))
