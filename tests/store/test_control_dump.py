"""A control database copied into another, of either kind: every row, as of one moment, nothing damaged in silence."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, select

from core.errors import Conflict, Corrupt
from core.ids import TenantId
from core.records import Counts, Principal, Role
from store.control import dump
from store.control.control import Control
from store.control.integrity import look_over_server
from store.control.online import OnlineChoice
from store.control.records import PlanSpec, ReleaseSpec
from store.control.tables import METADATA
from tests.store.control_rows import decided, experimented, judged, labelled, rolled_out
from tests.store.databases import PEPPER, ControlDatabase, closing_engine, empty_database, new_database
from tests.store.test_control_clusters import clustered
from tests.store.test_control_monitors import monitored
from tests.store.test_control_runs import SPEC, trials_of

ACME = TenantId("acme")


def filled(database: ControlDatabase) -> Control:
    """One row or more in every table."""
    control = database.open()
    control.ensure_tenant(ACME)
    control.set_retention(ACME, 30)
    for n in range(5):
        control.create_key(ACME, Role.ADMIN, f"key {n} \u00e9")
        control.settle(7, n + 1, {(ACME, "spans"): Counts(received=3, stored=2, duplicate=1)})
    control.claim(ACME, "once", bytes(32), "{}")
    fill_rooms(control)
    control.begin_erasure(ACME, "user", lambda number: b"sealed " + number.encode())
    return control


def fill_rooms(control: Control) -> None:
    """What releases, datasets, runs, gates, judges, labels, experiments, rollouts, clusters and monitors keep: one row
    or more of each, of ACME."""
    spec = ReleaseSpec(app="desk", name="v1", model="m", parameters={"temperature": 0.5})
    ann = Principal(tenant=ACME, role=Role.ADMIN, name="ann")
    control.register_release(ACME, spec, by=ann)
    control.set_plan(ACME, PlanSpec(app="desk", baseline="v1", weights={"v1": 1.0}), by=ann)
    control.create_dataset(ACME, "golden", by=ann)
    control.write_dataset(ACME, "golden", [b'{"split": "test"}'], None, "", by=ann)
    control.start_run(ACME, "run_1", SPEC, trials_of("run_1"), by=ann)
    control.add_gate(decided(ACME), b"{}", by=ann)
    control.set_online(OnlineChoice(tenant=ACME, app="desk", evaluators=("loops",), share=0.5), {7: 5}, by=ann)
    judged(control, ACME)
    labelled(control, ACME)
    experimented(control, ACME)
    rolled_out(control, ACME)
    clustered(control)
    monitored(control)


def counted(url: str) -> dict[str, int]:
    engine = create_engine(url)
    with closing_engine(engine), engine.begin() as connection:
        return {
            t.name: connection.execute(select(func.count()).select_from(t)).scalar_one()
            for t in METADATA.tables.values()
        }


def told(control: Control) -> object:
    key = [(k.key_id, k.digest, k.role, k.created_at_ns) for k in control.list_keys(ACME)]
    audit = control.list_audit(ACME)
    return (
        key,
        audit,
        control.ledger(None),
        control.watermarks(),
        control.tenant(ACME),
        control.erasures(None),
        control.releases(ACME),
        control.plans(ACME),
        control.read_dataset(ACME, "golden"),
        control.trials(ACME, "run_1"),
        control.gates(ACME),
        control.gate_bundle(ACME, "gate_1"),
        control.online_choices(ACME),
        control.online_mark(ACME),
        control.label_tasks(ACME, "triage"),
        control.annotations(ACME, "triage"),
        control.task_text(ACME, "triage", "task_2"),
    )


@pytest.mark.parametrize("into", ["sqlite", "postgresql"])
def test_every_row_is_copied_and_believed(
    database: ControlDatabase, into: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "into").mkdir()
    target = empty_database(into, tmp_path / "into", request)
    with closing(filled(database)) as control:
        copied = dump.copy(database.url, target.url)
        assert copied == counted(database.url) == counted(target.url)
        assert min(copied.values()) >= 1
        with closing(target.open()) as other:
            assert told(other) == told(control)
            assert other.verify(ACME).ok
            other.settle(7, 6, {(ACME, "spans"): Counts(received=1, stored=1)})
            other.create_key(ACME, Role.VIEWER, "after")
            assert other.verify(ACME).ok
        with pytest.raises(Conflict, match="not empty"):
            dump.copy(database.url, target.url)


def test_a_damaged_row_ends_the_copy_and_one_flipped_bit_is_put_right(
    database: ControlDatabase, tmp_path: Path
) -> None:
    filled(database).close()
    database.execute("UPDATE ledger SET stored = stored + 4")
    first = f"sqlite:///{tmp_path}/first.db"
    dump.copy(database.url, first)
    with closing(Control.open(first, pepper=PEPPER)) as copy:
        (row,) = copy.ledger(ACME)
    assert row.counts == Counts(received=15, stored=10, duplicate=5)
    database.execute("UPDATE ledger SET stored = 77")
    second = f"sqlite:///{tmp_path}/second.db"
    with pytest.raises(Corrupt, match=r"ledger.*was altered"):
        dump.copy(database.url, second)
    dump.require_empty(second)


def test_the_copy_is_of_one_moment_while_others_write(database: ControlDatabase, tmp_path: Path) -> None:
    control = filled(database)
    stop = threading.Event()

    def write() -> None:
        n = 100
        while not stop.is_set():
            n += 1
            control.settle(7, n, {(ACME, "spans"): Counts(received=1, stored=1)})
            control.create_key(ACME, Role.VIEWER, f"key {n}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(5):
            url = f"sqlite:///{tmp_path}/copy-{n}.db"
            dump.copy(database.url, url)
            with closing(Control.open(url, pepper=PEPPER)) as copy:
                assert copy.verify(ACME).ok
                (row,) = copy.ledger(ACME)
                settled = copy.settled_upto(7)
                assert row.stored == 10 + max(0, settled - 100)
    finally:
        stop.set()
        writer.join(60)
        control.close()


def test_altered_rows_on_a_server_are_named(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    database = new_database("postgresql", tmp_path, request)
    filled(database).close()
    assert look_over_server(database.url) == []
    database.execute("UPDATE tenants SET retention_days = 999")
    (finding,) = look_over_server(database.url)
    assert "tenants" in finding.what
    assert "acme" in finding.what
