"""Splits by hash: an example's split depends on its id and the shares alone, whatever else is in the dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from core.errors import InvalidInput
from evaluators.datasets.records import Example, checked_split


def parse_split(text: str) -> tuple[str, float]:
    """(name, share) of "test=0.2". Raises InvalidInput."""
    name, equals, said = text.partition("=")
    try:
        share = float(said)
    except ValueError:
        share = -1.0
    if not equals or not 0 < share <= 1:
        raise InvalidInput(f"{text[:60]!r} is not NAME=SHARE with a share above 0 and at most 1, as test=0.2", "split")
    return checked_split(name), share


def split(examples: Iterable[Example], shares: Mapping[str, float], *, rest: str = "train") -> list[Example]:
    """The examples in splits of these shares, those that are left in `rest`. Raises InvalidInput for shares that sum to
    more than 1."""
    if sum(shares.values()) > 1 + 1e-9:
        raise InvalidInput("the shares of the splits sum to more than 1", field="split")
    return [replace(one, split=_split_of(one.example_id, shares, rest)) for one in examples]


def _split_of(example_id: str, shares: Mapping[str, float], rest: str) -> str:
    digest = hashlib.sha256(b"split\0" + example_id.encode("utf-8", "surrogatepass")).digest()
    place, reach = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for name, share in shares.items():
        reach += share
        if place < reach:
            return name
    return rest
