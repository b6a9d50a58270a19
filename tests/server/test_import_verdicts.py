"""`assay import verdicts`: stored verdicts of real judges, each once; garbage is missing and no class."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.records import Principal, Role
from judges.agreement.kappa import cohen_kappa
from judges.agreement.tables import table
from judges.records import JudgeSpec, ModelRef, Rubric, ScaleKind
from judges.rubrics import rubric_text
from judges.service_pairs import pairs, unlabelled
from judges.stored import rubric_record, spec_json, spec_of
from server.cli.main import main
from server.cli.outcome import ExitCode
from store.control.label_records import TaskStatus
from tests.server.shell import AIRLINE, Shell, running_shell, served

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not beside the checkout")
HELPFUL = Rubric(
    name="helpful", version=1, kind=ScaleKind.PASS_FAIL, labels=("fail", "pass"), passing=frozenset({"pass"}),
    text="Did it help?", aliases={"satisfied": "pass"},
)  # fmt: skip


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("imported")) as running:
        admin = Principal(tenant=AIRLINE, role=Role.ADMIN, name="admin")
        running.services.control.add_rubric(rubric_record(AIRLINE, HELPFUL), by=admin)
        yield running


@pytest.fixture(scope="module")
def url(shell: Shell) -> Iterator[str]:
    with served(shell.services) as address:
        yield address


class Importing:
    def __init__(self, shell: Shell, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.shell, self.url, self.capsys = shell, url, capsys

    def __call__(self, *words: str | Path, role: Role = Role.POWER_USER) -> tuple[int, str, str]:
        key = self.shell.keys[AIRLINE, role]
        code = main(["import", "verdicts", *map(str, words), "--url", self.url, "--key", key])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def json(self, *words: str | Path, code: int = ExitCode.OK) -> Any:
        found, out, err = self(*words, "--json")
        assert found == code, err
        return json.loads(out)

    def frame(self, judge: str, *, labelled: bool = True) -> Any:
        services = self.shell.services
        spec = spec_of(services.control.judge(AIRLINE, judge).spec)
        read = pairs if labelled else unlabelled
        return read(services.store.tenant(AIRLINE), services.control, AIRLINE, spec)


@pytest.fixture
def importing(shell: Shell, url: str, capsys: pytest.CaptureFixture[str]) -> Importing:
    return Importing(shell, url, capsys)


def kappa(frame: Any, labels: list[str]) -> float:
    """Cohen's kappa where both are there."""
    known = frame.drop_nulls(["verdict", "label"])
    label, verdict = (
        np.array([labels.index(one) for one in known[name]], dtype=np.int64) for name in ("label", "verdict")
    )
    found = cohen_kappa(table(label, verdict, len(labels)))
    assert isinstance(found, float)
    return found


@needs_data
@pytest.mark.parametrize("file", ["judge_verdicts.jsonl.gz", "judge_verdicts_flat.csv"])
def test_the_judges_of_tau2_give_the_published_kappas(importing: Importing, file: str) -> None:
    prefix = "" if file.endswith("gz") else "flat-"
    told = importing.json(DATA / "tau2_judges" / file, "--judge-prefix", prefix, "--app", "tau2")
    by_judge = {one["judge"].removeprefix(prefix): one for one in told["judges"]}
    assert {name: one["n_verdicts"] for name, one in by_judge.items()} == dict.fromkeys(by_judge, 114)
    missing = {name: one["missing"] for name, one in by_judge.items() if one["missing"]}
    assert missing == {"policy_chain_of_thought_v1": {"label_not_offered": 1}}  # partially_satisfied
    expected = {
        "customer_outcome_v1": -0.163,
        "policy_chain_of_thought_v1": -0.079,
        "policy_conversation_v1": 0.368,
        "quick_triage_v1": 0.063,
    }
    import polars as pl

    for name, value in expected.items():
        found = importing.frame(prefix + name)
        assert set(found["label_kind"]) == {"outcome"}
        airline = found.filter(pl.col("segment") == "airline")
        assert airline.height == 50
        assert round(kappa(airline, ["fail", "pass"]), 3) == value, name
    again = importing.json(DATA / "tau2_judges" / file, "--judge-prefix", prefix, "--app", "tau2")
    assert sum(one["n_new"] for one in again["judges"]) == 0
    assert importing.frame(prefix + "quick_triage_v1").height == 114


