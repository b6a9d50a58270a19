"""`assay judges calibrate` after `assay import verdicts`: what a person sees of the stored judges of tau2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from core.records import Role
from server.cli.judges_calibrate import figure
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.judges.biases.llmbar import verdicts
from tests.server.shell import AIRLINE, Shell, running_shell, served

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "tau2_judges" / "judge_verdicts_flat.csv"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("calibrating")) as running:
        yield running


@pytest.fixture(scope="module")
def connection(shell: Shell) -> Iterator[list[str]]:
    if not DATA.is_file():
        pytest.skip("tau2_judges is not in ../shared/data")
    with served(shell.services) as url:
        told = ["--url", url, "--key", shell.keys[AIRLINE, Role.POWER_USER]]
        assert main(["import", "verdicts", str(DATA), *told]) == ExitCode.OK
        yield told


def test_the_report_says_plainly_what_the_judge_is(connection: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judges", "calibrate", "quick_triage_v1", *connection]) == ExitCode.FAILED
    said = capsys.readouterr().out
    assert said.startswith("failed  quick_triage_v1@")
    assert "It passes nearly everything: 95% of its verdicts pass, where 52% of the labels do." in said
    assert "The labels are outcomes, not people's" in said
    assert "outcome v  judge >" in said
    assert "airline" in said
    assert "canaries were not run: the judge cannot be asked from here" in said


def test_without_a_label_it_says_what_to_do_and_no_table_of_nothing(
    connection: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bare.csv"
    file.write_text("session_id,verdict\ns1,pass\ns2,fail\n")
    given = ["--judge", "bare", "--rubric-file", "rubrics/resolution/v1.md"]
    assert main(["import", "verdicts", str(file), *given, *connection]) == ExitCode.OK
    assert main(["judges", "calibrate", "bare", *connection]) == ExitCode.INCONCLUSIVE
    said = capsys.readouterr().out
    assert "nothing to compare: label some of what it judged" in said
    assert "sensitivity" not in said


def test_what_arithmetic_leaves_of_a_0_is_told_as_0() -> None:
    assert figure({"value": 5.63e-16, "interval": {"low": -5e-16, "high": 0.318}}) == "0 [0, 0.318]"


def test_json_holds_all_of_it(connection: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["judges", "calibrate", "policy_conversation_v1", "--json", *connection])
    told = json.loads(capsys.readouterr().out)
    assert code == {"failed": ExitCode.FAILED, "undetermined": ExitCode.INCONCLUSIVE}[told["state"]]
    (airline,) = [one for one in told["report"]["agreement"]["segments"] if one["segment"] == "airline"]
    assert round(airline["coefficient"]["estimate"]["value"], 3) == 0.368


def test_a_dry_run_keeps_nothing(connection: list[str], shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(shell.services.control.calibrations(AIRLINE, "customer_outcome_v1"))
    assert main(["judges", "calibrate", "customer_outcome_v1", "--dry-run", *connection]) == ExitCode.OK
    assert "no canaries: the judge cannot be asked from here" in capsys.readouterr().out
    assert len(shell.services.control.calibrations(AIRLINE, "customer_outcome_v1")) == before


@pytest.mark.parametrize(
    ("words", "code"), [(["nobody"], ExitCode.NOT_FOUND), (["quick_triage_v1", "--bar", "2"], ExitCode.USAGE)]
)
def test_what_cannot_be_calibrated_ends_with_its_code(connection: list[str], words: list[str], code: ExitCode) -> None:
    assert main(["judges", "calibrate", *words, *connection]) == code


def test_both_orders_of_imported_pairs_give_the_judges_order_bias(
    connection: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = verdicts().filter(
        (pl.col("subset") == "LLMBar/Natural")
        & (pl.col("judge") == "GPT-4")
        & (pl.col("prompting") == "Vanilla_NoRules")
    )
    file = tmp_path / "gpt4.csv"
    rows.drop("first", "second").write_csv(file)
    assert main(["import", "verdicts", str(file), *connection]) == ExitCode.OK
    capsys.readouterr()
    main(["judges", "calibrate", "llmbar-gpt-4-vanilla_norules", "--json", *connection])
    order = json.loads(capsys.readouterr().out)["report"]["biases"]["order"]
    assert (order["n"], order["consistency"]["value"]) == (100, 0.97)
    assert order["p_first"]["value"] == pytest.approx(0.505)
