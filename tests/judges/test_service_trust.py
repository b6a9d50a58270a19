"""A certificate is taken back when the judge's errors change, and stays when only the product does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.clock import NS_PER_S
from judges.service_trust import take_back
from store.control.certificates import DAY_NS, facts_of_judge
from store.control.judge_records import CalibrationState, JudgeCalibration
from tests.judges.stored import ACME, RUBRIC, Kept, judge_of, keep_judge

START = 1_800_000_000 * NS_PER_S // DAY_NS * DAY_NS
A_DAY = 30  # sessions


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    found = Kept(tmp_path, clock=lambda: START)
    keep_judge(found.control, RUBRIC, judge_of())
    return found


def live(kept: Kept, days: range, *, passing: float, right: float) -> None:
    """Sessions of some days, all judged and labelled."""
    rng = np.random.default_rng(days.start + 1)
    for day in days:
        truth = rng.random(A_DAY) < passing
        said = np.where(rng.random(A_DAY) < right, truth, ~truth)
        names = [f"d{day}s{n}" for n in range(A_DAY)]
        at = START + day * DAY_NS + 3600 * NS_PER_S
        words = ("fail", "pass")
        kept.judged(
            judge_of(), [(n, words[int(s)]) for n, s in zip(names, said, strict=True)], at_ns=at, probability=1.0
        )
        kept.labelled([(n, words[int(t)]) for n, t in zip(names, truth, strict=True)], at_ns=at, probability=1.0)


def certified(kept: Kept, day: int) -> None:
    kept.control.put_calibration(
        JudgeCalibration(
            tenant=ACME, judge="helpfulness", version=judge_of().version, at_ns=START + day * DAY_NS,
            state=CalibrationState.CERTIFIED, report={"reason": "it was", "app": None}, kappa_low=0.75,
            kappa_high=0.9, bar=0.7, n=300,
        )
    )  # fmt: skip


def looked(kept: Kept, day: int) -> list[JudgeCalibration]:
    return take_back(kept.control, kept.tenant, ACME, now_ns=START + day * DAY_NS)


def test_a_judge_whose_errors_changed_is_certified_no_more(kept: Kept) -> None:
    live(kept, range(12), passing=0.7, right=0.95)
    certified(kept, 12)
    live(kept, range(12, 30), passing=0.7, right=0.6)
    (made,) = looked(kept, 30)
    assert made.state is CalibrationState.UNDETERMINED
    found = facts_of_judge(kept.control, ACME, "helpfulness", now_ns=START + 30 * DAY_NS)
    assert not found.certified
    assert "its errors changed since it was certified: desk: the judge errs otherwise" in found.reason
    assert looked(kept, 30) == []  # nothing is left to take


def test_a_product_that_changes_under_a_judge_that_does_not_takes_nothing(kept: Kept) -> None:
    live(kept, range(12), passing=0.8, right=0.95)
    certified(kept, 12)
    live(kept, range(12, 30), passing=0.4, right=0.95)
    assert looked(kept, 30) == []


def test_a_change_from_before_it_was_certified_is_none(kept: Kept) -> None:
    live(kept, range(12), passing=0.7, right=0.95)
    live(kept, range(12, 24), passing=0.7, right=0.6)
    certified(kept, 24)
    assert looked(kept, 25) == []


def test_a_judge_that_is_not_certified_is_left_alone(kept: Kept) -> None:
    live(kept, range(12), passing=0.7, right=0.95)
    live(kept, range(12, 30), passing=0.7, right=0.6)
    assert looked(kept, 30) == []
    keep_judge(kept.control, RUBRIC, replace(judge_of(), name="other"))
    assert looked(kept, 30) == []
