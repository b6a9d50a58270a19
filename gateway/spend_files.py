"""The files of the ledger: `YYYY-MM-DD.NNNNNN.jsonl` with a line per billed call, and `YYYY-MM-DD.totals.json` with the
sums of a day's lines up to one number. The format is documented in docs/gateway-budgets.md.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson

from core.errors import Corrupt
from gateway.config import BudgetScope

_LOG = logging.getLogger("assay.gateway")
_SEGMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.(\d{6,})\.jsonl\Z", re.ASCII)
_TOTALS: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.totals\.json\Z", re.ASCII)
KEPT_DAYS: Final = 62
_KEY_BYTES: Final = 32

Sums = dict[tuple[str, BudgetScope, str], tuple[int, int]]
"""(tenant, scope, name) -> nano-dollars, and calls whose price nobody knows."""


@dataclass(kw_only=True)
class DaySpend:
    """One day as it was read back. `n_segments` have lines that no totals stand for."""

    sums: Sums = field(default_factory=dict)
    n_segments: int = 0
    n_lines: int = 0
    n_unreadable: int = 0
    n_torn: int = 0

    def add(self, tenant: str, scope: BudgetScope, name: str, nano: int, n_unpriced: int) -> None:
        """Adds to one name's sums."""
        before = self.sums.get((tenant, scope, name), (0, 0))
        self.sums[tenant, scope, name] = (before[0] + nano, before[1] + n_unpriced)


def segment_path(folder: Path, day: date, number: int) -> Path:
    """Where a segment lies."""
    return folder / f"{day}.{number:06d}.jsonl"


def last_number(folder: Path) -> int:
    """The highest number of a segment that is or was in the folder; 0 without one."""
    numbers = [int(found[2]) for path in folder.iterdir() if (found := _SEGMENT.match(path.name))]
    return max([0, *numbers, *(_through(path) for path in folder.iterdir() if _TOTALS.match(path.name))])


def days_of(folder: Path) -> set[date]:
    """The days of which there are files."""
    found = (_SEGMENT.match(path.name) or _TOTALS.match(path.name) for path in folder.iterdir())
    return {date.fromisoformat(each[1]) for each in found if each is not None and _is_date(each[1])}


def read_day(folder: Path, day: date) -> DaySpend:
    """A day's totals and the lines after them. Lines that cannot be read are skipped, counted and logged."""
    spent = DaySpend()
    through, totals = 0, folder / f"{day}.totals.json"
    if totals.exists():
        through, rows = _read_totals(totals)
        for tenant, scope, name, nano, n_unpriced in rows:
            spent.add(tenant, BudgetScope(scope), name, nano, n_unpriced)
    for path, number in _segments(folder, day):
        if number > through:
            spent.n_segments += 1
            _read_segment(path, spent)
    return spent


def write_totals(folder: Path, day: date, through: int, sums: Sums) -> None:
    """Puts a day's sums in place of its lines up to segment `through`, and deletes what is too old. Raises OSError:
    everything is as before."""
    rows = [[tenant, scope.value, name, *amounts] for (tenant, scope, name), amounts in sums.items()]
    path = folder / f"{day}.totals.json"
    _put(path, orjson.dumps({"version": 1, "day": str(day), "through": through, "sums": rows}))
    for segment, number in _segments(folder, day):
        if number <= through:
            segment.unlink()
    for old in [path for path in folder.iterdir() if _is_older(path, day - timedelta(days=KEPT_DAYS))]:
        old.unlink()


def user_key(path: Path) -> bytes:
    """The key under which users are hashed; made when there is none. Raises Corrupt."""
    if not path.exists():
        _put(path, secrets.token_bytes(_KEY_BYTES))
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        said = f"{path} is no key of {_KEY_BYTES} bytes; delete it, and budgets by user begin anew"
        raise Corrupt(said)
    return key


def _segments(folder: Path, day: date) -> list[tuple[Path, int]]:
    found = ((path, _SEGMENT.match(path.name)) for path in folder.iterdir())
    return sorted(
        ((path, int(each[2])) for path, each in found if each and each[1] == str(day)), key=lambda pair: pair[1]
    )


def _read_segment(path: Path, spent: DaySpend) -> None:
    n_before = spent.n_unreadable
    with path.open("rb") as lines:
        for line in lines:
            if line == b"\n":  # after a line that the disk took in part
                continue
            spent.n_lines += 1
            if not _read_line(line, spent):
                spent.n_unreadable += 1
                spent.n_torn += not line.endswith(b"\n")
    if spent.n_unreadable > n_before:
        _LOG.warning("%s has %d lines that cannot be read; they count nothing", path, spent.n_unreadable - n_before)


def _read_line(line: bytes, spent: DaySpend) -> bool:
    try:
        given = orjson.loads(line)
        tenant, nano = given["tenant"], given["nano"]
        names = [(scope, given[scope.value]) for scope in BudgetScope]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False
    if not all(isinstance(name, str) for _, name in names) or not (nano is None or _is_count(nano)):
        return False
    for scope, name in names:
        spent.add(tenant, scope, name, nano or 0, nano is None)
    return True


def _read_totals(path: Path) -> tuple[int, list[tuple[str, str, str, int, int]]]:
    try:
        given = orjson.loads(path.read_bytes())
        through, rows = given["through"], [(t, BudgetScope(s).value, n, a, u) for t, s, n, a, u in given["sums"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        _refuse(path, error)
    if not _is_count(through) or not all(
        isinstance(t, str) and isinstance(n, str) and _is_count(a) and _is_count(u) for t, _, n, a, u in rows
    ):
        _refuse(path, None)
    return through, rows


def _through(path: Path) -> int:
    try:
        return _read_totals(path)[0]
    except Corrupt:  # told when its day is read
        return 0


def _refuse(path: Path, error: Exception | None) -> NoReturn:
    said = f"{path} cannot be read; put it back from a backup, or delete it, and its day counts as not spent"
    raise Corrupt(said) from error


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_older(path: Path, day: date) -> bool:
    found = _SEGMENT.match(path.name) or _TOTALS.match(path.name)
    return found is not None and found[1] < str(day)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _put(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, for nobody else to read."""
    fresh = path.with_suffix(".fresh")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
