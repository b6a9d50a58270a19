"""Signs: what patterns speak of, and which series show each. A plain table: to add a sign costs a line.

A sign may be seen in several series (a tool error rate for every tool): the strongest counts, less what the strongest
of so many would be by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import scipy

from monitors.diagnosis.records import Change, Move, Seen


@dataclass(frozen=True, kw_only=True)
class Sign:
    """`series` are names; one that ends in ":" stands for all that begin so; with "-" before it, it runs the other way
    (`loop_free` falls when loops rise). `least` is the smallest effect that counts, in the series' own effect. Where
    none of them is known, a pattern that needs it looks at the sign `instead` (an app without clusters has no series
    within them). One that `is_specific` hardly moves for another cause than those whose patterns name it."""

    name: str
    words: str
    series: tuple[str, ...]
    least: float
    instead: str | None = None
    is_specific: bool = False


SIGNS: Final = (
    Sign(name="quality", words="resolution", series=("resolution", "score:outcome", "score:task_success"), least=0.01),
    Sign(name="strata", words="resolution within groups", series=("resolution:within",), least=0.01),
    Sign(name="judge_gap", words="the gap between judge and people", series=("-agreement:", "judge_gap:"), least=0.03),
    Sign(
        name="grounding",
        words="grounding",
        series=(
            *("grounding", "score:grounding", "-score:hallucination", "score:trigram_support", "score:number_support"),
            *("score:entity_support", "score:id_support", "score:link_support"),
        ),
        least=0.01,
    ),
    Sign(
        name="leaks",
        words="leaks in replies",
        series=("score:pii_leak", "score:secret_leak", "score:system_prompt_leak"),
        least=0.001,
        is_specific=True,
    ),
    Sign(
        name="injection",
        words="injections obeyed",
        series=("score:injection_success",),
        least=0.001,
        is_specific=True,
    ),
    Sign(name="attempts", words="injection attempts", series=("score:injection_attempt",), least=0.005),
    Sign(
        name="rules",
        words="broken rules",
        series=("-score:policy_caps", "score:unauthorised_actions", "-score:confirmation_before_irreversible"),
        least=0.002,
        is_specific=True,
    ),
    Sign(name="safety", words="unsafe replies", series=("-safety", "-score:safety"), least=0.001),
    Sign(name="latency", words="latency", series=("p95_latency", "p50_latency", "p99_latency"), least=0.05),
    Sign(name="ttft", words="time to first token", series=("ttft_p95", "ttft_p50"), least=0.05),
    Sign(name="input_tokens", words="input tokens per turn", series=("input_tokens",), least=0.03),
    Sign(name="output_tokens", words="output tokens per turn", series=("output_tokens",), least=0.03),
    Sign(name="cost", words="cost per session", series=("cost_per_session",), least=0.03),
    Sign(name="cost_total", words="cost in all", series=("cost_total",), least=0.05),
    Sign(name="traffic", words="traffic", series=("traffic",), least=0.1),
    Sign(name="turns", words="turns per session", series=("turns",), least=0.02),
    Sign(name="tool_calls", words="tool calls per session", series=("tool_calls",), least=0.02),
    Sign(
        name="typical_turns",
        words="turns of a typical session",
        series=("turns:within",),
        least=0.02,
        instead="turns",
    ),
    Sign(
        name="typical_calls",
        words="tool calls of a typical session",
        series=("tool_calls:within",),
        least=0.02,
        instead="tool_calls",
    ),
    Sign(name="tool_errors", words="a tool's error rate", series=("tool_errors", "tool_errors:"), least=0.02),
    Sign(name="loops", words="repeated calls", series=("-score:loop_free", "score:redundant_calls"), least=0.003),
    Sign(name="empty", words="searches that find nothing", series=("retrieval_empty",), least=0.02),
    Sign(name="escalation", words="escalation", series=("escalation", "score:escalation"), least=0.01),
    Sign(name="repeated", words="questions asked again", series=("score:repeated_questions",), least=0.01),
    Sign(name="model", words="which model answered", series=("mix:response_model",), least=0.02, is_specific=True),
    Sign(name="documents", words="which documents were found", series=("mix:document",), least=0.02),
    Sign(name="mix", words="the mix of traffic", series=("mix:",), least=0.03),
    Sign(
        name="model_errors", words="failed model calls", series=("model_errors", "score:model_error_rate"), least=0.005
    ),
    Sign(name="no_answer", words="empty answers", series=("score:empty_answer", "score:truncated_output"), least=0.005),
    Sign(name="judged", words="the judges' scores", series=("score:",), least=0.02),
)
BY_NAME: Final[Mapping[str, Sign]] = {one.name: one for one in SIGNS}

# How far a sign's z may be taken for chance, and how large it may be when it moved: see docs/monitors-diagnosis.md.
_FLAT_DF: Final = 4.0
_FLAT_SCALE: Final = 1.3
_MOST_SCALE: Final = 12.0
_LEAST_SCALE: Final = 0.3
_TYPICAL: Final = 5.0  # times the least effect that counts: how far a series goes where something happened
_SURE: Final = 0.8  # of a move, to call it so


def sign_of(series: str) -> tuple[Sign, int] | None:
    """The sign that a series shows, and whether it runs with it (+1) or against it (-1). A whole name comes before a
    beginning, and of beginnings the longest."""
    best: tuple[int, Sign, int] | None = None
    for sign in SIGNS:
        for name in sign.series:
            way, plain = (-1, name[1:]) if name.startswith("-") else (1, name)
            exact, begins = series == plain, plain.endswith(":") and series.startswith(plain)
            length = 1000 if exact else len(plain) if begins else 0
            if length and (best is None or length > best[0]):
                best = (length, sign, way)
    return None if best is None else best[1:]


def weight_of(change: Change, least: float) -> float:
    """z, less where the effect is smaller than the least that counts: large traffic makes trifles sure."""
    if change.z is None or change.effect is None:
        return math.nan
    return change.z * min(1.0, abs(change.effect) / least)


def power_of(change: Change, least: float) -> float:
    """How many standard errors a typical effect is: below one, a series that seems flat says nothing."""
    if change.low is None or change.high is None:
        return _MOST_SCALE
    se = max((change.high - change.low) / (2 * 1.96), 1e-12)
    return max(_LEAST_SCALE, min(_MOST_SCALE, _TYPICAL * least / se))


def seen(changes: Iterable[Change]) -> tuple[Seen, ...]:
    """Every sign in the table's order, as these changes show it. What belongs to no sign is left out."""
    by_sign: dict[str, list[tuple[float, Change]]] = {}
    for change in changes:
        found = sign_of(change.series)
        if found is not None and change.is_known:
            sign, way = found
            by_sign.setdefault(sign.name, []).append((way * weight_of(change, sign.least), change))
    return tuple(_seen(sign, by_sign.get(sign.name, [])) for sign in SIGNS)


