"""A small campaign of streamed calls with faults; the large one is `python -m tests.gateway.faults`."""

from __future__ import annotations

from pathlib import Path

from tests.gateway.faults import FAULTS, campaign


def test_every_call_leaves_one_span_and_totals_are_the_upstreams(tmp_path: Path) -> None:
    found = campaign(tmp_path, n_calls=300)
    assert found.problems() == []
    assert found.n_faults >= len(FAULTS), "every fault was met"
