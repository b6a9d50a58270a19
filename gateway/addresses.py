"""Addresses of the network that are never called for somebody: those behind which machines keep their credentials."""

from __future__ import annotations

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Where clouds keep credentials beside 169.254.0.0/16: AWS and Google on IPv6, Azure, Oracle.
_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "192.0.0.192"))
)


def may_be_called(address: Address, *, private: bool) -> bool:
    """Whether somebody may have us call this address: one of this machine or network where `private`; link-local,
    multicast and unspecified ones and services of credentials never, also where IPv6 hides them."""
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if inner is not None:
        return may_be_called(inner, private=private)
    if address.version == 6 and address in _NAT64:
        return may_be_called(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), private=private)
    if address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA:
        return False
    if address.version == 6 and (address.is_reserved or address.is_site_local) and not address.is_loopback:
        return False  # also ::127.0.0.1 and 64:ff9b:1::/48, in which addresses of IPv4 hide
    if address.is_loopback or address.is_private:
        return private
    return address.is_global
