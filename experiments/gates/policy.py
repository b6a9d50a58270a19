"""What a gate's policy says: which metrics count, how much of each may be lost, and how much evidence it takes.

The models of a YAML file; `server/gate_policy.py` reads it. Every field is documented in docs/gates.md, and
docs/gate-policy.schema.json is made from these models.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evaluators.records import Direction

NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9._:@/-]{0,99}"
_PERCENT: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*%\s*")
Name = Annotated[str, Field(pattern=rf"^{NAME}$", description="an evaluator's name, latency_ms, cost_usd or tokens")]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of the file: unknown keys are problems, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class MetricRole(StrEnum):
    """Primary: what the release is for; any harm to it fails. Guardrail: harm fails once it is over the margin."""

    PRIMARY = "primary"
    GUARDRAIL = "guardrail"


class MetricRule(Section):
    """One metric of a gate. `margin` is how much may be lost: a number in the metric's unit, or "5%" of the baseline's
    mean. `direction` is the evaluator's own unless it is said. What is not `required` may be missing in both runs."""

    metric: Name
    role: MetricRole = MetricRole.PRIMARY
    margin: (
        Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
        | Annotated[str, Field(pattern=r"^\s*([0-9]+(\.[0-9]+)?|\.[0-9]+)\s*%\s*$")]
    )
    direction: Direction | None = None
    required: bool = True

    @field_validator("margin", mode="before")
    @classmethod
    def _margin(cls, value: Any) -> Any:
        plain = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        share = isinstance(value, str) and (found := _PERCENT.fullmatch(value)) and float(found[1]) <= 100
        if not plain and not share:
            raise ValueError('has to be a number from 0 on, such as 0.02, or a share of the baseline such as "5%"')
        return value

    def margin_of(self, baseline_mean: float) -> float:
        """The margin in the metric's unit."""
        if isinstance(self.margin, str):
            return float(self.margin.strip().rstrip("%")) / 100 * abs(baseline_mean)
        return float(self.margin)


class EvidenceRule(Section):
    """How much evidence a decision takes. Examples are those that both runs scored; trials are of each example in each
    run; age is hours since a run ended; unscored counts every trial that has no score where one should be; `judge_bar`
    is what the lower bound of kappa of a judge has to reach, whatever bar it was calibrated against."""

    min_examples: Annotated[int, Field(ge=2, le=10_000_000)] = 30
    min_trials: Annotated[int, Field(ge=1, le=1000)] = 1
    max_age_h: Annotated[float, Field(gt=0, le=87_600, allow_inf_nan=False)] = 168.0
    max_unscored_share: Share = 0.0
    judge_bar: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.7


class GatePolicy(Section):
    """A whole policy. `app` and `dataset` None: whatever the runs are of. `alpha` is the chance of a wrong fail, over
    all metrics together, and of a wrong pass. `strata`: groups of examples whose figures are shown beside the whole."""

    version: Literal[1]
    app: Text | None = None
    dataset: Text | None = None
    alpha: Annotated[float, Field(ge=0.0001, le=0.2, allow_inf_nan=False)] = 0.05
    evidence: EvidenceRule = EvidenceRule()
    required_evaluators: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    metrics: Annotated[tuple[MetricRule, ...], Field(min_length=1, max_length=50)]
    strata: bool = True

    @model_validator(mode="after")
    def _each_once(self) -> GatePolicy:
        counted = Counter(rule.metric for rule in self.metrics)
        twice = [name for name, n in counted.items() if n > 1]
        if twice:
            raise ValueError(f"metrics: {twice[0]} is there twice; a gate judges a metric once")
        if not any(rule.required for rule in self.metrics):
            raise ValueError("metrics: none is required; a gate without a metric that has to be there decides nothing")
        return self


def schema() -> dict[str, Any]:
    """The JSON schema of such a file."""
    found = GatePolicy.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Assay: policy of a gate"} | {
        key: value for key, value in found.items() if key != "title"
    }
