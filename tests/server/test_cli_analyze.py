"""`assay experiments analyze`: tables whose answers are known, told without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.cli.experiment_shown import WIDTH, forest_line
from server.cli.main import main
from tests.evaluators.recorded import DATA
from tests.experiments.statistics.stratified import KIDNEY, UCB, Counts
from tests.stack import REPOSITORY


def written(path: Path, counts: Counts, names: tuple[str, str]) -> Path:
    lines = ["arm,stratum,successes,n"]
    for level, (y0, n0, y1, n1) in counts.items():
        lines += [f"{names[0]},{level},{y0},{n0}", f"{names[1]},{level},{y1},{n1}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def analyzed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["experiments", "analyze", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def counted(path: Path, control: str) -> list[str]:
    return [
        str(path),
        "--variant",
        "arm",
        "--outcome",
        "successes",
        "--weights",
        "n",
        "--strata",
        "stratum",
        "--control",
        control,
    ]


def test_the_example_of_the_readme_is_that_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--unit", "patient", "--variant", "treatment", "--outcome", "success", "--strata", "stone_size"]
    _, rows = analyzed(capsys, str(REPOSITORY / "examples" / "kidney_stones.csv"), *words)
    _, counts = analyzed(capsys, *counted(written(tmp_path / "k.csv", KIDNEY, ("B", "A")), "A"))
    assert rows["metrics"][0]["variants"][0]["effect"] == pytest.approx(counts["metrics"][0]["variants"][0]["effect"])
    assert rows["strata"][0]["cmh"] == counts["strata"][0]["cmh"]


def test_kidney_stones_are_told_stratified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = analyzed(capsys, *counted(written(tmp_path / "k.csv", KIDNEY, ("B", "A")), "B"))
    stratum = told["strata"][0]
    assert stratum["cmh"]["odds_ratio"] == pytest.approx(1.44684662494262, rel=1e-12)
    assert stratum["cmh"]["p_value"] == pytest.approx(0.14814414859008396, rel=1e-9)
    assert stratum["homogeneity"]["statistic"] == pytest.approx(0.9684464408408886, rel=1e-9)
    simpson = stratum["simpson"]
    assert (simpson["paradox"], simpson["flagged"]) == ("reversed", True)
    assert simpson["mix"] + simpson["effect"] == pytest.approx(simpson["pooled"], abs=1e-15)
    metric = told["metrics"][0]
    assert metric["headline"] == "stratified"
    assert metric["variants"][0]["effect"]["estimate"] > 0 > metric["variants"][0]["pooled"]["estimate"]
    assert "in all 2 levels" in simpson["sentence"]
    assert (code, told["decision"]["word"]) == (1, "unhealthy")  # nobody drew lots: surgeons chose


def test_berkeley_is_told_rightly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = analyzed(capsys, *counted(written(tmp_path / "u.csv", UCB, ("Female", "Male")), "Female"))
    stratum = told["strata"][0]
    assert stratum["cmh"]["odds_ratio"] == pytest.approx(0.9047, abs=5e-5)
    assert stratum["cmh"]["statistic"] == pytest.approx(1.427, abs=5e-4)
    assert stratum["homogeneity"]["statistic"] == pytest.approx(18.83, abs=5e-3)
    assert set(stratum["simpson"]["against"]) == {"A", "B", "D", "F"}
    sentence = stratum["sentence"]
    assert "in C, E it does not: not every one reverses" in sentence
    assert "shown in A (-20.3 points" in sentence
    assert "do not say what caused what" in sentence
    assert code == 1


def test_a_known_split_makes_the_same_mix_a_mismatch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "k.csv", KIDNEY, ("B", "A"))
    _, told = analyzed(capsys, *counted(path, "B"), "--split", "B=1,A=1")
    by_check = {(one["check"], one["stratum"]): one["status"] for one in told["health"]}
    assert by_check["srm", None] == "ok"  # 350 against 350
    assert by_check["stratum_srm", "stratum=small"] == "failed"
    assert "units are lost in one arm" in told["strata"][0]["sentence"]


@pytest.fixture
def ab() -> str:
    path = DATA / "ab_simpson" / "agent_ab_gpt41_base_vs_sft.csv"
    if not path.is_file():
        pytest.skip("ab_simpson is not in ../shared/data")
    return str(path)


def test_the_agents_ab_is_real_and_none_in_retail(ab: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [ab, "--variant", "arm", "--outcome", "success", "--strata", "domain", "--split", "A_base=1,B_sft=1"]
    code, told = analyzed(capsys, *words)
    effect = told["metrics"][0]["variants"][0]["effect"]
    assert (effect["control"], effect["treatment"]) == pytest.approx((82 / 140, 111 / 140))
    assert effect["low"] > 0.1
    assert (code, told["decision"]["word"]) == (0, "ship")
    retail = next(one for one in told["strata"][0]["levels"] if one["level"] == "retail")
    assert retail["estimate"] == 0
    assert retail["low"] < 0 < retail["high"]
    assert "crossed early" not in told["decision"]["caution"]
    assert any("none is shown in retail (+0.0 points" in one for one in told["decision"]["reasons"])
    capsys.readouterr()
    main(["experiments", "analyze", *words])
    shown = capsys.readouterr().out
    assert "Ship B_sft" in shown
    assert "chance that it is better" not in shown
    main(["experiments", "analyze", *words, "--bayes"])
    line = next(one for one in capsys.readouterr().out.splitlines() if "pt to" in one and "better" not in one)
    assert line.split()[:3] == ["success", "B_sft", "100.0%"]
    assert "retail" in shown
    assert "●" in shown


def test_the_agents_ab_by_task(ab: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks are in both arms: as units they are refused, as clusters each task counts once an arm."""
    words = [ab, "--variant", "arm", "--outcome", "success", "--strata", "domain"]
    assert main(["experiments", "analyze", *words, "--unit", "domain,task_id"]) == 2
    assert "not what was randomised" in capsys.readouterr().err
    _, told = analyzed(capsys, *words, "--cluster", "domain,task_id")
    assert told["n_units"] == 200
    assert "Nobody said how units were split" in told["decision"]["reasons"][-1]
    effect = told["metrics"][0]["variants"][0]["effect"]
    assert effect["estimate"] == pytest.approx(29 / 140)
    assert effect["low"] > 0


