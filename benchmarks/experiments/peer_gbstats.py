"""What gbstats says of the cases of benchmarks/experiments/equality.py; runs in gbstats' own environment.

    python peer_gbstats.py CASES.json

Prints one JSON object: its version, and per case the figures. Differences are absolute.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import RatioStatistic, RegressionAdjustedStatistic, SampleMeanStatistic

Units = dict[str, list[float]]


def main() -> None:
    """Answers."""
    cases = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps({"version": version("gbstats"), "cases": {one["name"]: told(one) for one in cases}}))


def told(case: dict[str, Any]) -> dict[str, float] | None:
    """The figures of a case; None where gbstats has no such statistic."""
    if "x" in case["control"] and "s" in case["control"]:
        return None
    alpha = case["alpha"]
    fixed = TwoSidedTTest(*arms(case), FrequentistConfig(alpha=alpha, difference_type="absolute")).compute_result()
    sequential = SequentialTwoSidedTTest(*arms(case), SequentialConfig(alpha=alpha, difference_type="absolute"))
    always = sequential.compute_result()
    bayes = EffectBayesianABTest(
        *arms(case), EffectBayesianConfig(alpha=alpha, difference_type="absolute")
    ).compute_result()
    found = {
        "estimate": fixed.expected, "se": fixed.uplift.stddev, "low": fixed.ci[0], "high": fixed.ci[1],
        "p_value": fixed.p_value, "sequence_half": always.ci[1] - always.expected, "sequence_p": always.p_value,
    }  # fmt: skip
    if "x" not in case["control"]:  # its Bayesian test leaves theta at 0
        found |= {"p_better": bayes.chance_to_win, "expected_loss": bayes.risk[1], "credible_low": bayes.ci[0]}
    return {name: float(value) for name, value in found.items()}


def arms(case: dict[str, Any]) -> list[Any]:
    """Both arms as its statistics, control first."""
    return [statistic(case[name]) for name in ("control", "treatment")]


def statistic(units: Units) -> Any:
    """An arm: a mean, a ratio, or a mean with what was before."""
    y = mean(units["y"])
    if "s" in units:
        return RatioStatistic(
            n=len(units["y"]), m_statistic=y, d_statistic=mean(units["s"]),
            m_d_sum_of_products=product(units["y"], units["s"]),
        )  # fmt: skip
    if "x" in units:
        return RegressionAdjustedStatistic(
            n=len(units["y"]), post_statistic=y, pre_statistic=mean(units["x"]),
            post_pre_sum_of_products=product(units["y"], units["x"]), theta=0,
        )  # fmt: skip
    return y


def mean(values: list[float]) -> Any:
    """Its statistic of a mean, from sums."""
    return SampleMeanStatistic(n=len(values), sum=sum(values), sum_squares=product(values, values))


def product(one: list[float], two: list[float]) -> float:
    """Sum of products."""
    return sum(a * b for a, b in zip(one, two, strict=True))


if __name__ == "__main__":
    main()
