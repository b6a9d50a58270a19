"""Rows of the corpus that are more than one request or too large for a case file: 33 to 35, 49, 57, 58
and F58, and money without end.

What must hold after a case is checked here too, with as much processor time and memory as so much input needs: what the
large ones left is packed in the background beside the ones that follow."""

from __future__ import annotations

import gzip
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from collector.json_fields import framed
from core.records import Counts
from tests.bad_inputs.standing import ANSWER_WITHIN_S, Standing, Tenant
from tests.bad_inputs.test_bad_inputs import METHOD, standing  # noqa: F401 - a fixture
from tests.collector.doors import body_of, fresh
from tests.collector.otlp import START_NS, traces
from tests.waiting import wait_until

MOST_CPU_S = 20.0
MOST_GROWTH = 512 << 20
PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture
def canary() -> str:
    """A text that no log may hold."""
    return f"canary-{secrets.token_hex(8)}"


@pytest.fixture
def tenant(standing: Standing, canary: str, request: pytest.FixtureRequest) -> Iterator[Tenant]:  # noqa: F811
    """A tenant of this test. A sound request goes before and one behind; then all that must hold is checked. The
    parameter, if any, is how many seconds of processor time the input may take."""
    made = standing.tenant()
    before = standing.footprint()
    standing.send_healthy(made, "before")
    yield made
    standing.send_healthy(made, "after")
    wait_until(lambda: len(_healthy(standing, made)) == len(made.healthy), 60, "the sound requests to be stored")
    standing.check(made, before, canary, getattr(request, "param", MOST_CPU_S), MOST_GROWTH)


def _healthy(standing: Standing, tenant: Tenant) -> list[dict[str, object]]:  # noqa: F811
    return standing.stored(tenant, name="healthy")


def send(standing: Standing, tenant: Tenant, body: bytes, **headers: str) -> httpx.Response:  # noqa: F811
    """One request to the HTTP door."""
    headers = PROTOBUF | {"authorization": f"Bearer {tenant.ingest}"} | headers
    return httpx.post(
        f"{standing.stack.otlp_http}/v1/traces", content=body, headers=headers, timeout=2 * ANSWER_WITHIN_S
    )


@pytest.mark.parametrize("tenant", [20], indirect=True)
def test_row_33_one_attribute_of_50_mib_is_read_back_byte_for_byte(
    standing: Standing,  # noqa: F811
    tenant: Tenant,
    canary: str,
) -> None:
    image = secrets.token_hex(25 << 20)
    [one] = fresh(1, {"image": image, "output.value": image[:1000], "text": canary}, name="large")
    assert send(standing, tenant, traces(one).SerializeToString()).status_code == 200
    standing.settled(tenant, Counts(received=2, stored=2))
    [row] = standing.stored(tenant, name="large")
    assert dict(row["attributes"])["image"] == image


@pytest.mark.parametrize("tenant", [60], indirect=True)
def test_row_34_half_a_million_spans_in_one_request_are_stored(standing: Standing, tenant: Tenant) -> None:  # noqa: F811
    n = 500_000
    trace, times = secrets.token_bytes(16), START_NS.to_bytes(8, "little")
    head, tail = b"\x0a\x10" + trace + b"\x12\x08", b"\x39" + times + b"\x41" + times
    one = (len(head) + 8 + len(tail)).to_bytes(1)
    spans = b"".join(b"\x12" + one + head + i.to_bytes(8) + tail for i in range(1, n + 1))
    assert send(standing, tenant, framed(b"\x0a", framed(b"\x12", spans))).content == b""
    wait_until(lambda: standing.ledger(tenant)["spans"].received > n, 240, "all of them to be stored")
    standing.settled(tenant, Counts(received=n + 1, stored=n + 1))


@pytest.mark.parametrize("tenant", [40], indirect=True)
def test_row_35_a_trace_of_200_000_spans_is_stored(standing: Standing, tenant: Tenant) -> None:  # noqa: F811
    trace = secrets.token_bytes(16)
    for _ in range(20):
        spans = fresh(10_000, trace_id=trace)
        assert send(standing, tenant, traces(*spans).SerializeToString()).content == b""
    standing.settled(tenant, Counts(received=200_001, stored=200_001))

    def shown() -> tuple[int, int]:
        answer = httpx.get(
            f"{standing.stack.url}/api/v1/traces/{trace.hex()}?limit=10",
            headers={"authorization": f"Bearer {tenant.admin}"},
            timeout=2 * ANSWER_WITHIN_S,
        ).raise_for_status()
        return answer.json()["n_spans"], len(answer.json()["spans"])

    wait_until(lambda: shown() == (200_000, 10), 60, "the whole trace to be shown")


