"""Who is told session and release: upstreams on this machine, others when the file says so. Nobody is told the user."""

from __future__ import annotations

import pytest

from gateway.config import UpstreamConfig
from gateway.upstreams.slot import Slot
from tests.gateway.calls import answered, caller


@pytest.mark.parametrize(
    ("base_url", "baggage", "told"),
    [
        ("http://127.0.0.1:1/v1", None, True),
        ("http://localhost:1/v1", None, True),
        ("http://[::1]:1/v1", None, True),
        ("http://127.0.0.1:1/v1", False, False),
        ("https://api.example.com/v1", None, False),
        ("http://10.0.0.7/v1", None, False),
        ("http://10.0.0.7/v1", True, True),
    ],
)
def test_an_upstream_is_told_where_a_call_belongs_only_if_it_is_ours(
    base_url: str, baggage: bool | None, told: bool
) -> None:
    slot = Slot("one", UpstreamConfig(base_url=base_url, baggage=baggage))
    call = answered(0, caller=caller(session="s 1", release="v2", user="anna"))
    headers = slot.headers(call, {})
    assert headers.get("baggage") == ("session.id=s%201,assay.release=v2" if told else None)
    assert "anna" not in str(headers)
