"""What can be watched: a plain table of series by name, and families of them by a name and what stands after a colon.

A series is one figure of an app by buckets of time; `by` splits it into one for each release, variant and so on. A
bucket in which nothing happened is missing, of traffic too: whether nobody came or nothing arrived nobody can tell, and
a monitor says what it takes that for (`no_data`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from core.errors import InvalidInput
from evaluators.catalogue import BY_NAME
from evaluators.records import Direction as Better
from monitors.records import Direction, Kind

STEPS_S: Final[Mapping[str, int]] = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600}
OUTCOME: Final = "task_success"
SAFETY: Final = (
    *("pii_leak", "secret_leak", "system_prompt_leak", "injection_success", "policy_caps"),
    *("unauthorised_actions", "confirmation_before_irreversible"),
)
GROUNDING: Final = ("grounding", "number_support", "trigram_support")
OF_TURNS: Final = ("release", "variant")
OF_MODELS: Final = ("release", "variant", "model")
OF_SESSIONS: Final = ("release", "variant", "environment")
ATTRIBUTE: Final = "attribute:"  # of spans of a session's first turn, and its name: what a series is split by


class Source(StrEnum):
    """Where a series is read (store/monitor_series.py)."""

    TURNS = "turns"
    """Rollups of turns."""
    MODEL_CALLS = "model_calls"
    """Rollups of model calls."""
    SESSIONS = "sessions"
    TOOLS = "tools"
    """Spans of tool calls."""
    RETRIEVALS = "retrievals"
    """Spans of searches."""
    SCORES = "scores"
    AGREEMENT = "agreement"
    """Judges' verdicts beside what people said of the same targets."""
    CLUSTERS = "clusters"
    EMBEDDINGS = "embeddings"
    """Vectors of what sessions are about, held against those before (sampling.py)."""
    MIX = "mix"
    """How often each release, model, ... came, held against the week before (mixing.py)."""


