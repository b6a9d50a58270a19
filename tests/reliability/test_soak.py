"""A soak in small: fourteen seconds of load, four of them with a store that refuses to write; no claim about memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.reliability.faults_layer import compiler
from tests.reliability.soak import SPANS_OF_A_REQUEST, WARM_QUESTIONS, Plan, Soak
from tests.reliability.soak_load import NO_REST, Rest, State, Template, numbers_of
from tests.reliability.soak_watch import at_rest, slope_percent_per_hour


@pytest.mark.timeout(400)
@pytest.mark.skipif(compiler() is None, reason="the fault layer needs a C compiler (cc)")
def test_what_is_acknowledged_while_the_store_stalls_is_stored_once_when_it_relents(tmp_path: Path) -> None:
    soak = Soak(tmp_path, Plan(seconds=14, stall_s=4, rate=2_000, every_s=1, warm_rounds=1))
    soak.run()
    assert soak.problems == []
    assert soak.figures["warm_questions"] == WARM_QUESTIONS
    assert (soak.figures["missing"], soak.figures["duplicated"]) == (0, 0)
    assert int(soak.figures["acked_spans"]) > 5_000
    assert int(soak.figures["calls_refused_in_the_stall"]) > 0
    assert float(soak.figures["backlog_peak_mib"]) > 1, "the journal went on while the lake stood still"
    states = bytearray(soak.states)
    states[states.index(State.ACKED)] = State.REFUSED
    soak.judge(bytes(states + bytes([State.ACKED])))
    assert [problem.partition(" spans")[0] for problem in soak.problems] == [
        f"ACKED: {SPANS_OF_A_REQUEST}",
        "REFUSED: 0",
    ], "the judgement would see what is missing, and what was refused and kept"


def test_requests_are_numbered_and_their_numbers_come_back() -> None:
    template = Template(24)
    for number in (0, 7, 1_000_000):
        sent = ExportTraceServiceRequest.FromString(template.body(number, 1_790_000_000 * 10**9))
        spans = sent.resource_spans[0].scope_spans[0].spans
        assert numbers_of([s.span_id.hex() for s in spans]).tolist() == list(range(number * 24, number * 24 + 24))
        assert [s.parent_span_id for s in spans[:9]] == [b"", *[spans[0].span_id] * 7, b""]
        assert len({s.trace_id for s in spans}) == 3
        assert spans[1].start_time_unix_nano == 1_790_000_000 * 10**9 + 1000
        assert {a.key: a.value.string_value for a in spans[5].attributes}["session.id"].startswith("s-")


def test_a_slope_is_found_in_noise_and_outside_of_what_is_not_quiet() -> None:
    rng = random.Random(1)
    samples = [
        {
            "at_s": t,
            "processes": {"server": {"own_mib": 200 * (1 + 0.02 * t / 3600) + abs(rng.gauss(0, 10)) + 500 * (t == 50)}},
        }
        for t in range(0, 3600, 5)
    ]
    minutes = [(t, t + 60.0) for t in range(0, 3600, 60)]
    found = slope_percent_per_hour(samples, "server", [(-1.0, 50.0), (50.0, 60.0), *minutes[1:]])
    assert found is not None
    assert 1.5 < found[0] < 2.5
    assert 0 < found[1] < 0.5, "and how sure that is"
    assert slope_percent_per_hour(samples[:40], "server", minutes) is None


def test_nothing_is_due_while_the_load_rests() -> None:
    rest = Rest(after_s=180, lasts_s=12)
    assert rest.windows(540) == [(180, 192), (372, 384)]
    assert [rest.at_s(s) for s in (0, 179, 180, 359, 360)] == [0, 179, 192, 371, 384]
    assert NO_REST.windows(540) == []
    assert NO_REST.at_s(17) == 17
    plan = Plan(seconds=540, stall_s=60, rest=rest)
    assert (plan.lasts_s, plan.stalled) == (564, (252, 312))


def test_a_rest_begins_with_the_second_look_at_an_empty_backlog() -> None:
    samples = [{"at_s": n, "backlog_mib": mib} for n, mib in enumerate((0, 3.5, 0, 0, 0, None, 0, 0))]
    assert [sample["at_s"] for sample in at_rest(samples)] == [3, 4, 7]
