"""Spans in tree order, whatever was sent."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dashboard.parts.arrange import arrange


def span(span_id: str, parent: str | None, start: int = 0) -> dict[str, Any]:
    return {"span_id": span_id, "parent_span_id": parent, "start_ns": start}


def shape(spans: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    return [(place.span["span_id"], place.depth, place.n_below) for place in arrange(spans)]


def test_children_follow_their_parent_in_order_of_time() -> None:
    spans = [span("late", "root", 5), span("leaf", "early", 2), span("root", None, 0), span("early", "root", 1)]
    assert shape(spans) == [("root", 0, 3), ("early", 1, 1), ("leaf", 2, 0), ("late", 1, 0)]


def test_a_span_without_its_parent_is_a_marked_root() -> None:
    placed = arrange([span("a", None), span("lost", "gone", 1)])
    assert [(place.depth, place.orphan) for place in placed] == [(0, False), (0, True)]


def test_cycles_and_self_parents_are_shown_once() -> None:
    assert sorted(shape([span("a", "b", 0), span("b", "a", 1)])) == [("a", 0, 1), ("b", 1, 0)]
    assert shape([span("me", "me")]) == [("me", 0, 0)]


def test_one_id_twice_appears_twice() -> None:
    assert shape([span("a", None, 0), span("a", None, 1), span("kid", "a", 2)]) == [
        ("a", 0, 1),
        ("kid", 1, 0),
        ("a", 0, 0),
    ]


def test_a_chain_of_33_000_needs_no_recursion() -> None:
    placed = arrange([span(str(n), str(n - 1) if n else None, n) for n in range(33_000)])
    assert (placed[0].n_below, placed[-1].depth) == (32_999, 32_999)


ids = st.sampled_from("abcdef")


@given(st.lists(st.builds(span, ids, st.one_of(st.none(), ids, st.just("gone")), st.integers(0, 9)), max_size=30))
def test_every_span_has_exactly_one_place(spans: list[dict[str, Any]]) -> None:
    placed = arrange(spans)
    assert len(placed) == len(spans)
    assert {id(place.span) for place in placed} == {id(one) for one in spans}
    for at, place in enumerate(placed):
        below = placed[at + 1 : at + 1 + place.n_below]
        assert all(one.depth > place.depth for one in below)
        after = placed[at + 1 + place.n_below : at + 2 + place.n_below]
        assert all(one.depth <= place.depth for one in after)