def test_a_thousand_absurd_costs_in_one_cell_stop_nobody(standing: Standing, tenant: Tenant) -> None:  # noqa: F811
    trace, cost = secrets.token_bytes(16), {"gen_ai.operation.name": "chat", "gen_ai.usage.cost": 999_999.0}
    spans = fresh(1_200, cost, trace_id=trace)
    assert send(standing, tenant, traces(*spans).SerializeToString()).content == b""
    standing.settled(tenant, Counts(received=1_201, stored=1_201))

    def turns() -> list[dict[str, object]]:
        return [turn for turn in standing.stored(tenant, "turns") if turn["trace_id"] == trace.hex()]

    wait_until(lambda: sum(int(str(turn["n_spans"])) for turn in turns()) == 1_200, 60, "its turns to be derived")


def test_row_49_a_call_that_is_given_up_is_never_stored_in_part_or_twice(
    standing: Standing,  # noqa: F811
    tenant: Tenant,
) -> None:
    bodies = [body_of(20, name="given up") for _ in range(40)]
    key = [("x-api-key", tenant.ingest)]
    with grpc.insecure_channel(standing.stack.otlp_grpc) as channel:
        export = channel.unary_unary(METHOD)
        for number, body in enumerate(bodies):
            call = export.future(body, metadata=key, timeout=0.001 if number % 2 else ANSWER_WITHIN_S)
            if number % 2 == 0:
                call.cancel()
        for body in bodies:  # what an exporter does that got no answer
            assert export(body, metadata=key, timeout=ANSWER_WITHIN_S) == b""
    wait_until(lambda: standing.ledger(tenant).get("spans", Counts()).stored >= 801, 60, "all to be stored")
    ids = [row["span_id"] for row in standing.stored(tenant, name="given up")]
    assert len(ids) == len(set(ids)) == 40 * 20
    counts = standing.ledger(tenant)["spans"]
    assert counts.stored == 801
    assert counts.received == counts.stored + counts.duplicate


def test_row_57_the_same_idempotency_key_with_another_body_is_a_conflict(
    standing: Standing,  # noqa: F811
    tenant: Tenant,
) -> None:
    first, second = (_score(standing, tenant, "once", value) for value in (0.5, 0.6))
    assert (first.status_code, second.status_code) == (201, 409)
    assert second.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("tenant", [20], indirect=True)
def test_row_58_equal_posts_at_once_make_one_score(standing: Standing, tenant: Tenant) -> None:  # noqa: F811
    with httpx.Client(timeout=ANSWER_WITHIN_S) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: _score(standing, tenant, "all-at-once", 0.5, client), range(1_000)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    ids = {answer.json()["score_ids"][0] for answer in answers if answer.status_code == 201}
    assert len(ids) == 1
    assert len(standing.stored(tenant, "scores")) == 1


def _score(
    standing: Standing,  # noqa: F811
    tenant: Tenant,
    key: str,
    value: float,
    client: httpx.Client | None = None,
) -> httpx.Response:
    score = {"evaluator": "e", "evaluator_kind": "human", "target": "turn", "trace_id": "a" * 32, "value": value}
    return (client.post if client else httpx.post)(
        f"{standing.stack.url}/api/v1/scores",
        json={"items": [score]},
        headers={"authorization": f"Bearer {tenant.admin}", "idempotency-key": key},
        timeout=ANSWER_WITHIN_S,
    )


@pytest.mark.parametrize("tenant", [20], indirect=True)
def test_row_f58_compressed_requests_at_once_do_not_mix(standing: Standing, tenant: Tenant) -> None:  # noqa: F811
    assert tenant.healthy
    tenants = [standing.tenant() for _ in range(4)]

    def one(number: int) -> int:
        tenant = tenants[number % 4]
        body = body_of(3, {"marker": f"{tenant.name}-{number}", "filling": "x" * 20_000}, name=f"n{number}")
        return send(standing, tenant, gzip.compress(body, 1), **{"content-encoding": "gzip"}).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(one, range(400))) == {200}
    for place, tenant in enumerate(tenants):
        standing.settled(tenant, Counts(received=300, stored=300))
        for row in standing.stored(tenant):
            number = int(row["name"][1:])
            assert number % 4 == place
            assert dict(row["attributes"])["marker"] == f"{tenant.name}-{number}"
