"""What the runtime itself costs per turn, beside a bare pydantic-ai agent and a LangGraph agent on the same model.

    python -m benchmarks.agent.overhead                                    # without LangGraph
    python3.11 -m venv .langgraph && .langgraph/bin/pip install langgraph langchain-openai langgraph-checkpoint-sqlite
    python -m benchmarks.agent.overhead --langgraph .langgraph/bin/python  # with it, from an environment of its own

LangGraph is no dependency of this repository and not in its lock file. The turn is the same for everyone (a question of
a routing model, one call of one of the order agent's tools, an answer: 3 model calls), five of them in a session; so
are the model server (constant_model.py, a process of its own), the tools' schemas and the prompts. Each contender is a
process; they play in turns, a batch each per round, in changing order.

Wall ms per turn: of the turns, less the time from handing each model request to the HTTP transport until its answer
was read whole, less the time in tools. CPU ms per turn: of the contender's whole process with all its threads, less the
CPU time of its event loop's thread within those requests. `cpu_ms` is the median of the rounds and its ratio that of
the rounds' ratios to the bare agent; of wall time the least round counts, since whatever else the machine does adds to
it, and the median stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from agent_runtime.agents import _RULES, SPECIALISTS
from agent_runtime.context import Route
from agent_runtime.records import AgentName
from agent_runtime.supervisor import _ROUTE
from agent_runtime.tools.table import TOOLS
from benchmarks.agent.constant_model import ANSWER, ORDER
from benchmarks.ingest.run import keep

REPOSITORY: Final = Path(__file__).resolve().parents[2]
BARE: Final = "pydantic-ai, bare"
OURS: Final = "the runtime"
_MODEL_CALLS, _TOOL_CALLS = 3, 1  # of a turn


class Contender:
    """A process that plays batches of sessions."""

    def __init__(self, words: Sequence[str]) -> None:
        """Starts it and waits until it is ready."""
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "LANGSMITH_TRACING": "false"}
        environment = {name: value for name, value in environment.items() if not name.startswith(("OPENAI_", "AGENT_"))}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY, env=environment)
        self._line()

    def play(self, n_sessions: int) -> dict[str, float]:
        """Plays a batch; its overhead in ms a turn. Raises RuntimeError: it broke, or did other work than it should."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{n_sessions}\n")
        self.process.stdin.flush()
        told = json.loads(self._line())
        n = told["n_turns"]
        if (told["n_model_calls"], told["n_tool_calls"]) != (n * _MODEL_CALLS, n * _TOOL_CALLS):
            raise RuntimeError(f"{told} is not {_MODEL_CALLS} model calls and {_TOOL_CALLS} tool call a turn")
        return {
            "wall_ms": (told["wall_s"] - told["model_wall_s"] - told["tool_wall_s"]) / n * 1000,
            "cpu_ms": (told["cpu_s"] - told["model_cpu_s"]) / n * 1000,
            "request_wall_ms": told["model_wall_s"] / n * 1000,
            "request_cpu_ms": told["model_cpu_s"] / n * 1000,
        }

    def end(self) -> None:
        """Lets it finish."""
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        return line


def job(url: str) -> dict[str, Any]:
    """What every contender is told: the prompts and schemas that the runtime uses."""
    who = AgentName.ORDER
    mine = [tool for tool in TOOLS.values() if who in tool.agents]
    return {
        "url": url,
        "text": f"Where is my order {ORDER}?",
        "answer": ANSWER,
        "router": f"Agent: {_ROUTE.agent}\n{_ROUTE.instructions}",
        "agent": f"Agent: {who}\n{_RULES}{SPECIALISTS[who].prompt}",
        "route": {"name": "route", "description": _ROUTE.what, "parameters": Route.model_json_schema()},
        "tools": [{"name": t.name, "description": t.what, "parameters": dict(t.schema)} for t in mine],
    }


