"""What a turn takes from the request that asks for it: the trace to go on with, release and variant; nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from agent_runtime.app import make_app
from agent_runtime.settings import Settings
from agent_runtime.telemetry import arrived
from tests.agent_runtime.scripted import Stand, message, says, scripted, stand

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def over_http(folder: Path, headers: dict[str, str]) -> Stand:
    """A turn of a session that came through a gateway, or did not."""
    made = stand(folder, scripted([says("It came.")]))
    with TestClient(make_app(Settings(data=folder), made.runtime)) as client:
        body = {"user_id": "u1", "text": "hello", "message_id": "m1"}
        answer = client.post("/v1/sessions/s1/turns", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return made


def test_a_turn_goes_on_with_the_callers_trace(tmp_path: Path) -> None:
    made = over_http(tmp_path, {"traceparent": TRACEPARENT})
    root = made.span("invoke_agent support")
    assert root.parent is not None
    assert (f"{root.parent.trace_id:032x}", f"{root.parent.span_id:016x}") == (TRACE, PARENT)
    assert {f"{span.context.trace_id:032x}" for span in made.spans.get_finished_spans() if span.context} == {TRACE}


def test_what_the_gateway_decided_is_on_every_span_and_nothing_else_of_its_baggage(tmp_path: Path) -> None:
    decided = "assay.release=v%207,assay.variant=treatment,assay.experiment=refund-prompt%3A1"
    said = f"{decided},session.id=evil,user.id=evil,assay.tenant=evil,mine=1"
    made = over_http(tmp_path, {"baggage": said})
    for span in made.spans.get_finished_spans():
        found = span.attributes or {}
        assert (found["assay.release"], found["assay.variant"]) == ("v 7", "treatment")
        assert found["assay.experiment"] == "refund-prompt:1"
        assert (found["session.id"], found["user.id"], found["assay.tenant"]) == ("s1", "u1", "default")
        assert "evil" not in str(dict(found))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": "nonsense", "baggage": "nonsense"},
        {"traceparent": f"00-{'0' * 32}-{PARENT}-01", "baggage": "assay.release=,assay.variant=%00"},
        {"baggage": f"assay.release={'x' * 201},assay.variant=a%0Ab"},
    ],
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(tmp_path: Path, headers: dict[str, str]) -> None:
    made = over_http(tmp_path, headers)
    root = made.span("invoke_agent support")
    assert root.parent is None
    assert ((root.attributes or {})["assay.release"], (root.attributes or {})["assay.variant"]) == (
        made.runtime.release.name,
        made.runtime.release.variant,
    )


def test_a_turn_that_was_cut_off_before_is_no_part_of_the_request_that_finishes_it(tmp_path: Path) -> None:
    made = stand(tmp_path, scripted([says("First."), says("Second.")]))

    async def go() -> None:
        begun = await made.runtime._checkpoints.begin(message("one", "m1"), made.runtime.release, "one")
        assert begun.result is None
        with arrived({"traceparent": TRACEPARENT, "baggage": "assay.release=v7"}):
            await made.runtime.turn(message("two", "m2"))
        await made.runtime.close()

    asyncio.run(go())
    roots = [span for span in made.spans.get_finished_spans() if span.name == "invoke_agent support"]
    assert [(root.attributes or {})["assay.release"] for root in roots] == [made.runtime.release.name, "v7"]
    assert [root.parent is None for root in roots] == [True, False]
