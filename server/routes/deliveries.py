"""Messages on their way; what was given up is replayed from here."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.records import Principal, Role
from monitors.messages import tryout_message
from server.delivery.channels_file import BadChannels, load_channels
from server.policy import known_parameters_only, names_once, needs
from server.routes import monitor_shapes as shapes
from server.routes.answers import answer
from server.routes.asking import ReadingOf
from server.routes.monitor_told import delivery_told
from store.control.monitor_records import DeliveryState

router = APIRouter(
    prefix="/api/v1", tags=["incidents"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

User = Annotated[Principal, Depends(needs(Role.USER))]
PowerUser = Annotated[Principal, Depends(needs(Role.POWER_USER))]
Channel = Annotated[str, Path(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class AskedDeliveries(BaseModel):
    """Which messages: in one state; of one incident (17 is I-17)."""

    model_config = ConfigDict(extra="forbid")

    state: DeliveryState | None = None
    incident: Annotated[int | None, Field(ge=0, le=10**15)] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    cursor: Annotated[str | None, Field(max_length=2000)] = None


@router.get("/deliveries", response_model=shapes.Deliveries)
def list_deliveries(reading: ReadingOf, asked: Annotated[AskedDeliveries, Query()]) -> Response:
    """Messages, newest first."""
    found = reading.services.control.deliveries(reading.caller.tenant, state=asked.state, incident=asked.incident)
    shown, more = reading.page(found, lambda one: (one.created_ns, one.id), limit=asked.limit, cursor=asked.cursor)
    return answer({"items": [delivery_told(one) for one in shown], "next_cursor": more})


@router.get("/deliveries/{delivery}", response_model=shapes.Delivery)
def read_delivery(delivery: Annotated[str, Path(max_length=40)], reading: ReadingOf) -> Response:
    """One message. Raises NotFound."""
    return answer(delivery_told(reading.services.control.delivery(reading.caller.tenant, delivery)))


@router.post("/deliveries/{delivery}/replay", response_model=shapes.Delivery)
def replay_delivery(delivery: Annotated[str, Path(max_length=40)], caller: PowerUser, reading: ReadingOf) -> Response:
    """Sends a message that was given up once more, under the same id. Raises NotFound, Conflict."""
    return answer(delivery_told(reading.services.control.replay_delivery(caller.tenant, delivery, by=caller)))


@router.get("/channels", response_model=shapes.ChannelNames)
def list_channels(reading: ReadingOf) -> Response:
    """The channels that monitors may tell, by name; nothing of where they lead."""
    settings = reading.services.settings
    try:
        known = load_channels(settings.channels_file, os.environ)
    except BadChannels:
        why = "the file of channels cannot be used; the server's log says why"
        return answer({"items": [], "why": why, "next_cursor": None})
    items = [{"name": name, "kind": known.channels[name].kind} for name in known.names(str(reading.caller.tenant))]
    return answer({"items": items, "why": None, "next_cursor": None})


@router.post("/channels/{channel}/test", status_code=201, response_model=shapes.Delivery)
def test_channel(channel: Channel, caller: User, reading: ReadingOf) -> Response:
    """Sends a message that says it is a test; read the delivery to see what became of it."""
    control, now = reading.services.control, reading.services.clock()
    said = tryout_message(caller.name, now)
    return answer(delivery_told(control.put_test_delivery(caller.tenant, channel, said, by=caller)), status=201)
