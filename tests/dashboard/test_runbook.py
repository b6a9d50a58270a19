"""Which runbooks are addresses that can be opened: never one that leads elsewhere than it says."""

from __future__ import annotations

import pytest

from dashboard.parts.runbook import host_of


@pytest.mark.parametrize(
    ("said", "host"),
    [
        ("https://wiki.example/runbooks/resolution?x=1#first", "wiki.example"),
        ("http://127.0.0.1:8000/x", "127.0.0.1"),
        ("HTTPS://Wiki.example", "wiki.example"),
        ("ask ann first", None),
        ("docs/runbooks.md#tool-outage", None),
        ("javascript:alert(1)", None),
        ("data:text/html,<b>x</b>", None),
        ("https://wiki.example/ and then ask ann", None),
        ("https://wiki.example@evil.example/x", None),
        ("https://wiki.example\\@evil.example", None),
        ("https://wiki.example/\u202ex", None),
        ("https://wiki.example/\nx", None),
        ("https://[::1", None),
        ("https:///x", None),
        ("https://wiki.example/" + "x" * 3000, None),
        ("", None),
    ],
)
def test_only_plain_addresses_of_the_web_are_opened(said: str, host: str | None) -> None:
    assert host_of(said) == host
