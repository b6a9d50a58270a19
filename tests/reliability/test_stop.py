"""SIGTERM while the store refuses to write: the process ends well, and the next start stores what waited."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from tests.collector.alone import Collector
from tests.reliability.crash_load import Content, judge, poster, request
from tests.reliability.faults_layer import SPACE, Kind, Layer, compiler


@pytest.mark.skipif(not compiler(), reason="the fault layer needs a C compiler (cc)")
def test_what_the_store_refused_until_the_end_is_stored_by_the_next_start(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "disk", tmp_path / "layer")
    layer.root.mkdir()
    rng = random.Random(7)
    sent: Content = {}
    collector = Collector(layer.root)
    collector.environment |= layer.environment
    with collector:
        post = poster(collector.base + 1, collector.key)
        layer.arm(SPACE | Kind.SYNC | Kind.UNLINK, error=errno.ENOSPC, match="/lake/")
        for i in range(3):
            body, content = request(rng, 12, 1_790_000_000 * 10**9 + i)
            assert post(body) == 200
            sent |= content
        assert collector.stop() == 0
        assert "the next start stores it" in collector.log()
        layer.lift()
        assert not judge(layer.root, sent, sent).sound, "nothing was refused"
        collector.start()
        collector.drained()
        assert collector.stop() == 0
    assert judge(layer.root, sent, sent).sound
