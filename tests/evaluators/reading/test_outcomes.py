"""A session's trajectory carries the outcome that its row of the session frame has, and `outcome` scores both alike."""

from __future__ import annotations

from pathlib import Path

from core.records import EvaluatorKind, TargetKind
from evaluators.catalogue import find
from evaluators.reading import targets
from evaluators.records import Score, Unscored
from evaluators.rules.answers import OUTCOME
from evaluators.sessions import score_frame, session_frame
from store.scores import NewScore, append_scores
from tests.store.build import T0, agent_trace, fill
from tests.store.places import WINDOW, store_at


def test_the_latest_outcome_is_read_with_the_session(tmp_path: Path) -> None:
    lake, whole = store_at(tmp_path)
    fill(lake, agent_trace(1, session_id="s") + agent_trace(2, session_id="t", at_s=9))
    store = whole.tenant("acme")
    told = [
        NewScore(
            evaluator="task_success",
            evaluator_kind=EvaluatorKind.OUTCOME,
            target=TargetKind.SESSION,
            session_id="s",
            value=value,
            at_ns=T0 + at,
        )
        for at, value in ((1, 0.0), (2, 1.0))
    ]
    append_scores(store, told, ids=["score_1", "score_2"], author="k", now_ns=T0)
    read = targets(store, session_ids=["s", "t"])
    assert {name: one.trajectory.outcome for name, one in read.items()} == {"s": 1.0, "t": None}
    frame = score_frame(session_frame(store, WINDOW), [OUTCOME])
    assert dict(frame.select("session_id", "outcome").iter_rows()) == {"s": 1.0, "t": None}
    scored = find("outcome").evaluate(read["s"])
    assert isinstance(scored, Score)
    assert scored.passed is True
    assert isinstance(find("outcome").evaluate(read["t"]), Unscored)
