"""The deterministic population of a new world: catalogue, documents, and customers who are nobody's scenario."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

from agent_runtime.records import Intent
from agent_runtime.simulation.catalogue import diagnoses, products
from agent_runtime.simulation.documents import published
from agent_runtime.simulation.scenario import Customer, Difficulty, Goal, Item, Order, Prepared, Request, Scenario
from agent_runtime.simulation.world import World

N_CUSTOMERS: Final = 120
DEMO_SESSION: Final = "demo"
_FIRST: Final = ("Ada", "Ben", "Chloe", "Dara", "Elif", "Finn", "Gita", "Hugo", "Ines", "Jon", "Kira", "Luis")
_LAST: Final = ("Abel", "Brandt", "Costa", "Doyle", "Engel", "Farah", "Green", "Haas", "Ito", "Jansen")
_STREETS: Final = ("Maple Street", "Harbor Road", "Quarry Lane", "Station Avenue", "Mill Row", "Lake Drive")
_TOWNS: Final = ("Duluth", "Bend", "Asheville", "Boulder", "Burlington", "Moab")


def open_world(path: Path) -> World:
    """Opens a world and fills it when it is new. Raises CorruptState."""
    world = World.open(path)
    fill(world)
    return world


def fill(world: World) -> None:
    """Puts catalogue, documents and customers in; a world that has them stays as it is."""
    if world.row("SELECT 1 FROM meta WHERE name = 'filled'") is None:
        stock(world)
        for number in range(N_CUSTOMERS):
            world.prepare(_customer(number), f"customer-{number}")
        world.change("INSERT OR IGNORE INTO meta VALUES ('filled', '1')")


def stock(world: World) -> None:
    """Puts catalogue and documents in."""
    with world.writing():
        _catalogue(world)
        _documents(world)


def demo_customer(world: World) -> Prepared:
    """Prepares the customer whom a person plays in the terminal."""
    return world.prepare(demo_scenario(), DEMO_SESSION)


def demo_scenario() -> Scenario:
    """A customer without a task: two orders that have not shipped, and two delivered a week ago.

    To refund the watch takes a person's approval (it costs more than a release's `approval_above_usd`, and less than
    its cap); what came with the lamp does not.
    """
    orders = (
        _order("tent", "processing", ("GEAR-101", "GEAR-103"), 1),
        _order("boots", "processing", ("GEAR-160",), 2),
        _order("lamp", "delivered", ("GEAR-120", "GEAR-162"), 12, 7),
        _order("watch", "delivered", ("GEAR-131",), 11, 7),
    )
    return _nobody("demo", "Robin Vale", "14 Orchard Street, Bend", orders)


def _catalogue(world: World) -> None:
    world.change_many(
        "INSERT OR REPLACE INTO products (sku, name, category, price_cents, final_sale) VALUES (?, ?, ?, ?, ?)",
        [(each.sku, each.name, each.category, each.price_cents, each.final_sale) for each in products().values()],
    )
    world.change_many(
        "INSERT OR REPLACE INTO diagnoses VALUES (?, ?, ?, ?, ?)",
        [(each.category, each.words, each.finding, each.advice, each.needs_ticket) for each in diagnoses()],
    )


def _documents(world: World) -> None:
    world.change_many(
        "INSERT OR REPLACE INTO documents (doc_id, version, kind, title, text, valid_from, valid_until) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (d.doc_id, d.version, each.kind, d.title, d.text, each.valid_from, each.valid_until)
            for each in published()
            for d in (each.document,)
        ],
    )


def _customer(number: int) -> Scenario:
    chance = Random(number)  # noqa: S311 - nothing here is secret
    name = f"{_FIRST[number % len(_FIRST)]} {_LAST[number // len(_FIRST) % len(_LAST)]}"
    address = f"{chance.randrange(1, 200)} {chance.choice(_STREETS)}, {chance.choice(_TOWNS)}"
    orders = []
    for position in range(chance.randrange(1, 5)):
        skus = tuple(chance.sample(sorted(products()), chance.randrange(1, 4)))
        status = chance.choice(("processing", "shipped", "delivered"))
        placed = chance.randrange(20, 200) if status == "delivered" else chance.randrange(1, 6)
        delivered = placed - chance.randrange(4, 12) if status == "delivered" else None
        orders.append(_order(f"order{position}", status, skus, placed, delivered))
    return _nobody(f"customer-{number}", name, address, tuple(orders))


def _order(ref: str, status: str, skus: tuple[str, ...], placed: int, delivered: int | None = None) -> Order:
    found = [products()[sku] for sku in skus]
    items = tuple(Item(sku=each.sku, name=each.name, price_cents=each.price_cents) for each in found)
    return Order(ref=ref, status=status, items=items, placed_days=placed, delivered_days=delivered)


def _nobody(scenario_id: str, name: str, address: str, orders: tuple[Order, ...]) -> Scenario:
    email = f"{name.lower().replace(' ', '.')}@example.com"
    return Scenario(
        scenario_id=scenario_id,
        intent=Intent.OTHER,
        difficulty=Difficulty.EASY,
        title="A customer without a task",
        customer=Customer(name=name, email=email, address=address),
        requests=(Request(openings=("Hello",), done="."),),
        goal=Goal(),
        orders=orders,
    )