def contenders(langgraph: Path | None, told: Path, folder: Path) -> dict[str, list[str]]:
    """Name and command of each."""
    module = "benchmarks.agent.turns_"
    found = {
        OURS: [sys.executable, "-m", f"{module}ours", str(told)],
        "the runtime, spans not sent": [sys.executable, "-m", f"{module}ours", str(told), "quiet"],
        BARE: [sys.executable, "-m", f"{module}bare", str(told)],
        "pydantic-ai, with its spans sent": [sys.executable, "-m", f"{module}bare", str(told), "traced"],
    }
    if langgraph is not None:
        command = [str(langgraph), "-m", f"{module}langgraph", str(told)]
        found["LangGraph, history in memory"] = command
        found["LangGraph, checkpoints on disk"] = [*command, "sqlite", str(folder / "checkpoints.db")]
    return found


@contextmanager
def playing(langgraph: Path | None) -> Iterator[dict[str, Contender]]:
    """The model server and every contender, warmed up."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="assay-overhead-")))
        words = [sys.executable, "-m", "benchmarks.agent.constant_model"]
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        opened.callback(server.wait)
        opened.callback(server.terminate)
        assert server.stdout is not None
        told = folder / "job.json"
        told.write_text(json.dumps(job(server.stdout.readline().strip())), encoding="utf-8")
        found = {}
        for name, command in contenders(langgraph, told, folder).items():
            found[name] = Contender(command)
            opened.callback(found[name].end)
            found[name].play(2)
        yield found


def measured(langgraph: Path | None, rounds: int, sessions: int, seed: int) -> dict[str, list[dict[str, float]]]:
    """Overheads by contender, one per round."""
    chance = random.Random(seed)
    with playing(langgraph) as players:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in players}
        for number in range(rounds):
            for name in chance.sample(sorted(players), len(players)):
                found[name].append(players[name].play(sessions))
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return found


def rows(found: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, object]]:
    """What the docstring above says, by contender."""
    made: list[dict[str, object]] = []
    for name, values in found.items():
        bare_least = min(v["wall_ms"] for v in found[BARE])
        ratios = [v["cpu_ms"] / bare["cpu_ms"] for v, bare in zip(values, found[BARE], strict=True)]
        quartiles = [round(q, 2) for q in quantiles([v["cpu_ms"] for v in values])[::2]]
        made.append(
            {
                "contender": name,
                "rounds": len(values),
                "cpu_ms": round(median(v["cpu_ms"] for v in values), 2),
                "cpu_ms_quartiles": quartiles,
                "cpu_to_bare": round(median(ratios), 2),
                "wall_ms_least": round(min(v["wall_ms"] for v in values), 2),
                "wall_ms_median": round(median(v["wall_ms"] for v in values), 2),
                "wall_least_to_bare": round(min(v["wall_ms"] for v in values) / bare_least, 2),
                "request_cpu_ms": round(median(v["request_cpu_ms"] for v in values), 2),
            }
        )
    return made


def main() -> None:
    """Measures, prints and keeps the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--langgraph", type=Path, metavar="PYTHON", help="interpreter that has LangGraph")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--sessions", type=int, default=1, help="of a batch, five turns each")
    parser.add_argument("--seed", type=int, default=7, help="decides the order of play")
    parser.add_argument("--dry-run", action="store_true", help="print, keep nothing")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    table = rows(measured(given.langgraph, given.rounds, given.sessions, given.seed))
    about: dict[str, object] = {"load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1)}
    about["pydantic-ai"] = version("pydantic-ai-slim")
    if given.langgraph is not None:
        code = "from importlib.metadata import version as v; print(v('langgraph'), v('langchain-openai'))"
        told = subprocess.run([str(given.langgraph), "-c", code], capture_output=True, text=True, check=True)
        about["langgraph"], about["langchain-openai"] = told.stdout.split()
    for row in table:
        print(json.dumps(row))
    if not given.dry_run:
        words = ["python", "-m", "benchmarks.agent.overhead", *(["--langgraph", "PYTHON"] if given.langgraph else [])]
        print(keep("agent_overhead", [*words, "--rounds", str(given.rounds)], [*table, about]))


if __name__ == "__main__":
    main()
