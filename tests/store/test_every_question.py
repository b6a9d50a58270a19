"""Whoever adds a question to the store asks it on both engines too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
ROOMS: Final = ("store", "clustering", "judges", "evaluators", "experiments", "monitors")
ON_BOTH: Final = ("each_engine", "BothEngines", "CHOSEN.set")  # what a test says that runs on ClickHouse too
# What is asked by a question that has its test: the part, and the whole.
PARTS: Final = {
    "clustering.facets.facets_and_facts": "clustering.facets.facets",
    "clustering.facets.facets_and_usual": "clustering.facets.facets",
    "evaluators.online.service.evaluated": "evaluators.reading.trajectories",
    "evaluators.online.service.rows_beyond": "evaluators.online.service.look",
    "evaluators.owners.beginning_in": "evaluators.sessions.session_frame",
    "evaluators.owners.of_sessions": "evaluators.reading.trajectories",
    "evaluators.owners.of_traces": "evaluators.reading.trajectories",
    "evaluators.reading.targets": "evaluators.reading.trajectories",
    "evaluators.steps.read": "evaluators.reading.trajectories",
    "judges.service_targets.reading": "evaluators.reading.trajectories",
    "store.embeddings.write_of_sessions": "store.embeddings.write_embeddings",
    "store.experiment_moments.bound_units": "store.experiment_moments.cells",
    "store.experiment_units.bind": "store.experiment_units.session_facts",
    "store.monitor_splits.bound": "store.monitor_series.score_buckets",
    "store.said.completed": "store.traces.list_traces",
    "store.sessions.session_window": "store.sessions.session",
    "store.spend.calls": "store.spend.spend",
    "store.spend.sessions": "store.spend.spend",
    "store.traces.matching_traces": "store.traces.list_traces",
    "store.traces.traces_by_id": "store.traces.trace",
}


def test_every_question_to_the_store_is_asked_on_both_engines() -> None:
    asked = {name for path in ROOT.glob("tests/**/test_*.py") for name in asked_in(path.read_text())}
    known = set(questions())
    missing = sorted(known - asked - set(PARTS))
    assert not missing, f"ask {missing} with the fixture each_engine, as tests/store/test_session_reads.py does"
    assert set(PARTS) <= known - asked, "PARTS names what is no more, or has a test of its own"
    assert set(PARTS.values()) <= asked, "the whole of which these are parts has to be asked"


def questions() -> Iterator[str]:
    """MODULE.NAME of every public function of a module with expressions (ibis) that takes a tenant's store."""
    for path in sorted(one for room in ROOMS for one in ROOT.glob(f"{room}/**/*.py")):
        text = path.read_text()
        if "import ibis" not in text:
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and _takes_store(node):
                yield f"{module}.{node.name}"


def asked_in(text: str) -> set[str]:
    """MODULE.NAME of everything that a test of both engines imports, or reaches through a module that it imports."""
    if not any(word in text for word in ON_BOTH):
        return set()
    tree = ast.parse(text)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            names |= {one.asname or one.name: one.name for one in node.names}
    reached = {
        f"{names[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
    }
    return reached | set(names.values())


def _takes_store(node: ast.FunctionDef) -> bool:
    given = [*node.args.args, *node.args.kwonlyargs]
    return any(one.annotation is not None and ast.unparse(one.annotation) == "TenantStore" for one in given)
