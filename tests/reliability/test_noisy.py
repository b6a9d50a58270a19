"""A tenant over its quota, or sending poison, is refused with hints; its neighbour never is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collector.alone import Collector
from tests.reliability.noisy import PHASES, Neighbours


@pytest.mark.timeout(300)
def test_the_victim_is_never_refused_while_its_neighbour_is_told_when_to_come_again(tmp_path: Path) -> None:
    with Collector(tmp_path, tenant_bytes_s="noisy=500000") as collector:
        neighbours = Neighbours(collector)
        for phase in PHASES:
            neighbours.play(2, phase, per_s=10)
        assert neighbours.problems() == []
        assert len(neighbours.victim.states) == 60
        for name, expected in {"over_quota": {200, 503}, "poison": {503}, "poison_without_quota": {400, 413}}.items():
            heard = neighbours.heard[name].statuses
            assert expected <= set(heard), f"{name}: {heard}"
        assert collector.ledger("noisy")["spans"].counts.stored > 0
        assert collector.stop() == 0
