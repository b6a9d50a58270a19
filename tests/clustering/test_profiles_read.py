"""What a profile is made of: levels of spans, places that failed, judges' scores, corrected where certified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest

from clustering.facets import facets
from clustering.records import NOISE
from clustering.service_levels import levels_of, places_of
from clustering.service_profile import Judge, Profiles, nobody, profiles_of
from clustering.stages import quiet
from core.records import EvaluatorKind, TargetKind
from store.control.cluster_records import ClusterRunRecord
from store.scores import NewScore, append_scores
from tests.clustering.sittings import APP, NOW_NS, TENANT, WEEK, Sitting, Talk, sitting

N = 20  # sessions of each kind
RUN = ClusterRunRecord(
    tenant=TENANT, run_id="r", app=APP, start_ns=WEEK.start_ns, end_ns=WEEK.end_ns, params={}, params_hash=""
)


@pytest.fixture(scope="module")
def sat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sitting]:
    """N sessions that are handed over to a person, each failing, then N that are not; a judge likes half of each,
    people all of the first."""
    talks = [
        *[Talk(user="refund", agent="wait", tools=("get_order", "transfer_to_human_agents"), failed=True)] * N,
        *[Talk(user="wash", agent="by hand", tools=("search",), failed=False)] * N,
    ]
    with sitting(tmp_path_factory.mktemp("profiles"), talks) as one:
        scores = [
            NewScore(
                evaluator="polite", evaluator_kind=EvaluatorKind.JUDGE, target=TargetKind.SESSION,
                session_id=f"s{number}", value=float(number % 2), at_ns=NOW_NS,
            )
            for number in range(2 * N)
        ]  # fmt: skip
        scores += [
            NewScore(
                evaluator="polite", evaluator_kind=EvaluatorKind.HUMAN, target=TargetKind.SESSION,
                session_id=f"s{number}", value=1.0, at_ns=NOW_NS,
            )
            for number in range(N)
        ]  # fmt: skip
        append_scores(one.store, scores, ids=[f"p{n}" for n in range(3 * N)], author="test", now_ns=NOW_NS)
        yield one


def profiled(sat: Sitting, judges: Any = nobody) -> dict[str, Any]:
    """The profile of the cluster of those that were handed over."""
    frame = facets(sat.store, APP, WEEK)
    first = {f"s{number}" for number in range(N)}
    labels = np.array([0 if name in first else NOISE for name in frame["session_id"]], np.int32)
    return profiles_of(sat.store, RUN, frame, labels, judges, quiet).said(0)


def figure(said: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in said["figures"] if one["name"] == name]
    return dict(found)


def test_levels_are_what_the_spans_of_an_app_say(sat: Sitting) -> None:
    levels = levels_of(sat.store, APP, WEEK)
    told = {(row["attribute"], row["level"]) for row in levels.iter_rows(named=True)}
    assert told == {
        ("release", "r1"),
        *(("tool", name) for name in ("get_order", "transfer_to_human_agents", "search")),
    }
    assert levels.filter(attribute="tool", level="search").height == N
    assert levels_of(sat.store, "another", WEEK).height == 0
    assert places_of(sat.store, APP, WEEK).height == 0  # no span failed


def test_a_profile_holds_the_cluster_against_the_rest(sat: Sitting) -> None:
    said = profiled(sat)
    assert (figure(said, "failure rate")["value"], figure(said, "failure rate")["rest"]) == (1.0, 0.0)
    assert (figure(said, "escalated")["value"], figure(said, "escalated")["rest"]) == (1.0, 0.0)
    tools = {one["level"]: (one["n"], one["share"]) for one in said["profile"] if one["attribute"] == "tool"}
    assert tools == {"get_order": (N, 1.0), "transfer_to_human_agents": (N, 1.0)}
    assert said["score"] == figure(said, "polite (judge)")["value"] == 0.5
    assert figure(said, "polite (people)")["value"] == 1.0  # of the same name, and another evaluator
    assert "as it is stored" in figure(said, "polite (judge)")["note"]


def test_a_certified_judges_share_is_told_without_its_errors(sat: Sitting) -> None:
    judge = Judge(name="polite", sensitivity=0.9, specificity=0.95)
    found = figure(profiled(sat, lambda app, window: [judge]), "polite (judge)")
    assert found["value"] == pytest.approx((0.5 + 0.95 - 1) / (0.9 + 0.95 - 1))  # Rogan, Gladen 1978
    assert found["low"] < found["value"] < found["high"]
    assert "corrected" in found["note"]
    assert "0.500" in found["note"]
    people = figure(profiled(sat, lambda app, window: [judge]), "polite (people)")
    assert (people["value"], "corrected" in people["note"]) == (1.0, False)  # that judge's errors are not theirs
    blind = Judge(name="polite", sensitivity=0.5, specificity=0.5)  # it knows nothing: nothing can be taken out
    assert figure(profiled(sat, lambda app, window: [blind]), "polite (judge)")["value"] == 0.5


def test_where_it_goes_wrong_without_an_error_its_signs_say(sat: Sitting) -> None:
    said = profiled(sat)
    assert said["wrong_at"] == []  # no span failed, and none shows a sign that the others do not
    frame = facets(sat.store, APP, WEEK)
    first = pl.col("session_id").is_in([f"s{number}" for number in range(N)])
    signs = pl.when(first).then(pl.lit("refund without asking first\nmany turns")).otherwise(pl.lit("many turns"))
    labels = np.array([0 if int(name[1:]) < N else NOISE for name in frame["session_id"]], np.int32)
    told = profiles_of(sat.store, RUN, frame.with_columns(outcome=signs), labels, nobody, quiet).said(0)["wrong_at"]
    assert [(one["kind"], one["name"], one["n"], one["share_rest"]) for one in told] == [
        ("sign", "refund without asking first", N, 0.0)
    ]


def test_without_a_cluster_there_is_no_profile(sat: Sitting) -> None:
    frame = facets(sat.store, APP, WEEK)
    labels = np.full(frame.height, NOISE, np.int32)
    assert profiles_of(sat.store, RUN, frame, labels, nobody, quiet) == Profiles()
    assert Profiles().said(3)["figures"] == []
