"""What asking a judge takes, before it is asked: calls, tokens and money, expected and at the very most. Pure.

At most: a token is at least a byte of text, every answer is as long as it may be, and every question is asked a second
time to repair its answer. A model's price is that of the list; without one nothing is said of money.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from judges.content import Content
from judges.pricing import price_usd
from judges.prompt import Prompt, build, repair_text
from judges.records import JudgeSpec, Rubric, ScaleKind

CHARACTERS_A_TOKEN: Final = 4.0
OUTPUT_TOKENS: Final = 120  # of a verdict with its explanation, where the judge was never asked
_NONCE: Final = "0" * 16
_AROUND: Final = 400  # bytes of a request around its texts: schema and roles
_QUOTED: Final = 8_000  # bytes of a reply that is asked to be repaired


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """Of one target: `n_calls`, tokens as expected, money as expected and at most; None: no price is known."""

    n_calls: int
    input_tokens: float
    output_tokens: float
    usd: float | None
    usd_most: float | None


def n_calls_of(spec: JudgeSpec, rubric: Rubric) -> int:
    """How many questions one verdict takes."""
    n_orders = 2 if rubric.kind is ScaleKind.PAIRWISE and spec.both_orders else 1
    return len(spec.models) * spec.repeats * n_orders


def foreseen(spec: JudgeSpec, rubric: Rubric, content: Content, output_tokens: float = OUTPUT_TOKENS) -> Foreseen:
    """What one target takes. Raises InvalidInput as judges.prompt.build."""
    if content.empty:
        return Foreseen(n_calls=0, input_tokens=0, output_tokens=0, usd=0.0, usd_most=0.0)
    prompt = build(rubric, content, _NONCE)
    each = n_calls_of(spec, rubric) / len(spec.models)
    n_bytes = _bytes_of(prompt)
    expected = (len(prompt.instructions) + len(prompt.text) + _AROUND) / CHARACTERS_A_TOKEN
    again = n_bytes + len(repair_text(rubric).encode()) + _QUOTED
    usd: float | None = 0.0
    most: float | None = 0.0
    for ref in spec.models:
        one = price_usd(ref, round(expected), round(output_tokens))
        whole = price_usd(ref, n_bytes + again, 2 * spec.max_output_tokens)
        usd = None if usd is None or one is None else usd + each * one
        most = None if most is None or whole is None else most + each * whole
    n_calls = n_calls_of(spec, rubric)
    return Foreseen(
        n_calls=n_calls, input_tokens=n_calls * expected, output_tokens=n_calls * output_tokens, usd=usd, usd_most=most
    )


def _bytes_of(prompt: Prompt) -> int:
    return len((prompt.instructions + prompt.text).encode("utf-8", "surrogatepass")) + len(str(prompt.schema)) + _AROUND
