"""Tables of files: what is read, and a clear answer to what cannot be."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.errors import InvalidInput
from experiments import sums
from experiments.reading import read
from experiments.statistics.records import Moments
from experiments.table_analysis import Asked, analyse_table
from experiments.tabulating import Columns, Table

TODAY = dt.date(2026, 11, 22)
GOOD = "user,arm,ok,team\nu1,A,1,x\nu1,A,0,x\nu2,B,true,y\nu3,B,no,y\nu4,A,,x\n"


def table(folder: Path, text: str | bytes, name: str = "t.csv", arms: tuple[str, ...] = (), **columns: Any) -> Table:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    given: dict[str, Any] = {"variant": "arm", "outcomes": ("ok",)} | columns
    return read(path, Columns(**given), today=TODAY, arms=arms)


def test_rows_of_a_unit_are_its_observations(tmp_path: Path) -> None:
    found = table(tmp_path, GOOD, unit=("user",), strata=("team",))
    a, b = (sums.moments(found.sums, "ok", variant=one) for one in "AB")
    assert (a.n, a.n_missing, a.y, a.s, a.yy, a.ss, a.sy) == (1, 1, 1, 2, 1, 4, 2)
    assert (b.n, b.y, b.s) == (2, 1, 2)
    assert found.binary == {"ok": True}
    assert [(one.variant, one.n_units, one.n_sessions, one.n_without) for one in found.exposure.arms] == [
        ("A", 2, 3, 1),
        ("B", 2, 2, 0),
    ]
    assert set(sums.by_level(found.sums, "ok", "team", "A")) == {"x"}


def test_without_a_unit_every_row_is_one(tmp_path: Path) -> None:
    assert sums.moments(table(tmp_path, GOOD).sums, "ok", variant="A") == Moments(
        n=2, n_missing=1, y=1, s=2, yy=1, ss=2, sy=1
    )


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_the_same_table_in_every_format(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame({"arm": ["A", "A", "B", "B"], "ok": [1.5, None, 2.0, 3.0], "team": ["x", "y", "x", "y"]})
    path = tmp_path / f"t.{kind}"
    match kind:
        case "csv":
            frame.write_csv(path)
        case "tsv":
            frame.write_csv(path, separator="\t")
        case "jsonl":
            frame.write_ndjson(path)
        case _:
            frame.write_parquet(path)
    found = read(path, Columns(variant="arm", outcomes=("ok",), strata=("team",)), today=TODAY)
    control, treatment = (sums.moments(found.sums, "ok", variant=one) for one in "AB")
    assert (control.n, control.n_missing, control.y, treatment.y) == (1, 1, 1.5, 5.0)
    assert not found.binary["ok"]


def test_a_stratum_may_be_called_as_anything(tmp_path: Path) -> None:
    """Also as what the sums call their own columns."""
    names = ("day", "variant", "x", "n_sessions", "y ok", "unit", "lost")
    text = ",".join(("who", "arm", "ok", *names)) + "".join(
        f"\nu{n},{'AB'[n % 2]},{n % 3}" + ",l" * 7 for n in range(8)
    )
    for unit in ((), ("who",)):
        found = table(tmp_path, text, unit=unit, strata=names, day=None)
        assert set(sums.attributes_of(found.sums)) == {*names, sums.JOINED}
        assert set(found.exposure.by_stratum["attribute"]) == set(names)


def test_units_in_two_arms_are_in_none_and_counted(tmp_path: Path) -> None:
    found = table(tmp_path, "user,arm,ok\nu1,A,1\nu1,B,1\nu2,A,1\nu3,B,0\n", unit=("user",))
    assert found.exposure.n_multiple == 1
    assert sums.moments(found.sums, "ok").n == 2


def test_clusters_may_be_in_both_arms(tmp_path: Path) -> None:
    paired = "task,arm,ok\n1,A,1\n1,B,0\n2,A,1\n2,B,1\n2,B,0\n"
    found = table(tmp_path, paired, unit=("task",), clustered=True)
    assert found.exposure.n_multiple == 0
    assert sums.moments(found.sums, "ok", variant="B").ss == 1 + 4
    with pytest.raises(InvalidInput, match="not what was randomised"):
        table(tmp_path, paired, unit=("task",))


def test_counts_are_as_many_rows(tmp_path: Path) -> None:
    counted = table(tmp_path, "arm,ok,n,team\nA,3,5,x\nB,1,4,x\nA,0,2,y\nB,2,2,y\n", weights="n", strata=("team",))
    cells = (("A", 3, 5, "x"), ("B", 1, 4, "x"), ("A", 0, 2, "y"), ("B", 2, 2, "y"))
    lines = [f"{arm},{int(place < k)},{team}" for arm, k, n, team in cells for place in range(n)]
    each = table(tmp_path, "\n".join(["arm,ok,team", *lines]), strata=("team",))
    names = [name for name in sums.SUMS if name not in ("w", "wy", "ws")]
    assert counted.sums.select(names).equals(each.sums.select(names))
    assert counted.exposure.n_units == 13
    assert counted.notes == ()
    shares = table(tmp_path, "arm,ok,n\nA,0.5,4\nB,1,4\n", weights="n")
    assert [sums.moments(shares.sums, "ok", variant=one).y for one in "AB"] == [2, 4]
    assert shares.notes == ("ok is from 0 to 1 in every row: read as the share of n that said yes",)


def test_days_and_their_doubts(tmp_path: Path) -> None:
    text = "user,arm,ok,at\nu1,A,1,2026-11-03T10:00:00Z\nu1,A,1,2026-11-01\nu2,B,0,2026-11-02\nu3,B,1,2031-01-01\n"
    found = table(tmp_path, text, unit=("user",), day="at")
    assert found.days == (dt.date(2026, 11, 1), dt.date(2026, 11, 2), dt.date(2031, 1, 1))
    assert found.exposure.n_skewed == 1


def test_other_names_than_the_split_are_renamed_variants(tmp_path: Path) -> None:
    found = table(tmp_path, "arm,ok\nA,1\nB,0\nbeta,1\nbeta,0\n", arms=("A", "B"))
    assert found.exposure.renamed == {"beta": 2}
    assert found.variants == ("A", "B")


def test_not_a_number_is_missing_and_said(tmp_path: Path) -> None:
    frame = pl.DataFrame({"arm": ["A", "A", "B"], "ok": [1.0, float("nan"), 0.0]})
    frame.write_parquet(tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet", Columns(variant="arm", outcomes=("ok",)), today=TODAY)
    assert sums.moments(found.sums, "ok", variant="A").n_missing == 1
    assert found.notes == ("ok is NaN in 1 rows: they count as missing",)


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("", {}, "is empty"),
        ("arm,ok\n", {}, "no row"),
        ("arm,ok\nA,1\nA,0\n", {}, "one value, A"),
        ("arm,ok\nA,1\nB,maybe\n", {}, "'maybe' in row 2, which is no number"),
        ("arm,ok\nA,1\nB,inf\n", {}, "infinite in row 2"),
        ("arm,ok\nA,1\nB,-1e200\n", {}, "-1e+200 in row 2: above 1e+140"),
        ("arm,ok\nA,1\nB,0\nb,1\n", {}, "'B' and 'b'"),
        ("arms,ok\nA,1\n", {}, "no column 'arm'; did you mean arms? The table has: arms, ok"),
        ("arm,ok\nA,1\nB,0\n", {"unit": ("user",)}, "no column 'user'. The table has: arm, ok"),
        ("u,arm,ok\n1,A,1\n1,B,1\n2,A,0\n", {"unit": ("u",)}, "value, A once the 1 units in several arms are left out"),
        ("arm,ok\nA,1\nB,0,5\n", {}, "more cells than names"),
        ("arm,ok,user\nA,1,u\nB,0,\n", {"unit": ("user",)}, "user is empty in row 2"),
        ("arm,ok,at\nA,1,2026-11-01\nB,0,soon\n", {"day": "at"}, "no day in row 2"),
        ("arm,ok,n\nA,1,2\nB,0,1.5\n", {"weights": "n"}, "whole numbers"),
        ("arm,ok,n\nA,9,5\nB,0,5\n", {"weights": "n"}, "not from 0 to n"),
        ("arm,ok\nA,1\nB,0\n", {"outcomes": ("arm",)}, "cannot be the arm and an outcome"),
        (
            "arm,ok\nA,1\nB,0\n",
            {"strata": ("ok",)},
            "ok is the arm or an outcome: a stratum is what units are like before",
        ),
        ("arm,ok,ok\nA,1,0\nB,0,1\n", {}, "two columns are called 'ok'"),
        ("arm,ok\nA,1\nB,é\n".encode("latin-1"), {}, "Save it as UTF-8"),
        (b"\x7fELF\x00\x00\x01", {}, "is no table"),
        ("\n".join(["arm,ok", *(f"v{one},1" for one in range(30))]), {}, "30 values"),
    ],
)
def test_bad_input_says_what_and_where(tmp_path: Path, text: str | bytes, columns: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        table(tmp_path, text, **columns)
    assert said in str(refused.value)


def test_a_table_with_semicolons_is_the_same(tmp_path: Path) -> None:
    text = "arm,ok,\u00fc\nA,1,x\nA,0,y\nB,1,x\nB,0,y\n"
    commas, semicolons = table(tmp_path, text), table(tmp_path, "\ufeff" + text.replace(",", ";"), "s.csv")
    assert commas.sums.equals(semicolons.sums)


@pytest.mark.parametrize(
    ("alpha", "margin", "said"), [(0.999, None, "an alpha is from"), (0.05, 5.0, "holds nothing up")]
)
def test_what_would_ship_or_stop_anything_is_refused(
    tmp_path: Path, alpha: float, margin: float | None, said: str
) -> None:
    (tmp_path / "t.csv").write_text("arm,ok\nA,1\nA,0\nB,1\nB,0\n")
    asked = Asked(columns=Columns(variant="arm", outcomes=("ok",)), alpha=alpha, margin=margin)
    with pytest.raises(InvalidInput, match=said):
        analyse_table(tmp_path / "t.csv", asked, today=TODAY)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no file"):
        read(tmp_path / "no.csv", Columns(variant="arm", outcomes=("ok",)), today=TODAY)


def test_two_hundred_thousand_rows_give_the_sums_of_numpy(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    n = 200_000
    unit, value = chance.integers(0, 50_000, n), chance.normal(10, 3, n)
    arm = unit % 2
    pl.DataFrame({"user": unit, "arm": np.where(arm, "B", "A"), "ok": value}).write_csv(tmp_path / "big.csv")
    found = read(tmp_path / "big.csv", Columns(variant="arm", outcomes=("ok",), unit=("user",)), today=TODAY)
    b = sums.moments(found.sums, "ok", variant="B")
    per_unit = np.bincount(unit[arm == 1], weights=value[arm == 1])
    assert b.y == pytest.approx(per_unit.sum(), rel=1e-12)
    assert b.yy == pytest.approx((per_unit**2).sum(), rel=1e-12)
    assert b.n == len(np.unique(unit[arm == 1]))
