"""The control database on SQLite and on PostgreSQL: tenants, keys, ledger, claims, many writers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.errors import Conflict, InvalidInput, NotFound, StorageFailed, Unauthenticated
from core.ids import KeyId, TenantId
from core.keytext import issue
from core.records import Counts, PiiEntity, PiiMode, PiiPolicy, Principal, Role
from store.control import tenants
from store.control.claims import LEASE_NS
from store.control.control import Control
from store.control.records import ClaimState
from tests.store.databases import PEPPER, ControlDatabase

AIRLINE, SHOP = TenantId("airline"), TenantId("shop")
ADMIN = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann", key_id="0123456789ab")


def opened(path: Path) -> Control:
    return Control.open(f"sqlite:///{path / 'control.db'}", pepper=PEPPER)


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    found.ensure_tenant(AIRLINE)
    found.ensure_tenant(SHOP)
    yield found
    found.close()


def test_a_tenant_begins_with_everything_redacted_and_kept(control: Control) -> None:
    record = control.tenant(AIRLINE)
    assert (record.pii, record.retention_days) == (PiiPolicy(), None)
    assert control.ensure_tenant(AIRLINE) == record
    assert [tenant.id for tenant in control.all_tenants()] == [AIRLINE, SHOP]
    with pytest.raises(NotFound):
        control.tenant(TenantId("nobody"))


def test_choices_last_and_concern_one_tenant(control: Control, database: ControlDatabase) -> None:
    policy = PiiPolicy(default=PiiMode.HASH, by_entity={PiiEntity.EMAIL: PiiMode.KEEP})
    control.set_pii(AIRLINE, policy, by=ADMIN)
    control.set_retention(AIRLINE, 30, by=ADMIN)
    again = database.open().tenant(AIRLINE)
    assert (again.pii, again.retention_days) == (policy, 30)
    assert control.tenant(SHOP).pii == PiiPolicy()
    control.set_retention(AIRLINE, None)
    assert control.tenant(AIRLINE).retention_days is None


@pytest.mark.parametrize("days", [0, -1, 36_501])
def test_a_retention_out_of_range_changes_nothing(control: Control, days: int) -> None:
    with pytest.raises(InvalidInput):
        control.set_retention(AIRLINE, days)
    assert control.tenant(AIRLINE).retention_days is None


def test_a_key_is_found_by_its_id_and_its_secret_is_nowhere(tmp_path: Path) -> None:
    control = opened(tmp_path)
    control.ensure_tenant(AIRLINE)
    record, text = control.create_key(AIRLINE, Role.INGEST, "airline-prod")
    assert control.find_key(record.key_id) == record
    assert control.find_key(KeyId("ffffffffffff")) is None
    control.close()
    secret = text[17:60].encode()
    assert all(secret not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_first_key_may_come_from_outside(control: Control) -> None:
    text = issue()
    record, same = control.create_key(AIRLINE, Role.ADMIN, "first", plaintext=text)
    assert (same, record.key_id) == (text, text[4:16])
    with pytest.raises(Conflict):
        control.create_key(SHOP, Role.ADMIN, "first", plaintext=text)
    with pytest.raises(Unauthenticated):
        control.create_key(AIRLINE, Role.ADMIN, "weak", plaintext="admin")


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", "line\nbreak"])
def test_a_key_needs_a_printable_name(control: Control, name: str) -> None:
    with pytest.raises(InvalidInput):
        control.create_key(AIRLINE, Role.VIEWER, name)


def test_a_key_of_another_tenant_cannot_be_revoked(control: Control) -> None:
    record, _ = control.create_key(AIRLINE, Role.VIEWER, "viewer")
    with pytest.raises(NotFound):
        control.revoke_key(SHOP, record.key_id)
    found = control.find_key(record.key_id)
    assert found is not None
    assert found.usable(found.created_at_ns)
    assert control.list_keys(SHOP) == []


def test_the_last_admin_key_stays(control: Control) -> None:
    first, _ = control.create_key(AIRLINE, Role.ADMIN, "first")
    control.create_key(SHOP, Role.ADMIN, "of the other tenant")
    with pytest.raises(Conflict):
        control.revoke_key(AIRLINE, first.key_id)
    second, _ = control.create_key(AIRLINE, Role.ADMIN, "second")
    assert control.revoke_key(AIRLINE, first.key_id).revoked_at_ns is not None
    assert control.revoke_key(AIRLINE, first.key_id).revoked_at_ns is not None
    with pytest.raises(Conflict):
        control.revoke_key(AIRLINE, second.key_id)


def test_settling_again_adds_nothing(control: Control) -> None:
    deltas = {(AIRLINE, "spans"): Counts(received=5, stored=3, duplicate=1, rejected=1)}
    assert control.settled_upto(7) == 0
    assert control.settle(7, 10, deltas)
    assert not control.settle(7, 10, deltas)
    assert not control.settle(7, 9, deltas)
    assert control.settle(8, 1, deltas)
    assert (control.settled_upto(7), control.settled_upto(8)) == (10, 1)
    (row,) = control.ledger(AIRLINE)
    assert row.counts == Counts(received=10, stored=6, duplicate=2, rejected=2)
    assert row.counts.balanced
    assert control.ledger(SHOP) == []


@pytest.mark.parametrize(
    "deltas",
    [{(AIRLINE, "smells"): Counts(received=1)}, {(AIRLINE, "spans"): Counts(received=-1, stored=-1)}],
)
def test_a_refused_settlement_moves_nothing(control: Control, deltas: dict[tuple[TenantId, str], Counts]) -> None:
    good = {(AIRLINE, "spans"): Counts(received=1, stored=1)}
    with pytest.raises(InvalidInput):
        control.settle(1, 1, {**good, **deltas})
    assert (control.settled_upto(1), control.ledger(None)) == (0, [])


COUNT = st.integers(0, 2**40)
BALANCED = st.builds(
    lambda stored, duplicate, quarantined, rejected: Counts(
        received=stored + duplicate + quarantined + rejected,
        stored=stored,
        duplicate=duplicate,
        quarantined=quarantined,
        rejected=rejected,
    ),
    COUNT,
    COUNT,
    COUNT,
    COUNT,
)
DELTAS = st.dictionaries(
    st.tuples(st.sampled_from([AIRLINE, SHOP]), st.sampled_from(["spans", "log_records", "metric_points"])), BALANCED
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30), DELTAS), max_size=12))
def test_the_ledger_balances_and_is_the_sum_of_what_was_settled_first(
    tmp_path_factory: pytest.TempPathFactory, settlements: list[tuple[int, int, dict[tuple[TenantId, str], Counts]]]
) -> None:
    control = opened(tmp_path_factory.mktemp("ledger"))
    expected: dict[tuple[TenantId, str], Counts] = {}
    marks: dict[int, int] = {}
    for journal, upto, deltas in settlements:
        applied = control.settle(journal, upto, deltas)
        assert applied == (upto > marks.get(journal, 0))
        if applied:
            marks[journal] = upto
            for key, counts in deltas.items():
                expected[key] = expected.get(key, Counts()) + counts
        rows = control.ledger(None)
        assert all(row.counts.balanced for row in rows)
        assert {(row.tenant, row.signal): row.counts for row in rows} == expected
    assert all(control.settled_upto(journal) == upto for journal, upto in marks.items())
    control.close()


def test_a_claim_keeps_its_first_answer(control: Control) -> None:
    body, other = b"b" * 32, b"c" * 32
    assert control.claim(AIRLINE, "k1", body, '["score_1"]').state is ClaimState.NEW
    second = control.claim(AIRLINE, "k1", body, '["score_2"]')
    assert (second.state, second.answer) == (ClaimState.PENDING, '["score_1"]')
    control.finish_claim(AIRLINE, "k1")
    third = control.claim(AIRLINE, "k1", body, '["score_3"]')
    assert (third.state, third.answer) == (ClaimState.DONE, '["score_1"]')
    with pytest.raises(Conflict):
        control.claim(AIRLINE, "k1", other, "[]")
    assert control.claim(SHOP, "k1", other, "[]").state is ClaimState.NEW


def test_a_claim_that_nobody_renews_is_taken_over_once(database: ControlDatabase) -> None:
    now = [10**18]
    control = database.open(clock=lambda: now[0])

    def again() -> ClaimState:
        return control.claim(AIRLINE, "k", b"b" * 32, "2").state

    since_ns = control.claim(AIRLINE, "k", b"b" * 32, "1").since_ns
    now[0] += LEASE_NS - 1
    assert (again(), control.claim_is_pending(AIRLINE, "k")) == (ClaimState.PENDING, True)
    renewed_ns = control.renew_claim(AIRLINE, "k", since_ns)
    assert renewed_ns == now[0]
    assert control.renew_claim(AIRLINE, "k", since_ns) is None, "that is not the lease any more"
    now[0] += LEASE_NS - 1
    assert again() is ClaimState.PENDING
    now[0] += 1
    assert control.claim_is_pending(AIRLINE, "k") is False
    assert (again(), again()) == (ClaimState.ABANDONED, ClaimState.PENDING)
    assert control.renew_claim(AIRLINE, "k", renewed_ns) is None, "who slept through the lease has lost it"
    control.give_up_claim(AIRLINE, "k", renewed_ns)
    assert again() is ClaimState.PENDING
    control.give_up_claim(AIRLINE, "k", now[0])
    assert again() is ClaimState.ABANDONED
    control.finish_claim(AIRLINE, "k")
    assert control.renew_claim(AIRLINE, "k", now[0]) is None
    assert (again(), control.claim_is_pending(AIRLINE, "k")) == (ClaimState.DONE, False)


def test_a_claim_is_forgotten_after_a_day(database: ControlDatabase) -> None:
    now = [10**18]
    control = database.open(clock=lambda: now[0])
    assert control.claim(AIRLINE, "k", b"b" * 32, "1").state is ClaimState.NEW
    now[0] += 86_401 * NS_PER_S
    assert control.claim(AIRLINE, "k", b"c" * 32, "2").state is ClaimState.NEW


@pytest.mark.parametrize("key", ["", "k" * 256, "a\nb", "a\0b"])
def test_an_idempotency_key_is_short_and_printable(control: Control, key: str) -> None:
    with pytest.raises(InvalidInput):
        control.claim(AIRLINE, key, b"b" * 32, "[]")


def test_a_thousand_equal_claims_have_one_winner(control: Control) -> None:
    with ThreadPoolExecutor(32) as pool:
        claims = list(pool.map(lambda n: control.claim(AIRLINE, "k", b"b" * 32, str(n)), range(1000)))
    assert sum(claim.state is ClaimState.NEW for claim in claims) == 1
    assert len({claim.answer for claim in claims}) == 1


def test_sixty_four_writers_are_never_told_that_the_database_is_locked(control: Control) -> None:
    def work(n: int) -> None:
        control.settle(n, 1, {(AIRLINE, "spans"): Counts(received=1, stored=1)})
        control.create_key(AIRLINE, Role.VIEWER, f"key {n}", by=ADMIN)
        assert control.list_keys(AIRLINE)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))
    assert control.ledger(AIRLINE)[0].received == 64
    assert len(control.list_keys(AIRLINE)) == 64
    assert control.verify(AIRLINE).ok


WRITER = """
import sys
from core.ids import TenantId
from core.records import Counts
from store.control import tenants
from store.control.control import Control
url, journal = sys.argv[1], int(sys.argv[2])
control = Control.open(url, pepper=b"pepper for tests, 32 bytes long!")
control.ensure_tenant(TenantId("airline"))
for seq in range(1, 41):
    control.settle(journal, seq, {(TenantId("airline"), "spans"): Counts(received=2, stored=2)})
