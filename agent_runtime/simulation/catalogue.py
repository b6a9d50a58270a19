"""What the shop sells and what its diagnosis knows, from products.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from agent_runtime.simulation.scenario import cents

_FILE: Final = Path(__file__).with_name("products.toml")


@dataclass(frozen=True, kw_only=True)
class Product:
    """One article. `final_sale` ones are never taken back."""

    sku: str
    name: str
    category: str
    price_cents: int
    final_sale: bool = False


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a symptom of a category means: any of `words` (a bar between them) names it."""

    category: str
    words: str
    finding: str
    advice: str
    needs_ticket: bool


@lru_cache(maxsize=1)
def _written() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def products() -> Mapping[str, Product]:
    """Every article by its sku."""
    found = [
        Product(
            sku=each["sku"],
            name=each["name"],
            category=each["category"],
            price_cents=cents(each["price"]),
            final_sale=each.get("final_sale", False),
        )
        for each in _written()["products"]
    ]
    return {each.sku: each for each in found}


@lru_cache(maxsize=1)
def diagnoses() -> tuple[Diagnosis, ...]:
    """Every known symptom."""
    return tuple(Diagnosis(**each) for each in _written()["diagnoses"])
