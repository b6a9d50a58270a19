"""Rule evaluations per second over the same traces in a store: ours as one pass over columns, ours as a loop over
trajectories, and the runners of DeepEval and Phoenix with a rule of their own.

    python -m benchmarks.evaluators.throughput --traces 10000 --peers FOLDER

The traces are the turns of real conversations (tau-bench v1, tau2), each a session of its own, repeated under other ids
until there are enough. FOLDER holds a virtual environment for each peer, made with

    python -m venv FOLDER/deepeval && FOLDER/deepeval/bin/pip install deepeval
    python -m venv FOLDER/phoenix && FOLDER/phoenix/bin/pip install arize-phoenix-evals pandas

Peers get question, answer, expected answer and tool calls of the same traces as a file, read before their clock starts;
what ours need to read from the store is told beside the time of the rules. All run in one process, one after another.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from collector.decode import decode
from collector.leaves import Leaves
from core.records import TargetKind
from evaluators import catalogue
from evaluators.protocol import evaluate_safely
from evaluators.reading import targets
from evaluators.records import Expected, Score, Target
from evaluators.rules.rule import FrameRule
from evaluators.sessions import score_frame, session_frame
from server.importers import genai, tau2, tau_bench
from server.importers.genai import Conversation
from store import derive
from store.engine import DuckDBEngine
from store.lake import Lake
from store.tenant import Store, TenantStore

ROOT: Final = Path(__file__).resolve().parents[2]
SHARED: Final = ROOT.parent / "shared" / "data"
RESULT: Final = ROOT / "benchmarks" / "results" / "evaluator_throughput.json"
TENANT: Final = "bench"
SLICE: Final = 500  # trajectories that are held at a time
PEERS: Final = ("deepeval", "phoenix")
LOOPED: Final = "answer_match"  # what the peers do as well: is the answer the expected one?


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=10_000)
    parser.add_argument("--peers", type=Path, help="folder of the peers' environments; without it, ours only")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, ids, n_spans = filled(Path(folder), args.traces)
        found: dict[str, Any] = {"traces": len(ids), "spans": n_spans, "ours": ours(store, ids)}
        cases = Path(folder) / "cases.jsonl"
        write_cases(store, ids, cases)
        found["peers"] = {name: peer(args.peers / name, name, cases) for name in PEERS if args.peers}
    found |= {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "commit": commit()}
    args.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def conversations() -> Iterator[Conversation]:
    """Every recorded one."""
    files = [(tau_bench, SHARED / "tau_bench_v1" / "gpt-4o_airline.jsonl.gz")]
    files += [(tau2, path) for path in sorted((SHARED / "tau2_trajectories").glob("*.jsonl.gz"))]
    for source, path in files:
        yield from (one for one in source.conversations(path, app=None, release=None) if isinstance(one, Conversation))


def filled(folder: Path, n_traces: int) -> tuple[TenantStore, list[str], int]:
    """A lake with so many traces, each a session; the sessions' ids, and how many spans there are."""
    lake, ids, n_spans = Lake(folder / "lake"), set[str](), 0
    for number in itertools.count():
        for spans in batches():
            left = n_traces - len(ids)
            if left <= 0:
                store = Store(lake, DuckDBEngine(lake.root)).tenant(TENANT)
                return store, sorted(ids), n_spans
            spans = first_traces(renumbered(spans, number), left)
            lake.append("spans", spans)
            for name in derive.DERIVED:
                lake.append(name, derive.derived(name, spans))
            ids |= set(spans.column("trace_id").to_pylist())
            n_spans += spans.num_rows
    raise AssertionError("there is no end to counting")


def batches() -> Iterator[pa.Table]:
    """The recorded conversations as rows of spans, whole conversations at a time."""
    leaves = Leaves()
    for some in batched(40):
        requests = [(i, body) for i, (body, _, _) in enumerate(genai.requests(some, "bench"), start=1)]
        yield leaves.count(decode(requests, tenant=TENANT, ingested_at_us=1_790_000_000_000_000).rows)


def batched(n: int) -> Iterator[list[Conversation]]:
    """The conversations in lists of `n`."""
    found = iter(conversations())
    while some := list(itertools.islice(found, n)):
        yield some


def renumbered(spans: pa.Table, number: int) -> pa.Table:
    """The spans under other trace ids, each trace a session of its own."""
    ids = pc.binary_join_element_wise(f"{number:08x}", pc.utf8_slice_codeunits(spans.column("trace_id"), 8), "")
    for name in ("trace_id", "session_id"):
        spans = spans.set_column(spans.schema.get_field_index(name), spans.schema.field(name), ids)
    return spans


def first_traces(spans: pa.Table, n: int) -> pa.Table:
    """The spans of the first `n` traces."""
    ids = spans.column("trace_id").unique()
    return spans if len(ids) <= n else spans.filter(pc.is_in(spans.column("trace_id"), value_set=ids[:n]))


def ours(store: TenantStore, ids: Sequence[str]) -> dict[str, Any]:
    """Both ways over all sessions: seconds to read, seconds of the rules, evaluations a second."""
    rules = [one for one in catalogue.CATALOGUE if isinstance(one, FrameRule)]
    began = time.perf_counter()
    frame = session_frame(store, session_ids=ids)
    read_s = time.perf_counter() - began
    began = time.perf_counter()
    scores = score_frame(frame, rules)
    vector = told(read_s, time.perf_counter() - began, scores.height * len(rules), len(rules))
    every = [one for one in catalogue.CATALOGUE if TargetKind.SESSION in one.spec.targets and not one.spec.needs]
    loop = {name: looped(store, ids, some) for name, some in (("same_rules", rules), ("all_live_rules", every))}
    equal = same_values(store, ids[:SLICE], rules, scores)
    match = [catalogue.find(LOOPED)]
    expected = with_answers(frame)
    return {
        "version": version("assay"),
        "one_pass_over_columns": vector,
        "loop_over_trajectories": loop | {LOOPED: looped(store, ids, match, expected)},
        "answers_compared_in_one_pass": compared(frame, expected),
        "values_of_both_ways_compared": equal,
    }


