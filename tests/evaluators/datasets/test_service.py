"""Datasets changed and compared, over a real control database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Conflict, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from evaluators.datasets.records import Example, read_version
from evaluators.datasets.service import Change, Options, add_examples, difference, remove_examples
from evaluators.records import Expected
from store.control.control import Control
from tests.first_start import begun

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.USER, name="ann")
MAKE = Options(create=True)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    found = Control.open(f"sqlite:///{begun(tmp_path)}/control.db", pepper=b"pepper for tests, 32 bytes long!")
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
    yield found
    found.close()


def some(*numbers: int) -> list[Example]:
    return [Example(example_id=f"e{n}", turns=(f"question number {n}",)) for n in numbers]


def add(control: Control, examples: list[Example], options: Options = MAKE) -> Change:
    return add_examples(control, ACME, "golden", examples, options, by=ANN)


def test_adding_is_a_new_version_and_the_same_again_is_none(control: Control) -> None:
    with pytest.raises(NotFound, match="no dataset 'golden'"):
        add(control, some(1), Options())
    first = add(control, some(1, 2, 3))
    assert (first.version, first.n_added, first.splits, first.changed) == (1, 3, {"test": 3}, True)
    again = add(control, some(3, 1))
    assert (again.version, again.n_added, again.n_same, again.changed) == (1, 0, 2, False)
    second = add(control, some(2, 4), Options(note="one more"))
    assert (second.version, second.n_added, second.n_same) == (2, 1, 1)
    found = read_version(control, ACME, "golden")
    assert (found.version, found.content_hash) == (2, second.content_hash)
    assert [one.example_id for one in found.examples] == ["e1", "e2", "e3", "e4"]
    assert list(read_version(control, ACME, "golden", 1).examples) == some(1, 2, 3)
    with pytest.raises(NotFound):
        read_version(control, SHOP, "golden")


def test_an_id_never_stands_for_another_example_unless_that_is_said(control: Control) -> None:
    add(control, some(1, 2))
    other = [replace(some(2)[0], expected=Expected(answer="x"))]
    with pytest.raises(Conflict, match="1 of the ids stand for other examples already, first 'e2'"):
        add(control, other)
    with pytest.raises(InvalidInput, match="'e9' stands twice"):
        add(control, [*some(9), *some(9)])
    assert read_version(control, ACME, "golden").version == 1
    done = add(control, other, Options(replace=True))
    assert (done.version, done.n_replaced, done.n_examples) == (2, 1, 2)
    assert difference(control, ACME, "golden", None, None).changed == ("e2",)


def test_removing_and_the_difference(control: Control) -> None:
    add(control, some(1, 2, 3))
    done = remove_examples(control, ACME, "golden", ["e2"], Options(), by=ANN)
    assert (done.version, done.n_removed, done.n_examples) == (2, 1, 2)
    with pytest.raises(NotFound, match="no example 'e2'"):
        remove_examples(control, ACME, "golden", ["e2"], Options(), by=ANN)
    add(control, some(4))
    found = difference(control, ACME, "golden", 1, 3)
    assert (found.added, found.removed, found.changed, found.n_same) == (("e4",), ("e2",), (), 2)
    assert difference(control, ACME, "golden", None, 1).added == ("e1", "e2", "e3")


def test_duplicates_are_told_and_left_out_only_when_asked(control: Control) -> None:
    add(control, [Example(example_id="a", turns=("Where is my order? I bought a lamp on Monday, and it is late.",))])
    new = [
        Example(example_id="b", turns=("where is my order i bought a lamp on monday and it is late",)),
        Example(example_id="c", turns=("Where is my order? I bought a lamp on Sunday, and it is late.",)),
        Example(example_id="d", turns=("something else",)),
    ]
    told = add(control, new, Options(near=True, threshold=0.7, dry_run=True))
    assert [(one.example_id, one.of) for one in told.duplicates] == [("b", "a"), ("c", "a")]
    assert (told.version, told.n_examples, told.dry_run) == (1, 4, True)
    assert read_version(control, ACME, "golden").version == 1
    done = add(control, new, Options(near=True, threshold=0.7, dedupe=True))
    assert (done.n_added, done.n_examples, done.n_duplicates) == (1, 2, 2)


def test_writers_at_once_all_add_theirs(control: Control) -> None:
    add(control, some(0))
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda n: add(control, some(n)), range(1, 4)))
    assert sorted(one.version for one in done) == [2, 3, 4]
    assert read_version(control, ACME, "golden").examples != ()
    assert len(read_version(control, ACME, "golden").examples) == 4
    with pytest.raises(Conflict, match="at version 4, not 1"):
        add(control, some(9), Options(if_version=1))


def test_a_dry_run_makes_no_dataset(control: Control) -> None:
    told = add(control, some(1), Options(create=True, dry_run=True))
    assert (told.version, told.n_added, told.changed) == (0, 1, True)
    assert control.datasets(ACME) == []
