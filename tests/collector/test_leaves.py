"""Tokens and cost count once: on the model span inside, not on the wrapper that repeats them."""

from __future__ import annotations

from typing import Any

from collector.leaves import Leaves
from tests.store.build import row, spans_table

WRAPPER, CALL, OTHER = 10, 11, 12
TOKENS = {"kind": "LLM", "usage_counted": True, "input_tokens": 100, "output_tokens": 10}
BARE = {"kind": "LLM", "usage_counted": True}


def counted(leaves: Leaves, *rows: dict[str, Any]) -> dict[int, bool]:
    """Which spans of a batch count, by number."""
    found = leaves.count(spans_table(list(rows)))
    ids = [int(span, 16) for span in found.column("span_id").to_pylist()]
    return dict(zip(ids, found.column("usage_counted").to_pylist(), strict=True))


def test_a_wrapper_in_the_same_batch_does_not_count() -> None:
    wrapper, call = row(span_id=WRAPPER, **TOKENS), row(span_id=CALL, parent=WRAPPER, **TOKENS)
    for batch in ([wrapper, call], [call, wrapper]):
        assert counted(Leaves(), *batch) == {WRAPPER: False, CALL: True}


def test_a_wrapper_that_ends_later_does_not_count() -> None:
    leaves = Leaves()
    assert counted(leaves, row(span_id=CALL, parent=WRAPPER, **TOKENS)) == {CALL: True}
    assert counted(leaves, row(span_id=WRAPPER, **TOKENS)) == {WRAPPER: False}


def test_a_wrapper_that_arrives_before_its_call_stays_counted_here() -> None:
    """The documented limit: a page of the trace looks at all of it and gets it right."""
    leaves = Leaves()
    assert counted(leaves, row(span_id=WRAPPER, **TOKENS)) == {WRAPPER: True}
    assert counted(leaves, row(span_id=CALL, parent=WRAPPER, **TOKENS)) == {CALL: True}


def test_wrappers_of_wrappers() -> None:
    chain = [
        row(span_id=1, **TOKENS),
        row(span_id=2, parent=1, **TOKENS),
        row(span_id=3, parent=2, **TOKENS),
    ]
    assert counted(Leaves(), *chain) == {1: False, 2: False, 3: True}


def test_siblings_all_count() -> None:
    batch = [row(span_id=WRAPPER, **TOKENS), *[row(span_id=n, parent=WRAPPER, **TOKENS) for n in (CALL, OTHER)]]
    assert counted(Leaves(), *batch) == {WRAPPER: False, CALL: True, OTHER: True}


def test_a_call_without_tokens_does_not_take_the_count_from_its_wrapper() -> None:
    batch = [row(span_id=WRAPPER, **TOKENS), row(span_id=CALL, parent=WRAPPER, **BARE)]
    assert counted(Leaves(), *batch)[WRAPPER] is True


def test_a_bare_wrapper_gives_way_to_any_call() -> None:
    batch = [row(span_id=WRAPPER, **BARE), row(span_id=CALL, parent=WRAPPER, **BARE)]
    assert counted(Leaves(), *batch) == {WRAPPER: False, CALL: True}


def test_a_tool_inside_changes_nothing() -> None:
    batch = [row(span_id=WRAPPER, **TOKENS), row(span_id=CALL, parent=WRAPPER, kind="TOOL")]
    assert counted(Leaves(), *batch) == {WRAPPER: True, CALL: False}


def test_the_same_span_id_in_another_trace_or_tenant_is_another_span() -> None:
    leaves = Leaves()
    counted(leaves, row(span_id=CALL, parent=WRAPPER, **TOKENS))
    assert counted(leaves, row(span_id=WRAPPER, trace_id=2, **TOKENS)) == {WRAPPER: True}
    assert counted(leaves, row(span_id=WRAPPER, tenant="other", **TOKENS)) == {WRAPPER: True}


def test_an_http_clients_span_between_an_agent_and_the_gateway_does_not_make_a_call_count_twice() -> None:
    """agent's chat (10) > POST (11, no model span) > the gateway's chat (12): the gateway's counts, whichever is first
    in a batch, and the agent's in a later one does not."""
    answer = {"response_id": "chatcmpl-1", **TOKENS}
    agents, ours = row(span_id=WRAPPER, **answer), row(span_id=OTHER, parent=CALL, scope_name="assay.gateway", **answer)
    for batch in ([agents, ours], [ours, agents]):
        assert counted(Leaves(), *batch) == {WRAPPER: False, OTHER: True}
    leaves = Leaves()
    assert counted(leaves, ours) == {OTHER: True}
    assert counted(leaves, agents) == {WRAPPER: False}


def test_the_same_response_elsewhere_is_another_call() -> None:
    ours = row(span_id=OTHER, scope_name="assay.gateway", response_id="chatcmpl-1", **TOKENS)
    other_trace = row(span_id=WRAPPER, trace_id=9, response_id="chatcmpl-1", **TOKENS)
    other_response = row(span_id=CALL, response_id="chatcmpl-2", **TOKENS)
    nothing_said = row(span_id=13, **TOKENS)
    assert all(counted(Leaves(), ours, other_trace, other_response, nothing_said).values())


def test_the_gateways_own_spans_do_not_cover_each_other() -> None:
    """An answer from its cache reports the response of the call before, with no tokens."""
    first = row(span_id=CALL, scope_name="assay.gateway", response_id="chatcmpl-1", **TOKENS)
    again = row(span_id=OTHER, scope_name="assay.gateway", response_id="chatcmpl-1", **TOKENS)
    assert counted(Leaves(), first, again) == {CALL: True, OTHER: True}
