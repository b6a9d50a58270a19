"""Every route of the application against every caller who may not call it. New routes are in by being in the table."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute

from core.keytext import issue
from core.records import Role
from server.policy import policies_of
from server.routes.table import ROUTERS
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
CALLS = [(method, route) for route in ROUTES for method in sorted(route.methods or ())]
OPEN = {"/healthz", "/api/v1/health", "/api/v1/ready", "/api/v1/openapi.json"}
NAMES = [f"{method} {route.path}" for method, route in CALLS]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("matrix")) as running:
        yield running


def needed_of(route: APIRoute) -> Role | None:
    roles = [policy.role for policy in policies_of(route.dependant) if policy.role is not None]
    return max(roles, key=lambda role: role.rank, default=None)


def address_of(route: APIRoute) -> str:
    return re.sub(r"{[^}]+}", "0123456789abcdef", route.path)


def call(shell: Shell, method: str, route: APIRoute, headers: dict[str, str]) -> int:
    """With a body that is no JSON, so that nothing is ever changed and nobody learns of it before the policy spoke."""
    sent = {**headers, "Content-Type": "application/json"}
    return shell.client.request(method, address_of(route), headers=sent, content=b"{").status_code


def test_every_router_holds_routes_with_a_policy() -> None:
    assert all(isinstance(route, APIRoute) for router in ROUTERS for route in router.routes)
    assert all(any(policies_of(route.dependant)) for route in ROUTES)


def test_only_health_and_the_description_are_open() -> None:
    assert {route.path for route in ROUTES if needed_of(route) is None} == OPEN


def test_what_deletes_names_one_thing() -> None:
    """No path deletes everything of a kind, and no body or parameter widens what its path names."""
    for method, route in CALLS:
        if method == "DELETE":
            assert "{" in route.path.rpartition("/api/v1/")[2], route.path
            assert not route.dependant.body_params, route.path
            asked = [one.field_info.annotation for one in route.dependant.query_params]
            names = {name for one in asked if one is not bool for name in getattr(one, "model_fields", {"other": one})}
            assert names <= {"dry_run"}, route.path


@pytest.mark.parametrize(("method", "route"), CALLS, ids=NAMES)
def test_without_a_good_key_nothing_opens(shell: Shell, method: str, route: APIRoute) -> None:
    if needed_of(route) is None:
        return
    good = shell.keys[AIRLINE, Role.ADMIN]
    for headers in (
        {},
        {"Authorization": f"Bearer {issue()}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {good}"},
        {"Authorization": f"Bearer {good[:-1]}"},
        {"Authorization": "Bearer wrong", "x-api-key": good},
        {"x-api-key": "' OR '1'='1"},
        {"Cookie": f"x-api-key={good}"},
    ):
        assert call(shell, method, route, headers) == 401, headers
    address = f"{address_of(route)}?key={good}&api_key={good}&x-api-key={good}"
    assert shell.client.request(method, address).status_code == 401


@pytest.mark.parametrize(("method", "route"), CALLS, ids=NAMES)
def test_a_lower_role_is_forbidden_and_a_higher_one_is_not(shell: Shell, method: str, route: APIRoute) -> None:
    needed = needed_of(route)
    if needed is None:
        return
    for role in Role:
        status = call(shell, method, route, shell.headers(role))
        assert (status == 403) == (not role.allows(needed)), (role, status)
        assert status != 401


@pytest.mark.parametrize(("method", "route"), CALLS, ids=NAMES)
def test_a_thing_of_another_tenant_does_not_exist(shell: Shell, method: str, route: APIRoute) -> None:
    """Where an address names a thing, the other tenant's admin is told what it is told of things that never were."""
    if "{key_id}" not in route.path:
        return
    of_airline = shell.keys[AIRLINE, Role.VIEWER][4:16]
    answers = [
        shell.client.request(method, route.path.replace("{key_id}", key_id), headers=shell.headers(Role.ADMIN, SHOP))
        for key_id in (of_airline, "0123456789ab")
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert shell.client.get("/api/v1/me", headers=shell.headers(Role.VIEWER)).status_code == 200
