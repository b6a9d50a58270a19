"""What monitors read of scores and clusters, on each engine, against the same worked out in Python from what was
written: the newest of each target, ties, what is no number, the last nanosecond of a bucket, another tenant's."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
import pytest

from store.memberships import write_memberships
from store.monitor_groups import DIMENSIONS, group_sums, scored_sessions
from store.monitor_samples import score_values
from store.monitor_series import BucketsAsked, agreement_buckets, cluster_buckets, score_buckets
from store.tenant import TenantStore
from tests.store import busy
from tests.store.build import T0, trace
from tests.store.busy import APP, EDGE_NS, HOUR_NS, WINDOW, Visit, score, span_of, visits
from tests.store.test_memberships import rows as membership_rows

WANTED: Final = (("polite", False), ("toxic", True))
ONSET_NS: Final = EDGE_NS + 2 * HOUR_NS
STEP_S: Final = 900
BY: Final = (None, "release", "variant", "environment", "attribute:country")


def first_scores() -> list[dict[str, Any]]:
    """A commit: of each visit a score, of each turn one on either side of a full hour, of first spans what is none."""
    rows = []
    for one in visits():
        n, turn = one.number, one.traces[0]
        edge_ns = EDGE_NS - 1 + n % 2
        rows.append(score("polite", "rule", one.name, n / 8, one.begins_ns + 10))
        rows.append(score("polite", "human", one.name, 1.0, one.begins_ns + 10, label="göod"))
        rows += [score("toxic", "judge", each, 0.25 * (n % 2), edge_ns) for each in one.traces]
        strange = {6: None, 9: math.nan, 10: math.inf, 12: -math.inf}.get(n, 2.0)
        rows.append(score("toxic", "judge", span_of(turn, n), strange, edge_ns, label="x" if strange is None else None))
    rows.append(score("polite", "rule", trace(999), 0.5, EDGE_NS))
    rows += [score("polite", "rule", name, 0.75, EDGE_NS + 5 * HOUR_NS) for name in ("tied", "twins", "nobody")]
    rows.append(score("polite", "judge", "s0", 9.0, EDGE_NS, target="example"))
    rows.append(score("other", "rule", "s0", 9.0, EDGE_NS))
    rows.append(score("polite", "rule", "s0", 9.0, WINDOW.end_ns))
    return rows


def later_scores() -> list[dict[str, Any]]:
    """A later commit: the same targets at the same moments, decided anew; of two of one commit the greater id holds."""
    rows = []
    for one in visits()[::2]:
        at_ns = one.begins_ns + 10
        rows += [score("polite", "rule", one.name, (one.number + x) / 8, at_ns, score_id=f"{x}") for x in (2, 1)]
    rows.append(score("polite", "rule", span_of(visits()[1].traces[0], 7), 5.0, EDGE_NS + HOUR_NS, session_id="s1"))
    rows.append(score("polite", "rule", "s12", None, EDGE_NS + 11 * HOUR_NS, unscored="lost"))
    rows.append(score("polite", "rule", "s13", math.nan, EDGE_NS + 11 * HOUR_NS))
    return rows


def placed(store: TenantStore, clusters: dict[str, str | None], seq: int, app: str | None = APP) -> None:
    begins = {one.name: one.begins_ns for one in visits()}
    told = [{"session_id": name, "cluster_id": cluster, "app": app} for name, cluster in clusters.items()]
    frame = membership_rows(*told).with_columns(at_ns=pl.Series([begins[name] for name in clusters], dtype=pl.Int64))
    write_memberships(store, frame, now_ns=T0 + seq)


CLUSTERS: Final[dict[str, str | None]] = {"s0": "C-1", "s1": "C-ü", "s6": None, "run_1.ex.0": "C-1", "s12": "C-ü"}


@dataclass(frozen=True, kw_only=True)
class Read:
    """A filled lake on one engine, and its scores as they were written, each with the number of its commit."""

    store: TenantStore
    scores: tuple[dict[str, Any], ...]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, each_engine_once: str) -> Read:
    store, other = busy.busy_at(tmp_path_factory.mktemp("monitored"))
    kept: list[dict[str, Any]] = []
    for commit, rows in enumerate((first_scores(), later_scores(), said_of_rudeness())):
        busy.append(store, rows)
        busy.append(other, [one | {"tenant": "globex", "value": 1e6} for one in rows])
        kept += [one | {"commit": commit} for one in rows]
    placed(store, CLUSTERS | {"s6": "C-1"}, 1)
    placed(store, {"s6": None}, 2)
    placed(store, {"s2": "C-9"}, 3, app="airline")
    placed(other, {one.name: "C-7" for one in visits()}, 4)
    return Read(store=store, scores=tuple(kept))


def newest(scores: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
    """Of the rows of each key the one decided last, of one moment that of the later commit, of one commit by its id."""
    found: dict[Any, dict[str, Any]] = {}
    for one in sorted(scores, key=lambda row: (row["at_ns"], row["commit"], row["score_id"])):
        found[key(one)] = one
    return list(found.values())


def target_of(one: dict[str, Any]) -> tuple[Any, ...]:
    name = one.get("session_id") if one["target"] == "session" else (one["trace_id"], one.get("span_id"))
    return one["evaluator"], one["evaluator_kind"], one["target"], name


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def owners() -> dict[str, dict[str | None, Any]]:
    """What the first that says so says of each session, and of each turn."""
    found: dict[str, dict[str | None, Any]] = {}
    for one in visits():
        said: dict[str | None, Any] = {name: getattr(one, name) for name in ("app", *busy.DIMS)}
        found[one.name] = said | {"attribute:country": one.country or None, "who": one.name}
        found |= {each: said | {"attribute:country": None, "who": each} for each in one.traces}
    nothing: dict[str | None, Any] = dict.fromkeys((*busy.DIMS, "attribute:country"))
    found["tied"] = {**nothing, "app": APP, "release": "r2", "who": "tied"}
    found["twins"] = {**nothing, "app": APP, "release": "r2", "attribute:country": "DE", "who": "twins"}
    found[trace(999)] = {**nothing, "app": APP, "release": "r1", "who": trace(999)}
    return {name: {None: None, **said} for name, said in found.items()}


def counted(read: Read, by: str | None) -> list[dict[str, Any]]:
    """The newest of each wanted target with the app, split and bucket it counts in."""
    wanted, owned = dict(WANTED), owners()
    found: list[dict[str, Any]] = []
    mine = [one for one in read.scores if one["evaluator"] in wanted and WINDOW.contains(one["at_ns"])]
    for one in newest([one for one in mine if one["target"] != "example"], target_of):
        said = owned.get(str(one.get("session_id") or one.get("trace_id")), {})
        if said.get("app") is not None:
            bucket = one["at_ns"] // (STEP_S * 10**9) * STEP_S * 10**9
            value = finite(one["value"])
            found.append(
                one | {"app": said["app"], "split": said[by], "bucket": bucket, "value": value, "who": said["who"]}
            )
    return found


def same(frame: pl.DataFrame, expected: Iterable[tuple[Any, ...]]) -> None:
    assert sorted(frame.rows(), key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize("by", BY)
def test_scores_by_bucket_are_the_newest_of_each_target(read: Read, by: str | None) -> None:
    cells: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for one in counted(read, by):
        cell = cells[one["bucket"], one["app"], one["split"], one["evaluator"], one["evaluator_kind"]]
        cell += [] if one["value"] is None else [one["value"]]
    asked = BucketsAsked(window=WINDOW, step_s=STEP_S, by=by)
    found = score_buckets(read.store, asked, WANTED)
    breach = {"polite": lambda x: x < 1, "toxic": lambda x: x > 0}
    same(found, [
        (*key, float(len(all_)), float(sum(all_)) if all_ else None,
         float(sum(map(breach[key[3]], all_))) if all_ else None)
        for key, all_ in cells.items()
    ])  # fmt: skip
    assert {one[1] for one in cells} == {APP, "airline"}
    assert {EDGE_NS, EDGE_NS - STEP_S * 10**9} <= {one[0] for one in cells}, "the last nanosecond is of its own bucket"


@pytest.mark.parametrize("by", BY)
def test_values_of_scores_are_one_for_each_session_and_bucket(read: Read, by: str | None) -> None:
    cells: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for one in counted(read, by):
        if one["app"] == APP and one["value"] is not None:
            cells[one["bucket"], one["split"], one["evaluator"], one["evaluator_kind"], one["who"]].append(one["value"])
    asked = BucketsAsked(window=WINDOW, step_s=STEP_S, by=by)
    found = score_values(read.store, APP, asked, tuple(name for name, _ in WANTED))
    assert found["at_ns"].is_sorted()
    same(found, [(at, split, sum(all_) / len(all_), *of) for (at, split, *of, _), all_ in cells.items()])


def of_sessions(read: Read, window: Any = WINDOW) -> dict[str, dict[str, Any]]:
    """The newest value of `polite` of each session of the app, by nobody human."""
    owned = owners()
    mine = [
        one for one in read.scores
        if one["evaluator"] == "polite" and one["evaluator_kind"] != "human" and one["target"] != "example"
        and one.get("session_id") and one["value"] is not None and window.contains(one["at_ns"])
    ]  # fmt: skip
    found = {one["session_id"]: one for one in newest(mine, lambda one: one["session_id"])}
    return {
        name: one
        for name, one in found.items()
        if math.isfinite(one["value"]) and owned.get(name, {}).get("app") == APP
    }


def splits_of(one: Visit | None, name: str, dimension: str) -> set[str | None]:
    """In which groups of a dimension a session is."""
    told: dict[str, set[str | None]] = {
        "model": {model for model in (one.models if one else ()) if model},
        "tool": set(one.tools if one else ()),
        "cluster": {CLUSTERS.get(name)},
    }
    return told.get(dimension) or {owners()[name].get(dimension)}


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_sums_of_an_evaluator_by_what_sessions_have_in_common(read: Read, dimension: str) -> None:
    by_name = {one.name: one for one in visits()}
    cells: dict[tuple[bool, str | None], list[float]] = defaultdict(list)
    for name, one in of_sessions(read).items():
        for split in splits_of(by_name.get(name), name, dimension):
            cells[one["at_ns"] >= ONSET_NS, split].append(one["value"])
    found = group_sums(read.store, APP, "polite", dimension, WINDOW, ONSET_NS)
    same(found, [(*key, float(len(all_)), sum(all_), sum(x * x for x in all_)) for key, all_ in cells.items()])


def test_the_sessions_that_were_scored_with_what_they_say_of_themselves(read: Read) -> None:
    users = {one.name: one.user for one in visits()}
    begins = {one.name: one.begins_ns for one in visits()}
    owned = owners()
    found = scored_sessions(read.store, APP, "polite", WINDOW)
    assert found["session_id"].is_sorted()
    same(found, [
        (name, begins.get(name, EDGE_NS + 5 * HOUR_NS), one["value"], users.get(name),
         *[owned[name][each] for each in busy.DIMS])
        for name, one in of_sessions(read).items()
    ])  # fmt: skip


def test_clusters_by_the_hour_in_which_their_sessions_began(read: Read) -> None:
    cells: dict[tuple[int, str, str | None], float] = defaultdict(float)
    begins = {one.name: one.begins_ns // HOUR_NS * HOUR_NS for one in visits()}
    for name, cluster in CLUSTERS.items():
        cells[begins[name], APP, cluster] += 1
    cells[begins["s2"], "airline", "C-9"] += 1
    found = cluster_buckets(read.store, BucketsAsked(window=WINDOW, step_s=3600))
    same(found, [(*key, n) for key, n in cells.items()])


RUDE: Final = EDGE_NS + HOUR_NS


def said_of_rudeness() -> list[dict[str, Any]]:
    """What the judge jüdge and people said under its rubric: of sessions, a turn and a span."""
    pairs: tuple[tuple[str, str | None, float | None, str | None, float | None], ...] = (
        ("s0", "ja", 1.0, "ja", 0.0),  # by their labels the same
        ("s1", "ja", 1.0, "JA", 1.0),  # and not
        ("s6", None, 0.5, "ja", 0.5),  # by their values, where one has no label
        ("run_1.ex.0", None, None, "ja", 0.5),
        ("s12", "nein", None, None, None),  # nobody labelled it
        ("s2", "ja", None, "ja", None),  # of another app
        ("s4", "ja", None, "ja", None),  # of no app
    )
    rows = []
    for n, (name, human, value, judge, judged) in enumerate(pairs):
        if judge is not None:
            rows.append(score("jüdge", "judge", name, judged, RUDE + 9, label=judge))
        rows.append(score("rude", "human", name, value, RUDE - 1 + n % 2, label=human))
    rows.append(score("rude", "human", "s1", None, RUDE, unscored="skipped"))
    rows.append(score("rude", "outcome", "s1", None, RUDE, label="JA"))
    turn = visits()[1].traces[0]
    for of in (turn, span_of(turn, 1)):
        rows.append(score("jüdge", "judge", of, None, RUDE, label="ja", session_id="s1"))
        rows += [score("rude", "human", of, None, RUDE, label=x, session_id="s1", score_id=x) for x in ("ja", "a")]
    return rows


def test_what_a_judge_and_people_both_said_is_held_together(read: Read) -> None:
    found = agreement_buckets(read.store, BucketsAsked(window=WINDOW, step_s=STEP_S), {"jüdge": "rude", "toxic": "x"})
    before = RUDE - STEP_S * 10**9
    same(found, [(before, APP, None, "jüdge", 2.0, 2.0), (RUDE, APP, None, "jüdge", 4.0, 2.0),
                 (RUDE, "airline", None, "jüdge", 1.0, 1.0)])  # fmt: skip
