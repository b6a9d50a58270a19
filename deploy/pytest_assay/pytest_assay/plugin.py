"""The marker `assay`: one item per example, outputs scored by Assay, the suite judged as a whole.

An item never fails for what its example scored: that is evidence, and the suite's verdict is what counts. One whose
agent raised is shown as xfailed, and its suite cannot pass. pytest ends with 1 when a suite failed, and with 6
(INCONCLUSIVE) when none failed and one is inconclusive, unless --assay-inconclusive=pass.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_assay import judging, offline
from pytest_assay.judging import Verdict
from pytest_assay.server import AssayFailed, Server

EXIT_INCONCLUSIVE = 6
_KNOWN = ("dataset", "evaluators", "trials", "accept", "version", "split", "limit", "app", "release", "baseline")
_TOLD = ("output", "tool_calls", "documents", "usage", "latency_ms", "end_state")
_WORST = 10
_MOST_ERROR = 500


@dataclass(frozen=True)
class Example:
    """What a test function is given. `input` is the one turn's text, or the list of turns where there are several."""

    example_id: str
    trial: int
    turns: tuple[str, ...]
    expected: Mapping[str, Any]
    metadata: Mapping[str, Any]
    split: str

    @property
    def input(self) -> Any:
        """The text to be answered, or all turns."""
        return self.turns[0] if len(self.turns) == 1 else list(self.turns)


@dataclass
class Suite:
    """One marked function: what it asks for, what came of its items, and the verdict."""

    name: str
    asked: Mapping[str, Any]
    examples: list[dict[str, Any]]
    version: int
    n_items: int
    outputs: list[dict[str, Any]] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    worst: list[str] = field(default_factory=list)
    trouble: str = ""
    run_id: str = ""
    word: str = judging.INCONCLUSIVE


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, and their places in the ini file."""
    group = parser.getgroup("assay", "suites over datasets of Assay")
    group.addoption("--assay-url", metavar="URL", help="the server (default: ASSAY_URL, http://127.0.0.1:8080)")
    group.addoption("--assay-offline", metavar="PATH", help="a JSONL dataset, or a folder of them; no server is asked")
    group.addoption("--assay-release", metavar="NAME", help="what the run calls your agent (default: pytest)")
    group.addoption("--assay-timeout", type=float, default=600.0, metavar="S", help="for scoring a suite (600)")
    group.addoption(
        "--assay-inconclusive",
        choices=("fail", "pass"),
        default="fail",
        help="fail (default): pytest ends with 6 when a suite is inconclusive",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker, and starts with no suite."""
    config.addinivalue_line(
        "markers",
        "assay(dataset, evaluators, accept, trials=1, version=None, split=None, limit=None, app='pytest', "
        "release='pytest', baseline=None): one item per example of the dataset; the suite is judged as a whole",
    )
    config.pluginmanager.register(_Suites(config), "assay-suites")


@pytest.fixture(scope="session", autouse=True)
def _assay_properties(pytestconfig: pytest.Config, record_testsuite_property: Callable[[str, object], None]) -> None:
    """Verdicts stand in the JUnit file as properties of the test suite."""
    suites = pytestconfig.pluginmanager.get_plugin("assay-suites")
    if isinstance(suites, _Suites):
        suites.tell = record_testsuite_property


