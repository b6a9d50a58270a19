"""Who may call a route: every route names its policy, and a route that names none cannot be served.

A route's policy is one dependency, `needs(Role.VIEWER)` or `anyone`, on the route or on its router. It reads headers
and nothing else of the request: what the Host or the path claims to be has no say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from auth.keys import credential_of
from core.errors import Forbidden, InvalidInput, Undecodable
from core.records import Principal, Role
from server.wiring import Services


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A dependency that lets a caller through or raises. `role` None lets everyone through."""

    role: Role | None

    def __call__(self, request: Request) -> Principal | None:
        """The caller. Raises Unauthenticated, Forbidden or StorageFailed."""
        if self.role is None:
            return None
        principal = services_of(request).authenticator.principal(credential_of(request.headers.items()))
        if not principal.role.allows(self.role):
            raise Forbidden(f"this needs the role {self.role.value}; this key has the role {principal.role.value}")
        return principal


anyone: Final = Policy(role=None)
_BY_ROLE: Final = {role: Policy(role=role) for role in Role}


def needs(role: Role) -> Policy:
    """The policy of routes for `role` and every role above it."""
    return _BY_ROLE[role]


def services_of(request: Request) -> Services:
    """The parts this server is made of."""
    services: Services = request.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(services_of)]


def enforce(request: Request) -> None:
    """Applies the policy of the matched route, if one matched. Raises as the policy does."""
    route = request.scope.get("route")
    if isinstance(route, APIRoute):
        for policy in policies_of(route.dependant):
            policy(request)


def policies_of(dependant: Dependant) -> Iterator[Policy]:
    """All policies among the dependencies of a route."""
    for needed in dependant.dependencies:
        if isinstance(needed.call, Policy):
            yield needed.call
        yield from policies_of(needed)


def require_policies(routes: Iterable[BaseRoute]) -> None:
    """Raises RuntimeError naming the routes that have no policy, or are of a kind that cannot have one."""
    bare = [str(route) for route in routes if not _has_policy(route)]
    if bare:
        raise RuntimeError(f"routes without a policy: {', '.join(bare)}; add needs(Role...) or anyone")


def served_routes(app: FastAPI) -> list[APIRoute]:
    """Every route of `app` that has a policy, which is every route."""
    return [route for route in app.routes if isinstance(route, APIRoute)]


def known_parameters_only(request: Request) -> None:
    """A dependency for routes: refuses query parameters that the route does not declare. Raises InvalidInput."""
    route = request.scope.get("route")
    known = set(_query_names(route.dependant)) if isinstance(route, APIRoute) else set()
    for name in request.query_params:
        if name not in known:
            raise InvalidInput(f"there is no query parameter {name[:60]!r} here; known are {_listed(known)}", name[:60])


async def names_once(request: Request) -> None:
    """A dependency for routes with a body: refuses JSON in which an object has a name twice, because readers disagree
    about which one counts. Raises Undecodable; what is no JSON at all is left to whoever reads it."""
    body = await request.body()
    try:
        json.loads(body or b"null", object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return


def _once(pairs: list[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise Undecodable(f"the body has the name {name[:60]!r} twice in one object", name[:60])
        seen.add(name)


def _query_names(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        fields = getattr(parameter.field_info.annotation, "model_fields", None)
        if fields is None:
            yield parameter.alias
        else:
            yield from (field.alias or name for name, field in fields.items())
    for needed in dependant.dependencies:
        yield from _query_names(needed)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _has_policy(route: BaseRoute) -> bool:
    return isinstance(route, APIRoute) and any(policies_of(route.dependant))
