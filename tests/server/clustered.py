"""Sessions of three kinds in a shell's lake, and a run of clusters over them in a process of the server."""

from __future__ import annotations

from typing import Any, Final

from core.clock import NS_PER_S, system_clock
from core.records import EvaluatorKind, Role, TargetKind
from core.windows import day_of
from server.clustering import ClusterRunner
from store.scores import NewScore, append_scores
from tests.server.shell import AIRLINE, Shell
from tests.store.build import fill, row
from tests.waiting import wait_until

APP: Final = "desk"
THINGS: Final = ("tent", "lamp", "jacket", "boots", "stove", "watch", "rope", "pack")
# kind -> (what the user says, what the agent says, the tool, whether it fails)
KINDS: Final = {
    "refund": ("Please refund the {} of my order", "I have refunded the {}", "refund_order", False),
    "wash": ("How do I wash the {} at home", "Wash the {} by hand with soap", "search_help", False),
    "late": ("My parcel with the {} is late, where is it", "Sorry, no answer about the {}", "track_parcel", True),
}
PARAMS: Final = {"embedder": "tfidf", "n_resamples": 2}  # no torch, and few enough sessions for no UMAP


def arrive(
    shell: Shell, kind: str, things: tuple[str, ...] = THINGS, *, ago_s: float = 3600.0, first: int = 0, run: str = ""
) -> None:
    """A session of the kind about each thing, named `kind-N`, with its outcome; they arrive in one commit. With `run`
    they are trials of that evaluation run."""
    user, agent, tool, fails = KINDS.get(kind, (kind, "I do not know", "ponder", False))
    name = kind if kind in KINDS else "odd"
    ids = [f"{run}.{name}-{number}.0" if run else f"{name}-{number}" for number, _ in enumerate(things, first)]
    rows: list[dict[str, Any]] = []
    for number, thing in enumerate(things, first):
        start = system_clock() - int((ago_s - number + first) * NS_PER_S)
        place = ((*KINDS, "odd").index(name) * 1000 + number) * 10 + 10
        at: dict[str, Any] = {
            "tenant": str(AIRLINE),
            "app": APP,
            "session_id": ids[number - first],
            "user_id": f"{name} user {number}",
        }
        at |= {"trace_id": place, "start_ns": start, "date": day_of(start), "release": "r1"}
        said = {"input": user.format(thing), "output": agent.format(thing)}
        called = {"kind": "TOOL", "tool_name": tool, "name": f"execute_tool {tool}", "status_code": 2 if fails else 1}
        rows.append(row(**at, **said, span_id=place, ms=900, name="agent", kind="AGENT", seq=_seq(), status_code=1))
        rows.append(row(**at, **called, span_id=place + 1, parent=place, ms=20, seq=_seq()))
    fill(shell.services.lake, rows)
    scores = [
        NewScore(
            evaluator="resolved", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION, session_id=each,
            value=float(not fails),
        )
        for each in ids
    ]  # fmt: skip
    store = shell.services.store.tenant(AIRLINE)
    append_scores(store, scores, ids=[f"score of {each}" for each in ids], author="test", now_ns=system_clock())


def begun(shell: Shell, **asked: Any) -> dict[str, Any]:
    """A run that waits."""
    body = {"app": APP, "since": "1d", "params": PARAMS, **asked}
    made = shell.client.post("/api/v1/clusters/runs", json=body, headers=shell.headers(Role.POWER_USER))
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def done(shell: Shell, **asked: Any) -> dict[str, Any]:
    """A whole run, by the server's own thread and its child."""
    run = begun(shell, **asked)
    runner = ClusterRunner(shell.services)
    runner.start()
    try:
        wait_until(lambda: told(shell, run["id"])["ended_at"] is not None, 300, "the run to end")
        wait_until(lambda: _looked(shell), 60, "the look for what emerges")
    finally:
        runner.close()
    return told(shell, run["id"])


def _looked(shell: Shell) -> bool:
    """Whether the child has done what it does behind a run."""
    line = shell.services.control.cluster_app(AIRLINE, APP)
    return line is None or "looked_at_ns" in line.told


def told(shell: Shell, run_id: str) -> dict[str, Any]:
    """A run as it stands."""
    found: dict[str, Any] = shell.client.get(
        f"/api/v1/clusters/runs/{run_id}", headers=shell.headers(Role.VIEWER)
    ).json()
    return found


def _seq() -> int:
    """The next place in a journal."""
    _LAST[0] += 1
    return (1 << 48) + _LAST[0]


_LAST = [0]