@needs_data
def test_pandalm_brings_three_annotators_and_garbage_is_no_class(importing: Importing, tmp_path: Path) -> None:
    path = DATA / "pandalm" / "pandalm_testset.jsonl.gz"
    dry = importing.json(path, "--dry-run")
    assert importing.shell.services.control.judges(AIRLINE) == [
        one for one in importing.shell.services.control.judges(AIRLINE) if not one.name.startswith("pandalm")
    ]
    told = importing.json(path)
    counted = {one["judge"]: one for one in told["judges"]}
    assert {name: one["n_new"] for name, one in counted.items()} == {
        one["judge"]: one["n_new"] for one in dry["judges"]
    }
    assert counted["pandalm-gpt35"]["missing"] == {"label_not_offered": 18}
    assert counted["pandalm-gpt35"]["n_labels"] == 609
    queue, tasks = importing.shell.services.control.label_tasks(AIRLINE, "import-pandalm-v1")
    assert (queue.n_annotators, len(tasks)) == (3, 609)
    assert {one.status for one in tasks} == {TaskStatus.COMPLETED}
    gold = {}
    with gzip.open(path, "rt") as file:
        for line in file:
            row = json.loads(line)
            gold[f"pandalm-{row['idx']}-{row['cmp_key']}"] = str(row["majority"])
    assert {one.item: one.label for one in tasks} == gold
    found = importing.frame("pandalm-gpt35")
    assert found.height == 609
    assert found["verdict"].null_count() == 18
    assert set(found["verdict"].drop_nulls()) == {"0", "1", "2"}  # "Tie" is mapped
    assert set(found["n_annotators"]) == {3}
    assert importing.json(path)["judges"][0]["n_new"] == 0
    agreed = importing.shell.client.get(
        "/api/v1/label-queues/import-pandalm-v1/agreement", headers=importing.shell.headers()
    ).json()
    assert (agreed["n_items"], agreed["n_annotators"], agreed["n_pairs"]) == (609, 3, 3)
    assert 0.6 < agreed["kappa"]["value"] < 0.9


@needs_data
def test_llmbar_judges_that_change_with_the_order_are_missing(importing: Importing, tmp_path: Path) -> None:
    path = tmp_path / "judge_verdicts.csv"
    with gzip.open(DATA / "llmbar" / "judge_verdicts.csv.gz", "rt") as file:
        path.write_text("".join(itertools.islice(file, 200)))
    told = importing.json(path)
    first = told["judges"][0]
    assert first["judge"] == "llmbar-chatgpt-0301-cot"
    assert set(first["missing"]) <= {"panel_disagreed", "empty_reply"}
    found = importing.frame("llmbar-chatgpt-0301-cot")
    assert found["verdict"].null_count() == sum(first["missing"].values()) > 0
    assert set(found["label"]) == {"1", "2"}
    assert set(found["target"].str.split(":").list.first()) == {"example"}


