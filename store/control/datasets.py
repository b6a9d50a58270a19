"""Datasets: immutable versions of sets of examples, kept as chunks of lines that versions share.

A line is one example as canonical JSON, at least {"example_id", "split", "source"}. A chunk ends behind a line whose
own hash says so, so that versions that differ in a few lines share all other chunks. A chunk is named by the SHA-256
of its lines and is checked against it whenever it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Connection, delete, select

from core.clock import NS_PER_S
from core.errors import Conflict, Corrupt, InvalidInput, NotFound
from core.ids import TenantId
from store.control import seals
from store.control.records import Json
from store.control.tables import DATASET_CHUNKS, DATASET_VERSIONS, DATASETS

MOST_EXAMPLES: Final = 200_000
MOST_BYTES: Final = 256 << 20  # of all lines of a version
MOST_NAME: Final = 200
CHUNK_BYTES: Final = 256 << 10
UNUSED_NS: Final = 24 * 3600 * NS_PER_S  # a chunk that no version names is kept so long: an import may be on its way
_ENDS_CHUNK: Final = 128  # one line in so many

Line = bytes


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """A dataset: a name with versions."""

    tenant: TenantId
    name: str
    description: str
    made_at_ns: int
    made_by: str


@dataclass(frozen=True, kw_only=True)
class VersionRecord:
    """One version, counted from 1. `chunks` are (sha256, lines in it), in order; `n_erased` examples were taken out of
    it when a user was erased."""

    tenant: TenantId
    name: str
    version: int
    content_hash: str
    n_examples: int
    n_erased: int
    splits: Mapping[str, int]
    chunks: tuple[tuple[str, int], ...]
    note: str
    made_at_ns: int
    made_by: str


def content_hash_of(lines: Iterable[Line]) -> str:
    """SHA-256 over the sorted SHA-256 of the lines: the same examples in any order are the same content."""
    whole = hashlib.sha256()
    for digest in sorted(hashlib.sha256(line).digest() for line in lines):
        whole.update(digest)
    return whole.hexdigest()


def chunked(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Cuts lines into chunks at places that only the lines nearby decide."""
    chunk: list[Line] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line) + 1
        if int.from_bytes(hashlib.sha256(line).digest()[:4], "big") % _ENDS_CHUNK == 0:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def checked_name(name: str) -> str:
    """A dataset's name. Raises InvalidInput."""
    if not 1 <= len(name) <= MOST_NAME or not name.isprintable() or name != name.strip():
        raise InvalidInput(f"a dataset's name has 1 to {MOST_NAME} printable characters", field="name")
    if "/" in name or "\\" in name or set(name) == {"."}:
        raise InvalidInput("a dataset's name has no '/' and no '\\', and is not made of dots alone", field="name")
    return name


def find(connection: Connection, tenant: TenantId, name: str) -> DatasetRecord | None:
    """The dataset, or None."""
    row = seals.one(connection, DATASETS, {"tenant": str(tenant), "name": name})
    return None if row is None else _record(row)


def need(connection: Connection, tenant: TenantId, name: str) -> DatasetRecord:
    """The dataset. Raises NotFound."""
    found = find(connection, tenant, name)
    if found is None:
        raise NotFound(f"there is no dataset {name[:80]!r}")
    return found


def rows(connection: Connection, tenant: TenantId) -> list[DatasetRecord]:
    """The tenant's datasets by name."""
    found = map(_record, seals.rows(connection, DATASETS, {"tenant": str(tenant)}))
    return sorted(found, key=lambda one: one.name)


def versions(connection: Connection, tenant: TenantId, name: str | None) -> list[VersionRecord]:
    """Every version of one dataset, or of all, by name, newest first."""
    key = {"tenant": str(tenant)} | ({} if name is None else {"name": name})
    found = map(_version, seals.rows(connection, DATASET_VERSIONS, key))
    return sorted(found, key=lambda one: (one.name, -one.version))


def version(connection: Connection, tenant: TenantId, name: str, number: int | None) -> VersionRecord:
    """One version, the newest for None. Raises NotFound."""
    need(connection, tenant, name)
    found = versions(connection, tenant, name)
    if not found:
        raise NotFound(f"the dataset {name[:80]!r} has no examples yet")
    if number is None:
        return found[0]
    for one in found:
        if one.version == number:
            return one
    raise NotFound(f"the dataset {name[:80]!r} has no version {number}; the newest is {found[0].version}")


