"""Asking models for a verdict. What a model does, however odd, ends in a Verdict; only wrong configuration raises.

A request is tried again after 408, 409, 429, 5xx, a lost connection, a timeout, and an answer that is no answer of the
API. A reply that holds no verdict is followed by one question to repair it, and by no more. MODEL_FAILED tells of the
moment and not of the target: it is not worth keeping.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from types import TracebackType
from typing import Final, Self

from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
)
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model

from core.errors import InvalidInput
from judges import pacing
from judges.content import Content
from judges.models import NEXT, Mode, first_mode, make_model, opening, repairing, request, text_of
from judges.parsing import parse_reply
from judges.pricing import cost_usd, tokens_of
from judges.prompt import Prompt, build, repair_text
from judges.reach import Access
from judges.records import MAX_RAW, JudgeSpec, Missing, ModelRef, Reply, Rubric, Usage, Verdict
from judges.transport import capped_client, too_large_in
from judges.voting import as_stored, combined, orders_of, total

_REPAIRED: Final = frozenset({Missing.EMPTY, Missing.PROSE, Missing.NOT_OFFERED, Missing.SEVERAL})
_AGAIN: Final = frozenset({408, 409, 425, 429, 529})
_MOST_SAID: Final = 300
_SHORTEST_KEY: Final = 8
_LIKE_A_KEY: Final = re.compile(r"\b(?:sk|pk|api|key)[-_][\w*.-]{8,}", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One HTTP request to a model, for traces. Times in ns since the epoch; `error` is one line without keys."""

    model: ModelRef
    started_ns: int
    ended_ns: int
    n_try: int
    usage: Usage = field(default_factory=Usage)
    finish: str | None = None
    error: str | None = None
    repairs: bool = False


