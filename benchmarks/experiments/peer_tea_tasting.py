"""What tea-tasting says of the cases of benchmarks/experiments/equality.py; runs in tea-tasting's own environment.

    python peer_tea_tasting.py CASES.json

Prints one JSON object: its version, and per case the figures.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import tea_tasting as tt


def main() -> None:
    """Answers."""
    cases = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps({"version": version("tea-tasting"), "cases": {one["name"]: told(one) for one in cases}}))


def told(case: dict[str, Any]) -> dict[str, float]:
    """The figures of a case."""
    control, treatment = case["control"], case["treatment"]
    columns = {name: [*control[name], *treatment[name]] for name in control}
    columns["variant"] = [0] * len(control["y"]) + [1] * len(treatment["y"])
    covariate = "x" if "x" in control else None
    how = {"confidence_level": 1 - case["alpha"], "equal_var": False, "use_t": True}
    if "s" in control:
        metric = tt.RatioOfMeans(numer="y", denom="s", numer_covariate=covariate, **how)
    else:
        metric = tt.Mean("y", covariate=covariate, **how)
    found = tt.Experiment(metric=metric).analyze(pa.table(columns))["metric"]
    return {
        "estimate": found.effect_size, "low": found.effect_size_ci_lower, "high": found.effect_size_ci_upper,
        "p_value": found.pvalue, "se": found.effect_size / found.statistic,
    }  # fmt: skip


if __name__ == "__main__":
    main()