def add(connection: Connection, record: DatasetRecord) -> None:
    """Writes a dataset."""
    kept = {"tenant": str(record.tenant), "name": checked_name(record.name), "description": record.description}
    seals.add(connection, DATASETS, {**kept, "made_by": record.made_by, "made_at_ns": record.made_at_ns})


def check_base(connection: Connection, tenant: TenantId, name: str, base: VersionRecord | None) -> None:
    """Raises Conflict when the newest version is not the one that the writer read, as it was then."""
    found = versions(connection, tenant, name)
    if (found[0] if found else None) != base:
        there, seen = found[0].version if found else 0, base.version if base else 0
        raise Conflict(f"the dataset is at version {there}, not {seen}, or was changed: look at it again, then decide")


def add_version(
    connection: Connection,
    dataset: DatasetRecord,
    lines: Sequence[Line],
    *,
    number: int,
    note: str,
    at_ns: int,
    by: str,
) -> VersionRecord:
    """Writes a version and those of its chunks that are not there yet. Raises InvalidInput when it is too large."""
    if len(lines) > MOST_EXAMPLES:
        raise InvalidInput(f"a dataset has at most {MOST_EXAMPLES:,} examples, not {len(lines):,}")
    if (size := sum(map(len, lines))) > MOST_BYTES:
        raise InvalidInput(f"a dataset has at most {MOST_BYTES >> 20} MiB of examples, not {size >> 20}")
    made = VersionRecord(
        tenant=dataset.tenant,
        name=dataset.name,
        version=number,
        content_hash=content_hash_of(lines),
        n_examples=len(lines),
        n_erased=0,
        splits=splits_of(lines),
        chunks=tuple((keep(connection, dataset.tenant, one, at_ns), len(one)) for one in chunked(lines)),
        note=note,
        made_at_ns=at_ns,
        made_by=by,
    )
    key = {"tenant": str(made.tenant), "name": made.name, "version": number}
    kept = {"made_by": by, "made_at_ns": at_ns, "note": note}
    seals.add(connection, DATASET_VERSIONS, {**key, **kept, **_content(made)})
    return made


def splits_of(lines: Iterable[Line]) -> dict[str, int]:
    """How many lines each split has, by name."""
    return dict(sorted(Counter(str(json.loads(line)["split"]) for line in lines).items()))


def keep(connection: Connection, tenant: TenantId, lines: Sequence[Line], at_ns: int) -> str:
    """Writes a chunk unless it is there; its name."""
    raw = b"\n".join(lines)
    name = hashlib.sha256(raw).hexdigest()
    if not _there(connection, tenant, name):
        body = bytes(pa.compress(raw, codec="zstd", asbytes=True))
        values = {"tenant": str(tenant), "sha256": name, "n_bytes": len(raw), "body": body, "made_at_ns": at_ns}
        seals.add(connection, DATASET_CHUNKS, values)
    return name


def lines_of(connection: Connection, tenant: TenantId, name: str) -> list[Line]:
    """The lines of one chunk. Raises NotFound, Corrupt when they are not the ones that were written."""
    row = seals.one(connection, DATASET_CHUNKS, {"tenant": str(tenant), "sha256": name})
    if row is None:
        raise NotFound(f"there is no chunk {name[:64]!r}")
    return _opened(row)


def read(connection: Connection, record: VersionRecord, offset: int = 0, limit: int | None = None) -> Iterator[Line]:
    """The lines of a version in order, from number `offset` (from 0) on, at most `limit`. Raises Corrupt."""
    end = record.n_examples if limit is None else offset + limit
    at = 0
    for name, n in record.chunks:
        if at < end and at + n > offset:
            try:
                lines = lines_of(connection, record.tenant, name)
            except NotFound:
                lines = []
            if len(lines) != n:
                raise Corrupt(f"examples of {record.name!r}, version {record.version}, are gone; run assay doctor")
            yield from lines[max(0, offset - at) : end - at]
        at += n


def remove(connection: Connection, tenant: TenantId, name: str, now_ns: int) -> None:
    """Deletes a dataset with its versions, and the chunks that no other version names."""
    mine = {one for each in versions(connection, tenant, name) for one, _ in each.chunks}
    for table in (DATASET_VERSIONS, DATASETS):
        connection.execute(delete(table).where(table.c.tenant == str(tenant), table.c.name == name))
    sweep(connection, tenant, now_ns, at_once=mine)


