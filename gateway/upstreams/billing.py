"""What an upstream bills for an attempt.

The rule, after what providers do:

* no connection, or one that was closed before a status line: nothing;
* any answer but 200, and an error event before any output: nothing;
* 200 with HTML, or with anything else that does not begin as an answer does: a proxy answered, nothing;
* 200 with the usage reported, in a whole answer or in a stream that broke off later: what was reported;
* 200 without it, because the answer broke off, took too long or was given up by the caller: the model worked on it. The
  input is billed, and the output that was produced; both are estimated, four characters a token, the output from what
  arrived. Anthropic reports the input first: then only the output is estimated;
* no answer within the time limit, or a caller that left while the upstream was silent: the upstream had the request and
  worked on it. The input is billed, estimated; what was produced in silence nobody can know.

Estimates have `reported` False. A call's usage is the sum over its attempts, reported only if all of them are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import orjson

from gateway.records import Attempt, Usage
from gateway.upstreams.openai import usage_of
from gateway.upstreams.wire import EventReader

CHARACTERS_PER_TOKEN: Final = 4
_TEXTS: Final = re.compile(rb'"(?:content|arguments|text)"\s*:\s*"((?:[^"\\]|\\.)*)')


def total(attempts: Iterable[Attempt]) -> Usage:
    """What was billed for all attempts of a call."""
    billed = [attempt.usage for attempt in attempts if attempt.usage is not None]
    if len(billed) == 1:
        return billed[0]
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in billed),
        output_tokens=sum(usage.output_tokens for usage in billed),
        cached_tokens=sum(usage.cached_tokens for usage in billed),
        reported=bool(billed) and all(usage.reported for usage in billed),
    )


def of_body(n_input_characters: int, body: bytes) -> Usage | None:
    """Of a 200 that is not streamed, as far as it came."""
    if body.lstrip()[:1] not in (b"{", b""):
        return None
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = {}  # half of one
    if answer.get("error"):
        return None
    told = usage_of(answer.get("usage"))
    return told or estimated(n_input_characters, sum(len(text) for text in _TEXTS.findall(body)))


def of_stream(n_input_characters: int, reader: EventReader) -> Usage:
    """Of a stream, whole or not."""
    told = reader.usage
    if told is not None and told.reported:
        return told
    guess = estimated(n_input_characters, reader.n_characters)
    if told is not None:
        guess.input_tokens, guess.cached_tokens = told.input_tokens, told.cached_tokens
    return guess


def estimated(n_input_characters: int, n_output_characters: int) -> Usage:
    """Four characters a token, rounded up."""
    return Usage(input_tokens=_tokens(n_input_characters), output_tokens=_tokens(n_output_characters))


def _tokens(n_characters: int) -> int:
    return -(-n_characters // CHARACTERS_PER_TOKEN)
