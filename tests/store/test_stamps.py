"""The time that `as_of` goes by: asked for one moment, at once or later, a table gives the same rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import system_clock
from core.errors import StorageFailed
from store import spans, stamps
from store.asked import Asked
from store.tenant import TenantStore
from tests.store.build import row, spans_table
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def count(tenant: TenantStore, as_of_ns: int) -> int:
    """The number of spans that were stored by then."""
    return spans.count_spans(tenant, Asked(window=WINDOW, as_of_ns=as_of_ns))


def test_what_is_stored_after_a_moment_is_never_part_of_it(tmp_path: Path) -> None:
    _, store = store_at(tmp_path)
    tenant = store.tenant("acme")
    before = system_clock()
    assert count(tenant, before) == 0
    tenant.append("spans", spans_table([row(span_id=n) for n in range(1, 4)]))
    between = system_clock()
    assert (count(tenant, before), count(tenant, between)) == (0, 3)
    tenant.append("spans", spans_table([row(span_id=4)]))
    assert (count(tenant, before), count(tenant, between), count(tenant, system_clock())) == (0, 3, 4)


def test_a_moment_within_an_append_is_answered_once_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, store = store_at(tmp_path)
    tenant = store.tenant("acme")
    monkeypatch.setattr(stamps, "WAIT_S", 0.05)
    with lake.stamps.stamped(spans_table([row()])) as stamped:
        within = system_clock()
        while stamped.column("ingested_at")[0].value * 1000 > within:  # it is the microsecond after
            within = system_clock()
        with pytest.raises(StorageFailed, match="ask again"):
            count(tenant, within)
        assert spans.count_spans(tenant, Asked(window=WINDOW)) == 0, "who asks for no moment never waits"
        lake.append("spans", stamped)
    assert (count(tenant, within), count(tenant, within)) == (1, 1)


def test_a_clock_that_steps_back_does_not_take_the_stamps_with_it(tmp_path: Path) -> None:
    times = iter([9_000_000, 1_000_000, 9_500_000])
    given = stamps.Stamps(tmp_path, lambda: next(times))
    found = []
    for _ in range(3):
        with given.stamped(spans_table([row(), row(span_id=2)])) as stamped:
            found.append({one.value for one in stamped.column("ingested_at")})
    assert found == [{9001}, {9001}, {9501}]
