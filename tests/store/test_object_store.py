"""The lake at an s3:// URL: the same promises as on a disk, held by conditional PUTs instead of links."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from core.errors import Conflict, Corrupt, InvalidInput, StorageFailed
from store import compaction, retention
from store.clickhouse import COLLECTION, ClickHouseEngine
from store.engine import DuckDBEngine, table_of
from store.lake import Lake
from store.leftover import vacuum
from store.mirror import Mirror
from store.objects import Objects
from store.tenant import Store
from tests.store.build import T0, agent_trace, fill, spans_table
from tests.store.places import WINDOW

DAY_NS = 86_400_000_000_000


def lake_of(bucket: str, folder: Path) -> Lake:
    """The lake as one more machine sees it."""
    return Lake(bucket, cache=folder)


def span_ids(lake: Lake) -> list[str]:
    tenant = Store(lake, DuckDBEngine(lake.root), lambda: T0).tenant("acme")
    return sorted(tenant.frame(table_of("spans").select("span_id"))["span_id"])


def test_an_object_is_put_once_however_many_try(bucket: str) -> None:
    objects = Objects(bucket)
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: objects.put_new("a/entry", str(n).encode()), range(64)))
    assert sum(won) == 1
    assert objects.get("a/entry") == str(won.index(True)).encode()
    assert objects.put_new("a/entry", str(won.index(True)).encode()), "the answer to the first PUT may have been lost"
    assert [found.path for found in objects.list("a")] == ["a/entry"]
    objects.delete("a/entry")
    objects.delete("a/entry")
    assert objects.get("a/entry") is None


def test_another_machine_reads_what_was_appended_and_so_does_deltalake(bucket: str, tmp_path: Path) -> None:
    lake = lake_of(bucket, tmp_path / "one")
    fill(lake, [span for n in range(6) for span in agent_trace(n + 1, at_s=n * 40_000)], batches=3)
    lake.append("spans", spans_table([]), txn=("journal-7", 5))
    other = lake_of(bucket, tmp_path / "other")
    assert span_ids(other) == span_ids(lake)
    assert len(span_ids(other)) == 24
    assert other.txn_version("spans", "journal-7") == 5
    theirs = DeltaTable(f"{bucket}/spans", storage_options=dict(os.environ)).to_pyarrow_table(columns=["span_id"])
    assert sorted(theirs["span_id"].to_pylist()) == span_ids(lake)
    shutil.rmtree(tmp_path / "other")
    assert span_ids(lake_of(bucket, tmp_path / "other")) == span_ids(lake)


def test_two_machines_append_to_one_table_at_once(bucket: str, tmp_path: Path) -> None:
    lakes = [lake_of(bucket, tmp_path / name) for name in ("one", "two")]

    def write(which: int) -> None:
        for n in range(12):
            number = which * 100 + n + 1
            lakes[which].append("spans", spans_table(agent_trace(number)), txn=(f"journal-{which}", n + 1))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    for lake in (*lakes, lake_of(bucket, tmp_path / "three")):
        assert len(span_ids(lake)) == len(set(span_ids(lake))) == 2 * 12 * 4
        assert [lake.txn_version("spans", f"journal-{which}") for which in range(2)] == [12, 12]
        assert lake.snapshot("spans").version == 24


def test_a_position_that_was_committed_elsewhere_is_refused(bucket: str, tmp_path: Path) -> None:
    one, two = lake_of(bucket, tmp_path / "one"), lake_of(bucket, tmp_path / "two")
    one.append("spans", spans_table(agent_trace(1)), txn=("journal-1", 9))
    with pytest.raises(Conflict):
        two.append("spans", spans_table(agent_trace(1)), txn=("journal-1", 9))
    assert len(span_ids(two)) == 4


def test_packing_retention_and_a_checkpoint_keep_every_reader_right(bucket: str, tmp_path: Path) -> None:
    lake, reader = lake_of(bucket, tmp_path / "one"), lake_of(bucket, tmp_path / "two")
    for n in range(compaction.CHECKPOINT_EVERY + 5):
        lake.append("spans", spans_table(agent_trace(n + 1, at_s=n)))
    before = span_ids(reader)
    done = compaction.upkeep(lake, grace_s=-3600)
    assert done["spans"]["packed"] > 1
    objects = Objects(bucket)
    names = [found.path for found in objects.list("spans")]
    assert any(name.endswith(".checkpoint.parquet") for name in names)
    assert sum("part-" in name for name in names) == len(lake.snapshot("spans").files)
    for each in (lake, reader, lake_of(bucket, tmp_path / "three")):
        assert span_ids(each) == before
    retention.enforce(lake, {"acme": 1}, T0 + 40 * DAY_NS)
    compaction.upkeep(lake, grace_s=-3600)
    for each in (lake, reader, lake_of(bucket, tmp_path / "four")):
        assert span_ids(each) == []
    assert not [found.path for found in objects.list("spans") if "part-" in found.path]
    assert not list((tmp_path / "one").rglob("part-*.parquet"))


def test_files_that_left_a_table_stay_for_running_queries(bucket: str, tmp_path: Path) -> None:
    lake = lake_of(bucket, tmp_path)
    lake.append("spans", spans_table(agent_trace(1)))
    files = list(lake.snapshot("spans").files)
    lake.replace("spans", files, pa.concat_tables(map(lake.read, files)), operation="OPTIMIZE")
    hour_ago = int((time.time() - 3600) * 1000)
    assert vacuum(lake, "spans", older_than_ms=hour_ago) == []
    assert Objects(bucket).get(f"spans/{files[0].relative}") is not None


def test_what_left_the_lake_leaves_every_mirror(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, reader = lake_of(bucket, tmp_path / "one"), lake_of(bucket, tmp_path / "two")
    lake.append("spans", spans_table(agent_trace(1)))
    assert len(span_ids(reader)) == len(span_ids(lake_of(bucket, tmp_path / "idle"))) == 4
    lake.remove("spans", list(lake.snapshot("spans").files))
    assert span_ids(reader) == []
    assert list((tmp_path / "two").rglob("part-*.parquet")), "queries under way may still read it"
    monkeypatch.setattr("store.mirror.KEEP_LEFT_S", 0.0)
    reader.snapshot("spans")
    lake_of(bucket, tmp_path / "idle")
    for name in ("two", "idle"):
        assert not list((tmp_path / name).rglob("part-*.parquet")), name


def test_an_altered_object_is_left_out_and_an_altered_copy_is_fetched_again(bucket: str, tmp_path: Path) -> None:
    lake = lake_of(bucket, tmp_path / "one")
    lake.append("spans", spans_table(agent_trace(1)))
    lake.append("spans", spans_table(agent_trace(2)))
    ids = span_ids(lake)
    first, second = lake.snapshot("spans").files
    flipped = bytearray(Path(first.path).read_bytes())
    flipped[len(flipped) // 2] ^= 4
    Path(first.path).write_bytes(flipped)
    assert span_ids(lake) == ids
    assert lake.damaged() == []
    objects = Objects(bucket)
    objects.put(f"spans/{second.relative}", bytes(flipped))
    with pytest.raises(Corrupt):
        lake.verify(second)
    other = lake_of(bucket, tmp_path / "other")
    assert len(span_ids(other)) == len(span_ids(lake)) == 4
    objects.delete(f"spans/{first.relative}")
    assert span_ids(lake_of(bucket, tmp_path / "third")) == []


def test_the_mirror_stays_small(bucket: str, tmp_path: Path) -> None:
    lake = lake_of(bucket, tmp_path / "one")
    for n in range(8):
        lake.append("spans", spans_table(agent_trace(n + 1, tenant=f"t{n}")))
    size = lake.snapshot("spans").files[0].size
    mirror = Mirror(bucket, tmp_path / "small", most_bytes=3 * size)
    files = mirror.log("spans", table_of("spans").schema().to_pyarrow(), "start_ns").files()[1].values()
    for file in files:
        mirror.bring("spans", [file])
        assert Path(file.path).exists()
        assert len(list(mirror.folder.rglob("part-*.parquet"))) <= 3
    mirror.bring("spans", list(files))
    assert len(list(mirror.folder.rglob("part-*.parquet"))) == 8, "what one query needs is never taken from it"


def test_a_store_that_does_not_answer_and_urls_of_others_are_told(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match="s3://"):
        Lake("gs://bucket/lake", cache=tmp_path)
    with pytest.raises(InvalidInput, match="object store"):
        Lake(bucket)
    monkeypatch.setattr("store.objects._RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageFailed, match="s3://"):
        Lake(bucket, cache=tmp_path)


@pytest.fixture
def past_the_mirror(bucket: str, s3: str, tmp_path: Path) -> Iterator[tuple[Lake, Store]]:
    """A store whose ClickHouse reads the bucket itself, by its own credentials."""
    clickhouse_connect = pytest.importorskip("clickhouse_connect", reason="ClickHouse's client comes with make setup")
    pytest.importorskip("chdb", reason="ClickHouse's engine for tests comes with chdb (make setup)")
    client = clickhouse_connect.get_client(interface="chdb")
    where = f"url = '{s3}/{bucket.removeprefix('s3://')}/', access_key_id = 'assay-tests'"
    client.command(f"CREATE NAMED COLLECTION {COLLECTION} AS {where}, secret_access_key = 'assay-tests'")
    writer, lake = lake_of(bucket, tmp_path / "writer"), lake_of(bucket, tmp_path / "server")
    fill(writer, [span for n in range(10) for span in agent_trace(n + 1, at_s=n)], batches=3)
    engine = ClickHouseEngine("chdb://memory", lake.root, reads_objects=True, n_threads=2)
    yield lake, Store(lake, engine, lambda: T0)
    client.command(f"DROP NAMED COLLECTION {COLLECTION}")
    client.close()


def test_clickhouse_reads_the_bucket_itself(past_the_mirror: tuple[Lake, Store]) -> None:
    lake, store = past_the_mirror
    expr = table_of("spans").order_by("span_id")
    found = store.tenant("acme").frame(expr, WINDOW)
    assert found.height == 40
    assert not list(lake.root.rglob("part-*.parquet")), "nothing was fetched"
    here = Store(lake, DuckDBEngine(lake.root), lambda: T0).tenant("acme").frame(expr, WINDOW)
    assert found.equals(here)


def test_clickhouse_says_that_an_object_is_gone_and_the_others_are_served(past_the_mirror: tuple[Lake, Store]) -> None:
    lake, store = past_the_mirror
    gone = lake.snapshot("spans").files[0]
    Objects(f"{lake_url(lake)}").delete(f"spans/{gone.relative}")
    tenant = store.tenant("acme")
    assert tenant.frame(table_of("spans"), WINDOW).height == 40 - gone.n_rows
    assert [damage.file for damage in tenant.left_out] == [f"spans/{gone.relative}"]


def lake_url(lake: Lake) -> str:
    assert lake._mirror is not None
    return lake._mirror.objects.url
