"""A process that spends: `python -m tests.gateway.spends FOLDER ACKS CALLS`.

After each call it notes in the file ACKS how many there are and what they cost.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gateway.ledger import Ledger
from tests.gateway.spent_calls import answer, call_of


def main(folder: str, acks: str, n_calls: str) -> None:
    """Adds calls of seven tenants, and folds whenever it is due, every fifth line."""
    said = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.pwrite(said, b"%20d %20d" % (0, 0), 0)
    ledger = Ledger(Path(folder), lines_per_segment=5)
    nano = 0
    for n in range(int(n_calls)):
        call = answer(call_of(tenant=f"t{n % 7}", app="a\0b", user="漢字"), 100 + n, 100)
        cost = cost_of(n)
        ledger.add(call, cost)
        nano += cost
        os.pwrite(said, b"%20d %20d" % (n + 1, nano), 0)
        if work := ledger.fold():
            work()


def cost_of(n: int) -> int:
    """Nano-dollars of call `n`, counted from 0."""
    return (100 + n) * 2_000 + 100 * 8_000


if __name__ == "__main__":
    main(*sys.argv[1:])
