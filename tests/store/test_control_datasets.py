"""Datasets in the control database: immutable versions that share chunks; on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, text

from core.clock import NS_PER_S
from core.errors import Conflict, Corrupt, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control import datasets
from store.control.control import Control
from store.control.datasets import VersionRecord
from store.control.integrity import look_over
from store.control.seals import sealed
from store.control.tables import DATASET_CHUNKS
from tests.store.databases import ControlDatabase, closing_engine

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.USER, name="ann", key_id="0123456789ab")


def line(n: int, split: str = "test", user: str | None = None) -> bytes:
    source = {} if user is None else {"user_id": user}
    return json.dumps({"example_id": f"ex {n}", "split": split, "source": source, "words": "x" * 100}).encode()


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
        found.create_dataset(tenant, "golden", "of the shop", by=ANN)
    yield found
    found.close()


def chunks_in(database: ControlDatabase) -> int:
    engine = create_engine(database.url)
    with closing_engine(engine), engine.begin() as connection:
        return int(connection.execute(text("SELECT count(*) FROM dataset_chunks")).scalar_one())


def write(control: Control, lines: list[bytes], base: VersionRecord | None = None) -> VersionRecord:
    return control.write_dataset(ACME, "golden", lines, base, "", by=ANN)[0]


def test_versions_never_change_and_share_chunks(control: Control, database: ControlDatabase) -> None:
    lines = [line(n) for n in range(2000)]
    first = write(control, lines)
    n_chunks = chunks_in(database)
    assert (first.version, first.n_examples, first.splits, len(first.chunks)) == (1, 2000, {"test": 2000}, n_chunks)
    assert n_chunks > 5
    second = write(control, [*lines[:900], line(5000, "train"), *lines[901:]], first)
    assert chunks_in(database) <= n_chunks + 2
    assert second.splits == {"test": 1999, "train": 1}
    assert control.read_dataset(ACME, "golden", 1) == (first, lines)
    assert control.read_dataset(ACME, "golden")[1][900] == line(5000, "train")
    assert control.read_dataset(ACME, "golden", 1, offset=990, limit=20)[1] == lines[990:1010]
    assert control.read_dataset(ACME, "golden", 1, offset=1995, limit=20)[1] == lines[1995:]
    assert control.dataset(ACME, "golden")[1] == database.open().dataset(ACME, "golden")[1] == [second, first]
    assert control.dataset(SHOP, "golden")[1] == []


def test_the_same_examples_in_another_order_are_no_new_version(control: Control) -> None:
    lines = [line(n) for n in range(50)]
    first = write(control, lines)
    again = control.write_dataset(ACME, "golden", lines[::-1], first, "again", by=ANN)
    assert again == (first, False)


def test_of_writers_at_once_one_wins_and_the_others_are_told(control: Control) -> None:
    base = write(control, [line(0)])

    def add(n: int) -> bool:
        try:
            return write(control, [line(0), line(n)], base).version == 2
        except Conflict:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add, range(1, 5))) == [False, False, False, True]
    assert [one.version for one in control.dataset(ACME, "golden")[1]] == [2, 1]


def test_names_and_what_is_not_there(control: Control) -> None:
    for name in ("", "a" * 201, "a/b", "a\\b", "..", " a", "a\nb"):
        with pytest.raises(InvalidInput, match="a dataset's name"):
            control.create_dataset(ACME, name, by=ANN)
    for name in ("<img src=x onerror=alert(1)>", "=cmd|' 'A0", "\U0001f600 größer"):
        assert control.create_dataset(ACME, name, by=ANN).name == name or "/" in name
    with pytest.raises(Conflict, match="already"):
        control.create_dataset(ACME, "golden", by=ANN)
    with pytest.raises(NotFound, match="no examples yet"):
        control.read_dataset(ACME, "golden")
    with pytest.raises(NotFound, match="no dataset 'other'"):
        control.read_dataset(ACME, "other")
    write(control, [line(1)])
    with pytest.raises(NotFound, match="no version 3; the newest is 1"):
        control.read_dataset(ACME, "golden", 3)
    with pytest.raises(NotFound, match="no examples yet"):
        control.read_dataset(SHOP, "golden")


def test_a_dataset_that_is_deleted_leaves_no_chunk_that_no_other_has(
    control: Control, database: ControlDatabase
) -> None:
    lines = [line(n) for n in range(300)]
    write(control, lines)
    control.create_dataset(ACME, "copy", by=ANN)
    control.write_dataset(ACME, "copy", lines, None, "", by=ANN)
    kept = chunks_in(database)
    control.delete_dataset(ACME, "golden", by=ANN)
    assert chunks_in(database) == kept
    assert control.read_dataset(ACME, "copy")[1] == lines
    control.delete_dataset(ACME, "copy", by=ANN)
    assert chunks_in(database) == 0
    with pytest.raises(NotFound):
        control.delete_dataset(ACME, "copy", by=ANN)


def test_pieces_wait_a_day_for_their_version(database: ControlDatabase) -> None:
    now = [10**18]
    control = database.open(clock=lambda: now[0])
    control.ensure_tenant(ACME)
    control.create_dataset(ACME, "golden", by=ANN)
    first, second = (control.keep_piece(ACME, [line(n), line(n + 1)]) for n in (0, 2))
    base = write(control, [line(9)])
    assert control.pieces(ACME, [second, first]) == [line(2), line(3), line(0), line(1)]
    now[0] += 25 * 3600 * NS_PER_S
    write(control, [line(10)], base)
    with pytest.raises(NotFound, match="no chunk"):
        control.pieces(ACME, [first])
    control.close()


def test_every_change_is_in_the_audit_log_without_the_examples(control: Control) -> None:
    first = write(control, [line(0)])
    write(control, [line(0), line(1)], first)
    control.delete_dataset(ACME, "golden", by=ANN)
    found = [one for one in control.list_audit(ACME) if one.resource == "dataset/golden"][::-1]
    assert [one.action for one in found] == ["dataset.create", "dataset.version", "dataset.version", "dataset.delete"]
    assert found[2].before == found[1].after
    assert found[2].after is not None
    assert found[2].after["n_examples"] == 2
    assert all(one.actor == "ann" and "xxx" not in str(one) for one in found)
    assert control.verify(ACME).ok


def test_an_erasure_takes_a_users_examples_out_of_every_version(control: Control, database: ControlDatabase) -> None:
    lines = [line(n, user="bob" if n % 10 == 0 else "eve") for n in range(100)]
    first = write(control, lines)
    second = write(control, [*lines, line(100, user="bob")], first)
    other = write(control, [line(7)], second)

    def of_bob(said: Mapping[str, object]) -> bool:
        return said["source"] == {"user_id": "bob"}

    assert control.count_examples(ACME, of_bob) == 11
    assert control.erase_examples(ACME, of_bob) == 11
    assert control.erase_examples(ACME, of_bob) == control.count_examples(ACME, of_bob) == 0
    third, left_second, left_first = control.dataset(ACME, "golden")[1]
    assert third == other
    assert (left_second.n_examples, left_second.n_erased) == (90, 11)
    assert (left_first.n_examples, left_first.n_erased) == (90, 10)
    assert left_first.content_hash == left_second.content_hash != first.content_hash
    assert control.read_dataset(ACME, "golden", 1)[1] == [one for one in lines if b"bob" not in one]
    with pytest.raises(Conflict, match="was changed"):
        control.write_dataset(ACME, "golden", lines, second, "", by=ANN)


def test_somebody_who_read_before_an_erasure_cannot_bring_it_back(control: Control) -> None:
    base = write(control, [line(0, user="bob"), line(1)])
    control.erase_examples(ACME, lambda said: said["source"] == {"user_id": "bob"})
    with pytest.raises(Conflict, match="was changed"):
        write(control, [line(0, user="bob"), line(1), line(2)], base)


def test_altered_examples_are_never_served(control: Control, database: ControlDatabase) -> None:
    write(control, [line(n) for n in range(40)])
    database.execute("UPDATE dataset_chunks SET n_bytes = (n_bytes | 16) - (n_bytes & 16)")
    control.read_dataset(ACME, "golden")  # one flipped bit: the seal proves what it was
    database.execute("UPDATE dataset_chunks SET n_bytes = 7")
    with pytest.raises(Corrupt, match="was altered"):
        control.read_dataset(ACME, "golden")
    database.execute("DELETE FROM dataset_chunks")
    with pytest.raises(Corrupt, match="are gone"):
        control.read_dataset(ACME, "golden")


def test_doctor_sees_a_damaged_chunk(tmp_path: Path) -> None:
    database = ControlDatabase(kind="sqlite", url=f"sqlite:///{tmp_path}/control.db")
    control = database.open()
    control.ensure_tenant(ACME)
    control.create_dataset(ACME, "golden", by=ANN)
    write(control, [line(n) for n in range(40)])
    control.close()
    assert look_over(tmp_path / "control.db") == []
    database.execute("UPDATE dataset_chunks SET body = x'00112233'")
    assert "dataset_chunks" in look_over(tmp_path / "control.db")[0].what
    database.execute("DELETE FROM dataset_chunks")
    (finding,) = look_over(tmp_path / "control.db")
    assert finding.what == "1 of the chunks of version 1 of the dataset 'golden' of acme are gone"
    assert not finding.mendable


def test_a_chunk_that_was_exchanged_whole_is_known_by_its_name(control: Control, database: ControlDatabase) -> None:
    write(control, [line(0)])
    control.write_dataset(SHOP, "golden", [line(1)], None, "", by=ANN)
    engine = create_engine(database.url)
    with closing_engine(engine), engine.begin() as connection:
        other = dict(connection.execute(text("SELECT * FROM dataset_chunks WHERE tenant = 'shop'")).mappings().one())
        (name,) = connection.execute(text("SELECT sha256 FROM dataset_chunks WHERE tenant = 'acme'")).scalars()
        connection.execute(text("DELETE FROM dataset_chunks WHERE tenant = 'acme'"))
        forged = {**other, "tenant": "acme", "sha256": name}
        connection.execute(insert(DATASET_CHUNKS).values(**sealed(DATASET_CHUNKS, {**forged, "seal": None})))
    with pytest.raises(Corrupt, match="was altered"):
        control.read_dataset(ACME, "golden")


def test_chunks_are_cut_by_content_alone() -> None:
    lines = [line(n) for n in range(3000)]
    whole = list(datasets.chunked(lines))
    assert [one for chunk in whole for one in chunk] == lines
    later = {b"\n".join(chunk) for chunk in datasets.chunked(lines[700:])}
    assert len(later - {b"\n".join(chunk) for chunk in whole}) <= 2
    assert max(sum(map(len, chunk)) for chunk in whole) <= datasets.CHUNK_BYTES
