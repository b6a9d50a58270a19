"""The shop's database, `world.db`: opened, and given the rows of a scenario anew for every session.

Order, item and user ids of a session follow from its id alone, so that a session is the same beside thousands of
others. The world's day stands still (TODAY): what is allowed never depends on when a simulation runs.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from agent_runtime.errors import CorruptState, InvalidInput, RuntimeFailed
from agent_runtime.records import Document
from agent_runtime.simulation.scenario import Order, Prepared, Scenario, filled, usd

TODAY: Final = date(2026, 3, 2)
_SCHEMA: Final = Path(__file__).with_name("schema.sql")
_BUSY_MS: Final = 20_000
_OF_CUSTOMER: Final = ("effects", "tickets", "returns", "discounts", "payments", "order_items", "orders", "users")


@dataclass(frozen=True, kw_only=True)
class PlayedSession:
    """What a session plays, as the provider and the judge of its outcome read it."""

    session_id: str
    release: str
    scenario: str
    persona: str
    user_id: str
    seed: int
    faults: tuple[str, ...]


def order_number(session_id: str, ref: str, attempt: int = 0) -> str:
    """The seven digits that a session's order gets when they are free."""
    digest = blake2b(f"{session_id}\0{ref}\0{attempt}".encode(), digest_size=8).digest()
    return str(1_000_000 + int.from_bytes(digest, "big") % 9_000_000)


