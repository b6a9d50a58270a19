"""One shape for every error answer: application/problem+json (RFC 9457), whatever went wrong and wherever.

    {"type", "title", "status", "detail", "code", "instance", "field"?, "warnings"?}

No answer repeats what the caller sent, a path of this machine or a traceback.
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from core.errors import (
    AssayError,
    Conflict,
    Corrupt,
    Forbidden,
    InProgress,
    InvalidInput,
    NotFound,
    Overloaded,
    StorageFailed,
    TooLarge,
    Unauthenticated,
    Undecodable,
)
from server.incomplete import warnings
from server.policy import enforce
from store.control.database import DatabaseBusy

MEDIA_TYPE: Final = "application/problem+json"
_HERE: Final = "the API is under /api/v1, described at /api/v1/openapi.json and in docs/api.md"
_LOG: Final = logging.getLogger("assay.server")

# The most particular class first.
STATUS: Final[tuple[tuple[type[AssayError], int], ...]] = (
    (Undecodable, 400),
    (TooLarge, 413),
    (InvalidInput, 422),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Overloaded, 503),
    (StorageFailed, 503),
    (Corrupt, 500),
    (AssayError, 500),
)


def problem(
    status: int,
    detail: str,
    *,
    code: str,
    instance: str,
    field: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error answer."""
    body: dict[str, Any] = {
        "type": f"urn:assay:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": instance,
    }
    if field is not None:
        body["field"] = field
    if told := warnings():
        body["warnings"] = told
    return Response(json.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Gives `app` this shape for every error."""
    app.add_exception_handler(AssayError, _of_ours)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(Exception, _of_anything)


def of_error(error: AssayError, instance: str) -> Response:
    """The answer to one of our own errors."""
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Overloaded | InProgress):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, StorageFailed):
        headers["Retry-After"] = "5" if isinstance(error, DatabaseBusy) else "1"
    if status >= 500:
        _LOG.error("%s: %s", error.code, error)
    hidden = isinstance(error, Corrupt | StorageFailed) and not isinstance(error, DatabaseBusy)
    detail = "the storage failed; see the server's log" if hidden else str(error)
    field = error.field if isinstance(error, InvalidInput) else None
    return problem(status, detail, code=error.code, instance=instance, field=field, headers=headers)


def _of_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, AssayError)
    refusal = _refused_first(request) if isinstance(error, InvalidInput) else None
    return refusal or of_error(error, _instance(request))


def _of_http(request: Request, error: Exception) -> Response:
    """404 and 405 of the router, 400 and 413 of the body reader."""
    assert isinstance(error, HTTPException)
    refusal = _refused_first(request)
    if refusal is not None:
        return refusal
    status = error.status_code
    detail, code = {
        400: ("the body cannot be read as JSON", "undecodable"),
        404: (f"there is nothing at this address; {_HERE}", "not_found"),
        405: ("this address does not know that method", "method_not_allowed"),
        413: ("the body is over the limit; send less at once", "too_large"),
    }.get(status, (HTTPStatus(status).phrase, "http_error"))
    return problem(status, detail, code=code, instance=_instance(request), headers=dict(error.headers or {}))


def _of_validation(request: Request, error: Exception) -> Response:
    """The first thing that is wrong with parameters or body, with the name of its field."""
    assert isinstance(error, RequestValidationError)
    refusal = _refused_first(request)
    if refusal is not None:
        return refusal
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    place, field = where[0], ".".join(where[1:])
    if first["type"] == "json_invalid":
        return problem(400, "the body is not JSON", code="undecodable", instance=_instance(request))
    message = str(first["msg"]).removeprefix("Value error, ")
    detail = f"{place} {field}: {message}" if field else f"{place}: {message}"
    return problem(422, detail, code="invalid_input", instance=_instance(request), field=field or place)


def _of_anything(request: Request, error: Exception) -> Response:
    _LOG.error("unexpected error at %s", request.scope.get("path"), exc_info=error)
    return problem(500, "unexpected; see the server's log", code="internal", instance=_instance(request))


def _refused_first(request: Request) -> Response | None:
    """FastAPI reads the body, and other dependencies may speak, before the policy is asked; whoever may not call is
    not told what is wrong with the call."""
    try:
        enforce(request)
    except AssayError as error:
        return of_error(error, _instance(request))
    return None


def _instance(request: Request) -> str:
    return str(request.scope.get("path", ""))[:300]
