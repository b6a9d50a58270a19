"""What a judge is and says: rubrics, judges, verdicts, and the reason why there is no verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from core.errors import InvalidInput
from core.records import TargetKind

PROMPT_VERSION: Final = "1"  # of judges/prompt.py; a change of its words is another instrument


class ScaleKind(StrEnum):
    """What a verdict chooses from."""

    PASS_FAIL = "pass_fail"  # noqa: S105
    ORDINAL = "ordinal"
    PAIRWISE = "pairwise"
    MULTI_LABEL = "multi_label"


class Missing(StrEnum):
    """Why a judge gave no verdict. Each is counted and stored as unscored; none is ever a fail."""

    EMPTY = "empty_reply"
    PROSE = "no_verdict_in_reply"  # words where one of the labels was asked for
    NOT_OFFERED = "label_not_offered"  # a label that the rubric neither has nor maps
    SEVERAL = "several_verdicts"
    TOO_LARGE = "reply_too_large"
    REFUSED = "refused"  # the model or its provider would not
    CUT_OFF = "reply_cut_off"
    MODEL_FAILED = "model_failed"  # after every retry
    NO_CONTENT = "no_content"  # there was nothing to judge
    DISAGREED = "panel_disagreed"  # no majority among a panel, or both orders chose differently


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """An immutable version of what a judge, or a person, is asked. `labels` are in order from worst to best where the
    scale is ordinal; `passing` are those that count as 1. `aliases` map other words, lower case, to a label: what is
    not mapped is missing. `digest` is the hash of all that a verdict depends on."""

    name: str
    version: int
    kind: ScaleKind
    labels: tuple[str, ...]
    passing: frozenset[str]
    text: str
    target: TargetKind = TargetKind.SESSION
    anchors: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 in hex of all fields but name and version."""
        said = {
            "kind": self.kind.value,
            "target": self.target.value,
            "labels": list(self.labels),
            "passing": sorted(self.passing),
            "anchors": dict(self.anchors),
            "aliases": dict(self.aliases),
            "text": self.text,
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()

    def value_of(self, label: str) -> float:
        """The score of a label: of an ordinal scale its place from 0 (worst) to 1 (best), of a pair 1, 0 and for a tie
        one half, else 1 when it passes and 0 when not. Raises InvalidInput for a label that is not offered."""
        if label not in self.labels:
            raise InvalidInput(f"{label[:80]!r} is none of the labels {', '.join(self.labels)}", field="label")
        if self.kind is ScaleKind.ORDINAL:
            return self.labels.index(label) / (len(self.labels) - 1)
        if self.kind is ScaleKind.PAIRWISE and label == self.tie:
            return 0.5
        return float(label in self.passing)

    @property
    def tie(self) -> str | None:
        """Of a pair: the third label, where there is one."""
        return self.labels[2] if self.kind is ScaleKind.PAIRWISE and len(self.labels) > 2 else None

    def value_of_all(self, labels: tuple[str, ...]) -> float:
        """The score of a verdict: of one label its own, of several the share that passes. Raises InvalidInput for none
        and for a label that is not offered."""
        if not labels:
            raise InvalidInput("a verdict without a label has no value", field="label")
        return sum(map(self.value_of, labels)) / len(labels)


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """Which model answers: `provider` is openai, anthropic or simulated; `url` the base URL of an OpenAI-compatible
    server; `key_env` the server's environment variable that holds its key, never the key."""

    provider: str
    model: str
    url: str | None = None
    key_env: str | None = None

    @property
    def text(self) -> str:
        """As it is written: provider:model."""
        return f"{self.provider}:{self.model}"


class OwnFamily(StrEnum):
    """What happens when a judge grades models of its own family, which it may prefer."""

    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, kw_only=True)
class JudgeSpec:
    """A judge: a rubric and who answers it. Several models are a panel: the majority's label is the verdict. `repeats`
    ask each model so often; `both_orders` is for pairs. `version` changes whenever the same target could get another
    verdict; `own_family` is no part of it."""

    name: str
    rubric: str
    rubric_version: int
    rubric_digest: str
    models: tuple[ModelRef, ...]
    temperature: float = 0.0
    max_output_tokens: int = 1_000
    repeats: int = 1
    both_orders: bool = True
    app: str | None = None
    own_family: OwnFamily = OwnFamily.WARN

    @property
    def version(self) -> str:
        """Twelve hex digits of the hash of rubric, models, parameters and the prompt around them."""
        said = {
            "rubric": self.rubric_digest,
            "models": [[one.text, one.url] for one in self.models],
            "temperature": self.temperature,
            "max_output_tokens": self.max_output_tokens,
            "repeats": self.repeats,
            "both_orders": self.both_orders,
            "prompt": PROMPT_VERSION,
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens and money of one or several calls; `cost_usd` None: no price is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    n_calls: int = 0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one model chose when it was asked once: a verdict is made of one or several.

    `labels` name the answers as they are stored, whatever the order in which they were shown; `shown` is "ab" or "ba"
    for a pair and None else; `repeat` counts from 0.
    """

    model: str
    repeat: int = 0
    shown: str | None = None
    labels: tuple[str, ...] = ()
    missing: Missing | None = None
    explanation: str = ""
    confidence: float | None = None
    raw: str = ""
    repaired: bool = False
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a judge chose: one label (several where the scale is multi-label), or the reason why none.

    `raw` is the reply as it came, cut to MAX_RAW characters (of several replies each behind a line that says whose);
    `repaired` when it took a second question to be readable. `replies` are all of which it was made, in order.
    """

    labels: tuple[str, ...] = ()
    missing: Missing | None = None
    explanation: str = ""
    confidence: float | None = None  # 0 to 1, as the judge says or as its repeats agree
    raw: str = ""
    repaired: bool = False
    usage: Usage = field(default_factory=Usage)
    replies: tuple[Reply, ...] = ()

    @property
    def label(self) -> str | None:
        """The label where there is exactly one."""
        return self.labels[0] if len(self.labels) == 1 else None


MAX_RAW: Final = 65_536
