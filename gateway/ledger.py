"""What every tenant, app, team and user spent this day and month (UTC), in memory and on disk.

Every billed call is a line in a file, written at once and not synced: it survives the end of the process, however that
ends, not that of the machine. Now and then `fold` puts a day's sums in place of its lines (spend_files.py). At start
the month's files are read back, so budgets go on where they were. Users are in the files by a keyed hash. When the disk
does not take a line the call goes on, its amount counts in memory, and the next fold that works puts it on disk.

A call counts in the day in which it ended, as the clock says. To whatever day the clock goes, back too, the files say
what was spent in it before. Amounts are whole nano-dollars.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

import orjson

from core.clock import NS_PER_S, Clock, system_clock
from core.errors import Corrupt
from gateway.config import BudgetScope
from gateway.folder_lock import hold
from gateway.records import Call, Caller
from gateway.spend_files import (
    DaySpend,
    Sums,
    days_of,
    last_number,
    read_day,
    segment_path,
    user_key,
    write_totals,
)

_LOG = logging.getLogger("assay.gateway")
_DAY_NS: Final = 86_400 * NS_PER_S
_MOST_BACK_NS: Final = 3_600 * NS_PER_S  # a clock that is put right by less stays in its day
LINES_PER_SEGMENT: Final = 50_000
MOST_NAMES: Final = 50_000  # apps, users and teams of a tenant that are counted apart; the rest are counted together
OTHERS: Final = "\0others"  # no name at the door has a control character


class Account:
    """What one tenant, app, team or user spent, in nano-dollars; `unpriced` counts calls whose price nobody knows.

    `reserved` is for calls under way. `rules`: the budgets that count it, for the policy `ruled_by`.
    """

    __slots__ = (
        "day_nano",
        "day_unpriced",
        "month_nano",
        "month_unpriced",
        "reserved",
        "ruled_by",
        "rules",
        "scope",
        "value",
    )

    def __init__(self, scope: BudgetScope, value: str) -> None:
        self.scope, self.value = scope, value
        self.day_nano = self.month_nano = self.reserved = 0
        self.day_unpriced = self.month_unpriced = 0
        self.rules: tuple[Any, ...] = ()
        self.ruled_by: object = None


@dataclass(frozen=True, kw_only=True)
class LedgerState:
    """How the writing goes. `n_unwritten` calls are counted in memory alone; `n_unreadable` lines were skipped at the
    start, `n_torn` of them cut off by the end of a process. `trouble`: in words, or empty."""

    n_written: int
    n_unwritten: int
    n_unreadable: int
    n_torn: int
    trouble: str


class Ledger:
    """The accounts of one gateway. `folder` None: in memory alone. Raises Conflict when another process writes there,
    and Corrupt when the totals of a day of this month, or the key of its users, cannot be read.

    Belongs to one thread; only what `fold` gives is for another one.
    """

    def __init__(
        self, folder: Path | None, clock: Clock = system_clock, lines_per_segment: int = LINES_PER_SEGMENT
    ) -> None:
        self._folder = folder
        self._lines_per_segment = lines_per_segment
        self._clock = clock
        self._tenants: dict[str, dict[tuple[BudgetScope, str], Account]] = {}
        self._hashed: dict[tuple[str, str], str] = {}
        self._day = _date(clock())
        self._day_ends_ns = _end_ns(clock())
        self._folds: deque[Callable[[], None]] = deque()
        self._at_work = Lock()  # while the files of a day are put in other files
        self._descriptor = self._lock = -1
        self._number = self._n_lines = 0
        self._retry_ns = 0
        self._torn = False
        self._n_written = self._n_unwritten = self._n_covered = self._n_unreadable = self._n_torn = 0
        self._trouble = ""
        self._key = secrets.token_bytes(32)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = hold(folder / "lock")
            self._key = user_key(folder / "key")
            self._read_back(folder)
            self._open(clock())

    # --- accounts ---------------------------------------------------------------------------------------------------

    def accounts(self, caller: Caller) -> tuple[Account, ...]:
        """The accounts that a call of this caller counts in: its tenant's, app's, user's and team's."""
        names = self._tenants.get(caller.tenant)
        if names is None:
            names = self._tenants[caller.tenant] = {}
        user = self.hashed(caller.tenant, caller.user)
        return (
            self._account(names, BudgetScope.TENANT, caller.tenant),
            self._account(names, BudgetScope.APP, caller.app),
            self._account(names, BudgetScope.USER, user),
            self._account(names, BudgetScope.TEAM, caller.team),
        )

    @staticmethod
    def _account(names: dict[tuple[BudgetScope, str], Account], scope: BudgetScope, value: str) -> Account:
        found = names.get((scope, value))
        if found is not None:
            return found
        if len(names) >= MOST_NAMES and value and scope is not BudgetScope.TENANT:
            value = OTHERS
            if (scope, value) in names:
                return names[scope, value]
        found = names[scope, value] = Account(scope, value)
        return found

    def of_tenant(self, tenant: str) -> list[Account]:
        """All accounts of one tenant."""
        self.turn(self._clock())
        return list(self._tenants.get(tenant, {}).values())

    def hashed(self, tenant: str, user: str) -> str:
        """A user as the ledger calls them: 16 hexadecimal digits of a keyed hash; "" stays ""."""
        if not user:
            return ""
        found = self._hashed.get((tenant, user))
        if found is None:
            if len(self._hashed) >= MOST_NAMES:
                self._hashed.clear()
            text = f"{tenant}\0{user}".encode("utf-8", "surrogatepass")
            found = self._hashed[tenant, user] = hashlib.blake2b(text, key=self._key, digest_size=8).hexdigest()
        return found

    def turn(self, now_ns: int) -> None:
        """Begins a new day or month when it is time. A clock that goes back behind the day by an hour or less changes
        nothing; by more, it was ahead, and an earlier day goes on."""
        if self._day_ends_ns - _DAY_NS - _MOST_BACK_NS <= now_ns < self._day_ends_ns:
            return
        before, self._day = self._day, _date(now_ns)
        self._day_ends_ns = _end_ns(now_ns)
        is_back = self._day < before
        if is_back:
            self._end_segment()  # its lines stay for when that day comes
            self._retry_ns = self._n_unreadable = self._n_torn = 0
        else:
            self._put_aside(before, now_ns)
        new_month = is_back or (before.year, before.month) != (self._day.year, self._day.month)
        for names in self._tenants.values():
            for account in names.values():
                account.day_nano = account.day_unpriced = 0
                if new_month:
                    account.month_nano = account.month_unpriced = 0
            if new_month:
                for key in [key for key, account in names.items() if not account.reserved]:
                    del names[key]
        self._read_again(date.min if is_back else before)

    def day(self) -> date:
        """The day that is counted."""
        return self._day

    # --- lines ------------------------------------------------------------------------------------------------------

    def add(self, call: Call, nano: int | None) -> None:
        """Counts what a call cost, and writes it down. None: nobody knows its price."""
        now_ns = self._clock()
        self.turn(now_ns)
        accounts = self.accounts(call.caller)
        for account in accounts:
            if nano is None:
                account.day_unpriced += 1
                account.month_unpriced += 1
            else:
                account.day_nano += nano
                account.month_nano += nano
        if self._folder is not None:
            self._write(_line(call, accounts[2].value, nano, now_ns), now_ns)

    def _write(self, line: bytes, now_ns: int) -> None:
        if self._descriptor < 0 and now_ns >= self._retry_ns:
            self._open(now_ns)
        if self._descriptor < 0:
            self._n_unwritten += 1
            return
        try:
            n = os.write(self._descriptor, b"\n" + line if self._torn else line)
        except OSError as error:
            self._unwritten(error)
            return
        if n < len(line) + self._torn:
            self._torn = True
            self._unwritten(OSError("the disk took a part of a line; it is full"))
            return
        self._torn = False
        self._n_lines += 1
        self._n_written += 1

    def _unwritten(self, error: OSError) -> None:
        if not self._trouble:
            _LOG.error("spending cannot be written to %s and is counted in memory: %s", self._folder, error)
        self._n_unwritten += 1
        self._trouble = f"spending cannot be written to disk and is counted in memory: {error}"

    def _open(self, now_ns: int) -> None:
        """Begins the next segment; without one, the next call after a second tries again."""
        assert self._folder is not None
        path = segment_path(self._folder, self._day, self._number + 1)
        try:
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._retry_ns = now_ns + NS_PER_S
            self._trouble = f"spending cannot be written to disk and is counted in memory: {error}"
            _LOG.error("%s", self._trouble)
            return
        self._number += 1
        self._descriptor, self._torn = opened, False

    # --- totals -----------------------------------------------------------------------------------------------------

    def fold(self) -> Callable[[], None] | None:
        """The work on files that is due, for another thread; None: there is none. Ask again about once a minute, and
        not while the last work runs. It never raises: what fails is told by `state` and tried again."""
        self.turn(self._clock())
        if self._folder is None:
            return None
        full = self._n_lines >= self._lines_per_segment or self._n_unwritten > self._n_covered
        if full and not self._folds:
            self._put_aside(self._day, self._clock())
        return self._work if self._folds else None

    def _work(self) -> None:
        with self._at_work:
            while self._folds:
                try:
                    self._folds[0]()
                except OSError as error:
                    self._trouble = f"the sums of what was spent cannot be written: {error}"
                    _LOG.error("%s", self._trouble)
                    return
                self._folds.popleft()

    def _put_aside(self, day: date, now_ns: int) -> None:
        """Ends the segment, and leaves it to `fold` to put a day's sums, as they are now, in its place."""
        if self._folder is None:
            return
        sums: Sums = {
            (tenant, account.scope, account.value): (account.day_nano, account.day_unpriced)
            for tenant, names in self._tenants.items()
            for account in names.values()
            if account.day_nano or account.day_unpriced
        }
        self._end_segment()
        self._leave(self._folder, day, self._number, sums, self._n_unwritten)
        self._open(now_ns)

    def _end_segment(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._n_lines = 0

    def _leave(self, folder: Path, day: date, through: int, sums: Sums, n_unwritten: int) -> None:
        def write() -> None:
            write_totals(folder, day, through, sums)
            self._n_covered = n_unwritten
            if self._n_unwritten == n_unwritten and self._descriptor >= 0:
                self._trouble = ""

        self._folds.append(write)

    def _read_again(self, after: date) -> None:
        """What files say of the days of this month behind `after`: the clock was there before."""
        if self._folder is None:
            return
        try:
            with self._at_work:
                self._read_back(self._folder, after)
        except (Corrupt, OSError) as error:
            self._trouble = f"what was spent before cannot be read and does not count: {error}"
            _LOG.error("%s", self._trouble)

    def _read_back(self, folder: Path, after: date = date.min) -> None:
        self._number = max(self._number, last_number(folder))
        for day in sorted(days_of(folder)):
            if (day.year, day.month) != (self._day.year, self._day.month) or not after < day <= self._day:
                continue
            spent = read_day(folder, day)
            self._count(spent, today=day == self._day)
            if day == self._day:
                self._n_lines = spent.n_lines
            elif spent.n_segments:
                self._leave(folder, day, self._number, spent.sums, self._n_unwritten)

    def _count(self, spent: DaySpend, *, today: bool) -> None:
        for (tenant, scope, name), (nano, n_unpriced) in spent.sums.items():
            account = self._account(self._tenants.setdefault(tenant, {}), scope, name)
            account.month_nano += nano
            account.month_unpriced += n_unpriced
            if today:
                account.day_nano += nano
                account.day_unpriced += n_unpriced
        self._n_unreadable += spent.n_unreadable
        self._n_torn += spent.n_torn

    def state(self) -> LedgerState:
        """How the writing goes."""
        return LedgerState(
            n_written=self._n_written,
            n_unwritten=self._n_unwritten - self._n_covered,
            n_unreadable=self._n_unreadable,
            n_torn=self._n_torn,
            trouble=self._trouble,
        )

    def close(self) -> None:
        """Lets go of the files. What was counted stays readable for the next one."""
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1


def _line(call: Call, user: str, nano: int | None, now_ns: int) -> bytes:
    caller, usage = call.caller, call.usage
    line = {
        "at": now_ns, "id": call.id, "tenant": caller.tenant, "app": caller.app, "team": caller.team, "user": user,
        "key": caller.key_id, "model": call.model.name, "in": usage.input_tokens, "out": usage.output_tokens,
        "nano": nano,
    }  # fmt: skip
    try:
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a name with half a surrogate pair
        plain = {n: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for n, v in line.items()}
        return orjson.dumps(plain, option=orjson.OPT_APPEND_NEWLINE)


def _date(ns: int) -> date:
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).date()


def _end_ns(ns: int) -> int:
    """When the day of `ns` ends."""
    return (ns // _DAY_NS + 1) * _DAY_NS