def test_guardrails_margins_and_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["user,arm,ok,cost,day"]
    for place in range(600):
        arm = "AB"[place % 2]
        ok = int(place // 2 % 10 < (5 if arm == "A" else 9))
        lines.append(f"u{place},{arm},{ok},{(place * 7) % 11},2026-11-{1 + place // 60:02d}")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    words = [str(path), "--unit", "user", "--variant", "arm", "--outcome", "ok", "--split", "A=1,B=1", "--day", "day"]
    _, told = analyzed(capsys, *words, "--guardrail", "cost=2", "--lower", "cost", "--horizon", "1200")
    assert (told["design"], told["fraction"]) == ("group_sequential", 0.5)
    assert len(told["looks"]) == 10
    assert told["decision"]["word"] == "ship"
    assert [one["finding"] for metric in told["metrics"] for one in metric["variants"]] == ["better", "not_worse"]
    _, anytime = analyzed(capsys, *words)
    assert anytime["design"] == "confidence_sequence"
    _, once = analyzed(capsys, *words, "--once")
    assert (once["design"], once["fraction"], len(once["looks"])) == ("group_sequential", 1.0, 1)
    widths = [one["metrics"][0]["variants"][0]["effect"] for one in (once, anytime)]
    assert widths[0]["high"] - widths[0]["low"] < widths[1]["high"] - widths[1]["low"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "A"], "--split names each arm"),
        (["--split", "A=1,C=1"], "no row has arm C"),
        (["--control", "C"], "no row has arm 'C'"),
        (["--alpha", "2"], "from 1e-06 to 0.5"),
        (["--guardrail", "ok=-1"], "margin above 0"),
        (["--lower", "cost"], "no outcome"),
        (["--horizon", "9"], "goes with --day"),
        (["--margin", "nan"], "loss above 0"),
        (["--unit", "ok", "--cluster", "ok"], "--unit or --cluster"),
        (["--strata", "domian"], "no column 'domian'"),
    ],
)
def test_what_cannot_be_meant_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arm,ok\nA,1\nB,0\nA,0\nB,1\n")
    assert main(["experiments", "analyze", str(path), "--variant", "arm", "--outcome", "ok", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_forest_line_shows_where_no_difference_is() -> None:
    line = forest_line(-0.1, 0.1, 0.3, (-0.2, 0.4))
    assert len(line) == WIDTH
    assert line.index("─") < line.index("┼") < line.index("●")
    assert forest_line(None, None, None, (0.0, 1.0)).strip("·│") == ""
    assert "●" in forest_line(0.0, 0.0, 0.0, (0.0, 0.0))


def test_strata_that_say_nothing_are_a_line_and_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"u{n},{'ab'[n % 2]},{int(n % 3 == 0)},d{n % 30}" for n in range(60)]  # each level is of one arm alone
    (tmp_path / "t.csv").write_text("\n".join(["unit,arm,outcome,dept", *rows]) + "\n")
    words = ["--unit", "unit", "--variant", "arm", "--outcome", "outcome", "--strata", "dept"]
    main(["experiments", "analyze", str(tmp_path / "t.csv"), *words])
    said = capsys.readouterr().out
    assert "no level has an estimate: No unit with an outcome" in said
    assert "0/2" not in said