def sweep(connection: Connection, tenant: TenantId, now_ns: int, at_once: Iterable[str] = ()) -> int:
    """Deletes chunks that no version names: those of `at_once`, and any of an import that was given up."""
    used = {name for each in versions(connection, tenant, None) for name, _ in each.chunks}
    columns = DATASET_CHUNKS.c
    old = select(columns.sha256).where(columns.tenant == str(tenant), columns.made_at_ns < now_ns - UNUSED_NS)
    gone = ({name for (name,) in connection.execute(old)} | set(at_once)) - used
    for name in gone:
        connection.execute(delete(DATASET_CHUNKS).where(columns.tenant == str(tenant), columns.sha256 == name))
    return len(gone)


def count_of(connection: Connection, tenant: TenantId, belongs: Callable[[Json], bool]) -> int:
    """How many different examples of the tenant's belong to somebody."""
    return len({line for lines in _every(connection, tenant).values() for line in lines if belongs(json.loads(line))})


def erase(connection: Connection, tenant: TenantId, belongs: Callable[[Json], bool], at_ns: int) -> int:
    """Takes the examples that belong to somebody out of every version; how many different ones there were.

    The versions keep their numbers, get another content hash and say how many they lost.
    """
    gone: set[Line] = set()
    instead: dict[str, tuple[str, int] | None] = {}
    for name, lines in _every(connection, tenant).items():
        left = [line for line in lines if not belongs(json.loads(line))]
        if len(left) < len(lines):
            gone |= set(lines) - set(left)
            instead[name] = (keep(connection, tenant, left, at_ns), len(left)) if left else None
    for row in seals.rows(connection, DATASET_VERSIONS, {"tenant": str(tenant)}) if instead else ():
        _without(connection, row, instead)
    for name in instead:
        columns = DATASET_CHUNKS.c
        connection.execute(delete(DATASET_CHUNKS).where(columns.tenant == str(tenant), columns.sha256 == name))
    return len(gone)


def _without(connection: Connection, row: Any, instead: Mapping[str, tuple[str, int] | None]) -> None:
    """Writes a version anew with other chunks, when it has one of those."""
    old = _version(row)
    chunks = tuple(new for one in old.chunks if (new := instead.get(one[0], one)) is not None)
    if chunks == old.chunks:
        return
    lines = [line for name, _ in chunks for line in lines_of(connection, old.tenant, name)]
    changed = VersionRecord(
        **{**vars(old), "content_hash": content_hash_of(lines), "n_examples": len(lines), "chunks": chunks}
        | {"splits": splits_of(lines), "n_erased": old.n_erased + old.n_examples - len(lines)}
    )
    seals.change(connection, DATASET_VERSIONS, row, **_content(changed))


def _every(connection: Connection, tenant: TenantId) -> dict[str, list[Line]]:
    names = seals.rows(connection, DATASET_CHUNKS, {"tenant": str(tenant)})
    return {row.sha256: _opened(row) for row in names}


def _there(connection: Connection, tenant: TenantId, name: str) -> bool:
    columns = DATASET_CHUNKS.c
    asked = select(columns.sha256).where(columns.tenant == str(tenant), columns.sha256 == name)
    return connection.execute(asked).first() is not None


def _opened(row: Any) -> list[Line]:
    try:
        raw = bytes(pa.decompress(row.body, decompressed_size=row.n_bytes, codec="zstd", asbytes=True))
    except (OSError, pa.ArrowException) as error:
        raise Corrupt(f"the chunk {row.sha256} of a dataset cannot be unpacked; run assay doctor") from error
    if hashlib.sha256(raw).hexdigest() != row.sha256:
        raise Corrupt(f"the chunk {row.sha256} of a dataset was altered; run assay doctor")
    return raw.split(b"\n")


def _content(one: VersionRecord) -> dict[str, object]:
    return {
        "content_hash": one.content_hash,
        "n_examples": one.n_examples,
        "n_erased": one.n_erased,
        "splits": json.dumps(dict(one.splits), ensure_ascii=True),
        "chunks": json.dumps(one.chunks, separators=(",", ":")),
    }


def _record(row: Any) -> DatasetRecord:
    return DatasetRecord(
        tenant=TenantId(row.tenant),
        name=row.name,
        description=row.description,
        made_at_ns=row.made_at_ns,
        made_by=row.made_by,
    )


def _version(row: Any) -> VersionRecord:
    return VersionRecord(
        tenant=TenantId(row.tenant),
        name=row.name,
        version=row.version,
        content_hash=row.content_hash,
        n_examples=row.n_examples,
        n_erased=row.n_erased,
        splits=json.loads(row.splits),
        chunks=tuple((name, n) for name, n in json.loads(row.chunks)),
        note=row.note,
        made_at_ns=row.made_at_ns,
        made_by=row.made_by,
    )