class _Suites:
    """The suites of one session of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.suites: dict[str, Suite] = {}
        self._read: dict[tuple[str, Any, Any], tuple[list[dict[str, Any]], int]] = {}
        self.tell: Callable[[str, object], None] = lambda name, value: None

    # -- collection ------------------------------------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One item per example and trial."""
        mark = metafunc.definition.get_closest_marker("assay")
        if mark is None:
            return
        if hasattr(self._config, "workerinput"):
            raise pytest.Collector.CollectError(
                "a suite of Assay is judged by one process: run it without xdist, as with -n0"
            )
        name, asked = metafunc.definition.nodeid, _asked(mark, metafunc)
        examples, version = self._examples(asked)
        examples = examples[: asked["limit"]]
        if not examples:
            raise pytest.Collector.CollectError(f"{name}: dataset {asked['dataset']!r} has no example of that split")
        trials = range(asked["trials"])
        items = [_example(one, trial) for one in examples for trial in trials]
        self.suites[name] = Suite(name, asked, examples, version, len(items))
        ids = [one.example_id if len(trials) == 1 else f"{one.example_id}-{one.trial}" for one in items]
        metafunc.parametrize("example", items, ids=ids)

    def _examples(self, asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
        key = (asked["dataset"], asked["version"], asked["split"])
        if key not in self._read:
            try:
                place = self._config.getoption("--assay-offline")
                if place:
                    self._read[key] = offline.examples_at(Path(place), asked["dataset"], asked["split"]), 0
                else:
                    self._read[key] = self._server().examples(asked["dataset"], asked["version"], asked["split"])
            except (AssayFailed, ValueError) as error:
                raise pytest.Collector.CollectError(f"assay: {error}") from None
        return self._read[key]

    def _server(self) -> Server:
        url = self._config.getoption("--assay-url") or os.environ.get("ASSAY_URL") or "http://127.0.0.1:8080"
        return Server(url, os.environ.get("ASSAY_API_KEY", ""))

    # -- items -----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Calls the function and keeps what it gave. What it raises is the example's error: the item is xfailed."""
        if pyfuncitem.get_closest_marker("assay") is None:
            return None
        suite = self.suites[_function(pyfuncitem)]
        example: Any = pyfuncitem.funcargs["example"]
        line: dict[str, Any] = {"example_id": example.example_id, "trial": example.trial}
        names = inspect.signature(pyfuncitem.obj).parameters.keys() & pyfuncitem.funcargs.keys()
        started = time.perf_counter()
        try:
            given = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
            told = _told(asyncio.run(_awaited(given)) if inspect.isawaitable(given) else given)
        except pytest.skip.Exception:
            raise
        except Exception as error:  # the agent's, whatever it is
            told = {"error": f"{type(error).__name__}: {error}"[:_MOST_ERROR]}
        line |= {"latency_ms": 1000 * (time.perf_counter() - started)} | told
        suite.outputs.append(line)
        pyfuncitem.user_properties.append(("assay.example_id", example.example_id))
        if why := line.get("error"):
            suite.errors[f"{example.example_id} (trial {example.trial})"] = why
            pytest.xfail(f"no output: {why}")
        return True

    # -- the end ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Scores and judges every suite; sets the exit code."""
        if self._config.option.collectonly or not session.testscollected:
            return
        for suite in self.suites.values():
            self._judge(suite)
            for verdict in suite.verdicts:
                self.tell(f"assay {suite.name} {verdict.metric}", f"{verdict.word}: {verdict.why}")
            self.tell(f"assay {suite.name}", suite.word + (f": {suite.trouble}" if suite.trouble else ""))
        words = {suite.word for suite in self.suites.values()}
        if judging.FAIL in words and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        strict = self._config.getoption("--assay-inconclusive") == "fail"
        if judging.INCONCLUSIVE in words and strict and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = EXIT_INCONCLUSIVE

    def _judge(self, suite: Suite) -> None:
        n_outputs = len({(one["example_id"], one["trial"]) for one in suite.outputs})
        if n_outputs < suite.n_items or len(suite.outputs) > n_outputs:
            suite.trouble = f"{n_outputs} of {suite.n_items} items ran" + (
                "" if n_outputs < suite.n_items else ", some twice"
            )
            return
        if suite.errors:
            suite.trouble = f"{len(suite.errors)} of {suite.n_items} items gave no output"
        try:
            values, missing, kinds = (
                self._offline(suite) if self._config.getoption("--assay-offline") else self._asked(suite)
            )
        except AssayFailed as error:
            suite.trouble = str(error)
            return
        for metric, accept in _accepted(suite.asked, values).items():
            direction, unit = kinds.get(metric, ("higher", "share"))
            known = values.get(metric, {})
            verdict = judging.judged(metric, known, accept, lower=direction == "lower", share=unit == "share")
            suite.verdicts.append(_with_missing(verdict, missing.get(metric, Counter())))
            suite.worst += _worst(metric, known, accept, direction == "lower")
        if suite.asked["baseline"] is not None:
            self._compare(suite, [verdict.metric for verdict in suite.verdicts if verdict.metric in values])
        suite.word = judging.whole(suite.verdicts, suite.trouble)

    def _offline(self, suite: Suite) -> _Scores:
        expected = {str(one["example_id"]): one.get("expected") or {} for one in suite.examples}
        values: dict[str, dict[str, list[float]]] = {}
        missing: dict[str, Counter[str]] = {}
        for metric in suite.asked["evaluators"]:
            values[metric], missing[metric] = {}, Counter()
            for line in suite.outputs:
                if "output" not in line:
                    missing[metric]["not_finished"] += 1
                    continue
                found = offline.scored(metric, expected[line["example_id"]], line["output"])
                if isinstance(found, str):
                    missing[metric][found] += 1
                else:
                    values[metric].setdefault(line["example_id"], []).append(found)
        return values, missing, {}

    def _asked(self, suite: Suite) -> _Scores:
        asked, server = suite.asked, self._server()
        release = self._config.getoption("--assay-release") or asked["release"]
        body = {"dataset": asked["dataset"], "version": suite.version, "app": asked["app"], "release": release}
        body |= {"evaluators": asked["evaluators"], "trials": asked["trials"], "source": "file"}
        body |= {"outputs": suite.outputs, "split": asked["split"], "limit": asked["limit"]}
        run = server.run(
            {name: value for name, value in body.items() if value is not None},
            self._config.getoption("--assay-timeout"),
        )
        suite.run_id = run["run_id"]
        if run["status"] != "done":
            raise AssayFailed(f"run {suite.run_id} {run['status']}: {run.get('reason')}")
        values: dict[str, dict[str, list[float]]] = {}
        missing: dict[str, Counter[str]] = {}
        for row in server.scores(suite.run_id):
            by_example = values.setdefault(row["metric"], {})
            if row["value"] is None:
                missing.setdefault(row["metric"], Counter())[str(row["unscored"]).partition(":")[0]] += 1
            else:
                by_example.setdefault(row["example_id"], []).append(float(row["value"]))
        return values, missing, server.directions(list(values))

    def _compare(self, suite: Suite, metrics: list[str]) -> None:
        """Beside the newest finished run of another release."""
        baseline, asked = str(suite.asked["baseline"]), suite.asked
        try:
            if not suite.run_id:
                raise AssayFailed("a baseline needs a server")
            other = self._server().newest_run(asked["app"], asked["dataset"], baseline, suite.run_id)
            if other is None:
                raise AssayFailed(f"there is no finished run of {baseline!r} over {asked['dataset']!r}")
            body = {"run_a": other, "run_b": suite.run_id, "metrics": metrics, "worst": 0}
            suite.verdicts += judging.compared(baseline, self._server().post("/comparisons", body)["metrics"])
        except AssayFailed as error:
            suite.trouble = suite.trouble or str(error)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """A paragraph per suite."""
        if not self.suites or self._config.option.collectonly:
            return
        terminalreporter.section("assay")
        for suite in self.suites.values():
            good = (
                {"green": True}
                if suite.word == judging.PASS
                else {"red": True}
                if suite.word == judging.FAIL
                else {"yellow": True}
            )
            terminalreporter.write_line(
                f"{suite.name}: {suite.word.upper()}" + (f": {suite.trouble}" if suite.trouble else ""), **good
            )
            for verdict in suite.verdicts:
                terminalreporter.write_line(f"  {verdict.word:<12} {verdict.metric}: {verdict.why}")
            for line in suite.worst[:_WORST]:
                terminalreporter.write_line(f"    {line}")
            for name, error in list(suite.errors.items())[:_WORST]:
                terminalreporter.write_line(f"    no output of {name}: {error}")
            if suite.run_id:
                terminalreporter.write_line(f"  run {suite.run_id}")


_Scores = tuple[dict[str, dict[str, list[float]]], dict[str, Counter[str]], dict[str, tuple[str, str]]]


def _asked(mark: pytest.Mark, metafunc: pytest.Metafunc) -> dict[str, Any]:
    """The marker's words, checked. Raises CollectError."""
    name = metafunc.definition.nodeid
    if unknown := sorted(set(mark.kwargs) - set(_KNOWN)):
        raise pytest.Collector.CollectError(
            f"{name}: the marker assay has no {unknown[0]!r}; it has {', '.join(_KNOWN)}"
        )
    if mark.args or not isinstance(mark.kwargs.get("dataset"), str):
        raise pytest.Collector.CollectError(
            f'{name}: say @pytest.mark.assay(dataset="...", evaluators=[...], accept=0.9)'
        )
    if "example" not in metafunc.fixturenames:
        raise pytest.Collector.CollectError(f"{name}: a test marked assay takes an argument called example")
    asked = {"trials": 1, "app": "pytest", "release": "pytest", "accept": None, **mark.kwargs}
    asked = {key: asked.get(key) for key in _KNOWN}
    evaluators = asked["evaluators"]
    if not isinstance(evaluators, (list, tuple)) or not evaluators:
        raise pytest.Collector.CollectError(f'{name}: evaluators is a list of names, as ["answer_match"]')
    asked["evaluators"] = [str(one) for one in evaluators]
    if not isinstance(asked["trials"], int) or not 1 <= asked["trials"] <= 100:
        raise pytest.Collector.CollectError(f"{name}: trials is a number from 1 to 100")
    accept = asked["accept"]
    told = accept.values() if isinstance(accept, Mapping) else [accept]
    if not told or any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in told):
        raise pytest.Collector.CollectError(f"{name}: accept is a number, or one for each metric that counts")
    return asked