class World:
    """One connection to world.db; several processes may hold one each. Not safe for use by several threads at once."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path
        self.today = TODAY

    @classmethod
    def open(cls, path: Path) -> World:
        """Opens `path` and makes its tables; `seed.fill` puts the catalogue in. Raises CorruptState."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_MS / 1000, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise CorruptState(f"{path} cannot be opened: {error}") from None
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA.read_text(encoding="utf-8"))
        except sqlite3.DatabaseError as error:
            connection.close()
            raise CorruptState(f"{path} is not a world: {error}; move it away and start anew") from None
        return cls(connection, path)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction: all of it or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What a query gives, row by row."""
        return [dict(row) for row in self._connection.execute(query, values)]

    def row(self, query: str, *values: Any) -> dict[str, Any] | None:
        """The first row of a query."""
        found = self._connection.execute(query, values).fetchone()
        return None if found is None else dict(found)

    def change(self, statement: str, *values: Any) -> int:
        """Runs one statement; the number of rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def change_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Runs one statement for each row of values."""
        self._connection.executemany(statement, rows)

    def documents(self, *, kind: str | None = None, versions: bool = False) -> list[Document]:
        """Policies ("policy"), help articles ("help") or both; with `versions` the outdated ones too."""
        found = self.rows(
            "SELECT doc_id, title, text, version FROM documents WHERE (? IS NULL OR kind = ?) "
            "AND (? OR valid_until IS NULL) ORDER BY doc_id, version",
            *(kind, kind, versions),
        )
        return [Document(**row) for row in found]

    def session(self, session_id: str) -> PlayedSession | None:
        """What this session plays; None when it is nobody's simulation (a person typing)."""
        row = self.row("SELECT * FROM sessions WHERE session_id = ?", session_id)
        if row is None:
            return None
        return PlayedSession(**{**row, "faults": tuple(json.loads(row["faults"]))})

    def prepare(self, scenario: Scenario, session_id: str) -> Prepared:
        """Gives the session its own customer and orders, as the scenario says, whatever was there of it before."""
        if not session_id:
            raise InvalidInput("a session needs an id")
        tag = blake2b(session_id.encode(), digest_size=6).hexdigest()
        user_id = f"u-{tag}"
        with self.writing():
            self._clear(user_id)
            names = self._customer(scenario, user_id, tag)
            for order in scenario.orders:
                names |= self._order(order, user_id, session_id, names["address"])
        known = {**names, "tag": tag}
        return Prepared(session_id=session_id, user_id=user_id, names=known, scenario=filled(scenario, known))

    def count(self, user_id: str) -> dict[str, int]:
        """Rows of a customer and of the sessions that were played as them, by table."""
        found = {}
        for table, where in _of_customer().items():
            row = self.row(f"SELECT COUNT(*) AS n FROM {table} WHERE {where}", user_id)
            found[table] = int(row["n"]) if row else 0
        return found

    def forget(self, user_id: str) -> dict[str, int]:
        """Deletes what `count` counts, and every byte of it; gives rows by table.

        Raises RuntimeFailed: another process reads the file, so that its log cannot be emptied.
        """
        self._connection.execute("PRAGMA secure_delete = ON")
        with self.writing():
            tables = _of_customer().items()
            found = {table: self.change(f"DELETE FROM {table} WHERE {where}", user_id) for table, where in tables}
        self._connection.execute("VACUUM")
        if self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise RuntimeFailed(f"{self.path} is read elsewhere: what was deleted is still in its write-ahead log")
        return found

    def _clear(self, user_id: str) -> None:
        for table in _OF_CUSTOMER:
            self.change(f"DELETE FROM {table} WHERE user_id = ?", user_id)

    def _customer(self, scenario: Scenario, user_id: str, tag: str) -> dict[str, str]:
        customer = scenario.customer
        local, _, domain = customer.email.partition("@")
        names = {
            "name": customer.name,
            "email": f"{local}.{tag}@{domain}",
            "address": customer.address,
            "user": user_id,
        }
        self.change(
            "INSERT INTO users (user_id, name, email, address) VALUES (?, ?, ?, ?)",
            *(user_id, names["name"], names["email"], names["address"]),
        )
        return names

    def _fresh_id(self, session_id: str, ref: str) -> str:
        """Seven digits from session and name; a taken number, one in thousands, gives way to the next try's."""
        for attempt in range(1000):
            number = order_number(session_id, ref, attempt)
            if self.row("SELECT 1 FROM orders WHERE order_id = ?", f"LK-{number}") is None:
                return number
        raise InvalidInput(f"no order number is left for session {session_id!r}")

    def _order(self, order: Order, user_id: str, session_id: str, address: str) -> dict[str, str]:
        number = self._fresh_id(session_id, order.ref)
        order_id = f"LK-{number}"
        delivered = None if order.delivered_days is None else self._day(order.delivered_days)
        self.change(
            "INSERT INTO orders (order_id, user_id, status, address, placed_on, delivered_on, late_days) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(order_id, user_id, order.status, address, self._day(order.placed_days), delivered, order.late_days),
        )
        names = {order.ref: order_id, f"{order.ref}.total": usd(order.total_cents)}
        items = [(f"{order_id}/{number}", item) for number, item in enumerate(order.items, start=1)]
        self.change_many(
            "INSERT INTO order_items VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(key, order_id, user_id, it.sku, it.name, it.quantity, it.price_cents) for key, it in items],
        )
        for position, (item_id, item) in enumerate(items, start=1):
            names[f"{order.ref}.{position}"] = item_id
            names[f"{order.ref}.{position}.price"] = usd(item.price_cents * item.quantity)
        self._paid(order, order_id, user_id)
        if order.returning:
            names[f"{order.ref}.return"] = return_id = f"RT-{number}"
            held = json.dumps([items[position - 1][0] for position in order.returning])
            self.change("INSERT INTO returns VALUES (?, ?, ?, ?, 'open')", return_id, order_id, user_id, held)
        return names

    def _paid(self, order: Order, order_id: str, user_id: str) -> None:
        self.change(
            "INSERT INTO payments (order_id, user_id, kind, amount_cents) VALUES (?, ?, 'charge', ?)",
            *(order_id, user_id, order.total_cents),
        )
        if order.discount_percent:
            self.change(
                "INSERT INTO discounts (order_id, user_id, percent) VALUES (?, ?, ?)",
                *(order_id, user_id, order.discount_percent),
            )

    def _day(self, days_ago: int) -> str:
        return (self.today - timedelta(days=days_ago)).isoformat()


def _of_customer() -> dict[str, str]:
    """Condition by table for what is a customer's; the table of the sessions is the last, as others rest on it."""
    of_sessions = "session_id IN (SELECT session_id FROM sessions WHERE user_id = ?)"
    own = dict.fromkeys((*_OF_CUSTOMER, "sessions"), "user_id = ?")
    return dict.fromkeys(("turns", "truth", "posting"), of_sessions) | own
