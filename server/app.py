"""The FastAPI application: routes of the table, one policy per route, one shape of error, known hosts only."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import problems
from server.incomplete import SaysIncomplete
from server.policy import require_policies
from server.routes.table import ROUTERS
from server.wiring import Services

TITLE: Final = "Assay"


def create_app(services: Services) -> FastAPI:
    """The application over `services`. Raises RuntimeError when a route has no policy."""
    app = FastAPI(
        title=TITLE,
        version=services.version,
        summary="Tells a team whether its AI agents got better, and stops the version that did not.",
        openapi_url=None,  # served by a route of ours, which has a policy
        docs_url=None,  # both pages load scripts from other machines
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    for router in ROUTERS:
        app.router.routes.extend(router.routes)  # include_router would hide them from the next line behind a proxy
    require_policies(app.routes)
    problems.install(app)
    app.add_middleware(SaysIncomplete)
    app.add_middleware(ShortBodies, max_bytes=services.settings.max_api_body_bytes)
    app.add_middleware(KnownHosts, hosts=services.settings.trusted_hosts)
    return app


class KnownHosts:
    """Refuses requests for a host that is not ours, so that a page elsewhere cannot reach a loopback server by a name
    of its own (DNS rebinding). `*` among the hosts lets all through."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers 400."""
        if scope["type"] == "http" and not self._known(Headers(scope=scope).getlist("host")):
            answer = problems.problem(
                400,
                "this server is not known by that Host; add it to trusted_hosts",
                code="unknown_host",
                instance=str(scope.get("path", ""))[:300],
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _known(self, given: list[str]) -> bool:
        if "*" in self._hosts:
            return True
        return len(given) == 1 and _without_port(given[0]) in self._hosts


class ShortBodies:
    """Refuses a body over the limit: at once when its length is declared, else as soon as it has become too long."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on with its bytes counted, or answers 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit() or int(declared) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        n_bytes = 0

        async def counted() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_bytes:
                raise HTTPException(413)
            return message

        return counted

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = problems.problem(
            413,
            f"the body is over the limit of {self._max_bytes} bytes; send less at once",
            code="too_large",
            instance=str(scope.get("path", ""))[:300],
            headers={"Connection": "close"},
        )
        await answer(scope, receive, send)


def _without_port(host: str) -> str:
    name, separator, port = host.lower().rpartition(":")
    return name if separator and port.isdigit() else host.lower()
