"""Two collectors, each with a journal of its own, write one lake: what either acknowledged is there once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from store.lake import Lake
from tests.collector.inside import Inside
from tests.collector.otlp import span, traces

N_REQUESTS = 8


@pytest.fixture(params=["folder", "s3"])
def seen_from(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Lake]:
    """One lake, as each of several machines sees it."""
    if request.param == "folder":
        return lambda name: Lake(tmp_path / "lake")
    bucket: str = request.getfixturevalue("bucket")
    return lambda name: Lake(bucket, cache=tmp_path / name / "lake-cache")


def body() -> bytes:
    spans = [span({"session.id": "s"}, trace_id=secrets.token_bytes(16), span_id=secrets.token_bytes(8)) for _ in "abc"]
    return traces(*spans).SerializeToString()


def test_what_two_collectors_acknowledged_is_stored_once(seen_from: Callable[[str], Lake], tmp_path: Path) -> None:
    def life(name: str) -> Inside:
        return Inside(tmp_path / name, lake=seen_from(name))

    def store(name: str) -> int:
        again = life(name)
        again.recover()
        number = again.journal.number
        again.release()
        return number

    for name in ("one", "two"):
        first = life(name)
        first.recover()
        for _ in range(N_REQUESTS):
            first.keep(body())
        first.release()  # killed between acknowledging and storing
    with ThreadPoolExecutor(2) as pool:
        numbers = list(pool.map(store, ("one", "two")))
    lake = seen_from("reader")
    rows = [row for file in lake.snapshot("spans").files for row in lake.read(file, verify=True).to_pylist()]
    assert len(rows) == len({row["span_id"] for row in rows}) == 2 * N_REQUESTS * 3
    assert {row["seq"] >> 48 for row in rows} == set(numbers)
    for name in ("one", "two"):  # nothing is stored once more by a third life
        store(name)
    assert sum(file.n_rows for file in lake.snapshot("spans").files) == len(rows)
    turns = [row for file in lake.snapshot("turns").files for row in lake.read(file).to_pylist()]
    assert sum(row["n_spans"] for row in turns) == len(rows)
