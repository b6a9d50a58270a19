"""The gateway as one ASGI application: which door a request is for, whose it is, and how much may be open at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from core.clock import Clock
from core.errors import AssayError
from core.records import Principal
from gateway import callers
from gateway.config import GatewayConfig
from gateway.errors import CallFailed, UnknownModel
from gateway.http import Gone, Message, Receive, Request, Send, error_headers, send_json
from gateway.model_door import ModelDoor
from gateway.open_bodies import OpenBodies
from gateway.reading import read_call, unread_call
from gateway.records import CallKind, VirtualModel

_LOG = logging.getLogger("assay.gateway")
_KINDS: Final[Mapping[str, CallKind]] = {
    "/v1/chat/completions": CallKind.CHAT,
    "/chat/completions": CallKind.CHAT,
    "/v1/embeddings": CallKind.EMBEDDINGS,
    "/embeddings": CallKind.EMBEDDINGS,
}
_MODELS: Final = ("/v1/models", "/models")


class SessionDoor(Protocol):
    """Where sessions go to releases; see gateway/session_door.py."""

    async def serve(self, request: Request, receive: Receive, send: Send, principal: Principal) -> None:
        """Answers one request under /apps/. Raises CallFailed before it has begun an answer."""


@dataclass(frozen=True, kw_only=True)
class Doors:
    """One configuration at work. A request ends with the doors with which it began."""

    config: GatewayConfig
    model_door: ModelDoor
    session_door: SessionDoor
    models: Mapping[str, VirtualModel]
    team_of: Mapping[str, str] = field(default_factory=dict)

    def models_of(self, tenant: str) -> Mapping[str, VirtualModel]:
        """The virtual models that a tenant may use; of routed names those of which it may use both parts."""
        told, routing = self.config.models, self.config.policies.routing
        closed = {name for name, model in told.items() if model.tenants and tenant not in model.tenants}
        if not closed:
            return self.models
        closed |= {name for name, rule in routing.items() if {rule.simple, rule.complex} & closed}
        return {name: model for name, model in self.models.items() if name not in closed}


class Gateway:
    """The application. `principal` judges a key's text; `status` says, to one principal, how everything is."""

    def __init__(
        self,
        doors: Doors,
        principal: Callable[[str | None], Principal],
        status: Callable[[Principal], Mapping[str, Any]],
        clock: Clock,
    ) -> None:
        self._doors = doors
        self._principal = principal
        self._status = status
        self._clock = clock
        self._open = OpenBodies()
        self.n_open = 0

    def use(self, doors: Doors) -> None:
        """From now on requests pass these; those under way end as they began."""
        self._doors = doors

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request. Lifespan events are answered and mean nothing."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        self.n_open += 1
        try:
            await self._route(request, receive, send)
        except Gone:
            pass
        except CallFailed as error:
            await send_json(send, error.status, error.body(), error_headers(error))
        except AssayError as error:
            refusal = callers.refusal_of(error)
            await send_json(send, refusal.status, refusal.body(), error_headers(refusal))
        except Exception:
            _LOG.exception("a request for %s ended in a defect", request.path[:100])
            defect = CallFailed("something went wrong in the gateway; its log says what", code="gateway_defect")
            with suppress(RuntimeError):  # an answer had begun
                await send_json(send, 500, defect.body())
        finally:
            self.n_open -= 1

    async def _route(self, request: Request, receive: Receive, send: Send) -> None:
        path = request.path
        if path == "/healthz":
            await send_json(send, 200, {"status": "ok"})
            return
        principal = self._principal(callers.credential(request))
        doors = self._doors
        kind = _KINDS.get(path)
        if kind is not None:
            _only(request, "POST")
            await self._call(doors, request, send, kind, principal)
        elif path.startswith("/apps/"):
            callers.may_call(principal)
            await doors.session_door.serve(request, receive, send, principal)
        elif path in _MODELS or path.startswith("/v1/models/"):
            _only(request, "GET")
            callers.may_look(principal)
            await send_json(send, 200, _listed(path, doors.models_of(principal.tenant)))
        elif path == "/status":
            _only(request, "GET")
            callers.may_look(principal)
            await send_json(send, 200, self._status(principal))
        else:
            said = f"nothing is served at {path[:100]!r}; model calls go to /v1/chat/completions or /v1/embeddings"
            raise CallFailed(said, status=404, kind="invalid_request_error", code="not_found")

    async def _call(self, doors: Doors, request: Request, send: Send, kind: CallKind, principal: Principal) -> None:
        config, tenant, began_ns = doors.config, principal.tenant, self._clock()
        with self._open.of(tenant, config.max_open_bytes) as keep:
            try:
                callers.may_call(principal)
                body = await request.body(config.max_body_bytes, keep, config.body_timeout_s)
                models = doors.models_of(tenant)
                call = read_call(request, body, kind, principal, models, doors.team_of, began_ns)
            except CallFailed as error:
                doors.model_door.refuse(unread_call(request, kind, principal, began_ns), error)
                raise
            del body
            await doors.model_door.serve(call, request, send)


def _only(request: Request, method: str) -> None:
    if request.method != method:
        said = f"{request.path[:100]} takes {method}, not {request.method}"
        raise CallFailed(said, status=405, kind="invalid_request_error", code="method_not_allowed")


def _listed(path: str, models: Mapping[str, VirtualModel]) -> dict[str, Any]:
    def shown(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "assay"}

    if path in _MODELS:
        return {"object": "list", "data": [shown(name) for name in models]}
    name = path.removeprefix("/v1/models/")
    if name not in models:
        raise UnknownModel(f"there is no model {name[:80]!r} here; see GET /v1/models", param="model")
    return shown(name)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
