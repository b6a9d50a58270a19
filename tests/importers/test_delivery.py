"""The sender obeys the door: waits as long as it is told, never loses a request, and repeats what it is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from core.errors import AssayError, Forbidden, InvalidInput, TooLarge, Unauthenticated
from server.importers import service, tau2
from server.importers.delivery import JSON, PROTOBUF, OtlpDoor, Receipt, Shipment, Signal, Unreachable
from server.importers.service import Found, Read
from tests.importers.door import Answer, Door, open_door
from tests.importers.recorded import TAU2, needs_recordings


def shipment(content_type: str = PROTOBUF, body: bytes = b"\x0a\x00") -> Shipment:
    return Shipment(signal=Signal.TRACES, content_type=content_type, body=body, n_records=10, origin="file.jsonl:3")


def sent(door: Door, one: Shipment, waits: list[float] | None = None, patience_s: float = 60) -> Receipt:
    client = OtlpDoor(door.url, "key", wait=(waits if waits is not None else []).append, patience_s=patience_s)
    try:
        return client.send(one)
    finally:
        client.close()


def refusal(status: int, message: str, **headers: str) -> Answer:
    body = Status(message=message).SerializeToString()
    return Answer(status=status, body=body, headers={"Content-Type": PROTOBUF, **headers})


def partial(rejected: int, message: str) -> Answer:
    said = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    return Answer(body=ExportTraceServiceResponse(partial_success=said).SerializeToString())


def test_full_success_carries_the_key_and_the_path() -> None:
    with open_door() as door:
        assert sent(door, shipment()) == Receipt(accepted=10, rejected=0, message="")
        assert (door.paths, door.keys) == (["/v1/traces"], ["Bearer key"])


def test_partial_success_is_surfaced_in_both_encodings() -> None:
    text = Answer(
        body=b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"bad ids"}}', headers={"Content-Type": JSON}
    )
    with open_door(partial(3, "bad ids"), text) as door:
        expected = Receipt(accepted=7, rejected=3, message="bad ids")
        assert sent(door, shipment()) == expected
        assert sent(door, shipment(JSON, b"{}")) == expected


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_door_is_asked_again_after_the_time_it_names(status: int) -> None:
    waits: list[float] = []
    busy = refusal(status, "full", **{"Retry-After": "2"})
    with open_door(busy, busy) as door:
        assert sent(door, shipment(), waits).accepted == 10
        assert waits == [2.0, 2.0]
        assert door.bodies == [b"\x0a\x00"] * 3


def test_patience_ends_with_a_message_that_says_what_to_do() -> None:
    with open_door(*[refusal(503, "disk full", **{"Retry-After": "20"})] * 9) as door:
        with pytest.raises(Unreachable, match=r"503: disk full.*run the import again"):
            sent(door, shipment(), patience_s=50)
        assert len(door.bodies) == 3


def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        door = Door(url=f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(Unreachable, match="is `assay up` running"):
            sent(door, shipment(), patience_s=1)


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (400, InvalidInput, "file.jsonl:3: the collector answered 400: not OTLP"),
        (401, Unauthenticated, "refused the key: not OTLP"),
        (403, Forbidden, "may not send"),
        (404, InvalidInput, "is not an OTLP door"),
        (413, TooLarge, "file.jsonl:3: too large"),
        (500, InvalidInput, "answered 500"),
    ],
)
def test_final_answers_are_not_repeated(status: int, error: type[AssayError], said: str) -> None:
    with open_door(refusal(status, "not OTLP")) as door:
        with pytest.raises(error, match=said):
            sent(door, shipment())
        assert len(door.bodies) == 1


def test_a_200_that_is_no_otlp_answer_is_not_taken_for_success() -> None:
    page = Answer(body=b"<html>welcome</html>", headers={"Content-Type": "text/html"})
    with open_door(page) as door, pytest.raises(InvalidInput, match="is this a collector"):
        sent(door, shipment())


def test_an_address_that_is_none_says_so() -> None:
    with pytest.raises(InvalidInput, match="is not an address"):
        sent(Door(url="nonsense"), shipment())


def reading_tau2(path: Path) -> list[Found]:
    return list(tau2.conversations(path, app=None, release=None))


@needs_recordings
def test_a_whole_file_arrives_span_for_span_in_requests_of_about_512() -> None:
    path = TAU2 / "airline__gpt-4.1_base.jsonl.gz"
    read: Read = lambda file: iter(reading_tau2(file))  # noqa: E731
    (survey,) = service.survey([path], read, lambda _: None)
    progress: list[int] = []
    with open_door() as door:
        client = OtlpDoor(door.url, "key")
        delivery = service.deliver([path], read, client, scope="s", skip_bad=False, on_progress=progress.append)
        client.close()
        requests = [ExportTraceServiceRequest.FromString(body) for body in door.bodies]
    counts = [sum(len(one.scope_spans[0].spans) for one in request.resource_spans) for request in requests]
    assert sum(counts) == delivery.accepted == survey.n_spans == sum(progress) == 470
    assert max(counts) <= 512
    assert len(delivery.delivered) == 20
    assert all(one.spans == () for one in delivery.delivered)
    resource = {one.key: one.value.string_value for one in requests[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "airline"
    assert resource["service.version"] == "gpt-4.1_base"
    assert resource["assay.variant"] == "control"
