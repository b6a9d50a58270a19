"""Suites of the plugin: against the real server, without one, and what a user gets wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from core.records import Role
from server.redaction import redactor_of
from server.running import Runner
from tests.server.shell import AIRLINE, running_shell, served

pytest_plugins = ["pytester"]
PLUGIN = Path(__file__).resolve().parents[2] / "deploy" / "pytest_assay"
N = 60
LINES = [
    {"example_id": f"sum-{n:02}", "input": f"{n} and {n}", "expected": {"answers": [str(2 * n)]}} for n in range(N)
]
DATASET = "\n".join(map(json.dumps, LINES)) + "\n"
SUITE = """
import pytest

@pytest.mark.assay(dataset="sums", evaluators=["answer_match"], accept={accept}{more})
def test_sums(example):
    number = int(example.input.split()[0])
    {agent}
"""
RIGHT = "return str(2 * number)"
OFTEN_WRONG = "return str(2 * number + (number % 3 == 0))"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server that has the dataset `sums` and works on runs: the environment of a suite that asks it."""
    with running_shell(tmp_path_factory.mktemp("plugin")) as shell, served(shell.services) as url:
        # pytester forgets the modules that were imported during its test; numba cannot be imported twice.
        redactor = redactor_of(shell.services, AIRLINE)
        assert redactor.text("mail ann@example.com") != redactor.identifier("s1")
        runner = Runner(shell.services)
        runner.start()
        path = "/api/v1/datasets/sums/import?create=true"
        done = shell.client.post(path, content=DATASET.encode(), headers=shell.headers())
        assert done.status_code == 200, done.text
        yield {"ASSAY_URL": url, "ASSAY_API_KEY": shell.keys[AIRLINE, Role.POWER_USER]}
        runner.close()


