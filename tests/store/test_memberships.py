"""Memberships in the lake: the newest row of a session holds, pages go through a cluster, and days add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.clock import NS_PER_S
from core.errors import InvalidInput
from store.cluster_counts import n_placed, n_without_place, placed_sessions
from store.memberships import COLUMNS, daily_counts, members, newest_memberships, user_hash, write_memberships
from store.tenant import TenantStore
from tests.store.build import T0
from tests.store.places import WINDOW, store_at

DAY_S = 86_400


def rows(*sessions: dict[str, Any]) -> pl.DataFrame:
    """One row each, of the app shop and the run r1 where nothing else is said; `at_s` after T0."""
    plain = {"app": "shop", "run_id": "r1", "embedder": "m/1", "confidence": 1.0, "cluster_id": None}
    said = [{**plain, **one, "at_ns": T0 + one.get("at_s", 0) * NS_PER_S} for one in sessions]
    kinds = {name: kind for name, kind in COLUMNS.items() if any(name in one for one in said)}
    return pl.DataFrame([{name: one.get(name) for name in kinds} for one in said], schema=kinds)


def clusters(store: TenantStore, **asked: Any) -> dict[str, str | None]:
    found = newest_memberships(store, "shop", WINDOW, **asked)
    return dict(zip(found["session_id"], found["cluster_id"], strict=True))


@pytest.mark.usefixtures("each_engine")
def test_the_newest_row_of_a_session_holds_noise_too(tmp_path: Path) -> None:
    _, whole = store_at(tmp_path)
    store = whole.tenant("acme")
    first: list[dict[str, Any]] = [
        {"session_id": "a", "cluster_id": "C-1", "at_s": 5},
        {"session_id": "b", "cluster_id": "C-1"},
    ]
    assert write_memberships(store, rows(*first), now_ns=T0 + 10) == 2
    write_memberships(store, rows({"session_id": "b", "run_id": "r2", "waiting": True}), now_ns=T0 + 11)
    write_memberships(store, rows({"session_id": "c", "app": "bank", "cluster_id": "C-9"}), now_ns=T0 + 12)
    write_memberships(whole.tenant("globex"), rows({"session_id": "a", "cluster_id": "C-8"}), now_ns=T0 + 13)
    assert clusters(store) == {"b": None, "a": "C-1"}, "in order of start"
    assert clusters(store, run_id="r1") == {"b": "C-1", "a": "C-1"}
    waits = newest_memberships(store, "shop", WINDOW).select("session_id", "waiting", "exemplar", "x", "failed", "seq")
    assert waits.rows() == [("b", True, None, None, None, T0 + 11), ("a", False, None, None, None, T0 + 10)]


@pytest.mark.usefixtures("each_engine")
def test_a_map_is_of_now_or_as_a_run_drew_it(tmp_path: Path) -> None:
    _, whole = store_at(tmp_path)
    store = whole.tenant("acme")
    drawn = [{"session_id": name, "cluster_id": "C-1", "x": x, "y": 0.0} for name, x in (("a", 1.0), ("b", 2.0))]
    write_memberships(store, rows(*drawn), now_ns=T0 + 10)
    again = [{**one, "run_id": "r2", "cluster_id": "C-2", "x": 9.0} for one in drawn]
    write_memberships(store, rows(*again), now_ns=T0 + 11)
    later = [{"session_id": name, "run_id": "r2", "cluster_id": "C-2"} for name in "bc"]  # went on, and came
    write_memberships(store, rows(*later), now_ns=T0 + 12)

    def at(run_id: str | None, most: int = 9) -> list[tuple[str, float, str]]:
        found = placed_sessions(store, "shop", WINDOW, most, run_id).sort("session_id")
        return found.select("session_id", "x", "cluster_id").rows()

    assert at(None) == [("a", 9.0, "C-2")]
    assert at("r1") == [("a", 1.0, "C-1"), ("b", 2.0, "C-1")]
    assert at("r2") == [("a", 9.0, "C-2"), ("b", 9.0, "C-2")]
    assert at("r1", most=1) == [("a", 1.0, "C-1")]
    assert [n_placed(store, "shop", WINDOW, one) for one in (None, "r1", "r2", "r3")] == [1, 2, 2, 0]
    assert n_without_place(store, "shop", WINDOW) == 2


@pytest.mark.usefixtures("each_engine")
def test_pages_of_a_cluster_hold_each_session_once_and_those_that_left_not(tmp_path: Path) -> None:
    _, whole = store_at(tmp_path)
    store = whole.tenant("acme")
    write_memberships(
        store, rows(*[{"session_id": f"s{n}", "cluster_id": "C-1", "at_s": n // 2} for n in range(7)]), now_ns=T0 + 1
    )
    write_memberships(store, rows({"session_id": "s6", "cluster_id": "C-2", "at_s": 3}), now_ns=T0 + 2)
    found: list[str] = []
    after: tuple[int, str] | None = None
    while (page := members(store, "C-1", 4, after)).height:
        found += page["session_id"].to_list()
        after = (page["at_ns"][-1], page["session_id"][-1])
    assert found == ["s5", "s4", "s3", "s2", "s1", "s0"], "the latest first, of one moment by name"
    assert members(store, "C-2", 4)["session_id"].to_list() == ["s6"]
    assert members(store, "C-3", 4).is_empty()


@pytest.mark.usefixtures("each_engine")
def test_days_count_sessions_failures_that_are_known_and_distinct_users(tmp_path: Path) -> None:
    _, whole = store_at(tmp_path)
    store = whole.tenant("acme")
    u1, u2 = user_hash("u1"), user_hash("u2")
    said: list[dict[str, Any]] = [
        {"session_id": "a", "cluster_id": "C-1", "failed": True, "user_hash": u1},
        {"session_id": "b", "cluster_id": "C-1", "failed": False, "user_hash": u1},
        {"session_id": "c", "cluster_id": "C-1", "failed": None, "user_hash": u2},
        {"session_id": "d", "cluster_id": "C-1", "failed": True, "user_hash": None, "at_s": DAY_S // 2},
        {"session_id": "e", "cluster_id": None, "failed": False, "user_hash": None},
    ]
    write_memberships(store, rows(*said), now_ns=T0 + 1)
    write_memberships(store, rows({**said[1], "cluster_id": "C-2"}), now_ns=T0 + 2)
    assert daily_counts(store, "shop", WINDOW).rows() == [
        (None, "2026-09-21", 1, 0, 1, 0),
        ("C-1", "2026-09-21", 2, 1, 1, 2),
        ("C-1", "2026-09-22", 1, 1, 1, 0),
        ("C-2", "2026-09-21", 1, 0, 1, 1),
    ]
    assert daily_counts(store, "bank", WINDOW).is_empty()


def test_what_cannot_be_a_membership_is_refused(tmp_path: Path) -> None:
    _, whole = store_at(tmp_path)
    store = whole.tenant("acme")
    twice = rows({"session_id": "a"}, {"session_id": "a"})
    with pytest.raises(InvalidInput, match="two rows"):
        write_memberships(store, twice, now_ns=T0)
    with pytest.raises(InvalidInput, match="embedder") as told:
        write_memberships(store, twice.head(1).drop("embedder"), now_ns=T0)
    assert told.value.field == "embedder"
    assert clusters(store) == {}


def test_the_hash_of_a_user_tells_users_apart_and_is_the_published_function() -> None:
    # XXH64 of "a" with seed 0 is d24ec4f1a98c6e5b (the xxHash specification's test vectors), as a signed number.
    assert user_hash("a") == 0xD24EC4F1A98C6E5B - 2**64
    assert user_hash(None) is None
    assert user_hash("ü") != user_hash("u")
