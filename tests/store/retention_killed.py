"""`python -m tests.store.retention_killed LAKE TENANT DAYS NOW_NS`: retention and vacuum, for a test that kills it."""

from __future__ import annotations

import sys

from store.lake import Lake
from store.leftover import vacuum
from store.retention import enforce


def main() -> None:
    """One round for one tenant, its bytes included."""
    lake = Lake(sys.argv[1])
    enforce(lake, {sys.argv[2]: int(sys.argv[3])}, int(sys.argv[4]))
    for table in lake.tables():
        vacuum(lake, table, older_than_ms=1 << 62)


main()
