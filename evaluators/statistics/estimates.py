"""What statistics answer: a number with its interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Lack(StrEnum):
    """Why a number is missing. Never written as 0, NaN, p = 1 or (0, 0)."""

    NO_EXAMPLES = "no_examples"  # nothing is paired
    ONE_EXAMPLE = "one_example"  # one example has no spread
    ALL_TIES = "all_ties"  # no example differs: a test has nothing to weigh
    ZERO_VARIANCE = "zero_variance"  # every example differs by the same, and the metric has no known range
    NOT_FINITE = "not_finite"  # NaN or infinity among the scores
    OTHER_VERSION = "other_version"  # the runs were scored by different versions of the evaluator
    ONE_TRIAL = "one_trial"  # the spread within an example needs two trials
    ONE_CLASS = "one_class"  # everything got the same label from both: agreement beyond chance is 0 / 0
    NOT_BINARY = "not_binary"  # defined for two labels only
    FEW_ANNOTATORS = "few_annotators"  # fewer people than the method asks for
    FEW_ITEMS = "few_items"  # fewer items than the method asks for
    UNEQUAL_WEIGHTS = "unequal_weights"  # the formula is of items that count alike
    NEAR_THE_BAR = "near_the_bar"  # no affordable number of labels would tell the estimate from the bar
    SEPARATED = "separated"  # one outcome only in a part of the rows: a coefficient would be infinite
    COLLINEAR = "collinear"  # a column of the model repeats others
    NO_LABELS = "no_labels"  # nobody labelled these
    TOO_FEW = "too_few"  # too few for an interval
    OTHER_LABELS = "other_labels"  # the two do not choose from the same labels
    NO_BETTER_THAN_CHANCE = "no_better_than_chance"  # a judge whose sensitivity and specificity add up to 1 or less


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval: its ends, its level (0 to 1) and how it was made."""

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True, kw_only=True)
class Unestimated:
    """No estimate, and why."""

    reason: Lack
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean or rate over `n` examples with its standard error, in the unit of the score."""

    value: float
    n: int
    se: float | None
    interval: Interval | None
    lack: Lack | None = None  # why `se` or `interval` is missing