def compared(frame: pl.DataFrame, expected: Mapping[str, Expected]) -> dict[str, Any]:
    """The rule of the peers over columns: is the answer, stripped, the expected one?"""
    answers = pl.DataFrame({"session_id": list(expected), "expected": [one.answer for one in expected.values()]})
    began = time.perf_counter()
    said = pl.col("last_agent_text").fill_null("nothing").str.strip_chars()
    equal = frame.join(answers, on="session_id").select(passed=said == pl.col("expected").str.strip_chars())
    seconds = time.perf_counter() - began
    return {"s": round(seconds, 5), "evaluations_per_s": round(equal.height / seconds), "passed": equal["passed"].sum()}


def with_answers(frame: pl.DataFrame) -> dict[str, Expected]:
    """What every other session's answer is expected to be: what it said; of the rest another text."""
    said = frame.select("session_id", "last_agent_text").rows()
    return {name: Expected(answer=expected_of(i, text)) for i, (name, text) in enumerate(said)}


def expected_of(place: int, text: str | None) -> str:
    """The answer, or for every second place what it is not."""
    return (text or "nothing") if place % 2 == 0 else f"not {text}"


def looped(
    store: TenantStore, ids: Sequence[str], rules: Sequence[Any], expected: Mapping[str, Expected] | None = None
) -> dict[str, Any]:
    """The rules over trajectories, a slice held at a time."""
    read_s = rules_s = 0.0
    for at in range(0, len(ids), SLICE):
        began = time.perf_counter()
        read = targets(store, session_ids=ids[at : at + SLICE], expected=expected)
        read_s += time.perf_counter() - began
        began = time.perf_counter()
        for target in read.values():
            for rule in rules:
                evaluate_safely(rule, target)
        rules_s += time.perf_counter() - began
    return told(read_s, rules_s, len(ids) * len(rules), len(rules))


def told(read_s: float, rules_s: float, n: int, n_rules: int) -> dict[str, Any]:
    """The figures of one way."""
    return {
        "rules": n_rules,
        "evaluations": n,
        "read_s": round(read_s, 3),
        "rules_s": round(rules_s, 4),
        "evaluations_per_s": round(n / rules_s),
        "evaluations_per_s_with_reading": round(n / (read_s + rules_s)),
    }


def same_values(store: TenantStore, ids: Sequence[str], rules: Sequence[Any], scores: pl.DataFrame) -> dict[str, int]:
    """How many values of both ways were compared, and how many differ (by more than 1 in 1e9)."""
    by_id = {row["session_id"]: row for row in scores.iter_rows(named=True)}
    compared = different = 0
    for name, target in targets(store, session_ids=ids).items():
        for rule in rules:
            found = evaluate_safely(rule, target)
            mine, theirs = found.value if isinstance(found, Score) else None, by_id[name][rule.spec.name]
            compared += 1
            close = mine is not None and theirs is not None and abs(mine - theirs) <= 1e-9 * max(1.0, abs(mine))
            different += not (close or (mine is None and theirs is None))
    return {"compared": compared, "different": different}


def write_cases(store: TenantStore, ids: Sequence[str], path: Path) -> None:
    """The traces as the peers read them: one JSON object a line."""
    place = 0
    with path.open("w") as lines:
        for at in range(0, len(ids), SLICE):
            for name, target in sorted(targets(store, session_ids=ids[at : at + SLICE]).items()):
                lines.write(json.dumps({"id": name, **case_of(target, place)}, ensure_ascii=False) + "\n")
                place += 1


def case_of(target: Target, place: int) -> dict[str, Any]:
    """Input, output, expected output and tools of a trace."""
    one = target.trajectory
    asked = next((message.text for message in one.messages if message.role == "user"), "")
    tools = [call.name for call in one.tool_calls]
    answer = one.answer or "nothing"
    return {
        "input": asked or "nothing",
        "output": answer,
        "expected": expected_of(place, one.answer),
        "tools": tools,
        "expected_tools": tools if place % 2 == 0 else [*tools, "another"],
    }


def peer(environment: Path, name: str, cases: Path) -> dict[str, Any]:
    """What benchmarks/evaluators/peer_NAME.py measured in its own environment, offline and without telemetry."""
    script = Path(__file__).with_name(f"peer_{name}.py")
    quiet = {"DEEPEVAL_TELEMETRY_OPT_OUT": "YES", "DO_NOT_TRACK": "1", "ERROR_REPORTING": "NO"}
    with tempfile.TemporaryDirectory() as home:
        answer = subprocess.run(
            [str(environment / "bin" / "python"), str(script), str(cases)],
            env={"PATH": os.environ["PATH"], "HOME": home, "OPENAI_API_KEY": "none", **quiet},
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
    if answer.returncode:
        return {"failed": answer.stderr.strip()[-2000:]}
    found: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return found


def machine() -> str:
    """Where it ran."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def commit() -> str:
    """What ran."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