@pytest.fixture
def suites(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a suite, and a pytest that knows the plugin and no server."""
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    monkeypatch.setenv(
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1"
    )  # ours is named; the others take longer to load than it runs
    for name in ("ASSAY_URL", "ASSAY_API_KEY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    return pytester


def run(suites: pytest.Pytester, *words: str) -> pytest.RunResult:
    return suites.runpytest_subprocess("-p", "pytest_assay.plugin", "-p", "no:cacheprovider", *words, timeout=120)


def suite(suites: pytest.Pytester, agent: str = RIGHT, accept: str = "0.9", more: str = "") -> None:
    suites.makepyfile(test_sums=SUITE.format(agent=agent, accept=accept, more=more))


def ask(monkeypatch: pytest.MonkeyPatch, address: dict[str, str]) -> None:
    for name, value in address.items():
        monkeypatch.setenv(name, value)


def test_a_right_agent_passes_and_the_run_is_kept(
    suites: pytest.Pytester, address: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(monkeypatch, address)
    suite(suites)
    done = run(suites, "--junitxml=out.xml", "--assay-release=v2")
    assert done.ret == 0, done.outlines
    done.assert_outcomes(passed=N)
    done.stdout.fnmatch_lines(
        [
            "test_sums.py::test_sums: PASS",
            f"  pass *answer_match: 1 [[]0.956*, 1[]] of {N} examples, accepted is at least 0.9",
        ]
    )
    done.stdout.re_match_lines([r"  run run_\w+"])
    told = {each.get("name"): each.get("value") for each in ElementTree.parse(suites.path / "out.xml").iter("property")}
    assert told["assay test_sums.py::test_sums"] == "pass"
    assert str(told["assay test_sums.py::test_sums answer_match"]).startswith("pass: 1 [")


def test_a_wrong_agent_fails_the_suite_and_none_of_its_items(
    suites: pytest.Pytester, address: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(monkeypatch, address)
    suite(suites, agent=OFTEN_WRONG, accept='{"answer_match": 0.9}', more=", trials=2")
    done = run(suites)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(passed=2 * N)
    done.stdout.fnmatch_lines(["test_sums.py::test_sums: FAIL", "*0.6667*of 60 examples*", "*answer_match 0: sum-00"])


def test_too_few_examples_are_inconclusive_and_say_how_many_would_settle_it(
    suites: pytest.Pytester, address: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(monkeypatch, address)
    suite(suites, more=", limit=10")
    done = run(suites)
    assert done.ret == 6
    done.stdout.fnmatch_lines(
        ["test_sums.py::test_sums: INCONCLUSIVE", "*of 10 examples*about 25 examples would settle it"]
    )
    assert run(suites, "--assay-inconclusive=pass").ret == 0


def test_an_agent_that_breaks_is_shown_and_its_suite_cannot_pass(
    suites: pytest.Pytester, address: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(monkeypatch, address)
    suite(suites, agent='assert number != 7, "seven is too much"\n    return str(2 * number)')
    done = run(suites)
    assert done.ret == 6
    done.assert_outcomes(passed=N - 1, xfailed=1)
    done.stdout.fnmatch_lines(
        ["*INCONCLUSIVE: 1 of 60 items gave no output", "*no output of sum-07*seven is too much*"], consecutive=False
    )


def test_a_suite_that_is_worse_than_the_baseline_fails_though_it_is_good_enough(
    suites: pytest.Pytester, address: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(monkeypatch, address)
    suite(suites, accept="0.5", more=', app="sums", release="v1", baseline="v0"')
    done = run(suites)
    assert done.ret == 6
    done.stdout.fnmatch_lines(["*INCONCLUSIVE: there is no finished run of 'v0' over 'sums'"])
    suite(suites, agent=OFTEN_WRONG, accept="0.5", more=', app="sums", release="v2", baseline="v1"')
    done = run(suites)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(
        ["  pass *answer_match: 0.6667*", "  fail *answer_match against v1: -0.3333 *over 60 examples: worse"]
    )
    suite(suites, accept="0.5", more=', app="sums", release="v3", baseline="v1"')
    assert run(suites).ret == 0


def test_part_of_a_suite_is_not_judged(
    suites: pytest.Pytester, address: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(monkeypatch, address)
    suite(suites)
    done = run(suites, "-k", "sum-03")
    assert done.ret == 6
    done.stdout.fnmatch_lines(["*INCONCLUSIVE: 1 of 60 items ran"])


def test_without_a_server_a_file_is_the_dataset(suites: pytest.Pytester) -> None:
    suites.makefile(".jsonl", sums=DATASET)
    suite(suites, agent="return {'output': str(2 * number), 'usage': {'input_tokens': 3}}")
    assert run(suites, "--assay-offline=sums.jsonl").ret == 0
    assert run(suites, "--assay-offline=.").ret == 0
    suite(suites, agent="return str(2 * number + (number % 3 == 0))")
    assert run(suites, "--assay-offline=.").ret == pytest.ExitCode.TESTS_FAILED
    suites.makepyfile(test_sums=SUITE.format(agent=RIGHT, accept="0.9", more="").replace("answer_match", "end_state"))
    done = run(suites, "--assay-offline=.")
    assert done.ret == 6
    done.stdout.fnmatch_lines(["*no example has a value; without a value: 60 needs_a_server"])


def test_an_asynchronous_agent_is_awaited(suites: pytest.Pytester) -> None:
    suites.makefile(".jsonl", sums=DATASET)
    text = SUITE.format(agent=RIGHT, accept="0.9", more="").replace("def test_sums", "async def test_sums")
    suites.makepyfile(test_sums=text)
    assert run(suites, "--assay-offline=.").ret == 0


MISTAKEN = [
    ("accept=0.9", "accept='0.9'", "accept is a number"),
    ("accept=0.9", "accept={}", "accept is a number"),
    ("accept=0.9", "accept=0.9, limt=3", "has no 'limt'"),
    ('dataset="sums"', "dataset=None", "say @pytest.mark.assay"),
    ('["answer_match"]', "[]", "evaluators is a list"),
    ("(example)", "()", "takes an argument called example"),
    ("accept=0.9", "accept=0.9, trials=0", "trials is a number"),
]


def test_mistaken_markers_are_told(suites: pytest.Pytester) -> None:
    suites.makefile(".jsonl", sums=DATASET)
    for number, (before, after, _) in enumerate(MISTAKEN):
        text = SUITE.format(agent=RIGHT, accept="0.9", more="").replace(before, after)
        suites.makepyfile(**{f"test_sums_{number}": text})
    done = run(suites, "--assay-offline=.")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    told = (done.stdout.str() + done.stderr.str()).partition("short test summary")[0]
    for number, (_, _, said) in enumerate(MISTAKEN):
        _, _, own = told.partition(f"ERROR collecting test_sums_{number}.py")
        assert said in own.partition("ERROR collecting")[0]


def test_a_server_that_is_not_there_or_does_not_know_is_told(
    suites: pytest.Pytester, address: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(suites)
    done = run(suites, "--assay-url=http://127.0.0.1:9")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert "cannot be reached" in done.stdout.str() + done.stderr.str()
    ask(monkeypatch, address)
    suites.makepyfile(test_sums=SUITE.format(agent=RIGHT, accept="0.9", more="").replace('"sums"', '"nothing"'))
    done = run(suites)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert "answered 404" in done.stdout.str() + done.stderr.str()
    suites.makepyfile(test_sums=SUITE.format(agent=RIGHT, accept="0.9", more="").replace("answer_match", "answer_mach"))
    done = run(suites)
    assert done.ret == 6
    done.stdout.fnmatch_lines(["*INCONCLUSIVE: * answered 422: *answer_mach*"])


def test_suites_that_are_not_marked_are_left_alone(suites: pytest.Pytester) -> None:
    suites.makepyfile(test_plain="def test_plain(): assert True")
    done = run(suites)
    assert done.ret == 0
    assert "assay" not in done.stdout.str().partition("plugins:")[2].partition("\n")[2]


def test_the_plugin_imports_nothing_of_assay_and_nothing_else() -> None:
    import ast

    known = {*sys.stdlib_module_names, "pytest", "pytest_assay", "__future__"}
    for file in (PLUGIN / "pytest_assay").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= known, file