def test_a_file_of_ones_own(importing: Importing, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(
        "session_id,verdict,label,annotator,confidence,at,segment\n"
        "a1,Satisfied,pass,ann,0.9,2026-11-01T10:00:00Z,eu\n"
        "a1,,fail,bob,,,\n"
        "a2,fail,fail,ann,0.5,2026-11-01T11:00:00Z,us\n"
        "a3,who knows,pass,ann,,,eu\n"
        "a4,,,,,,\n"
        "a5,pass,maybe,ann,,,\n"
        "a6,pass,,,7,,\n"
    )
    words = (path, "--judge", "own", "--rubric", "helpful", "--app", "shop")
    told = importing.json(*words, code=ExitCode.FAILED)
    (judge,) = told["judges"]
    assert (judge["n_verdicts"], judge["missing"]) == (4, {"label_not_offered": 1, "empty_reply": 1})
    assert (judge["n_labels"], judge["n_unresolved"], judge["queue"]) == (3, 1, "import-helpful-v1")
    assert {one["line"]: one["reason"].split(",")[0] for one in told["refused"]} == {
        7: "the label 'maybe' is none of fail",
        8: "a confidence is from 0 to 1",
    }
    found = {row["target"]: row for row in importing.frame("own", labelled=False).iter_rows(named=True)}
    assert found["session:a1"]["verdict"] == "pass"  # satisfied
    assert (found["session:a1"]["label"], found["session:a1"]["segment"]) == (None, "eu")  # they disagree
    assert (found["session:a2"]["label"], found["session:a2"]["confidence"]) == ("fail", 0.5)
    assert (found["session:a3"]["verdict"], found["session:a3"]["missing"]) == (None, "label_not_offered")
    again = importing.json(*words, code=ExitCode.FAILED)
    assert again["judges"][0]["n_new"] == 0
    code, out, err = importing(*words)
    assert (code, "label_not_offered" in out, "own.csv:7" in err) == (1, True, True)
    assert "assay labels adjudicate import-helpful-v1" in out


def test_what_cannot_be_imported_is_said(importing: Importing, tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text('{"session_id": "g1", "verdict": "pass"}\n')
    assert importing(good, "--judge", "j")[2].startswith("assay: this format brings no rubric along")
    assert importing(good, "--judge", "j", "--rubric", "none")[0] == ExitCode.NOT_FOUND
    assert importing(good, "--rubric", "helpful")[0] == ExitCode.FAILED  # a verdict of nobody
    assert importing(good, "--judge", "j", "--rubric", "helpful", role=Role.USER)[0] == ExitCode.NOT_ALLOWED
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"session_id": "b1", "verdict": "pass"}\nnonsense\n{"session_id": "b2", "score": 1}\n')
    code, _, err = importing(bad, "--judge", "j", "--rubric", "helpful")
    assert (code, "bad.jsonl:2: is not JSON (and 1 more problem)" in err) == (1, True)
    told = importing.json(bad, "--judge", "j", "--rubric", "helpful", "--skip-bad", code=ExitCode.FAILED)
    assert (told["judges"][0]["n_new"], len(told["refused"])) == (1, 2)
    twice = tmp_path / "twice.jsonl"
    twice.write_text('{"session_id": "t", "verdict": "pass"}\n{"session_id": "t", "verdict": "fail"}\n')
    assert "a second verdict of j on t" in importing(twice, "--judge", "j", "--rubric", "helpful")[2]
    for empty in ("", "\n\n"):
        (tmp_path / "empty.jsonl").write_text(empty)
        assert importing(tmp_path / "empty.jsonl", "--judge", "j", "--rubric", "helpful")[0] == ExitCode.FAILED
    assert importing(tmp_path / "missing.csv")[0] == ExitCode.FAILED


def test_a_judge_that_asks_models_is_not_overwritten(importing: Importing, tmp_path: Path) -> None:
    spec = JudgeSpec(
        name="live", rubric="helpful", rubric_version=1, rubric_digest=HELPFUL.digest,
        models=(ModelRef(provider="simulated", model="sim-judge"),),
    )  # fmt: skip
    admin = Principal(tenant=AIRLINE, role=Role.ADMIN, name="admin")
    importing.shell.services.control.put_judge(AIRLINE, "live", spec.version, spec_json(spec), by=admin)
    path = tmp_path / "own.jsonl"
    path.write_text('{"session_id": "l1", "verdict": "pass"}\n')
    code, _, err = importing(path, "--judge", "live", "--rubric", "helpful")
    assert (code, "asks models" in err) == (ExitCode.FAILED, True)


def test_a_rubric_of_a_file_is_kept_unless_it_is_a_dry_run(importing: Importing, tmp_path: Path) -> None:
    own = Rubric(
        name="mine", version=4, kind=ScaleKind.PASS_FAIL, labels=("no", "yes"), passing=frozenset({"yes"}), text="?"
    )
    rubric = tmp_path / "mine.md"
    rubric.write_text(rubric_text(own))
    path = tmp_path / "own.jsonl"
    path.write_text('{"session_id": "m1", "verdict": "YES", "label": "no", "label_kind": "outcome"}\n')
    words = (path, "--judge", "mine", "--rubric-file", rubric)
    importing.json(*words, "--dry-run")
    assert importing.shell.services.control.rubrics(AIRLINE, "mine") == []
    assert importing.json(*words)["rubric"] == "mine@4"
    (row,) = importing.frame("mine").to_dicts()
    assert (row["verdict"], row["label"], row["label_kind"]) == ("yes", "no", "outcome")
    rubric.write_text(rubric_text(own).replace("?", "another question"))
    assert "another text" in importing(*words)[2]


@needs_data
def test_an_imported_judge_is_calibrated_like_any_other(importing: Importing) -> None:
    importing.json(DATA / "tau2_judges" / "judge_verdicts.jsonl.gz", "--judge-prefix", "cal-")
    key = importing.shell.keys[AIRLINE, Role.POWER_USER]
    code = main(["judges", "calibrate", "cal-quick_triage_v1", "--json", "--url", importing.url, "--key", key])
    told = json.loads(importing.capsys.readouterr().out)
    assert (code, told["state"]) == (ExitCode.FAILED, "failed")  # it passes nearly everything
    assert told["n"] == 114


def test_who_labelled_sets_what_the_test_of_a_stand_in_allows(importing: Importing, tmp_path: Path) -> None:
    path = tmp_path / "three.csv"
    people = ("ann", "bob", "cy")
    said = [("pass", "pass", "pass" if n % 9 else "fail") if n % 3 else ("fail", "fail", "fail") for n in range(36)]
    rows = [
        f"three-{n},{said[n][0] if k == 0 else ''},{label},{people[k]}"
        for n in range(36)
        for k, label in enumerate(said[n])
    ]
    path.write_text("\n".join(["session_id,verdict,label,annotator", *rows]) + "\n")
    importing.json(path, "--judge", "stand-in", "--rubric", "helpful")
    key = importing.shell.keys[AIRLINE, Role.POWER_USER]
    words = ["judges", "calibrate", "stand-in", "--json", "--url", importing.url, "--key", key]
    found = {}
    for who in (None, "experts", "crowd"):
        main([*words, *([] if who is None else ["--annotators", who])])
        told = json.loads(importing.capsys.readouterr().out)["report"]
        found[told["annotators"]] = told["agreement"]["alternative"]["epsilon"]
    assert found == {"skilled": 0.15, "experts": 0.2, "crowd": 0.1}


@pytest.mark.parametrize("odd", ["a\0b", "a\ud800b"])
def test_names_that_no_database_holds_refuse_their_item_alone(shell: Shell, odd: str) -> None:
    items = [
        {"session_id": "odd1", "annotations": {odd: "pass"}},
        {"session_id": "odd2", "annotations": {"ann": "pass"}, "segment": "a\0b"},
        {"session_id": "odd3", "annotations": {"ann": "pass"}},
    ]
    body = json.dumps({"rubric": "helpful", "app": "shop", "items": items}).encode()
    head = {**shell.headers(Role.POWER_USER), "content-type": "application/json"}
    told = shell.client.post("/api/v1/verdicts", content=body, headers=head).json()
    assert [one["item"] for one in told["refused"]] == [0, 1]
    assert told["n_labels"] == 1