def _accepted(asked: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, float]:
    """The thresholds by metric: of each that was asked for, or of those that are named."""
    accept = asked["accept"]
    if isinstance(accept, Mapping):
        return {str(name): float(value) for name, value in accept.items()}
    names = [one.partition("@")[0] for one in asked["evaluators"]]
    return dict.fromkeys(
        [*(one for one in names if one in values), *(one for one in values if one not in names)] or names, float(accept)
    )


def _example(said: Mapping[str, Any], trial: int) -> Example:
    given = said["input"]
    turns = given.get("turns", []) if isinstance(given, Mapping) else [given] if isinstance(given, str) else given
    return Example(
        example_id=str(said["example_id"]),
        trial=trial,
        turns=tuple(map(str, turns)),
        expected=said.get("expected") or {},
        metadata=said.get("metadata") or {},
        split=said.get("split") or "test",
    )


def _function(item: pytest.Function) -> str:
    """The node id of the marked function, without the example's part."""
    return item.nodeid.removesuffix(f"[{item.callspec.id}]")


async def _awaited(given: Any) -> Any:
    return await given


def _told(given: Any) -> dict[str, Any]:
    """What a test function gave, as a line of outputs. Raises TypeError."""
    if isinstance(given, str):
        return {"output": given}
    if isinstance(given, Mapping) and isinstance(given.get("output"), str):
        if unknown := sorted(set(given) - set(_TOLD)):
            raise TypeError(f"an output has no {unknown[0]!r}; it has {', '.join(_TOLD)}")
        return dict(given)
    raise TypeError(f"the test gave {type(given).__name__}, not a text or {{'output': text, ...}}")


def _with_missing(verdict: Verdict, missing: Counter[str]) -> Verdict:
    """A verdict that says what has no value. What an example does not expect is no evidence missing."""
    counted = {reason: n for reason, n in missing.items() if n}
    if not counted:
        return verdict
    said = f"{verdict.why}; without a value: " + ", ".join(f"{n} {reason}" for reason, n in sorted(counted.items()))
    lacking = set(counted) - {"not_expected", "not_applicable"}
    word = judging.INCONCLUSIVE if lacking and verdict.word == judging.PASS else verdict.word
    return Verdict(verdict.metric, word, said, verdict.bounds, verdict.accept, counted)


def _worst(metric: str, values: Mapping[str, list[float]], accept: float, lower: bool) -> list[str]:
    """The examples that are on the bad side of what is accepted, the worst first."""
    means = {name: sum(each) / len(each) for name, each in values.items()}
    bad = [(mean, name) for name, mean in means.items() if (mean > accept if lower else mean < accept)]
    return [f"{metric} {mean:.4g}: {name}" for mean, name in sorted(bad, reverse=lower)]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing outlives the session."""
    if (suites := config.pluginmanager.get_plugin("assay-suites")) is not None:
        config.pluginmanager.unregister(suites)
