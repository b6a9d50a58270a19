"""DeepEval's own runner over the cases of benchmarks/evaluators/throughput.py; runs in DeepEval's environment.

    python peer_deepeval.py CASES.jsonl

Prints one JSON object: the seconds of `evaluate` (its default, async, and one after another), and of the metric's own
`measure` in a loop, where nothing of the runner is left.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

from deepeval import evaluate
from deepeval.evaluate.configs import AsyncConfig, CacheConfig, DisplayConfig
from deepeval.metrics import ExactMatchMetric
from deepeval.test_case import LLMTestCase


def main() -> None:
    """Measures."""
    read = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    cases = [
        LLMTestCase(input=one["input"], actual_output=one["output"], expected_output=one["expected"]) for one in read
    ]
    quiet = DisplayConfig(show_indicator=False, print_results=False, inspect_after_run=False)
    found = {"version": version("deepeval"), "rule": "ExactMatchMetric", "evaluations": len(cases)}
    for name, at_once in (("evaluate_async", True), ("evaluate_in_turn", False)):
        metric = ExactMatchMetric()
        with contextlib.redirect_stdout(io.StringIO()):
            began = time.perf_counter()
            ran = evaluate(
                test_cases=cases,
                metrics=[metric],
                async_config=AsyncConfig(run_async=at_once, max_concurrent=100),
                display_config=quiet,
                cache_config=CacheConfig(write_cache=False, use_cache=False),
            )
            seconds = time.perf_counter() - began
        n_passed = sum(bool(one.success) for one in ran.test_results)
        found[name] = {"s": round(seconds, 3), "evaluations_per_s": round(len(cases) / seconds), "passed": n_passed}
    metric = ExactMatchMetric()
    began = time.perf_counter()
    for case in cases:
        metric.measure(case, _show_indicator=False)
    seconds = time.perf_counter() - began
    found["measure_in_a_loop"] = {"s": round(seconds, 3), "evaluations_per_s": round(len(cases) / seconds)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
