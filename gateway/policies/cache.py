"""The cache: the same question of the same tenant is answered once.

A call is the same when tenant, virtual model, its targets, where their upstreams are and the whole masked body are, but
for what cannot change an answer (`stream`, `user`, `metadata` ...). Chat is cached where it is meant to be repeatable:
`temperature` at most `max_temperature`; a call without one has the provider's default, 1, and is cached only if its
model says `cache: exact` or `semantic` (or `max_temperature` is 1 or more). Embeddings always are. Kept are whole
answers that ended by themselves, masked; answers that call tools only if the model says `exact`. Users of a tenant
share its answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from core.clock import NS_PER_S, Clock
from gateway.config import CacheConfig
from gateway.policies.cached_answers import CachedAnswers, Kept, digest_of
from gateway.policies.semantic import Question, SimilarQuestions
from gateway.records import Answer, CacheOutcome, Call, CallKind
from gateway.streams import MOST_KEPT

_FRESH: Final = ("web_search_options", "audio")  # asked for an answer of today, or one that is not text
_ENDED: Final = ("stop", "tool_calls", "function_call")


@dataclass(kw_only=True, slots=True)
class _Pending:
    """A miss on its way: where its answer will be kept."""

    key: bytes
    question: Question | None = None
    body: bytes | None = None


class Cache:
    """The policy. A hit leaves `saved_usd` (float or None) and, if it was a similar question, `similarity` in
    `call.state`. `answers` and `similar` may be handed over from the policy before, when its configuration changes.
    `behind` says by upstream where it is, so that another one of the same name never answers with what the first said.
    `clock` must never go back: the default is the time since the machine started."""

    name = "cache"

    def __init__(
        self,
        config: CacheConfig,
        clock: Clock = time.monotonic_ns,
        answers: CachedAnswers | None = None,
        similar: SimilarQuestions | None = None,
        behind: Mapping[str, str] | None = None,
    ) -> None:
        self._config = config
        self._behind = behind or {}
        self._clock = clock
        semantic_bytes = config.max_mb << 18  # a quarter
        self.answers = answers or CachedAnswers((config.max_mb << 20) - semantic_bytes, int(config.ttl_s * NS_PER_S))
        self.similar = similar or SimilarQuestions(config.semantic, semantic_bytes)

    def before(self, call: Call) -> Answer | None:
        """The answer of an earlier call, if one is kept."""
        mode = self._mode(call)
        call.cache = self._outcome(call, mode)
        if call.cache is not CacheOutcome.MISS:
            return None
        tenant, now_ns = call.caller.tenant, self._clock()
        pending = call.state[self.name] = _Pending(key=digest_of(call, call.body, self._behind))
        kept = self.answers.get(tenant, pending.key, now_ns)
        if kept is not None:
            return self._hit(call, kept, CacheOutcome.EXACT)
        if mode == "semantic":
            pending.question = self.similar.question(call, self._behind)
            for key, similarity in self.similar.find(pending.question) if pending.question else ():
                kept = self.answers.get(tenant, key, now_ns)
                if kept is not None:
                    call.state["similarity"] = similarity
                    call.flags.append(f"similar:{similarity:.2f}")
                    return self._hit(call, kept, CacheOutcome.SEMANTIC)
        return None

    def after(self, call: Call, answer: Answer) -> None:
        """Takes down a whole answer while it is masked; it is kept when the call has ended well."""
        pending = call.state.get(self.name)
        if pending is not None and not answer.from_cache and _worth_keeping(call, answer.body):
            pending.body = orjson.dumps(answer.body)

    def stream(self, call: Call) -> None:
        """Nothing: what a stream said is read from the call when it is over."""

    def done(self, call: Call) -> None:
        """Keeps the answer of a call that ended well."""
        pending: _Pending | None = call.state.pop(self.name, None)
        if pending is None or call.cache is not CacheOutcome.MISS:
            return
        if call.status != 200 or call.error or call.refused or call.aborted or "json_invalid" in call.flags:
            return
        body = _streamed_body(call) if call.streamed else pending.body
        if body is None:
            return
        kept = Kept(body=body, kept_ns=self._clock(), cost_usd=call.cost_usd, simulated=call.simulated)
        if self.answers.put(call.caller.tenant, pending.key, kept) and pending.question is not None:
            self.similar.add(pending.question, pending.key)

    def _mode(self, call: Call) -> str:
        if call.model.cache:
            return call.model.cache
        if self._config.semantic is not None:
            return "semantic"
        return "exact" if self._config.exact else "off"

    def _outcome(self, call: Call, mode: str) -> CacheOutcome:
        if mode == "off":
            return CacheOutcome.OFF
        if call.no_cache or any(name in call.body for name in _FRESH):
            return CacheOutcome.BYPASS
        if call.kind is CallKind.EMBEDDINGS:
            return CacheOutcome.MISS
        temperature = call.body.get("temperature")
        if temperature is None:
            meant = bool(call.model.cache) or self._config.max_temperature >= 1
        else:
            meant = isinstance(temperature, (int, float)) and temperature <= self._config.max_temperature
        return CacheOutcome.MISS if meant else CacheOutcome.BYPASS

    def _hit(self, call: Call, kept: Kept, outcome: CacheOutcome) -> Answer:
        call.cache = outcome
        call.simulated = kept.simulated
        call.state["saved_usd"] = kept.cost_usd
        body = orjson.loads(kept.body)
        told = body.get("usage")
        if isinstance(told, dict):  # nothing was used: callers that add up usage get what the upstream will bill
            body["usage"] = {name: 0 for name, value in told.items() if isinstance(value, int)}
        call.usage.reported = True
        return Answer(body=body, from_cache=True)


def _worth_keeping(call: Call, body: dict[str, Any]) -> bool:
    if call.kind is CallKind.EMBEDDINGS:
        return bool(body.get("data"))
    choices = body.get("choices")
    return bool(choices) and all(
        choice.get("finish_reason") in _ENDED
        and (call.model.cache == "exact" or not _calls_tools(choice.get("message") or {}))
        for choice in choices or ()
    )


def _calls_tools(message: dict[str, Any]) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call"))


def _streamed_body(call: Call) -> bytes | None:
    """The answer that a stream gave; None if it is not whole or not worth keeping."""
    if len(call.finish_reasons) != len(call.output) or call.body.get("logprobs"):
        return None
    choices = [
        {"index": index, "message": message, "finish_reason": reason}
        for index, (message, reason) in enumerate(zip(call.output, call.finish_reasons, strict=True))
    ]
    used = call.usage
    found = {
        "id": call.response_id,
        "object": "chat.completion",
        "created": call.started_ns // NS_PER_S,
        "model": call.response_model,
        "choices": choices,
        "usage": {
            "prompt_tokens": used.input_tokens,
            "completion_tokens": used.output_tokens,
            "total_tokens": used.input_tokens + used.output_tokens,
        },
    }
    if not _worth_keeping(call, found):
        return None
    body = orjson.dumps(found)
    return body if len(body) < MOST_KEPT else None  # above, the door may have left text out
