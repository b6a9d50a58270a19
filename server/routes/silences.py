"""Silences: when nobody is to hear of which alerts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.ids import fresh
from core.records import Principal, Role
from core.windows import LAST_NS, moment_ns, parse_duration_s
from monitors.silences import Silence, checked
from monitors.silencing import matcher_of, record_of, silence_of, weekly_of
from server.policy import known_parameters_only, names_once, needs
from server.routes import monitor_shapes as shapes
from server.routes.answers import answer
from server.routes.asking import ReadingOf
from server.routes.monitor_told import silence_told

router = APIRouter(
    prefix="/api/v1/silences", tags=["incidents"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

User = Annotated[Principal, Depends(needs(Role.USER))]


class WantedSilence(BaseModel):
    """Which alerts (`matcher`: app, monitor, series, severity; all that are named have to be the same), from `start`
    (now) for so long (`lasts`, such as 2h) or until `end`, and why. `weekly`: only in windows that come every week,
    {"days": ["sat"], "start": "02:00", "end": "04:00", "zone": "Europe/Berlin"}. `dry_run` makes nothing."""

    model_config = ConfigDict(extra="forbid")

    matcher: dict[str, Any]
    why: Annotated[str, Field(min_length=1, max_length=2_000)]
    lasts: Annotated[str | None, Field(max_length=20)] = None
    start: Annotated[str | None, Field(max_length=40)] = None
    end: Annotated[str | None, Field(max_length=40)] = None
    weekly: dict[str, Any] | None = None
    dry_run: bool = False


@router.get("", response_model=shapes.Silences)
def list_silences(reading: ReadingOf) -> Response:
    """The silences, those that end last first."""
    now = reading.services.clock()
    items = [silence_told(one, now) for one in reading.services.control.silences(reading.caller.tenant)]
    return answer({"items": items, "next_cursor": None})


@router.post("", status_code=201, response_model=shapes.Silence)
def create_silence(wanted: WantedSilence, caller: User, reading: ReadingOf) -> Response:
    """Silences alerts: they live, and nobody is told. Raises InvalidInput, also for a monitor that is not there, and
    where with others nothing would be heard for more than 30 days."""
    control, now = reading.services.control, reading.services.clock()
    start = now if wanted.start is None else moment_ns(wanted.start, "start")
    if (wanted.lasts is None) == (wanted.end is None):
        raise InvalidInput("say how long it lasts (2h), or when it ends", field="lasts")
    end = moment_ns(wanted.end, "end") if wanted.end else start + parse_duration_s(wanted.lasts or "") * NS_PER_S
    if not now < end <= LAST_NS:
        raise InvalidInput("it ends in the future: what is past is silenced no more", field="end")
    matcher = matcher_of(wanted.matcher)
    if matcher.monitor is not None and matcher.monitor not in {one.name for one in control.monitors(caller.tenant)}:
        raise InvalidInput(f"there is no monitor {matcher.monitor[:80]!r} that could be silenced", field="matcher")
    silence = Silence(
        silence_id=fresh("silence"), matcher=matcher, start_ns=start, end_ns=end, why=wanted.why,
        weekly=None if wanted.weekly is None else weekly_of(wanted.weekly), by=caller.name,
    )  # fmt: skip
    made = record_of(caller.tenant, silence)
    if wanted.dry_run:
        checked(silence, [silence_of(one) for one in control.silences(caller.tenant)])
        return answer(silence_told(made, now, dry_run=True))
    kept = control.add_silence(
        made, lambda others: checked(silence, [silence_of(one) for one in others]), by=caller
    )  # fmt: skip
    return answer(silence_told(kept, now), status=201)


@router.delete("/{silence}", response_model=shapes.Silence)
def end_silence(
    silence: Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,40}$")], caller: User, reading: ReadingOf
) -> Response:
    """Ends a silence now. Raises NotFound."""
    made = reading.services.control.end_silence(caller.tenant, silence, by=caller)
    return answer(silence_told(made, reading.services.clock()))
