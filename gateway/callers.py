"""Who calls and where the call belongs: from a request's key, headers and baggage to a Caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from core.errors import Forbidden, StorageFailed, Unauthenticated
from core.records import Principal, Role
from gateway.errors import BadCall, CallFailed
from gateway.http import Request

MOST: Final = 200  # characters of a name
MOST_BAGGAGE: Final = 8192  # bytes of the header, as W3C says
_MAY_CALL: Final = frozenset({Role.USER, Role.POWER_USER, Role.ADMIN})
# What a call says of itself: the header, and the baggage entries that are read where there is no such header.
_PLACES: Final[Mapping[str, tuple[bytes, tuple[str, ...]]]] = {
    "app": (b"x-assay-app", ("assay.app", "app")),
    "user": (b"x-assay-user", ("user.id",)),
    "session": (b"x-assay-session", ("session.id", "gen_ai.conversation.id")),
    "release": (b"x-assay-release", ("assay.release",)),
    "variant": (b"x-assay-variant", ("assay.variant",)),
}


def credential(request: Request) -> str | None:
    """The key text of `Authorization: Bearer KEY`, else of `x-api-key` or `api-key` (Azure's clients)."""
    value = request.headers.get(b"authorization")
    if value is not None:
        scheme, _, token = value.decode("latin-1").strip().partition(" ")
        return token.strip() if scheme.lower() == "bearer" else value.decode("latin-1")
    value = request.headers.get(b"x-api-key") or request.headers.get(b"api-key")
    return None if value is None else value.decode("latin-1").strip()


def may_call(principal: Principal) -> None:
    """Raises CallFailed (403) for a key that may not ask models."""
    if principal.role not in _MAY_CALL:
        said = f"a key with the role {principal.role.value} may not call models; use one with the role user or above"
        raise CallFailed(said, status=403, kind="permission_error", code="forbidden")


def may_look(principal: Principal) -> None:
    """Raises CallFailed (403) for a key that only sends traces."""
    if not principal.role.allows(Role.VIEWER):
        said = f"a key with the role {principal.role.value} reads nothing; use one with the role viewer or above"
        raise CallFailed(said, status=403, kind="permission_error", code="forbidden")


def refusal_of(error: Exception) -> CallFailed:
    """What a caller is told whose key was not accepted."""
    match error:
        case Unauthenticated():
            return CallFailed(str(error), status=401, kind="authentication_error", code="invalid_api_key")
        case Forbidden():
            return CallFailed(str(error), status=403, kind="permission_error", code="forbidden")
        case StorageFailed():
            said = "keys cannot be read at the moment; try again"
            return CallFailed(said, status=503, kind="server_error", code="keys_unavailable", retry_after_s=2)
        case _:
            raise error


def told(request: Request) -> dict[str, str]:
    """What the request says of where it belongs: app, user, session, release, variant. Raises BadCall for names that
    are too long or have control characters."""
    baggage: dict[str, str] | None = None
    found: dict[str, str] = {}
    for name, (header, entries) in _PLACES.items():
        value = request.text(header)
        if not value:
            if baggage is None:
                baggage = parse_baggage(request.headers.get(b"baggage", b""))
            value = next((baggage[entry] for entry in entries if entry in baggage), "")
        found[name] = checked(value, name)
    return found


def checked(value: str, name: str) -> str:
    """`value` if it can be a name. Raises BadCall."""
    if len(value) > MOST:
        raise BadCall(f"{name} is longer than {MOST} characters; send a shorter one", param=name)
    if value and not value.isprintable():
        raise BadCall(f"{name} has control characters; send plain text", param=name)
    return value


def parse_baggage(header: bytes) -> dict[str, str]:
    """The entries of a W3C baggage header, percent-decoded; what cannot be read is left out (the specification asks
    receivers not to fail). Source: https://www.w3.org/TR/baggage/, section 3.2."""
    if not header or len(header) > MOST_BAGGAGE:
        return {}
    found: dict[str, str] = {}
    for entry in header.decode("latin-1").split(","):
        name, is_there, value = entry.split(";", 1)[0].partition("=")
        if is_there:
            found.setdefault(name.strip(), unquote(value.strip()))
    return found
