"""Releases: register what a version of an app is, and list registered ones and those seen in traffic, side by side."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.errors import NotFound
from core.records import Principal, Role
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.asking import Reading, ReadingOf, Text, Times
from server.routes.keys import rfc3339
from server.routes.scores import Name
from store.control.records import ReleaseRecord, ReleaseSpec
from store.releases import release_traffic

router = APIRouter(
    prefix="/api/v1/releases", tags=["releases"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

_SPEC = ("variant", "model", "provider", "prompt_version", "parameters", "endpoint")


def _storable(parameters: dict[str, Any]) -> dict[str, Any]:
    """`parameters` when they can be written as JSON in UTF-8. Raises ValueError."""
    try:
        json.dumps(parameters, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    except (ValueError, RecursionError):
        raise ValueError("holds a number that is not finite, or nests too deeply") from None
    return parameters


def _without_password(endpoint: str) -> str:
    """`endpoint` when it holds no credentials: everybody of the tenant reads it. Raises ValueError."""
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        raise ValueError("is no address") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or password; leave them out")
    return endpoint


class NewRelease(BaseModel):
    """What a release is. Only app and name are needed; what is not said is null."""

    model_config = ConfigDict(extra="forbid")

    app: Name
    name: Name
    variant: Name | None = None
    model: Name | None = None
    provider: Name | None = None
    prompt_version: Name | None = None
    parameters: Annotated[dict[str, Any], AfterValidator(_storable)] = {}
    endpoint: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_without_password)] | None = None


class ScoreOfRelease(BaseModel):
    """An evaluator's scores: the mean of `n` values with its 95 % interval, unscored ones, and how often each label.

    A judge's has no mean here: `/api/v1/metrics/corrected` gives its rate with the judge's errors taken out.
    """

    evaluator: str
    evaluator_kind: str
    n: int
    mean: float | None
    low: float | None
    high: float | None
    n_unscored: int
    labels: dict[str, int]


class Traffic(BaseModel):
    """What the turns of the window say of a release."""

    n_turns: int
    n_errors: int
    error_rate: float | None
    n_sessions: int
    variants: list[str]
    models: list[str]
    latency_ms: dict[str, float | None] | None
    ttft_ms: dict[str, float | None] | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    first_seen_at: str
    last_seen_at: str
    scores: list[ScoreOfRelease]


class ReleaseRow(BaseModel):
    """A release. Not `registered`: seen in traffic only, and what it is nobody said. `traffic` null: no turn in the
    window."""

    app: str
    name: str
    registered: bool
    variant: str | None
    model: str | None
    provider: str | None
    prompt_version: str | None
    parameters: dict[str, Any] | None
    endpoint: str | None
    created_at: str | None
    created_by: str | None
    traffic: Traffic | None


class Releases(BaseModel):
    """Releases, those with the latest traffic first, then those without any, newest first."""

    items: list[ReleaseRow]
    next_cursor: None = None


class AskedReleases(Times):
    """Releases of one app, or of all, and their traffic in a window."""

    app: Text = None


@router.get("", response_model=Releases)
def list_releases(reading: ReadingOf, asked: Annotated[AskedReleases, Query()]) -> Response:
    """Registered releases with the traffic of the window, and those that traffic names and nobody registered."""
    return answer({"items": _rows(reading, asked, asked.app), "next_cursor": None})


@router.get("/{app}/{name:path}", response_model=ReleaseRow)
def read_release(
    app: str, name: str, request: Request, reading: ReadingOf, asked: Annotated[Times, Query()]
) -> Response:
    """One release. A slash in an app or name is written %2F. Raises NotFound when it is neither registered nor seen in
    the window."""
    app, name = _named(request, app, name)
    for row in _rows(reading, asked, app):
        if row["name"] == name:
            return answer(row)
    raise NotFound("this app has no release of that name, registered or in the traffic of the window")


@router.post("", status_code=201, response_model=ReleaseRow)
def register_release(
    caller: Annotated[Principal, Depends(needs(Role.POWER_USER))], services: ServicesOf, wanted: NewRelease
) -> Response:
    """Registers a release for good: 201, 200 where it is registered already. Raises Conflict for other content."""
    made, new = services.control.register_release(caller.tenant, ReleaseSpec(**dict(wanted)), by=caller)
    return answer(_shown(made, None), status=201 if new else 200)


def _rows(reading: Reading, times: Times, app: str | None) -> list[dict[str, Any]]:
    seen = release_traffic(reading.store, reading.window(times), app=app, as_of_ns=reading.as_of_ns(times))
    records = {
        (one.spec.app, one.spec.name): one for one in reading.services.control.releases(reading.caller.tenant, app)
    }
    rows = []
    for traffic in seen:
        key = traffic["app"], traffic["release"]
        record = records.pop(key, None)
        rows.append(_only_seen(*key, traffic) if record is None else _shown(record, traffic))
    newest = sorted(records.values(), key=lambda one: one.created_at_ns, reverse=True)
    return [*rows, *(_shown(record, None) for record in newest)]


def _shown(record: ReleaseRecord, traffic: dict[str, Any] | None) -> dict[str, Any]:
    spec = record.spec
    return {
        "app": spec.app,
        "name": spec.name,
        "registered": True,
        **{name: getattr(spec, name) for name in _SPEC},
        "created_at": rfc3339(record.created_at_ns),
        "created_by": record.created_by,
        "traffic": None if traffic is None else _of_traffic(traffic),
    }


def _only_seen(app: str, name: str, traffic: dict[str, Any]) -> dict[str, Any]:
    unknown = dict.fromkeys((*_SPEC, "created_at", "created_by"))
    return {"app": app, "name": name, "registered": False, **unknown, "traffic": _of_traffic(traffic)}


def _of_traffic(traffic: dict[str, Any]) -> dict[str, Any]:
    return {name: traffic[name] for name in Traffic.model_fields}


def _named(request: Request, app: str, name: str) -> tuple[str, str]:
    """App and name as they were written: an escaped slash belongs to one of them, the other parts them."""
    raw = request.scope.get("raw_path")
    parts = raw.decode("ascii", "replace").removeprefix(f"{router.prefix}/").split("/") if raw else []
    return (unquote(parts[0]), unquote(parts[1])) if len(parts) == 2 else (app, name)
