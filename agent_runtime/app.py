"""The HTTP door of the runtime. Errors are {"error": {"code", "message"}}; see docs/agent.md."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import FastAPI, Header, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_runtime.compose import open_runtime
from agent_runtime.errors import Busy, InvalidInput, NotFound, RuntimeFailed
from agent_runtime.records import TurnInput
from agent_runtime.runtime import Runtime
from agent_runtime.settings import Settings
from agent_runtime.telemetry import arrived

_STATUS: Final[dict[type[RuntimeFailed], tuple[int, str]]] = {
    InvalidInput: (422, "invalid_input"),
    NotFound: (404, "not_found"),
    Busy: (429, "busy"),
}
MOST_BODY: Final = 256 * 1024  # bytes; the longest message, every character escaped, has room
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
Name = Annotated[str, Field(min_length=1, max_length=200)]


class TurnBody(BaseModel):
    """A message. The same `message_id` sent again gives the same turn's answer; one is made when it is left away."""

    user_id: Name
    text: Annotated[str, Field(max_length=20_000)]
    message_id: Name | None = None
    tenant: Name | None = None


class ApprovalBody(BaseModel):
    """A person's decision on a waiting action."""

    approval_id: Name
    approved: bool
    by: Name


class BodyLimit:
    """Answers 413 to a body above `MOST_BODY`, of which it has read no more than that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body whole, then passes the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        length = dict(scope["headers"]).get(b"content-length", b"0")
        while more and len(body) <= MOST_BODY and not (length.isdigit() and int(length) > MOST_BODY):
            message = await receive()
            if message["type"] != "http.request":  # the caller went away
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if more or len(body) > MOST_BODY:
            refusal = _problem(413, "too_large", f"a body has at most {MOST_BODY} bytes")
            await refusal(scope, receive, send)
            return
        left = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Message:
            return left.pop() if left else await receive()

        await self._app(scope, replayed, send)


def make_app(settings: Settings, runtime: Runtime | None = None) -> FastAPI:
    """Makes the door; opens a runtime of its own unless it is given one. Raises InvalidInput: open beyond loopback."""
    if settings.host not in _LOOPBACK and settings.api_key is None:
        raise InvalidInput(f"set AGENT_API_KEY: {settings.host} can be reached by others")

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        if runtime is not None:
            app.state.runtime = runtime
            yield
            return
        async with open_runtime(settings) as running:
            app.state.runtime = running.runtime
            yield

    app = FastAPI(title="Larkspur support agent", lifespan=living)
    app.add_middleware(BodyLimit)
    app.middleware("http")(_key_check(settings))
    app.exception_handler(RuntimeFailed)(_failed)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(Exception)(_defect)
    _routes(app, settings)
    return app


def _routes(app: FastAPI, settings: Settings) -> None:
    def runtime() -> Runtime:
        found: Runtime = app.state.runtime
        return found

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/sessions/{session_id}/turns")
    async def turn(
        session_id: Name, body: TurnBody, request: Request, idempotency_key: Annotated[str, Header()] = ""
    ) -> Any:
        given = TurnInput(
            session_id=session_id,
            user_id=body.user_id,
            text=body.text,
            message_id=body.message_id or idempotency_key or uuid.uuid4().hex,
            tenant=body.tenant or settings.tenant,
        )
        with arrived(request.headers):
            return jsonable_encoder(await runtime().turn(given))

    @app.post("/v1/sessions/{session_id}/approvals")
    async def approve(session_id: Name, body: ApprovalBody, request: Request) -> Any:
        with arrived(request.headers):
            return jsonable_encoder(
                await runtime().approve(body.approval_id, body.approved, body.by, session_id=session_id)
            )

    @app.delete("/v1/users/{user_id:path}")
    async def forget(user_id: Name, tenant: str = settings.tenant, topic: str = "") -> dict[str, Any]:
        if topic:
            return {"user_id": user_id, "deleted": await runtime().forget_topic(user_id, topic, tenant)}
        return {"user_id": user_id, "deleted": await runtime().forget(user_id, tenant)}


def _key_check(settings: Settings) -> Callable[[Request, Callable[[Request], Awaitable[Any]]], Awaitable[Any]]:
    expected = None if settings.api_key is None else f"Bearer {settings.api_key.get_secret_value()}".encode()

    async def check(request: Request, go_on: Callable[[Request], Awaitable[Any]]) -> Any:
        shown = request.headers.get("authorization", "").encode()
        if expected is None or request.url.path == "/healthz" or hmac.compare_digest(shown, expected):
            return await go_on(request)
        return _problem(401, "unauthorized", "show the key as Authorization: Bearer KEY")

    return check


async def _failed(_: Request, error: Exception) -> JSONResponse:
    status, code = _STATUS.get(type(error), (500, "failed"))  # type: ignore[arg-type]
    return _problem(status, code, str(error))


async def _defect(_: Request, __: Exception) -> JSONResponse:
    return _problem(500, "failed", "something went wrong here; the log says what")  # what it is may hold a user's data


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
    return _problem(422, "invalid_input", said)


def _problem(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)
