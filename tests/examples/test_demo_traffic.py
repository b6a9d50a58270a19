"""The demo's traffic: the same seed tells the same stories, in the conventions that the pages read."""

from __future__ import annotations

import json
import threading
from collections import Counter
from random import Random

import pytest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from examples import demo_traffic, shop_spans
from examples.shop_agent import RELEASES

HOUR_S = 3600.0
NOW_NS = 1_800_000_000_000_000_000


class Recorded:
    """One hour of backfill, kept in memory."""

    def __init__(self, seed: int) -> None:
        self.spans = InMemorySpanExporter()
        self.events = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        telemetry = {one.name: shop_spans.telemetry_of(one, self.spans, self.events) for one in RELEASES}
        self.traffic = demo_traffic.Traffic(telemetry, seed, "mark")
        demo_traffic.backfill(self.traffic, HOUR_S, NOW_NS, Random(seed), threading.Event())
        for one in telemetry.values():
            one.shutdown()

    def roots(self) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if span.parent is None]


@pytest.fixture(scope="module")
def hour() -> Recorded:
    return Recorded(seed=7)


def attribute(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {}).get(name)


def story(recorded: Recorded) -> list[tuple[str, int | None, str]]:
    spans = recorded.spans.get_finished_spans()
    return sorted((span.name, span.start_time, str(sorted((span.attributes or {}).items()))) for span in spans)


def test_the_same_seed_tells_the_same_story_and_another_another(hour: Recorded) -> None:
    assert story(Recorded(seed=7)) == story(hour)
    assert story(Recorded(seed=8)) != story(hour)


def test_no_span_is_lost_between_the_turns_and_the_exporter(hour: Recorded) -> None:
    assert len(hour.roots()) == hour.traffic.n_turns == round(HOUR_S * demo_traffic.BACKFILL_TURNS_PER_S)


def test_about_four_turns_in_a_hundred_fail_and_both_releases_answer(hour: Recorded) -> None:
    failed = sum(not span.status.is_ok for span in hour.roots())
    assert 0.01 < failed / len(hour.roots()) < 0.08
    releases = Counter(span.resource.attributes["service.version"] for span in hour.roots())
    assert releases.keys() == {"v1", "v2"}
    sides = {(span.resource.attributes["service.version"], attribute(span, "assay.variant")) for span in hour.roots()}
    assert sides == {("v1", "control"), ("v2", "treatment")}


def test_turns_hold_model_calls_tools_retrieval_and_lie_in_the_window(hour: Recorded) -> None:
    spans = hour.spans.get_finished_spans()
    operations = Counter(attribute(span, "gen_ai.operation.name") for span in spans)
    assert all(operations[name] > 20 for name in ("invoke_agent", "chat", "execute_tool", "retrieval"))
    for span in spans:
        assert span.start_time is not None
        assert span.end_time is not None
        assert NOW_NS - HOUR_S * 1e9 - 60e9 < span.start_time <= span.end_time <= NOW_NS
    sessions = Counter(attribute(span, "session.id") for span in hour.roots())
    assert max(sessions.values()) > 2


def test_every_answered_model_call_has_tokens_cost_and_messages(hour: Recorded) -> None:
    chats = [span for span in hour.spans.get_finished_spans() if attribute(span, "gen_ai.operation.name") == "chat"]
    for span in (span for span in chats if span.status.is_ok or span.status.is_unset):
        cost = attribute(span, "gen_ai.usage.cost")
        assert isinstance(cost, float)
        assert 0 < cost < 0.05
        said = json.loads(str(attribute(span, "gen_ai.output.messages")))
        assert said[0]["finish_reason"] in ("stop", "tool_call")


def test_evaluations_are_events_on_the_turn_they_judge(hour: Recorded) -> None:
    roots = {span.context.span_id for span in hour.roots() if span.context}
    records = [one.log_record for one in hour.events.get_finished_logs()]
    assert len(records) > 50
    for record in records:
        assert record.event_name == "gen_ai.evaluation.result"
        assert record.span_id in roots
        value = (record.attributes or {})["gen_ai.evaluation.score.value"]
        assert isinstance(value, float)
        assert 0 <= value <= 1


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("2h", 7200), ("1.5m", 90), ("1d", 86400)])
def test_time_spans(text: str, seconds: float) -> None:
    assert demo_traffic.seconds_of(text) == seconds
