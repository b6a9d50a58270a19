"""Sessions made by hand in a lake, and whole runs of clusters over them by the product's own flow, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from clustering.embedders.protocol import Endpoint, Place
from clustering.params import params_of
from clustering.service_run import Means, carry_out
from core.clock import NS_PER_S
from core.ids import TenantId
from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from store.control.cluster_records import ClusterRecord, ClusterRunRecord
from store.control.control import Control
from store.engine import DuckDBEngine
from store.lake import Lake
from store.memberships import newest_memberships
from store.scores import NewScore, append_scores
from store.tenant import Store, TenantStore
from tests.store.build import T0, fill, row

APP: Final = "shop"
TENANT: Final = TenantId("acme")
WEEK: Final = Window(start_ns=T0 - NS_PER_S, end_ns=T0 + 7 * 86_400 * NS_PER_S)
NOW_NS: Final = WEEK.end_ns + 3_600 * NS_PER_S
PARAMS: Final = {"embedder": "tfidf", "n_resamples": 2}  # what tests of whole runs need no torch for


@dataclass(frozen=True, kw_only=True)
class Talk:
    """A session of one turn: what the user said, what the agent answered, the tools it called."""

    user: str = ""
    agent: str = ""
    tools: tuple[str, ...] = ()
    failed: bool | None = None


@dataclass(kw_only=True)
class Sitting:
    """A store and a control database of one tenant, with a clock that only goes on."""

    store: TenantStore
    control: Control
    folder: Path
    endpoint: Endpoint | None = None
    _n_runs: int = field(default=0)

    def begun(self, params: dict[str, Any] | None = None, app: str = APP) -> ClusterRunRecord:
        """A run over the week, taken by this process."""
        self._n_runs += 1
        chosen = params_of(PARAMS | (params or {}))
        run = ClusterRunRecord(
            tenant=TENANT, run_id=f"run-{self._n_runs}", app=app, start_ns=WEEK.start_ns, end_ns=WEEK.end_ns,
            params=chosen.as_json(), params_hash=chosen.digest,
        )  # fmt: skip
        self.control.start_cluster_run(run, by=None)
        return self.taken("first")

    def taken(self, owner: str) -> ClusterRunRecord:
        """The run that waits, or whose process is gone, taken by `owner`."""
        found = self.control.take_cluster_run(owner, (), lambda _: True)
        assert found is not None
        return found

    def means(self, stopping: Callable[[], bool] = lambda: False) -> Means:
        """What a run works with."""
        place = Place(folder=self.folder / "clustering", app=APP, endpoint=self.endpoint)
        return Means(
            control=self.control, store=self.store, place=place, model=None, clock=self.control._clock,
            monotonic=time.monotonic, stopping=stopping,
        )  # fmt: skip

    def done(self, params: dict[str, Any] | None = None, app: str = APP) -> ClusterRunRecord:
        """A whole run."""
        return carry_out(self.begun(params, app), self.means())

    def clusters(self) -> list[ClusterRecord]:
        """Those that live."""
        return [one for one in self.control.clusters(TENANT, APP) if one.state != "died"]

    def members(self) -> pl.DataFrame:
        """The newest membership of every session."""
        return newest_memberships(self.store, APP, WEEK)


@contextmanager
def sitting(folder: Path, talks: Sequence[Talk], endpoint: Endpoint | None = None) -> Iterator[Sitting]:
    """A store in `folder` that holds these sessions, a minute after one another, s0 and on."""
    ticks = iter(range(10**9))

    def clock() -> int:
        return NOW_NS + next(ticks) * 1_000_000

    folder.mkdir(exist_ok=True)
    lake = Lake(folder / "lake", clock=clock)
    fill(lake, [each for number, talk in enumerate(talks) for each in _spans(number, talk)])
    store = Store(lake, DuckDBEngine(lake.root), clock).tenant(TENANT)
    told = {f"s{n}": one.failed for n, one in enumerate(talks) if one.failed is not None}
    if told:
        append_scores(store, [_outcome(*one) for one in told.items()], ids=list(told), author="test", now_ns=clock())
    control = Control.open(f"sqlite:///{folder}/control.db", pepper=b"pepper of a test", clock=clock)
    try:
        control.ensure_tenant(TENANT)
        yield Sitting(store=store, control=control, folder=folder, endpoint=endpoint)
    finally:
        control.close()


def _spans(number: int, talk: Talk) -> list[dict[str, Any]]:
    common: dict[str, Any] = {
        "trace_id": number + 1, "app": APP, "session_id": f"s{number}", "user_id": f"u{number}", "release": "r1",
    }  # fmt: skip
    at_s, first = 60.0 * number % (6 * 86_400), (number + 1) * 100
    said = {"input": talk.user or None, "output": talk.agent or None}
    root = row(**common, **said, span_id=first, at_s=at_s, ms=1_000, name="agent", kind="AGENT", status_code=1)
    calls = [
        row(
            **common, span_id=first + place, parent=first, at_s=at_s + 0.1 * place, ms=20, name=f"execute_tool {tool}",
            kind="TOOL", tool_name=tool, input="{}", output="{}",
        )
        for place, tool in enumerate(talk.tools, start=1)
    ]  # fmt: skip
    return [root, *calls]


def _outcome(session_id: str, failed: bool) -> NewScore:
    return NewScore(
        evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
        session_id=session_id, value=float(not failed), at_ns=NOW_NS,
    )  # fmt: skip
