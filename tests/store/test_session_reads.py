"""Sessions, their turns and what was said of them, as monitors, clusters and judges read them, on each engine, against
the same worked out in Python."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pytest

from core.clock import NS_PER_S
from core.records import EvaluatorKind
from core.windows import Window
from store import monitor_samples
from store.apps import apps_with_sessions
from store.cluster_counts import n_embedded, n_sessions_of, n_told, placed_sessions
from store.embeddings import packed, write_embeddings
from store.experiment_units import CHOSEN, GATEWAY_SCOPE, chosen_sessions
from store.judged import newest_said
from store.memberships import n_members, write_memberships
from store.monitor_groups import document_buckets
from store.monitor_samples import session_values, turn_values, vectors
from store.monitor_series import BucketsAsked
from store.outcomes import OutcomesAsked, outcomes
from store.scores import known_scores, scores_by_id
from store.session_failures import OUTCOME, ToldBy
from store.session_models import session_models
from store.session_starts import session_starts
from store.tenant import TenantStore
from tests.store import busy
from tests.store.build import T0, fill, row, trace
from tests.store.busy import APP, EDGE_NS, HOUR_NS, WINDOW, Visit, score, span_of, visits
from tests.store.places import store_at
from tests.store.test_memberships import rows as membership_rows

STEP_NS: Final = 900 * NS_PER_S
LATE_NS: Final = EDGE_NS + 5 * HOUR_NS  # when the sessions tied and twins begin
MINE: Final = [one for one in visits() if one.app == APP]
AFTER: Final = Window(start_ns=EDGE_NS + HOUR_NS, end_ns=WINDOW.end_ns)
DIMS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Read:
    """A filled lake on one engine: the stores of two tenants, and the scores of the first as they were written."""

    store: TenantStore
    other: TenantStore
    scores: tuple[dict[str, Any], ...]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, each_engine_once: str) -> Read:
    lake, whole = store_at(tmp_path_factory.mktemp("sessions"))
    busy.fill_busy(lake)
    fill(lake, [found for found, _ in searches()])
    fill(lake, at_the_door())
    store, other = whole.tenant("acme"), whole.tenant("globex")
    kept: list[dict[str, Any]] = []
    for commit, rows in enumerate(said()):
        busy.append(store, rows)
        busy.append(other, [one | {"tenant": "globex", "value": 1e6} for one in rows])
        kept += [one | {"commit": commit} for one in rows]
    for each in (store, other):
        embed(each)
        write_memberships(each, on_the_map("C-é"), now_ns=T0)
        write_memberships(each, on_the_map(None), now_ns=T0 + 1)
    return Read(store=store, other=other, scores=tuple(kept))


def same(frame: pl.DataFrame, expected: Iterable[tuple[Any, ...]]) -> None:
    assert sorted(frame.rows(), key=repr) == sorted(expected, key=repr)


def bucket(at_ns: int) -> int:
    return at_ns // STEP_NS * STEP_NS


# -- single values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [None, "release", "variant"])
@pytest.mark.parametrize("figure", ["duration_ms", "input_tokens", "output_tokens"])
def test_of_the_turns_of_a_session_and_bucket_the_mean(read: Read, figure: str, by: str | None) -> None:
    cells: dict[tuple[int, Any, str], list[float]] = defaultdict(list)
    for one in MINE:
        tokens = 10 * len(one.models) * (len(one.models) + 1) / 2
        value = {"duration_ms": 100.0 * (one.number + 1), "input_tokens": tokens}.get(figure)
        for turn in range(one.n_turns) if value is not None else ():
            at_ns = bucket(one.begins_ns + turn * 60 * NS_PER_S)
            cells[at_ns, getattr(one, by) if by else None, one.name].append(value or 0.0)
    if figure == "duration_ms":
        for name, release, at_ns, ms in (("tied", "r2", LATE_NS, 10.0), ("twins", "r1", LATE_NS, 10.0),
                                         ("twins", "r2", LATE_NS, 10.0), ("-", "r1", EDGE_NS, 7.0)):  # fmt: skip
            cells[bucket(at_ns), release if by == "release" else None, name].append(ms)
        for n, (search, _) in enumerate(searches()):
            cells[bucket(search["start_ns"]), None, f"search {search['session_id'] or n}"].append(10.0)
    found = turn_values(read.store, APP, BucketsAsked(window=WINDOW, step_s=900, by=by), figure)
    same(found, [(at, split, sum(all_) / len(all_)) for (at, split, _), all_ in cells.items()])
    assert found["at_ns"].is_sorted()


@pytest.mark.parametrize("by", [None, "release", "environment", "attribute:country"])
@pytest.mark.parametrize("figure", ["cost_usd", "n_turns"])
def test_what_a_session_did_in_a_bucket(read: Read, figure: str, by: str | None) -> None:
    cells: dict[tuple[int, Any, str], float] = defaultdict(float)
    for one in MINE:
        split = (one.country or None) if by == "attribute:country" else getattr(one, by) if by else None
        cost = None if one.number % 4 == 3 else 1e-9 * (one.number + 1) * one.n_turns * len(one.models)
        value = one.n_turns if figure == "n_turns" else cost
        if value is not None:
            cells[bucket(one.begins_ns), split, one.name] += value
    if figure == "n_turns":
        for name, release, country in (("tied", "r2", None), ("twins", "r1", "DE"), ("twins", "r2", "DE")):
            split = {"release": release, "attribute:country": country}.get(by or "")
            cells[bucket(LATE_NS), split, name] += 1
        for search, _ in searches():
            cells[bucket(LATE_NS - 1), None, f"search {search['session_id']}"] += 1
    found = session_values(read.store, APP, BucketsAsked(window=WINDOW, step_s=900, by=by), figure)
    rounded = found.with_columns(pl.col("value").round(12))
    same(rounded, [(at, split, round(value, 12)) for (at, split, _), value in cells.items()])


EMBEDDED: Final = [one.name for one in MINE] + ["twins", "tied", "mute"]


def embed(store: TenantStore) -> None:
    """Of each session a vector of its number; of `mute` one that says nothing; an embedder before; another app's."""
    at_ns = [*[one.begins_ns for one in MINE], LATE_NS, LATE_NS, LATE_NS]
    rows = pl.DataFrame({"session_id": EMBEDDED, "at_ns": at_ns, "app": APP, "embedder": "e/2"}).with_columns(
        text_hash=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    numbers = np.arange(1, len(rows) + 1)[:, None] * np.repeat([1, 2, 4], DIMS) / 64
    whole = numbers.astype(np.float32)
    whole[-1] = 0
    before = rows.with_columns(embedder=pl.lit("e/1"), at_ns=pl.col("at_ns") - 1).head(3)
    for n, frame in enumerate((rows, before, rows.head(2).with_columns(app=pl.lit("airline")))):
        write_embeddings(store, frame.with_columns(packed(whole[: len(frame)] * np.float32(n + 1))), now_ns=T0 + n)
    write_embeddings(store, rows.head(1).with_columns(packed(whole[1:2])), now_ns=T0 + 9)


def test_vectors_are_the_newest_of_the_newest_embedder(read: Read) -> None:
    found = vectors(read.store, APP, WINDOW, None)
    order = sorted(range(len(EMBEDDED) - 1), key=lambda n: (begins_ns(EMBEDDED[n]), EMBEDDED[n]))
    firsts = [2 if EMBEDDED[n] == "s0" else n + 1 for n in order]
    assert found.at_ns.tolist() == [begins_ns(EMBEDDED[n]) for n in order]
    assert (found.vectors[:, 0] * 64).tolist() == firsts
    assert found.vectors.shape == (len(firsts), 3 * DIMS)
    actions = vectors(read.store, APP, WINDOW, "actions")
    assert (actions.vectors * 32).tolist() == [[n] * DIMS for n in firsts]
    assert vectors(read.store, "nobody's", WINDOW, None).vectors.shape == (0, 0)


def test_of_too_many_vectors_those_are_read_that_a_hash_of_their_session_chooses(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_samples, "MOST_VECTORS", 4)
    below = f"{16**8 // 3:08x}"  # of nine, one in three
    chosen = [name for name in EMBEDDED[:-1] if hashlib.md5(name.encode()).hexdigest()[:8] < below]
    assert 0 < len(chosen) < len(EMBEDDED) - 1
    assert sorted(vectors(read.store, APP, WINDOW, None).at_ns.tolist()) == sorted(map(begins_ns, chosen))


def begins_ns(name: str) -> int:
    return {one.name: one.begins_ns for one in visits()}.get(name, LATE_NS)


# -- documents -------------------------------------------------------------------------------------------------------


def searches() -> list[tuple[dict[str, Any], str | None]]:
    """Retrievers' spans, and what the document that each found first goes by."""
    found: tuple[tuple[list[dict[str, str]] | None, str | None], ...] = (
        ([{"id": "größe", "content": 'in "30" Tagen\n\\ ü 😀'}], "größe"),
        ([{"id": "größe", "content": "in 14 Tagen"}, {"id": "x", "content": "y"}], "größe"),
        ([{"id": "ohne"}], "ohne"),
        ([{"id": "leer", "content": ""}], "leer"),
        ([{"content": "no id"}], None),
        ([], None),
        (None, None),
        ([{"document.id": "a/b", "document.content": "t"}], "a/b"),
    )
    rows = [busy.searched(5000 + n, f"d{n // 2}", one, LATE_NS - 1 + n % 2) for n, (one, _) in enumerate(found)]
    return [(one, name) for one, (_, name) in zip(rows, found, strict=True)]


def test_documents_are_told_apart_by_their_text_and_have_one_name_on_every_engine(read: Read) -> None:
    cells: dict[tuple[int, str], set[str]] = defaultdict(set)
    for one, name in searches():
        if name is not None:
            first = json.loads(one["documents"])[0]
            text = json.dumps(first.get("content", first.get("document.content", "")), ensure_ascii=False)[1:-1]
            split = f"{name}@{hashlib.md5(text.encode()).hexdigest()[:8]}"
            cells[bucket(one["start_ns"]), split].add(one["session_id"])
    found = document_buckets(read.store, APP, WINDOW, 900)
    same(found, [(*key, float(len(sessions))) for key, sessions in cells.items()])


# -- sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_of_ns", [None, T0 + 86_400 * NS_PER_S])
def test_a_session_starts_with_its_first_turn(read: Read, as_of_ns: int | None) -> None:
    wanted = [*[one.name for one in visits()], "tied", "twins", "nobody"]
    found = session_starts(read.store, wanted, as_of_ns=as_of_ns)
    expected = [(one.name, one.begins_ns, one.app, one.release, one.variant) for one in visits()]
    same(found, [*expected, ("tied", LATE_NS, APP, "r2", None), ("twins", LATE_NS, APP, "r2", None)])
    assert session_starts(read.store, [], as_of_ns=as_of_ns).is_empty()


@pytest.mark.parametrize("window", [WINDOW, AFTER])
def test_the_models_that_answered_in_a_session(read: Read, window: Window) -> None:
    expected = [
        (one.name, sorted({model for model in one.models if model}))
        for one in MINE if window.contains(one.begins_ns)
    ]  # fmt: skip
    silent = [(name, list[str]()) for name in ("tied", "twins", "d0", "d1", "d2", "d3")]
    same(session_models(read.store, APP, window), [*expected, *silent])


def test_apps_of_which_there_are_sessions(read: Read) -> None:
    at_edge = Window(start_ns=EDGE_NS, end_ns=EDGE_NS + 1)
    for store in (read.store, read.other):
        assert apps_with_sessions(store) == {APP, "airline"}
        assert apps_with_sessions(store, at_edge) == {APP}
        assert apps_with_sessions(store, Window(start_ns=T0, end_ns=EDGE_NS - 1)) == frozenset()


def test_sessions_are_counted_with_and_without_the_trials_of_runs(read: Read) -> None:
    n = len(MINE) + 1 + 4  # with twins and those that searched
    assert n_sessions_of(read.store, APP, WINDOW) == n
    assert n_sessions_of(read.store, APP, WINDOW, ["run_1", "run_9"]) == n - 1
    assert n_sessions_of(read.store, "airline", WINDOW, ["run_1"]) == 7
    assert n_sessions_of(read.store, "airline", WINDOW, ["run_10"]) == 6
    assert n_sessions_of(read.store, APP, AFTER) == n - 2
    assert n_sessions_of(read.store, "nobody's", WINDOW, ["run_1"]) == 0


def test_of_how_many_sessions_it_is_known_whether_they_failed(read: Read) -> None:
    assert n_told(read.store, APP, WINDOW, told_by=OUTCOME) == 3
    assert n_told(read.store, APP, WINDOW, ["run_1"], told_by=OUTCOME) == 2
    assert n_told(read.store, APP, AFTER, told_by=OUTCOME) == 2
    assert n_told(read.store, APP, WINDOW, told_by=ToldBy(evaluator="tön")) == 1
    assert n_told(read.store, APP, WINDOW, told_by=ToldBy(evaluator="nobody")) == 0


def test_sessions_that_are_embedded_by_each_embedder(read: Read) -> None:
    assert n_embedded(read.store, APP, WINDOW) == {"e/1": 3, "e/2": len(EMBEDDED)}
    assert n_embedded(read.store, "airline", WINDOW) == {"e/2": 2}
    assert n_embedded(read.store, "nobody's", WINDOW) == {}


def on_the_map(cluster: str | None) -> pl.DataFrame:
    """Every visit with a place, those with an even number in a cluster, the others in this one; and odd names."""
    told: list[dict[str, Any]] = [
        {"session_id": one.name, "app": APP, "x": float(one.number), "y": -0.5,
         "cluster_id": cluster if one.number % 2 else "C-é"}
        for one in visits()
    ]  # fmt: skip
    told += [{"session_id": f"e{mark}\u0301 👩‍🚀{mark}", "app": APP, "x": 0.0, "y": 0.0} for mark in range(8)]
    return membership_rows(*told)


@pytest.mark.parametrize("most", [1, 9, 24])
def test_a_map_of_too_many_sessions_shows_the_same_ones_on_every_engine(read: Read, most: int) -> None:
    names = on_the_map(None)["session_id"].to_list()
    shown = sorted(names, key=lambda name: hashlib.md5(name.encode()).hexdigest())[:most]
    assert set(placed_sessions(read.store, APP, WINDOW, most)["session_id"]) == set(shown)


def test_members_of_a_cluster_are_those_whose_newest_row_says_so(read: Read) -> None:
    assert n_members(read.store, "C-é") == len(visits()) / 2
    assert n_members(read.store, "C-1") == 0


def at_the_door() -> list[dict[str, Any]]:
    """The gateway's spans of sessions of which a caller chose the release, or did not."""
    same: dict[str, Any] = {"scope_name": GATEWAY_SCOPE, "start_ns": LATE_NS, "parent": 1}
    doors = (("s0", "true", APP), ("s1", "false", APP), ("s6", None, APP), ("twins", "true", "airline"))
    return [
        row(**same, trace_id=6000 + n, span_id=6000 + n, session_id=name, name=f"session {app}",
            attributes={} if chosen is None else {CHOSEN: chosen})
        for n, (name, chosen, app) in enumerate(doors)
    ]  # fmt: skip


def test_sessions_of_which_the_release_was_chosen_at_the_door(read: Read) -> None:
    assert chosen_sessions(read.store, APP, WINDOW) == ["s0"]
    assert chosen_sessions(read.store, "airline", WINDOW, as_of_ns=T0 + 86_400 * NS_PER_S) == ["twins"]
    assert chosen_sessions(read.other, APP, WINDOW) == []


# -- what was said ---------------------------------------------------------------------------------------------------


def said() -> list[list[dict[str, Any]]]:
    """Two commits of outcomes, and of a judge's verdicts in two versions on sessions, a turn and a span."""
    first = [
        score("solved", "outcome", "s0", 0.0, EDGE_NS),
        score("solved", "outcome", "s1", 1.0, EDGE_NS),
        score("solved", "outcome", "s6", 1.0, EDGE_NS),
        score("solved", "outcome", "run_1.ex.0", 0.4, EDGE_NS + 20 * HOUR_NS),
        score("seen", "event", "s12", 1.0, EDGE_NS),
        score("solved", "outcome", "s2", 1.0, EDGE_NS),
        score("solved", "rule", "s13", 1.0, EDGE_NS),
        score("solved", "outcome", "s13", 1.0, EDGE_NS, target="example"),
    ]
    later = [
        score("solved", "outcome", "s1", math.nan, EDGE_NS, score_id="~ after the first"),
        score("solved", "outcome", "s6", None, EDGE_NS + 1, unscored="lost"),
    ]
    for n, name in enumerate(("s0", "s1", trace(1), span_of(trace(1), 7), "sé 😀'%_3")):
        told: dict[str, Any] = {"label": "gut", "metadata": '{"ü": 1}', "author": "judge/1", "explanation": None}
        first += [
            score("tön", "judge", name, v / 4, EDGE_NS + n % 2, evaluator_version=str(v), score_id=f"judge_{n}{v}")
            | told
            for v in (2, 1)
        ]
        later += [score("tön", "judge", name, 0.5, EDGE_NS, score_id=f"other_{n}")] if n % 2 == 0 else []
        later += [score("tön", "human", name, 0.0, EDGE_NS + 9, label="schlecht")]
    later.append(score("tön", "judge", "s1", None, EDGE_NS + HOUR_NS, target="example", unscored="timeout"))
    return [first, later]


def key_of(one: dict[str, Any]) -> str:
    span = f"/{one.get('span_id')}" if one["target"] == "span" else ""
    is_turn = one["target"] in ("turn", "span")
    return f"{one['target']}:{one['trace_id'] if is_turn else one['session_id']}{span}"


ASKED: Final[list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]]] = [
    ({}, lambda _: True),
    ({"version": "1"}, lambda one: one["evaluator_version"] == "1"),
    ({"version": "2", "begins": "judge_"}, lambda one: one["score_id"].startswith("judge_") and one["value"] == 0.5),
    ({"begins": "judge_"}, lambda one: one["score_id"].startswith("judge_")),
    ({"window": Window(start_ns=EDGE_NS, end_ns=EDGE_NS + 1)}, lambda one: one["at_ns"] == EDGE_NS),
    ({"as_of_ns": T0}, lambda _: False),
]


