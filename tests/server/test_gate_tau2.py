"""A gate through the real stack: recorded outcomes of tau2 as runs of two releases, on the command line."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.stack import Stack

OUTCOMES = Path(__file__).resolve().parents[3] / "shared" / "data" / "tau2_trajectories" / "outcomes.csv"
POLICY = """version: 1
dataset: tau2
evidence: {min_examples: 100}
required_evaluators: [answer_match]
metrics: [{metric: answer_match, margin: 0.05}]
"""
pytestmark = [
    pytest.mark.skipif(not OUTCOMES.exists(), reason="the recorded outcomes of tau2 are not there"),
    pytest.mark.timeout(900),
]


def outcomes(arm: str) -> dict[str, tuple[str, str]]:
    """Example -> domain, and whether the task was done: "1" or "0". Ids of telecom are too long for an example's."""
    found = {}
    with OUTCOMES.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["arm"] in (arm, f"{arm}_nouser"):
                domain = row["domain"] + ("_nouser" if row["arm"].endswith("_nouser") else "")
                task = hashlib.sha256(row["task_id"].encode()).hexdigest()[:12]
                found[f"{domain}-{task}"] = domain, row["success"]
    return found


@pytest.fixture(scope="module")
def runs(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The session's stack with both releases' runs in it."""
    _runs(stack, tmp_path_factory.mktemp("tau2"))
    return stack


def _runs(stack: Stack, folder: Path) -> None:
    """The dataset, and a run of each release from a file of outputs."""
    releases = {"base": outcomes("gpt-4.1_base"), "sft": outcomes("gpt-4.1_sft")}
    assert releases["base"].keys() == releases["sft"].keys()
    examples = [
        {"example_id": name, "input": f"task {name}", "expected": {"answer": "1"}, "metadata": {"stratum": domain}}
        for name, (domain, _) in releases["base"].items()
    ]
    _lines(folder / "tau2.jsonl", examples)
    made = stack.cli("datasets", "import", str(folder / "tau2.jsonl"), "--name", "tau2")
    assert made.returncode == 0, made.stderr
    for release, found in releases.items():
        path = folder / f"{release}.jsonl"
        _lines(path, [{"example_id": name, "output": success} for name, (_, success) in found.items()])
        words = ("--app", "tau2", "--release", release, "--outputs", str(path), "--evaluators", "answer_match")
        ran = stack.cli("eval", "run", "tau2", *words, timeout_s=300)
        assert ran.returncode == 0, ran.stderr + ran.stdout
    (folder / "gate.yaml").write_text(POLICY)


def _lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_fine_tuned_model_passes_and_retail_gained_nothing(runs: Stack, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text(POLICY)
    bundle = tmp_path / "gate.json"
    words = ("--policy", str(tmp_path / "gate.yaml"), "--bundle", str(bundle))
    told = runs.cli("gate", "tau2", "--candidate", "sft", "--baseline", "base", *words)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "answer_match is better: 0.7929 against 0.5857" in told.stdout
    assert "answer_match in retail: nothing gained, 0.85 against 0.85" in told.stdout
    assert "answer_match in telecom" not in told.stdout  # there it gained
    assert runs.cli("gate", "verify", str(bundle)).returncode == 0


def test_the_other_way_round_it_fails(runs: Stack, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text(POLICY)
    words = ("--policy", str(tmp_path / "gate.yaml"), "--json")
    told = runs.cli("gate", "tau2", "--candidate", "base", "--baseline", "sft", *words)
    assert told.returncode == 1, told.stdout + told.stderr
    found = json.loads(told.stdout)
    assert found["metrics"][0]["p_adjusted"] == pytest.approx(5.7e-05 / 2, rel=0.01)
    assert len(found["worst"]) == 10
    listed = runs.client().get("/api/v1/gates", params={"app": "tau2"}).json()["items"]
    assert listed[0]["decision"] == "fail"
