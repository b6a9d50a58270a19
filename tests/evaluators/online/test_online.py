"""Each session that ended is evaluated once per state, whatever is killed, late or taken over in between."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.clock import NS_PER_S
from core.errors import Conflict, InvalidInput, StorageFailed
from core.ids import tenant_id
from core.records import EvaluatorKind, Principal, Role, TargetKind
from core.windows import Window
from evaluators import catalogue
from evaluators.online import service
from evaluators.online.planning import is_sampled, marks_after
from evaluators.online.service import OnlineWatch, last_seqs, online_evaluators
from evaluators.records import Dimension, EvaluatorSpec, Score, Scored, Target
from store.control.control import Control
from store.control.online import LEASE_NS, OnlineChoice
from store.engine import DuckDBEngine
from store.lake import Lake
from store.scores import ScoresAsked, append_of_read, list_scores, scores_of
from store.tenant import Store
from tests.first_start import begun
from tests.store.build import T0, agent_trace, fill

ACME = tenant_id("acme")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann")
JOURNAL = 1 << 48


class Counting:
    """How many model calls a session has: a rule for these tests."""

    def __init__(self, name: str, *, needs: tuple[str, ...] = (), version: str = "1") -> None:
        self.spec = EvaluatorSpec(
            name=name,
            version=version,
            dimension=Dimension.RELIABILITY,
            summary="model calls",
            failure_modes=(),
            targets=frozenset({TargetKind.SESSION}),
            unit="count",
            needs=needs,
        )

    def evaluate(self, target: Target) -> Scored:
        """Counts."""
        return Score(value=len(target.trajectory.model_calls), explanation="counted")


class Life:
    """A lake, a control database and a clock, over which processes come and go."""

    def __init__(self, folder: Path) -> None:
        self.now_ns = T0 + 100 * NS_PER_S
        self.lake = Lake(begun(folder) / "lake")
        self.store = Store(self.lake, DuckDBEngine(self.lake.root), self.clock)
        self.control = Control.open(f"sqlite:///{folder / 'control.db'}", pepper=bytes(32), clock=self.clock)
        self.control.ensure_tenant(ACME)
        self.arrived = 0

    def clock(self) -> int:
        return self.now_ns

    def choose(self, app: str = "airline", *evaluators: str, **given: Any) -> None:
        choice = OnlineChoice(tenant=ACME, app=app, evaluators=evaluators or ("calls",), **given)
        self.control.set_online(choice, last_seqs(self.store.tenant(ACME)), by=ANN)

    def arrive(self, number: int, session: str, *, at_s: float = 0, journal: int = 1, **given: Any) -> None:
        """A trace of two model calls arrives."""
        rows = agent_trace(number, at_s=at_s, session_id=session, **given)
        for one in rows:
            self.arrived += 1
            one["seq"] = journal * JOURNAL + self.arrived
        fill(self.lake, rows)

    def process(self, name: str = "p1") -> OnlineWatch:
        return OnlineWatch(self.store, self.control, self.clock, name)

    def round(self, watch: OnlineWatch, most: int = 1000) -> int:
        """One look and, where it asks for it, work; how many sessions were evaluated."""
        n = 0
        for tenant, choices in watch.tenants().items():
            found = watch.look(tenant, choices)
            if found is not None and found.asks_work:
                n += watch.work(tenant, choices, most=most, stop=threading.Event()).n_sessions
        return n

    def later(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS_PER_S)

    def scores(self) -> pl.DataFrame:
        """Every row of scores there is, as it was written."""
        frame = self.store.tenant(ACME).frame(self.store.tenant(ACME).table("scores"))
        return frame.sort("session_id", "evaluator", "at_ns").select("session_id", "evaluator", "value", "score_id")

    def values(self) -> list[tuple[str, float]]:
        return self.scores().select("session_id", "value").rows()


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    """Two rules in the catalogue, `calls` and `more_calls`."""
    rules = {name: Counting(name) for name in ("calls", "more_calls")}
    rules["expecting"] = Counting("expecting", needs=("answer",))
    monkeypatch.setattr(catalogue, "BY_NAME", rules)
    return Life(tmp_path)


def test_a_session_is_evaluated_once_when_it_has_ended(life: Life) -> None:
    life.choose("airline", "calls", "more_calls", idle_s=30)
    life.arrive(1, "s", at_s=99)
    watch = life.process()
    assert life.round(watch) == 0  # its last span ended this second
    life.later(29)
    assert life.round(watch) == 0
    life.later(2)
    assert life.round(watch) == 1
    assert life.round(watch) == life.round(life.process("p2")) == 0
    assert life.scores().select("session_id", "evaluator", "value").rows() == [
        ("s", "calls", 2.0),
        ("s", "more_calls", 2.0),
    ]
    (row,) = scores_of(life.store.tenant(ACME), session_id="s").filter(pl.col("evaluator") == "calls").to_dicts()
    assert (row["evaluator_kind"], row["target"], row["author"]) == (EvaluatorKind.RULE, "session", "assay.online")
    assert '"online": true' in row["metadata"]


def test_what_came_before_the_first_choice_and_other_apps_are_left_alone(life: Life) -> None:
    life.arrive(1, "before")
    life.choose("airline")
    life.arrive(2, "elsewhere", app="retail")
    life.arrive(3, "here")
    life.later(60)
    assert life.round(life.process()) == 1
    assert life.values() == [("here", 2.0)]
    life.choose("*", "more_calls")
    life.arrive(4, "anywhere", app="retail")
    life.arrive(5, "too", app="airline")
    life.later(60)
    assert life.round(life.process()) == 2
    assert life.scores().select("session_id", "evaluator").rows() == [
        ("anywhere", "more_calls"),
        ("here", "calls"),
        ("too", "calls"),
    ]


def test_a_session_that_goes_on_is_evaluated_again_and_the_newer_score_holds(life: Life) -> None:
    life.choose()
    life.arrive(1, "s")
    watch = life.process()
    life.later(60)
    assert life.round(watch) == 1
    life.arrive(2, "s", at_s=170)
    life.later(60)
    assert life.round(watch) == 1
    assert life.values() == [("s", 2.0), ("s", 4.0)]
    store = life.store.tenant(ACME)
    assert scores_of(store, session_id="s")["value"].to_list() == [4.0]
    window = Window(start_ns=0, end_ns=2**62)
    assert list_scores(store, ScoresAsked(window=window, session_id="s"))["value"].to_list() == [4.0]
    assert list_scores(store, ScoresAsked(window=window))["value"].to_list() == [4.0, 2.0]


class Killed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("where", ["before the scores", "after the scores", "after the marks"])
def test_killed_anywhere_nothing_is_lost_or_doubled(life: Life, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(service, "SLICE", 2)
    life.choose("airline", "calls", "more_calls")
    for number in range(1, 8):
        life.arrive(number, f"s{number}")
    life.later(60)
    n_left = 2  # slices that come through

    def dying(at: str, act: Any) -> Any:
        def call(*args: Any, **given: Any) -> Any:
            nonlocal n_left
            if where == "before the scores" and at == "scores" and n_left == 0:
                raise Killed
            found = act(*args, **given)
            n_left -= at == "scores"
            if (where, at) in {("after the scores", "scores"), ("after the marks", "marks")} and n_left <= 0:
                raise Killed
            return found

        return call

    with monkeypatch.context() as patched:
        patched.setattr(service, "append_of_read", dying("scores", append_of_read))
        patched.setattr(life.control, "advance_online", dying("marks", life.control.advance_online))
        with pytest.raises(Killed):
            life.round(life.process("p1"))
    life.later(1)
    assert life.round(life.process("p2")) == 0  # it is p1's, who may live
    life.later(LEASE_NS / NS_PER_S)
    watch = life.process("p2")
    while life.round(watch):
        pass
    assert life.scores()["score_id"].is_unique().all()
    assert life.values() == [(f"s{n}", 2.0) for n in range(1, 8) for _ in range(2)]


def test_a_slice_that_the_disk_refuses_is_tried_again(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    life.choose()
    life.arrive(1, "s")
    life.later(60)

    def full(*_: Any, **__: Any) -> int:
        raise StorageFailed("disk full")

    watch = life.process()
    with monkeypatch.context() as patched:
        patched.setattr(service, "append_of_read", full)
        with pytest.raises(StorageFailed):
            life.round(watch)
    assert life.round(watch) == 1
    assert life.values() == [("s", 2.0)]


def test_an_open_session_holds_the_mark_and_no_other_session(life: Life) -> None:
    life.choose(idle_s=30)
    life.arrive(1, "open", at_s=10)
    life.arrive(2, "ended", at_s=11)
    watch = life.process()
    life.arrive(3, "open", at_s=99)
    assert life.round(watch) == 1
    assert life.values() == [("ended", 2.0)]
    mark = life.control.online_mark(ACME)
    assert mark is not None
    assert mark.marks == {1: JOURNAL * 1 + 3}  # a commit's row is named by its last span
    for second in range(100, 800, 20):  # it never falls silent
        life.arrive(second, "open", at_s=second)
        life.now_ns = T0 + second * NS_PER_S + NS_PER_S
        life.round(watch)
    assert ("open", 2.0) not in life.values()
    assert {name for name, _ in life.values()} == {"ended", "open"}


def test_marks_are_kept_by_journal(life: Life) -> None:
    life.arrive(1, "old", journal=2)
    life.choose()
    life.arrive(2, "other collector", journal=1)  # its number is lower, and it comes later
    life.arrive(3, "same collector", journal=2)
    life.later(60)
    assert life.round(life.process()) == 2
    assert {name for name, _ in life.values()} == {"other collector", "same collector"}
    assert life.round(life.process()) == 0


def test_a_process_that_lost_its_turn_stops(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    life.choose()
    life.arrive(1, "s")
    life.later(60)
    watch = life.process("slow")

    def slow(*args: Any, **given: Any) -> int:
        life.later(2 * LEASE_NS / NS_PER_S)
        assert life.control.take_online(ACME, "fast") is not None
        return append_of_read(*args, **given)

    monkeypatch.setattr(service, "append_of_read", slow)
    with pytest.raises(Conflict, match="another process"):
        life.round(watch)
    assert life.round(life.process("fast")) == 0
    assert life.values() == [("s", 2.0)]


def test_a_burst_is_worked_off_in_pieces(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SLICE", 3)
    monkeypatch.setattr(service, "MOST_ROWS", 8)
    service._beyond.cache_clear()
    life.choose()
    for number in range(1, 21):
        life.arrive(number, f"s{number:02}")
    life.later(60)
    watch, done = life.process(), []
    while n := life.round(watch, most=5):
        done.append(n)
    service._beyond.cache_clear()
    assert max(done) == 5
    assert sum(done) == 20
    assert [name for name, _ in life.values()] == [f"s{number:02}" for number in range(1, 21)]


def test_a_share_is_always_the_same_sessions_and_grows(life: Life) -> None:
    names = [f"session-{n}" for n in range(4000)]
    tenth, half = ({one for one in names if is_sampled(ACME, one, share)} for share in (0.1, 0.5))
    assert tenth < half
    assert (320, 1850) < (len(tenth), len(half)) < (480, 2150)
    assert not any(is_sampled(ACME, one, 0.0) for one in names)
    assert all(is_sampled(ACME, one, 1.0) for one in names)
    life.choose(share=0.0)
    life.arrive(1, "s")
    life.later(60)
    assert life.round(life.process()) == 0


def test_marks_stay_before_what_is_not_settled() -> None:
    assert marks_after({1: 9}, []) == {1: 9}


def test_only_rules_that_need_no_example_look_at_live_sessions(life: Life) -> None:
    with pytest.raises(InvalidInput, match="live sessions come without"):
        online_evaluators(["expecting"])
    with pytest.raises(InvalidInput, match="there is no evaluator"):
        online_evaluators(["nobody"])
    assert [one.spec.name for one in online_evaluators(["calls"])] == ["calls"]
    assert online_evaluators([]) == ()


def test_an_evaluator_that_went_stops_no_other(life: Life) -> None:
    life.choose("airline", "gone", "calls")
    life.choose("*", "gone")
    life.arrive(1, "s")
    life.arrive(2, "t", app="retail")
    life.later(60)
    assert life.round(life.process()) == 1
    assert life.values() == [("s", 2.0)]