Seen = Callable[[Call], None]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A request that gave no reply."""

    missing: Missing
    said: str
    raw: str = ""


@dataclass(kw_only=True)
class _Line:
    """A model with its pace and the way in which its server takes a structured answer."""

    ref: ModelRef
    model: Model
    lane: pacing.Lane
    mode: Mode
    key: str = field(repr=False)


class Asker:
    """Asks the models of judges. One for a process and its event loop; an async context manager. `chance` draws the
    pauses, `order_seed` the order of a pair that is shown in one only, `nonce` each call's fence; `fence_of` gives that
    of a question with a key, so that it is the same text whenever it is asked."""

    def __init__(
        self,
        access: Access,
        limits: pacing.Limits | None = None,
        *,
        nonce: Callable[[], str] = lambda: secrets.token_hex(8),
        order_seed: int = 0,
        chance: Random | None = None,
        clock: pacing.Clock = time.monotonic,
        sleep: pacing.Sleep = asyncio.sleep,
        now_ns: Callable[[], int] = time.time_ns,
        fence_of: Callable[[str], str] | None = None,
    ) -> None:
        self._access = access
        self._fence_of = fence_of
        self._limits = limits or pacing.Limits()
        self._nonce = nonce
        self._order_seed = order_seed
        self._chance = chance or Random(0)  # noqa: S311
        self._clock = clock
        self._sleep = sleep
        self._now_ns = now_ns
        self._in_flight = asyncio.Semaphore(self._limits.concurrency)
        self._http = capped_client(self._limits.timeout_s, self._limits.concurrency)
        self._lines: dict[ModelRef, _Line] = {}

    async def __aenter__(self) -> Self:
        """Is itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes its connections."""
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def ask(
        self, spec: JudgeSpec, rubric: Rubric, content: Content, *, seen: Seen | None = None, key: str | None = None
    ) -> Verdict:
        """The verdict of a judge on content. `seen` is told of every request. `key` names the question: asked again
        under it, a provider that honours Idempotency-Key answers and charges once. Raises InvalidInput: the rubric is
        not the judge's, the content is not of its kind, a key lacks or is refused, a model does not exist."""
        if rubric.digest != spec.rubric_digest:
            said = f"judge {spec.name} is of another text of rubric {spec.rubric}; make a judge of this one"
            raise InvalidInput(said, field="rubric")
        if not spec.models or spec.repeats < 1:
            raise InvalidInput(f"judge {spec.name} has no model to ask", field="models")
        if content.empty:
            return Verdict(missing=Missing.NO_CONTENT, explanation="there is nothing to judge")
        lines = [self._line(ref) for ref in spec.models]
        try:
            async with asyncio.TaskGroup() as asked:
                tasks = [
                    asked.create_task(self._reply(line, spec, rubric, content, repeat, shown, seen, key))
                    for line in lines
                    for repeat in range(spec.repeats)
                    for shown in orders_of(spec, rubric, content.hash, repeat, self._order_seed)
                ]
        except* InvalidInput as wrong:
            raise _first(wrong) from None
        return combined(rubric, [task.result() for task in tasks])

    def _line(self, ref: ModelRef) -> _Line:
        if ref not in self._lines:
            model = make_model(ref, self._access, self._http, self._limits.timeout_s)
            lane = pacing.Lane(self._limits, self._in_flight, self._clock, self._sleep)
            self._lines[ref] = _Line(ref=ref, model=model, lane=lane, mode=first_mode(model), key=self._access.key(ref))
        return self._lines[ref]

    async def _reply(
        self,
        line: _Line,
        spec: JudgeSpec,
        rubric: Rubric,
        content: Content,
        repeat: int,
        shown: str | None,
        seen: Seen | None,
        key: str | None,
    ) -> Reply:
        """One model's answer to one question, and to the question that repairs it."""
        key = None if key is None else f"{key[:40]}.{spec.models.index(line.ref)}.{repeat}.{shown or 'a'}"
        nonce = self._nonce() if key is None or self._fence_of is None else self._fence_of(key)
        prompt = build(rubric, content, nonce, shown or "ab")
        reply = Reply(model=line.ref.text, repeat=repeat, shown=shown)
        answered = await self._request(line, spec, opening(prompt), prompt, seen, key, repairs=False)
        reply = read_reply(reply, line.ref, rubric, answered, line.key)
        if reply.missing not in _REPAIRED:
            return reply
        messages = repairing(prompt, reply.raw, repair_text(rubric))
        again = None if key is None else f"{key}.again"
        answered = await self._request(line, spec, messages, prompt, seen, again, repairs=True)
        return replace(read_reply(reply, line.ref, rubric, answered, line.key), repaired=True)

    async def _request(
        self,
        line: _Line,
        spec: JudgeSpec,
        messages: list[ModelMessage],
        prompt: Prompt,
        seen: Seen | None,
        key: str | None,
        *,
        repairs: bool,
    ) -> ModelResponse | Failed:
        """Asks until there is a reply, or no hope of one. Raises InvalidInput for what no other try would mend."""
        n_tried = 0
        while True:
            mode = line.mode
            async with line.lane:
                started_ns = self._now_ns()
                answered = await self._once(
                    line, spec, mode, messages, prompt, None if key is None else f"{key}.{mode}"
                )
                ended_ns = self._now_ns()
            n_tried += 1
            if seen is not None:
                seen(_call(line, started_ns, ended_ns, n_tried, answered, repairs))
            if isinstance(answered, ModelResponse):
                return answered
            if _refuses_mode(answered, mode):
                line.mode, n_tried = NEXT[mode], n_tried - 1
                continue
            failed, pause_s = self._judged(line, answered, n_tried)
            if failed is not None:
                return failed
            await self._sleep(pause_s)

    async def _once(
        self, line: _Line, spec: JudgeSpec, mode: Mode, messages: list[ModelMessage], prompt: Prompt, key: str | None
    ) -> ModelResponse | Exception:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await request(line.model, spec, mode, messages, prompt, key)
        except Exception as error:  # SDKs let errors of their own parsers through
            return error

    def _judged(self, line: _Line, error: Exception, n_tried: int) -> tuple[Failed | None, float]:
        """What an error means: the end of it, or how many seconds to wait before the next try."""
        said = plainly(error, line.key)
        if large := too_large_in(error):
            head = without_key(large.head.decode("utf-8", "replace"), line.key)
            return Failed(missing=Missing.TOO_LARGE, said=str(large), raw=head), 0.0
        if isinstance(error, ModelAuthenticationError | ModelNotFoundError):
            raise InvalidInput(f"{line.ref.text} cannot be asked: {said}", field="model")
        if not _worth_a_try(error) or n_tried >= self._limits.n_tries:
            return Failed(missing=Missing.MODEL_FAILED, said=f"after {n_tried} tries: {said}"), 0.0
        asked_s = error.retry_after if isinstance(error, ModelAPIError) else None
        if asked_s is not None and asked_s > pacing.LONGEST_PAUSE_S:
            return Failed(missing=Missing.MODEL_FAILED, said=f"it asks for {asked_s:.0f} s of patience: {said}"), 0.0
        if asked_s is not None:
            line.lane.pause(asked_s)
            return None, 0.0
        return None, pacing.pause_before(self._limits, n_tried, self._chance)


