"""Providers' keys: never in what callers are told, in the log, or in what is recorded of a call."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.errors import CallFailed
from gateway.upstreams.failures import REMOVED, Cleaner
from tests.gateway.upstream_calls import KEY, asked, call_of, faulty, streamed


@pytest.mark.parametrize("wire", ["openai", "azure", "anthropic"])
@pytest.mark.parametrize("fault", ["http_400", "http_401", "http_429", "http_500", "error_mid"])
def test_an_error_that_echoes_the_key_is_cleaned(fault: str, wire: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> None:
        async with faulty(wire=wire, api_version="2024-10-21", breaker={"failures": 1}) as (pool, upstream):
            call = call_of(f"fault={fault}", streamed=fault == "error_mid")
            if call.streamed:
                _, found = await streamed(pool, call)
            else:
                found = await asked(pool, call)  # type: ignore[assignment]
            assert isinstance(found, CallFailed)
            assert upstream.ledger.n_requests
            for said in (
                str(found),
                repr(found.body()),
                repr(found.args),
                repr(call),
                repr(pool.status()),
                caplog.text,
            ):
                assert KEY not in said
                assert KEY[3:] not in said

    asyncio.run(run())


def test_keys_are_cleaned_whole_in_part_and_quoted() -> None:
    clean = Cleaner([KEY, "short", "with/slash+and=more"]).text
    for said in (KEY, KEY[:12] + "****", "***" + KEY[-9:], "short", "with%2Fslash%2Band%3Dmore", f"Bearer {KEY}"):
        assert clean(f"the key {said} is wrong") == f"the key {REMOVED} is wrong".replace("Bearer ", ""), said


@pytest.mark.parametrize(
    "said",
    [
        "sk-proj-Ab_3-99xyz",
        "sk-ant-api03-abcdef",
        "Bearer abc.def",
        "api-key: 0123456789",
        '"api_key": "zzzz99"',
        "Incorrect API key provided: sk-1234********wxyz.",
        "Authorization: Basic YWJj",
        "x-api-key=abcdef",
    ],
)
def test_what_looks_like_a_key_is_cleaned_too(said: str) -> None:
    cleaned = Cleaner([]).text(said)
    assert REMOVED in cleaned
    assert not set(cleaned.replace(REMOVED, "").replace("Incorrect API key provided", "")) & set("0123456789zYw")


def test_messages_are_one_line_of_bounded_length() -> None:
    assert Cleaner([]).text("a\x00b\r\nc\x1b[31m" + "x" * 10_000).startswith("a b c [31mxxx")
    assert len(Cleaner([]).text("y" * 10_000)) == 600


def test_ordinary_messages_stay_as_they_are() -> None:
    said = "This model's maximum context length is 8192 tokens; ask for key insights in skateboarding (sk-8)."
    assert Cleaner([KEY]).text(said) == said