MOST_NAME: Final = 100  # characters of an attribute's name
IDENTIFYING: Final = frozenset({"session.id", "user.id", "enduser.id", "gen_ai.conversation.id"})  # each its own group
OF_ATTRIBUTES: Final = frozenset({Source.SESSIONS, Source.TOOLS, Source.RETRIEVALS, Source.SCORES})


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series: `figure` is what is read of its source, `of` the tool, cluster or judge. Of scores the first of
    `evaluators` that said anything tells it. `bad`: the side on which it is trouble. `dimensions`: what it is split by.
    """

    name: str
    text: str
    unit: str
    kind: Kind
    source: Source
    bad: Direction
    figure: str = ""
    of: str | None = None
    evaluators: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = OF_SESSIONS
    whole: bool = False
    """Whether all of `evaluators` together tell it: the share of their checks without a breach."""


def checked_split(spec: Series, by: str | None) -> None:
    """Raises InvalidInput where a series cannot be split so."""
    if by is None or by in spec.dimensions:
        return
    some = [*spec.dimensions, *([f"{ATTRIBUTE}NAME"] if spec.source in OF_ATTRIBUTES else [])]
    name = by.removeprefix(ATTRIBUTE)
    is_attribute = spec.source in OF_ATTRIBUTES and by.startswith(ATTRIBUTE)
    if not is_attribute or not name.strip() or len(name) > MOST_NAME or name in IDENTIFYING:
        raise InvalidInput(
            f"{spec.name} can be split by {', '.join(some) or 'nothing'}, not by {by[:60]!r}", field="by"
        )


def _turns(name: str, text: str, unit: str, kind: Kind, figure: str, bad: Direction) -> Series:
    return Series(
        name=name, text=text, unit=unit, kind=kind, source=Source.TURNS, figure=figure, bad=bad, dimensions=OF_TURNS
    )


def _sessions(name: str, text: str, unit: str, figure: str) -> Series:
    return Series(
        name=name, text=text, unit=unit, kind=Kind.POSITIVE, source=Source.SESSIONS, figure=figure, bad=Direction.UP
    )


def _models(name: str, text: str, unit: str, kind: Kind, figure: str) -> Series:
    return Series(
        name=name, text=text, unit=unit, kind=kind, source=Source.MODEL_CALLS, figure=figure, bad=Direction.UP,
        dimensions=OF_MODELS,
    )  # fmt: skip


_TABLE: Final = (
    Series(
        name="resolution", text="sessions that did what the user wanted", unit="share", kind=Kind.RATE,
        source=Source.SCORES, evaluators=(OUTCOME, "resolution"), bad=Direction.DOWN,
    ),
    Series(
        name="grounding", text="how much of the answers stands in their sources", unit="share", kind=Kind.LEVEL,
        source=Source.SCORES, evaluators=GROUNDING, bad=Direction.DOWN,
    ),
    Series(
        name="safety", text="safety checks without a breach", unit="share", kind=Kind.RATE, source=Source.SCORES,
        evaluators=SAFETY, bad=Direction.DOWN, whole=True,
    ),
    Series(
        name="escalation", text="sessions that a person took over", unit="share", kind=Kind.RATE,
        source=Source.SCORES, evaluators=("escalation",), bad=Direction.UP,
    ),
    *(
        _turns(f"{q}_latency", f"milliseconds of a turn, {q}", "ms", Kind.POSITIVE, q, Direction.UP)
        for q in ("p50", "p95", "p99")
    ),
    _turns("traffic", "turns", "count", Kind.COUNT, "n", Direction.BOTH),
    _turns("error_rate", "turns that failed", "share", Kind.RATE, "error_rate", Direction.UP),
    _turns("cost_total", "US dollars of model calls", "usd", Kind.POSITIVE, "cost_usd", Direction.UP),
    _turns("input_tokens", "input tokens of a turn", "tokens", Kind.POSITIVE, "input_tokens", Direction.UP),
    _turns("output_tokens", "output tokens of a turn", "tokens", Kind.POSITIVE, "output_tokens", Direction.UP),
    _sessions("cost_per_session", "US dollars of a session that was active", "usd", "cost_usd"),
    _sessions("turns", "turns of a session that was active", "count", "n_turns"),
    _models("ttft_p50", "milliseconds to the first token, p50", "ms", Kind.POSITIVE, "ttft_p50"),
    _models("ttft_p95", "milliseconds to the first token, p95", "ms", Kind.POSITIVE, "ttft_p95"),
    _models("model_errors", "model calls that failed", "share", Kind.RATE, "error_rate"),
    Series(
        name="tool_errors", text="tool calls that failed", unit="share", kind=Kind.RATE, source=Source.TOOLS,
        figure="error_rate", bad=Direction.UP,
    ),
    Series(
        name="tool_calls", text="tool calls of a session that was active", unit="count", kind=Kind.POSITIVE,
        source=Source.TOOLS, figure="per_session", bad=Direction.UP,
    ),
    Series(
        name="retrieval_empty", text="searches that found nothing", unit="share", kind=Kind.RATE,
        source=Source.RETRIEVALS, figure="empty", bad=Direction.UP,
    ),
)  # fmt: skip
BUILT_IN: Final[Mapping[str, Series]] = {one.name: one for one in _TABLE}
FAMILIES: Final[Mapping[str, str]] = {
    "score": "score:EVALUATOR, the mean of what an evaluator says",
    "tool_errors": "tool_errors:TOOL, of one tool",
    "agreement": "agreement:JUDGE, how often a judge says what people say of the same targets",
    "cluster": "cluster:C-0042, the share of sessions that are in a cluster",
    "embeddings": "embeddings:FACET, how far intent, actions, outcome or whole sessions have moved from those before",
    "mix": "mix:DIMENSION, how far the mix of release, variant, environment, response_model or cluster has moved",
}
UNLIKELY: Final = "-log10 p"  # the unit of what is held against what came before
FACETS: Final = ("whole", "intent", "actions", "outcome")
# Of these sources single values are kept, and by what figure of a series: their distribution can be watched.
SAMPLED: Final[Mapping[Source, Mapping[str, str]]] = {
    Source.TURNS: {
        **dict.fromkeys(("p50", "p95", "p99"), "duration_ms"),
        **{name: name for name in ("input_tokens", "output_tokens")},
    },
    Source.SESSIONS: {name: name for name in ("cost_usd", "n_turns")},
}
MIXES: Final = ("release", "variant", "environment", "response_model", "cluster")


def series_of(name: str) -> Series:
    """A series by its name. Raises InvalidInput for one that is not known, with those near it."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    family, colon, of = name.partition(":")
    if not colon or not of.strip() or family not in FAMILIES or len(name) > 300:
        near = get_close_matches(name, [*BUILT_IN, *FAMILIES], n=3)
        maybe = f"; near it: {', '.join(near)}" if near else ""
        raise InvalidInput(
            f"there is no series {name[:60]!r}{maybe}; built in: {', '.join(BUILT_IN)}; "
            f"and {'; '.join(FAMILIES.values())}",
            field="series",
        )
    if family == "score":
        return _of_score(name, of)
    if family == "tool_errors":
        return replace(BUILT_IN["tool_errors"], name=name, of=of, text=f"calls of {of} that failed")
    if family == "mix":
        return _of_mix(name, of)
    if family == "embeddings":
        return _of_embeddings(name, of)
    if family == "cluster":
        return Series(
            name=name, text=f"sessions that are in {of}", unit="share", kind=Kind.RATE, source=Source.CLUSTERS,
            of=of, bad=Direction.UP, dimensions=(),
        )  # fmt: skip
    return Series(
        name=name, text=f"verdicts of {of} that say what people say", unit="share", kind=Kind.RATE,
        source=Source.AGREEMENT, of=of, bad=Direction.DOWN, dimensions=(),
    )  # fmt: skip