def without_key(text: str, key: str) -> str:
    """The text without the key, which a server may quote."""
    return text.replace(key, "[KEY]") if len(key) >= _SHORTEST_KEY else text


def read_reply(before: Reply, ref: ModelRef, rubric: Rubric, answered: ModelResponse | Failed, key: str = "") -> Reply:
    """What a model answered, added to what it answered before; without the `key` that it was asked with."""
    if isinstance(answered, Failed):
        if before.missing is not None:  # what was said before the repair failed is what is known
            return before
        return replace(before, missing=answered.missing, explanation=answered.said, raw=answered.raw)
    text = without_key(text_of(answered), key)
    stopped = answered.finish_reason
    parsed = parse_reply(rubric, text, cut_off=stopped == "length", refused=stopped == "content_filter")
    raw = f"{before.raw}\n--- asked again\n{text}" if before.missing is not None else text
    return replace(
        before,
        labels=as_stored(rubric, parsed.labels, before.shown),
        missing=parsed.missing,
        explanation=parsed.explanation,
        confidence=parsed.confidence,
        raw=raw[:MAX_RAW],
        usage=total([before.usage, _usage(ref, answered)]),
    )


def plainly(error: Exception, key: str = "") -> str:
    """An error on one line, cut, without the key and what looks like one: servers quote requests in their errors."""
    said = without_key(f"{type(error).__name__}: {error}", key)
    text = " ".join(_LIKE_A_KEY.sub("[KEY]", said).split())
    return text if len(text) <= _MOST_SAID else text[: _MOST_SAID - 1] + "…"


def _first(group: BaseExceptionGroup[InvalidInput]) -> InvalidInput:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _worth_a_try(error: Exception) -> bool:
    if isinstance(error, ModelQuotaExceededError):
        return False
    if isinstance(error, ModelHTTPError):
        return error.status_code in _AGAIN or error.status_code >= 500
    if isinstance(error, ModelConnectionError | TimeoutError):
        return True
    return True  # an answer that is no answer of the API


def _refuses_mode(error: Exception, mode: Mode) -> bool:
    """Whether a server said that it does not take this form of a structured answer."""
    if mode not in NEXT or not isinstance(error, ModelHTTPError) or error.status_code not in (400, 404, 422, 501):
        return False
    said = str(error.body).lower() + str(error).lower()
    names = ("response_format", "json_schema", "output_config", "output_format", "structured output", "schema")
    return any(name in said for name in (names if mode is Mode.NATIVE else ("tool", "function")))


def _usage(ref: ModelRef, response: ModelResponse) -> Usage:
    input_tokens, output_tokens = tokens_of(response)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_usd(ref, response),
        n_calls=1,
    )


def _call(
    line: _Line, started_ns: int, ended_ns: int, n_tried: int, answered: ModelResponse | Exception, repairs: bool
) -> Call:
    said = answered if isinstance(answered, ModelResponse) else None
    return Call(
        model=line.ref,
        started_ns=started_ns,
        ended_ns=ended_ns,
        n_try=n_tried,
        usage=_usage(line.ref, said) if said else Usage(),
        finish=said.finish_reason if said else None,
        error=plainly(answered, line.key) if isinstance(answered, Exception) else None,
        repairs=repairs,
    )