def _seen(sign: Sign, shown: Sequence[tuple[float, Change]]) -> Seen:
    if not shown:
        third = 1 / 3
        return Seen(
            sign=sign.name, words=sign.words, move=Move.UNKNOWN, p_up=third, p_flat=third, p_down=third, weight=0.0
        )
    weight, change = max(shown, key=lambda one: (abs(one[0]), one[1].series))
    weight = of_several(weight, len(shown))
    p_up, p_flat, p_down = moves(weight, max(power_of(one, sign.least) for _, one in shown))
    p, move = max((p_up, Move.UP), (p_down, Move.DOWN), (p_flat, Move.FLAT), key=lambda one: one[0])
    return Seen(
        sign=sign.name,
        words=sign.words,
        move=move if p >= _SURE else Move.UNKNOWN,
        p_up=p_up,
        p_flat=p_flat,
        p_down=p_down,
        weight=weight,
        change=change,
        n_series=len(shown),
    )


def of_several(z: float, m: int) -> float:
    """The z that a single series would need to be as unlikely as the strongest of m with this one (Šidák 1967)."""
    if m <= 1 or z == 0:
        return z
    log_sf = float(scipy.stats.norm.logsf(abs(z)))  # log1p keeps what 1 - (1 - p)^m would round away
    log_p = log_sf + math.log(m) if log_sf < -20 else math.log(-math.expm1(m * math.log1p(-math.exp(log_sf))))
    return math.copysign(max(0.0, float(scipy.stats.norm.isf(math.exp(max(log_p, -700.0))))), z)


def moves(z: float, power: float = _MOST_SCALE) -> tuple[float, float, float]:
    """How likely it went up, stayed, went down, each as likely before: shares of the three likelihoods of z."""
    up, flat, down = likelihoods(z, power)
    whole = up + flat + down
    return up / whole, flat / whole, down / whole


def likelihoods(z: float, power: float = _MOST_SCALE) -> tuple[float, float, float]:
    """Densities of z where the series went up, stayed, went down.

    Stayed: Student's t with 4 degrees and scale 1.3, for a spread that is itself estimated and traffic that is not as
    tame. Moved: by a half-normal of scale `power`, with the same noise taken as normal: with s = power / 1.3 and
    w = 1.3 sqrt(1 + s^2) that is 2 N(z; 0, w^2) Phi(s z / w), whose limit without power is the noise alone. What is
    seen to be larger than typical is: the scale is at least two thirds of |z|.
    """
    capped = max(-35.0, min(35.0, z))
    s = max(power, min(_MOST_SCALE, abs(capped) / 1.5)) / _FLAT_SCALE
    wide = _FLAT_SCALE * math.sqrt(1 + s * s)
    base = 2 * float(scipy.stats.norm.pdf(capped, scale=wide))
    up = base * float(scipy.stats.norm.cdf(s * capped / wide))
    down = base * float(scipy.stats.norm.cdf(-s * capped / wide))
    return up, float(scipy.stats.t.pdf(capped, _FLAT_DF, scale=_FLAT_SCALE)), down
