"""Items that cannot be kept, by the hundred thousand: none is lost, and there is no object for each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from collector.batch import rows_of
from collector.decode import decode
from collector.json_body import transcode
from collector.json_fields import framed
from collector.kinds import Signal
from collector.refused_spans import shared_payloads
from collector.rejected import MAX_PAYLOAD, MOST_ALONE, Rejection, Rejections, folded
from collector.scan import Refusal
from core.records import Counts
from tests.collector.doors import fresh
from tests.collector.inside import TENANT
from tests.collector.otlp import json_span, json_traces, traces
from tests.collector.test_batch import brittle, item

MANY = 200_000


def test_o20_many_empty_spans_are_few_refusals_that_count_and_hold_all_of_them() -> None:
    body = traces(*[Span()] * MANY).SerializeToString()
    refused = decode([(1, body), (2, body)], tenant="t", ingested_at_us=1).refused
    assert len(refused) <= 2 * (MOST_ALONE + 2)
    for seq in (1, 2):
        own = [each for each in refused if each.seq == seq]
        assert sum(each.n_spans for each in own) == MANY
        assert {each.refusal for each in own} == {Refusal.NO_IDS}
        assert (
            sum(len(ScopeSpans.FromString(each.payload).spans) for each in own if each.is_shared) == MANY - MOST_ALONE
        )


def test_one_refused_span_of_each_of_many_requests_stays_with_its_request() -> None:
    parts = [
        (seq, traces(*fresh(1), Span(name=f"n{seq}"), *fresh(seq % 2)).SerializeToString()) for seq in range(1, 500)
    ]
    refused = decode(parts, tenant="t", ingested_at_us=1).refused
    assert [(each.seq, Span.FromString(each.payload).name) for each in refused] == [(n, f"n{n}") for n in range(1, 500)]


def test_o20_a_batch_counts_them_and_its_siblings_are_rows() -> None:
    body = traces(*[Span()] * MANY, *fresh(2)).SerializeToString()
    rows = rows_of([item(1, body)], brittle(ValueError("never")))
    assert rows.counts[TENANT, str(Signal.SPANS)] == Counts(received=MANY + 2, quarantined=MANY)
    assert rows.table("spans").num_rows == 2
    quarantine = rows.table("quarantine").to_pylist()
    assert len(quarantine) == MOST_ALONE + 1
    assert f"{MANY - MOST_ALONE} more items" in quarantine[-1]["detail"]


def test_one_more_than_those_alone_is_framed_like_all_that_share() -> None:
    spans = [Span(name=f"n{i}") for i in range(MOST_ALONE + 1)]
    rows = rows_of([item(1, traces(*spans).SerializeToString())], brittle(ValueError("never")))
    last = rows.table("quarantine").to_pylist()[-1]
    assert [each.name for each in ScopeSpans.FromString(last["payload"]).spans] == [f"n{MOST_ALONE}"]
    assert last["detail"].startswith("1 more items")


@given(st.lists(st.sampled_from([0, 1, 5, 127, 128, 300, 16_383, 16_384, 400_000, MAX_PAYLOAD, MAX_PAYLOAD + 9])))
def test_shared_payloads_lose_no_byte_and_stay_small(sizes: list[int]) -> None:
    body = np.frombuffer(bytes(range(256)) * (sum(sizes) // 256 + 1), np.uint8)
    ends = np.cumsum(np.array(sizes, np.int64)).astype(np.int64)
    starts = ends - np.array(sizes, np.int64)
    made = list(shared_payloads(body, starts, ends))
    assert b"".join(payload for payload, _ in made) == b"".join(
        framed(b"\x12", body[a:b].tobytes()) for a, b in zip(starts, ends, strict=True)
    )
    assert sum(n for _, n in made) == len(sizes)
    assert all(n == 1 or len(payload) <= MAX_PAYLOAD for payload, n in made)


def test_what_was_folded_is_not_folded_again() -> None:
    gathered = Rejections()
    for i in range(MOST_ALONE + 3):
        gathered.add(Rejection(reason="r", detail="d", payload=b'{"i":%d}' % i))
    once = gathered.all()
    assert gathered.n_items == sum(each.n_items for each in once) == MOST_ALONE + 3
    assert folded(once) == once
    assert once[-1].payload.count(b"\n") == once[-1].n_items == 3


def test_o20_the_reasons_of_many_json_spans_are_counted_not_kept() -> None:
    n = MOST_ALONE + 50
    done = transcode(json_traces(*[json_span(spanId="zz") for _ in range(n)], *[json_span(kind="x")] * 2))
    assert (done.n_rejected, done.n_items, done.n_reasons) == (n + 2, n + 2, 2)
    assert list(done.reasons.values()) == [n, 2]
    assert len(done.rejected) == MOST_ALONE + 2