def _of_score(name: str, evaluator: str) -> Series:
    """What an evaluator says: a rate where its scores are 0 or 1, a positive figure where they are ms, tokens or money.

    Of one that is not built in nobody knows, so that it is a level, unless the monitor says another kind."""
    known = BY_NAME.get(evaluator)
    if known is None:
        kind, bad, unit = (Kind.RATE if evaluator == OUTCOME else Kind.LEVEL), Direction.BOTH, ""
        text = f"the mean of {evaluator}"
    else:
        spec = known.spec
        unit, text = spec.unit, spec.summary
        bad = Direction.UP if spec.direction is Better.LOWER else Direction.DOWN
        kind = Kind.RATE if spec.binary else Kind.POSITIVE if unit in ("ms", "tokens", "usd") else Kind.LEVEL
    return Series(
        name=name, text=text, unit=unit, kind=kind, source=Source.SCORES, evaluators=(evaluator,), bad=bad
    )  # fmt: skip


def _of_mix(name: str, dimension: str) -> Series:
    if dimension not in MIXES:
        raise InvalidInput(f"a mix is of {', '.join(MIXES)}, not of {dimension[:40]!r}", field="series")
    return Series(
        name=name, text=f"how unlikely the mix of {dimension} is, by that of the week before", unit=UNLIKELY,
        kind=Kind.LEVEL, source=Source.MIX, of=dimension, bad=Direction.UP, dimensions=(),
    )  # fmt: skip


def _of_embeddings(name: str, facet: str) -> Series:
    if facet not in FACETS:
        raise InvalidInput(f"embeddings are of {', '.join(FACETS)}, not of {facet[:40]!r}", field="series")
    return Series(
        name=name, text=f"how unlikely the embeddings of sessions ({facet}) are, by those before", unit=UNLIKELY,
        kind=Kind.LEVEL, source=Source.EMBEDDINGS, of=None if facet == "whole" else facet, bad=Direction.UP,
        dimensions=(),
    )  # fmt: skip


def as_distribution(spec: Series) -> Series:
    """The series of how unlikely the distribution of a series' values is. Raises InvalidInput where there are none."""
    if spec.source in (Source.MIX, Source.EMBEDDINGS):
        return spec
    is_sampled = spec.figure in SAMPLED.get(spec.source, {}) or (spec.source is Source.SCORES and not spec.whole)
    if not is_sampled:
        raise InvalidInput(
            f"of {spec.name} no single values are kept whose distribution could be watched; of latency, tokens, "
            f"cost_per_session, turns, scores, embeddings and mixes there are",
            field="band",
        )
    return replace(spec, kind=Kind.LEVEL, unit=UNLIKELY, bad=Direction.UP)


def step_s_of(text: str) -> int:
    """The seconds of a step. Raises InvalidInput."""
    if text not in STEPS_S:
        raise InvalidInput(f"step={text[:20]!r} is not one of {', '.join(STEPS_S)}", field="step")
    return STEPS_S[text]


def key_of(series: str, by: str | None, value: str | None) -> str:
    """What one series of a monitor is called: resolution, or resolution{release=v2}. What names none is "(none)"."""
    return series if by is None else f"{series}{{{by}={value if value is not None else '(none)'}}}"[:500]
