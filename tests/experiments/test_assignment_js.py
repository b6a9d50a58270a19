"""The page on assignment: its golden places, its JavaScript and its SQL say what Python says."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from experiments.assignment import place_of
from experiments.records import Arm, Definition
from experiments.splits import arms, entrance, placed
from tests.experiments.definitions import definition

PAGE: Final = (Path(__file__).parents[2] / "docs" / "assignment.md").read_text(encoding="utf-8")
ROW: Final = re.compile(r"^\| (?:`(.*?)`|\(empty\)) \| (?:`(.*?)`|\(empty\)) \| `([0-9a-f]{16})` \|$", re.MULTILINE)
ROWS: Final = [(salt, unit, digits) for salt, unit, digits in ROW.findall(PAGE)]
ASK: Final = """
import { readFileSync } from "node:fs";
const asked = JSON.parse(readFileSync(0, "utf8"));
const places = asked.places.map(([salt, unit]) => place(unit, salt).toString(16).padStart(16, "0"));
const variants = asked.cases.map(([told, coverage, units]) => units.map((unit) => variantOf(told, coverage, unit)));
console.log(JSON.stringify({ places, variants }));
"""
UNITS: Final = ("", "u-17", "é𝄞", "a:b", "\n", "x" * 3_000)


def drawn(chance: random.Random) -> Definition:
    """A definition with odd shares."""
    low, high = sorted((chance.random(), chance.random()))
    weights = [chance.choice((1.0, chance.random(), chance.random() * 1e-9, 1e9)) for _ in range(chance.randint(2, 6))]
    return replace(
        definition(),
        name=f"n{chance.randint(0, 99)}",
        version=chance.randint(1, 12),
        app=chance.choice(("shop", "ключ", "a:b")),
        arms=tuple(Arm(variant=f"v{n}", release=f"r{n}", weight=weight) for n, weight in enumerate(weights)),
        slot=chance.choice(((0.0, 1.0), (low, high))),
        holdout=chance.choice((0.0, chance.random() / 2, 1e-5)),
    )


def as_told(one: Definition) -> dict[str, Any]:
    """What of a definition the snippet reads."""
    told = {name: getattr(one, name) for name in ("name", "version", "app", "layer", "holdout")}
    return {**told, "slot": list(one.slot), "arms": [{"variant": a.variant, "weight": a.weight} for a in one.arms]}


def test_the_golden_places_of_the_page() -> None:
    assert len(ROWS) >= 7
    for salt, unit, digits in ROWS:
        assert f"{place_of(unit, salt):016x}" == digits, (salt, unit)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine to run the page's JavaScript with")
def test_the_javascript_of_the_page_says_what_python_says(tmp_path: Path) -> None:
    (snippet,) = re.findall(r"^```js\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    script = tmp_path / "page.mjs"
    script.write_text(snippet + ASK, encoding="utf-8")
    chance = random.Random(8)
    cases = [(drawn(chance), chance.choice((1.0, chance.random()))) for _ in range(200)]
    units = [*UNITS, *(f"user-{chance.randint(0, 10**9)}" for _ in range(50))]
    asked = {
        "places": [(salt, unit) for salt, unit, _ in ROWS],
        "cases": [(as_told(one), coverage, units) for one, coverage in cases],
    }
    ran = subprocess.run(
        ["node", str(script)], input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["places"] == [digits for _, _, digits in ROWS]
    here = [[placed(one, coverage, unit).variant for unit in units] for one, coverage in cases]
    assert told["variants"] == here
    assert len({variant for case in here for variant in case}) > 5, "else nothing was compared"


def test_the_sql_of_the_page_is_duckdbs() -> None:
    (query,) = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    units = [f"u-{n}" for n in range(200)]
    with duckdb.connect() as engine:
        engine.execute("CREATE TABLE units AS SELECT unnest(?::VARCHAR[]) AS unit", [units])
        found = [row[0] for row in engine.execute(query).fetchall()]
    one = replace(definition(), name="refund-prompt", version=1)
    control = arms(one)["control"]
    assert control.digits == ("0" * 16, "7" + "f" * 15)
    assert found == [control.has(unit) for unit in units]
    assert set(found) == {True, False}


def test_the_parts_of_an_entrance_sort_as_digits_do() -> None:
    chance = random.Random(9)
    for _ in range(100):
        one = drawn(chance)
        for part in entrance(one, chance.random()):
            assert part is not None
            unit = f"u-{chance.random()}"
            digits = f"{place_of(unit, part.salt):016x}"
            assert (part.digits[0] <= digits <= part.digits[1]) is part.has(unit)
