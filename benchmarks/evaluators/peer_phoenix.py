"""Phoenix's own runner over the cases of benchmarks/evaluators/throughput.py; runs in Phoenix's environment.

    python peer_phoenix.py CASES.jsonl

Prints one JSON object: the seconds of `evaluate_dataframe` and of `async_evaluate_dataframe`, and of the evaluator's
own `evaluate` in a loop, where nothing of the runner is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from phoenix.evals import async_evaluate_dataframe, evaluate_dataframe
from phoenix.evals.metrics import exact_match


def main() -> None:
    """Measures."""
    read = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    cases = pd.DataFrame([{"output": one["output"], "expected": one["expected"]} for one in read])
    found: dict[str, Any] = {
        "version": version("arize-phoenix-evals"),
        "rule": "exact_match",
        "evaluations": len(cases),
    }
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        began = time.perf_counter()
        ran = evaluate_dataframe(cases, [exact_match], hide_tqdm_bar=True)
        in_turn = time.perf_counter() - began
        began = time.perf_counter()
        asyncio.run(async_evaluate_dataframe(cases, [exact_match], concurrency=100, hide_tqdm_bar=True))
        at_once = time.perf_counter() - began
    scores = [json.loads(one) if isinstance(one, str) else one for one in ran["exact_match_score"]]
    passed = sum(one["score"] == 1.0 for one in scores)
    found["evaluate_dataframe"] = {
        "s": round(in_turn, 3),
        "evaluations_per_s": round(len(cases) / in_turn),
        "passed": passed,
    }
    found["async_evaluate_dataframe"] = {"s": round(at_once, 3), "evaluations_per_s": round(len(cases) / at_once)}
    began = time.perf_counter()
    for row in cases.to_dict("records"):
        exact_match.evaluate(row)
    seconds = time.perf_counter() - began
    found["evaluate_in_a_loop"] = {"s": round(seconds, 3), "evaluations_per_s": round(len(cases) / seconds)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
