"""Rows older than a tenant keeps them leave the lake, tenant by tenant, a few files at a time.

The day of a row is its partition. Whole days before the horizon go; the day the horizon falls on stays until it has
passed altogether, so a tenant keeps its data for at least as long as it asked, and at most a day longer. The undated
partition ('1970-01-01', spans with broken clocks) goes by the day its rows came in, file by file; the turns, sessions
and rollups made of these spans do not know that day, and go once all spans that came before them went.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow.compute as pc

from core.clock import NS_PER_S, to_ns
from core.errors import Corrupt
from core.windows import day_of
from store.delta_log import LakeFile
from store.derive import DERIVED
from store.lake import Lake

UNDATED: Final = "1970-01-01"
DAY_S: Final = 86_400
FILES_PER_COMMIT: Final = 200


@dataclass(frozen=True, kw_only=True)
class Expired:
    """What went, or would go, of one tenant's table."""

    tenant: str
    table: str
    n_files: int
    n_rows: int


def expired_files(lake: Lake, table: str, tenant: str, days: int, now_ns: int) -> list[LakeFile]:
    """The tenant's files whose rows are all older than `days` days.

    A dated file goes by its partition, damaged or not. An undated one that is damaged stays: it cannot say how old it
    is.
    """
    horizon = day_of(now_ns - days * DAY_S * NS_PER_S)
    files = lake.snapshot(table).select(tenant)
    undated = [file for file in files if file.date == UNDATED]
    found = [file for file in files if file.date != UNDATED and file.date < horizon]
    if table not in DERIVED:
        return found + [file for file in undated if _newest_day(lake, file, table) < horizon]
    if not undated or "spans" in lake.unreadable():
        return found
    going = {file.path for file in expired_files(lake, "spans", tenant, days, now_ns)}
    spans = [file for file in lake.snapshot("spans").select(tenant) if file.date == UNDATED and file.path not in going]
    oldest = min((file.min_seq for file in spans), default=1 << 63)
    return found + [file for file in undated if file.max_seq < oldest]


def enforce(lake: Lake, retention: Mapping[str, int], now_ns: int, *, dry_run: bool = False) -> list[Expired]:
    """Removes what each tenant no longer keeps (`retention`: tenant -> days). Tenants that are not named keep all.

    Safe to interrupt: every commit removes whole files of one tenant. The bytes go with the next vacuum. Tables whose
    log is damaged are left alone.
    """
    done = []
    unreadable = lake.unreadable()
    for tenant, days in retention.items():
        for table in lake.tables():
            if table in unreadable:
                continue
            files = expired_files(lake, table, tenant, days, now_ns)
            if not files:
                continue
            if not dry_run:
                for start in range(0, len(files), FILES_PER_COMMIT):
                    lake.remove(table, files[start : start + FILES_PER_COMMIT])
            n_rows = sum(file.n_rows for file in files)
            done.append(Expired(tenant=tenant, table=table, n_files=len(files), n_rows=n_rows))
    return done


def _newest_day(lake: Lake, file: LakeFile, table: str) -> str:
    try:
        newest = pc.max(lake.read(file, ["ingested_at"]).column("ingested_at")).as_py()
    except Corrupt:
        return "9999-12-31"
    return day_of(to_ns(newest))
