"""The plugin's bounds are those of scipy, and a verdict needs its bound on the right side."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scipy import stats

from evaluators.statistics.rates import wilson

FILE = Path(__file__).resolve().parents[2] / "deploy" / "pytest_assay" / "pytest_assay" / "judging.py"


@pytest.fixture(scope="module")
def judging() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pytest_assay_judging", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 29, 30, 75, 200])
def test_student_is_scipys(judging: ModuleType, freedom: int) -> None:
    assert judging.student(freedom) == pytest.approx(stats.t.isf(0.05, freedom), abs=1e-7)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 10), (60, 60), (70, 76)])
def test_bounds_of_yes_and_no_are_wilsons(judging: ModuleType, right: int, n: int) -> None:
    found = judging.bounds_of([1.0] * right + [0.0] * (n - right))
    wanted = wilson(right, n, level=0.9)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_trials_of_one_example_are_no_new_examples(judging: ModuleType) -> None:
    once = judging.judged("m", {str(n): [float(n % 4 > 0)] for n in range(40)}, 0.6, lower=False, share=True)
    often = judging.judged("m", {str(n): [float(n % 4 > 0)] * 9 for n in range(40)}, 0.6, lower=False, share=True)
    assert once.bounds == often.bounds


@pytest.mark.parametrize(
    ("values", "accept", "lower", "word"),
    [
        ([1.0] * 60, 0.9, False, "pass"),
        ([1.0] * 10, 0.9, False, "inconclusive"),
        ([1.0, 0.0] * 30, 0.9, False, "fail"),
        ([0.5] * 400, 0.4, False, "pass"),
        ([0.5] * 400, 0.6, False, "fail"),
        ([100.0 + n for n in range(30)], 200.0, True, "pass"),
        ([100.0 + n for n in range(30)], 50.0, True, "fail"),
        ([100.0 + n for n in range(30)], 114.0, True, "inconclusive"),
        ([100.0] * 30, 200.0, True, "inconclusive"),
        ([], 0.5, False, "inconclusive"),
    ],
)
def test_the_word_rests_on_the_bound(
    judging: ModuleType, values: list[float], accept: float, lower: bool, word: str
) -> None:
    by_example = {str(n): [value] for n, value in enumerate(values)}
    share = not lower
    assert judging.judged("m", by_example, accept, lower=lower, share=share).word == word


def test_a_suite_passes_only_when_all_do_and_nothing_is_missing(judging: ModuleType) -> None:
    good, bad, open_ = (judging.Verdict("m", word, "") for word in ("pass", "fail", "inconclusive"))
    assert judging.whole([good, good], "") == "pass"
    assert judging.whole([good], "one item gave no output") == "inconclusive"
    assert judging.whole([good, open_], "") == "inconclusive"
    assert judging.whole([good, open_, bad], "something") == "fail"
    assert judging.whole([], "") == "inconclusive"
