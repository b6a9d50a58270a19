"""Where a plan may send sessions: this network too, but no address behind which machines keep their credentials."""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from gateway.addresses import Address, may_be_called
from gateway.config import plain_url


def endpoint_url(value: str) -> str:
    """The address that a plan names for a release, without the slash at its end. Raises ValueError where it is none,
    or one that is never called."""
    url = plain_url(value)
    host = URL(url).host or ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return url  # a name: Resolver looks at where it leads
    _refuse_others(host, address)
    return url


class Resolver(ThreadedResolver):
    """Looks at where a name leads at the moment of each connection."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError where one of them is never called, or there is none."""
        found = await super().resolve(host, port, family)
        for one in found:
            try:
                _refuse_others(host, ipaddress.ip_address(one["host"].partition("%")[0]))
            except ValueError as error:
                raise OSError(str(error)) from None
        return found


def _refuse_others(host: str, address: Address) -> None:
    if not may_be_called(address, private=True):
        raise ValueError(f"{host} leads to {address}, which is not called")
