"""What clustering writes after an erasure does not bring the user back: also where it had read the session before."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from core.records import EvaluatorKind, TargetKind
from store import erasure
from store.embeddings import known_embeddings, write_embeddings
from store.erased import last_look, still_there
from store.erasure import Belongings
from store.memberships import newest_memberships, write_memberships
from store.scores import NewScore, append_of_read, append_scores, scores_by_id
from tests.store import test_erasure
from tests.store.build import T0
from tests.store.places import WINDOW, store_at
from tests.store.test_embeddings import MINILM
from tests.store.test_embeddings import rows as embeddings
from tests.store.test_memberships import rows as memberships
from tests.waiting import wait_until


def test_until_somebody_is_erased_every_session_may_be_written_about(tmp_path: Path) -> None:
    _, whole = store_at(tmp_path)
    with still_there(whole.tenant("acme"), ["never-seen"]) as left:
        assert left == {"never-seen"}


@pytest.mark.parametrize("each_engine", ["duckdb", "clickhouse"], indirect=True)
def test_a_session_that_was_erased_since_it_was_read_is_not_written_about(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    test_erasure.filled(lake)
    store = whole.tenant("acme")
    what = erasure.find(lake, test_erasure.SUBJECT, Belongings())
    erasure.erase(lake, test_erasure.SUBJECT, what)
    with last_look(lake.root):
        erasure.erase(lake, test_erasure.SUBJECT, what, tables=erasure.WRITTEN_LATE)
    made = embeddings(("s-4", 1, [1.0]), ("s-6", 2, [1.0]))
    assert write_embeddings(store, made, now_ns=T0) == 1
    assert write_memberships(store, memberships({"session_id": "s-4"}, {"session_id": "s-6"}), now_ns=T0) == 1
    assert known_embeddings(store, "shop", MINILM, WINDOW)["session_id"].to_list() == ["s-6"]
    assert newest_memberships(store, "shop", WINDOW)["session_id"].to_list() == ["s-6"]


@pytest.mark.parametrize("each_engine", ["duckdb", "clickhouse"], indirect=True)
def test_a_score_of_what_was_erased_since_it_was_read_is_not_written(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    test_erasure.filled(lake)
    store = whole.tenant("acme")
    given = {
        **{name: score(TargetKind.SESSION, session_id=name) for name in ("s-1", "s-4", "s-6")},
        **{name: score(TargetKind.TURN, session_id="s-1", trace_id=f"{int(name):032x}") for name in ("1", "2")},
        "never-read": score(TargetKind.EXAMPLE, session_id="s-99"),
    }
    read = {one.about for one in given.values()} - {"s-99"}
    assert append_of_read(store, {"first": given["s-4"]}, read, author="run/1", now_ns=T0) == 1
    what = erasure.find(lake, test_erasure.SUBJECT, Belongings())
    erasure.erase(lake, test_erasure.SUBJECT, what)
    append_scores(store, [given["s-4"]], ids=["late"], author="run/1", now_ns=T0)  # before the last look
    with last_look(lake.root):
        erasure.erase(lake, test_erasure.SUBJECT, what, tables=erasure.WRITTEN_LATE)
    assert append_of_read(store, given, read, author="run/1", now_ns=T0) == 4
    stored = scores_by_id(store, ["first", "late", *given])["score_id"].to_list()
    assert sorted(stored) == ["2", "never-read", "s-1", "s-6"]


def score(target: TargetKind, **of: str) -> NewScore:
    return NewScore(evaluator="rule", evaluator_kind=EvaluatorKind.RULE, target=target, value=1.0, **of)  # type: ignore[arg-type]


def test_the_last_look_waits_for_who_is_writing_and_finds_what_was_written(tmp_path: Path) -> None:
    lake, whole = store_at(tmp_path)
    test_erasure.filled(lake)
    store = whole.tenant("acme")
    what = erasure.find(lake, test_erasure.SUBJECT, Belongings())
    looking, looked = threading.Event(), threading.Event()

    def look() -> None:
        looking.set()
        with last_look(lake.root):
            erasure.erase(lake, test_erasure.SUBJECT, what, tables=erasure.WRITTEN_LATE)
        looked.set()

    thread = threading.Thread(target=look)
    with still_there(store, ["s-4"]):
        thread.start()
        wait_until(looking.is_set, 30, "the thread")
        write_embeddings(store, embeddings(("s-4", 1, [1.0])), now_ns=T0)
        assert not looked.is_set()
    thread.join(timeout=60)
    assert looked.is_set()
    assert known_embeddings(store, "shop", MINILM, WINDOW).is_empty()