"""


def test_several_processes_open_and_write_at_once(database: ControlDatabase) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, database.url, str(journal)], stderr=subprocess.PIPE, text=True)
        for journal in range(1, 5)
    ]
    complaints = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, complaints
    control = database.open()
    assert control.ledger(AIRLINE)[0].counts == Counts(received=320, stored=320)
    assert control.verify(AIRLINE).n_records == 1


def test_reads_go_on_while_a_write_is_open(control: Control) -> None:
    database = control._database
    with database.write() as connection:
        tenants.replace_choices(connection, replace(control.tenant(AIRLINE), retention_days=1))
        assert control.tenant(AIRLINE).retention_days is None
    assert control.tenant(AIRLINE).retention_days == 1


def test_a_failing_database_is_a_storage_failure(tmp_path: Path) -> None:
    control = opened(tmp_path)
    control.close()
    for file in tmp_path.glob("control.db*"):
        file.unlink()
    (tmp_path / "control.db").write_bytes(b"this is not a database at all, not even a little bit" * 40)
    with pytest.raises(StorageFailed, match="control database"):
        control.tenant(AIRLINE)


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://localhost/x", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        Control.open(url, pepper=PEPPER)


def test_a_password_in_the_url_is_not_told() -> None:
    from store.control.database import Database

    with pytest.raises(InvalidInput) as refused:
        Database("mysql://root:hunter2@localhost/x")
    assert "hunter2" not in str(refused.value)


def test_the_file_is_private(tmp_path: Path) -> None:
    opened(tmp_path)
    assert (tmp_path / "control.db").stat().st_mode & 0o077 == 0


def test_tenants_are_in_one_order_on_every_engine(control: Control) -> None:
    names = ["b", "a-b", "ab", "a_b", "a", "z0", "z-0"]
    for name in names:
        control.ensure_tenant(TenantId(name))
    control.count({(TenantId(name), "spans"): Counts(received=1, stored=1) for name in names})
    assert [tenant.id for tenant in control.all_tenants()] == sorted([*names, AIRLINE, SHOP])
    assert [row.tenant for row in control.ledger(None)] == sorted(names)


def test_a_chain_is_whole_to_whoever_reads_it_while_it_grows(control: Control) -> None:
    """Records and head are read as of one moment."""
    grown = threading.Event()

    def grow() -> None:
        for n in range(60):
            control.record(ADMIN, "rubric.change", f"rubric/{n}")
        grown.set()

    with ThreadPoolExecutor(1) as pool:
        growing = pool.submit(grow)
        while not grown.is_set() and not growing.done():
            verdict = control.verify(AIRLINE)
            assert verdict.ok, verdict.reason
        growing.result()
    assert control.verify(AIRLINE).n_records == 61


def test_a_server_that_is_gone_is_a_storage_failure_without_its_password() -> None:
    with pytest.raises(StorageFailed) as refused:
        Control.open("postgresql://assay:hunter2@127.0.0.1:1/control", pepper=PEPPER)
    assert "hunter2" not in str(refused.value)


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(InvalidInput, match="psycopg2"):
        Control.open("postgresql+psycopg2://localhost/control", pepper=PEPPER)
