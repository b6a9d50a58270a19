"""One upstream at work: its configuration, keys, breaker, counts and addresses."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.config import UpstreamConfig, WireName
from gateway.records import Call
from gateway.upstreams.anthropic import AnthropicWire
from gateway.upstreams.azure import AzureWire
from gateway.upstreams.breaker import Breaker
from gateway.upstreams.failures import Cleaner
from gateway.upstreams.health import Health
from gateway.upstreams.keyring import Keyring
from gateway.upstreams.openai import OpenAIWire
from gateway.upstreams.wire import Wire

_MOST_URLS: Final = 1000
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII)


class Slot:
    """The state of one upstream. It lives as long as its configuration does not change."""

    def __init__(self, name: str, config: UpstreamConfig) -> None:
        keys = [key.get_secret_value() for key in config.keys]
        self.name = name
        self.config = config
        self.wire = _wire(config)
        self.keys = Keyring(keys)
        self.breaker = Breaker(config.breaker)
        self.health = Health()
        self.cleaner = Cleaner(keys)
        self.tells_baggage = _is_loopback(config.base_url) if config.baggage is None else config.baggage
        # The pool sets the times of an attempt as a whole; the library's own would start anew with every piece.
        self.timeout = aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout_s)
        self._urls: dict[str, URL] = {}

    def url(self, path: str) -> URL:
        """The address of a path, read once."""
        found = self._urls.get(path)
        if found is None:
            if len(self._urls) >= _MOST_URLS:
                self._urls.clear()
            found = self._urls[path] = URL(self.config.base_url + path, encoded=True)
        return found

    def headers(self, call: Call, given: dict[str, str]) -> dict[str, str]:
        """The headers of one request. An upstream on this machine, as the simulated provider is, is told session and
        release in W3C baggage; one elsewhere is told nothing about who calls, unless the file says `baggage`."""
        headers = {"accept": "text/event-stream" if call.streamed else "application/json", **given}
        headers["accept-encoding"] = "identity"
        headers["user-agent"] = "assay-gateway"
        if self.tells_baggage:
            members = (("session.id", call.caller.session), ("assay.release", call.caller.release))
            told = ",".join([f"{name}={_quoted(value)}" for name, value in members if value])
            if told:
                headers["baggage"] = told
        return headers

    def shown(self, now: float, tenant: str | None) -> dict[str, Any]:
        """One row of the status. Counts that are not all of `tenant` are not for it."""
        row = self.health.shown(self.name, self.config.wire.value, self.breaker, self.keys, now)
        if tenant is None or self.health.tenants <= {tenant}:
            return row
        return {name: row[name] for name in ("upstream", "wire", "state", "opens_again_in_s")}


def _quoted(value: str) -> str:
    """Percent-encoded; most are as they are."""
    return value if _PLAIN.fullmatch(value) else quote(value, safe="")


def _wire(config: UpstreamConfig) -> Wire:
    match config.wire:
        case WireName.OPENAI:
            return OpenAIWire()
        case WireName.AZURE:
            return AzureWire(config.api_version)
        case WireName.ANTHROPIC:
            return AnthropicWire(config.api_version)


def _is_loopback(base_url: str) -> bool:
    host = URL(base_url).host or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