@pytest.mark.parametrize(("asked", "passes"), ASKED)
def test_what_was_said_last_of_each_target(
    read: Read, asked: dict[str, Any], passes: Callable[[dict[str, Any]], bool]
) -> None:
    for kind in (EvaluatorKind.JUDGE, EvaluatorKind.HUMAN):
        mine = [one for one in read.scores if one["evaluator"] == "tön" and one["evaluator_kind"] == kind.value]
        ordered = sorted(filter(passes, mine), key=lambda one: (one["at_ns"], one["commit"], one["score_id"]))
        newest = {key_of(one): one for one in ordered}
        found = newest_said(read.store, "tön", kind, **asked)
        columns = ("session_id", "score_id", "evaluator_version", "at_ns", "value", "label", "unscored", "metadata")
        expected = [(name, *[one.get(column) for column in columns]) for name, one in sorted(newest.items())]
        assert found.select("target", *columns).rows() == expected


@pytest.mark.parametrize(("release", "evaluator"), [(None, None), ("r2", None), (None, "tön"), (None, "solved")])
def test_outcomes_are_the_last_of_each_session(read: Read, release: str | None, evaluator: str | None) -> None:
    mine = {one.name: one for one in MINE if release in (None, one.release)}
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for one in sorted(read.scores, key=lambda row: (row["at_ns"], row["score_id"])):
        is_outcome = one["target"] == "session" and one["evaluator_kind"] == "outcome"
        is_trial = one["target"] == "example" and one["evaluator"] == evaluator
        if one.get("session_id") in mine and (is_outcome or is_trial):
            newest[one["session_id"], one["evaluator"]] = one
    found = outcomes(read.store, OutcomesAsked(window=WINDOW, app=APP, release=release, evaluator=evaluator))
    same(found.select("session_id", "evaluator", "release", "user_id", "value", "unscored"), [
        (*key, mine[key[0]].release, mine[key[0]].user, one["value"] if math.isfinite(one["value"] or 0) else None,
         one.get("unscored"))
        for key, one in newest.items()
    ])  # fmt: skip
    costs = dict(found.select("session_id", pl.col("cost_usd").round(12)).rows())
    assert costs == {
        name: None if one.number % 4 == 3 else round(1e-9 * (one.number + 1) * one.n_turns * len(one.models), 12)
        for name, one in mine.items() if name in costs
    }  # fmt: skip


def test_scores_are_known_by_their_ids(read: Read) -> None:
    ids = ["judge_02", "judge_41", "other_4", "nobody's", "' OR 1=1"]
    found = scores_by_id(read.store, ids)
    same(found.select("score_id", "target", "value", "at_ns"), [
        (one["score_id"], one["target"], one["value"], one["at_ns"]) for one in read.scores if one["score_id"] in ids
    ])  # fmt: skip
    assert known_scores(read.store, ids) == set(ids[:3])
    assert known_scores(read.store, ids, AFTER) == set()
    assert known_scores(read.store, []) == set()


def test_each_visit_is_of_one_app() -> None:
    """What the expectations above count on."""
    assert {one.app for one in visits()} == {APP, "airline", None}
    assert all(isinstance(one, Visit) and one.begins_ns < LATE_NS for one in MINE)
