"""How many tokens a call will take, guessed before its upstream counts them, from what the caller's earlier calls took.

One tenant's calls never change what is guessed for another's.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.records import Call, CallKind, Usage

CHARACTERS_PER_TOKEN: Final = 3  # English has about 4
MOST_INPUT: Final = 1_000_000  # an image is a long text and few tokens
FIRST_OUTPUT: Final = 256  # before anything was seen
_WEIGHT: Final = 1 / 16  # of the latest call in the running means
_MOST_REMEMBERED: Final = 10_000


class _Seen:
    """Running means of one tenant's calls of one model."""

    __slots__ = ("deviation", "more_input", "output")

    def __init__(self) -> None:
        self.more_input = 0.0  # input tokens beyond what its characters promised
        self.output = float(FIRST_OUTPUT)
        self.deviation = 0.0


class Estimates:
    """What is known of every tenant's calls, by virtual model."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def of(self, call: Call, model: str) -> Usage:
        """The tokens that `call` will take of `model`: its input by length; its output as the caller bounded it, else
        the running mean and twice the mean deviation."""
        seen = self._seen.get((call.caller.tenant, model))
        n_input = call.n_input_characters // CHARACTERS_PER_TOKEN + 1
        if seen is not None:
            n_input += max(0, int(seen.more_input))
        n_input = min(n_input, MOST_INPUT)
        if call.kind is CallKind.EMBEDDINGS:
            return Usage(input_tokens=n_input)
        most = _asked_at_most(call.body)
        if most is None:
            most = FIRST_OUTPUT if seen is None else int(seen.output + 2 * seen.deviation) + 1
        n_choices = call.body.get("n")
        return Usage(input_tokens=n_input, output_tokens=most * (n_choices if isinstance(n_choices, int) else 1))

    def learn(self, call: Call) -> None:
        """Remembers what a call took. Call it as often as there are policies that use estimates: it counts once."""
        usage = call.usage
        if not usage.reported or call.aborted or len(call.attempts) != 1 or call.state.get("learned"):
            return
        call.state["learned"] = True
        key = (call.caller.tenant, call.model.name)
        seen = self._seen.get(key)
        n_choices = call.body.get("n")
        n_output = usage.output_tokens / (n_choices if isinstance(n_choices, int) and n_choices > 1 else 1)
        if seen is None:
            if len(self._seen) >= _MOST_REMEMBERED:
                self._seen.clear()
            seen = self._seen[key] = _Seen()
            seen.output = n_output
        more = usage.input_tokens - call.n_input_characters // CHARACTERS_PER_TOKEN
        seen.more_input += (more - seen.more_input) * _WEIGHT
        seen.deviation += (abs(n_output - seen.output) - seen.deviation) * _WEIGHT
        seen.output += (n_output - seen.output) * _WEIGHT


def _asked_at_most(body: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        most = body.get(name)
        if isinstance(most, int):
            return most
    return None
