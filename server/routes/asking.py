"""What lists are asked with: time windows, filters, limits and cursors as query parameters, read in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import Depends, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.records import Principal, Role, SpanKind
from core.windows import Window, parse_duration_s, parse_moment
from server.policy import ServicesOf, needs
from server.wiring import Services
from store.asked import Asked
from store.cursor import Position
from store.filters import Filters, Status, parse_attribute
from store.tenant import TenantStore

ARROW: Final = "application/vnd.apache.arrow.stream"
MOST_ROWS: Final = 1000
MOST_ARROW_ROWS: Final = 100_000


def _without_nul(text: str) -> str:
    """`text` when it holds no NUL, which no stored text is compared with. Raises ValueError."""
    if "\0" in text:
        raise ValueError(f"holds a NUL at position {text.index(chr(0))}")
    return text


Text = Annotated[str, Field(max_length=1000), AfterValidator(_without_nul)] | None


class Times(BaseModel):
    """A time window: `since` (90s, 15m, 24h, 7d, 2w back from now, or from `end`), or `start` and `end`: RFC 3339 with
    a zone, or integer nanoseconds. `as_of` hides what was stored later."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[str | None, Field(max_length=20)] = None
    start: Annotated[str | None, Field(max_length=40)] = None
    end: Annotated[str | None, Field(max_length=40)] = None
    as_of: Annotated[str | None, Field(max_length=40)] = None


class Lists(Times):
    """A list: at most `limit` rows (1,000; 100,000 as Arrow), continued by `cursor`."""

    limit: Annotated[int, Field(ge=1, le=MOST_ARROW_ROWS)] = 50
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class Filtered(BaseModel):
    """The filters that lists share. `attr` is key=value and may be repeated; `q` looks into text, whatever the case."""

    app: Text = None
    release: Text = None
    variant: Text = None
    environment: Text = None
    model: Text = None
    kind: SpanKind | None = None
    status: Status | None = None
    session_id: Text = None
    user_id: Text = None
    name: Text = None
    min_duration_ms: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    max_duration_ms: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    attr: Annotated[list[str], Field(max_length=10)] = []
    q: Text = None

    def filters(self) -> Filters:
        """The store's filters. Raises InvalidInput."""
        given = {name: getattr(self, name) for name in Filtered.model_fields if name != "attr"}
        return Filters(**given, attr=tuple(parse_attribute(text) for text in self.attr))


class FilteredList(Lists, Filtered):
    """A list with filters."""


class FilteredTimes(Times, Filtered):
    """A window with filters."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One reading request: who asks, of which store, and how the answer goes on."""

    caller: Principal
    services: Services
    store: TenantStore
    query: str
    arrow: bool

    def window(self, times: Times) -> Window:
        """The window asked for. Raises InvalidInput."""
        return window_of_times(times, self.services.clock())

    def as_of_ns(self, times: Times) -> int | None:
        """The moment of `as_of`. Raises InvalidInput."""
        return None if times.as_of is None else moment_ns(times.as_of, "as_of")

    def rows_wanted(self, lists: Lists) -> int:
        """One row more than is shown, to know whether there are more. Raises InvalidInput over the limit."""
        most = MOST_ARROW_ROWS if self.arrow else MOST_ROWS
        if lists.limit > most:
            raise InvalidInput(f"limit={lists.limit} is over {most}; continue with the cursor", field="limit")
        return lists.limit + (0 if self.arrow else 1)

    def position(self, cursor: str | None) -> Position | None:
        """Where the page before stopped. Raises Undecodable."""
        if cursor is None:
            return None
        return self.services.cursors.decode(cursor, tenant=self.caller.tenant, query=self.query)

    def cursor(self, position: Position) -> str:
        """The cursor that continues after `position`."""
        return self.services.cursors.encode(position, tenant=self.caller.tenant, query=self.query)

    def asked(self, lists: Lists, filters: Filters) -> Asked:
        """The store's record of a list. A continued list keeps the window it began with."""
        position = self.position(lists.cursor)
        return Asked(
            window=position.window if position else self.window(lists),
            filters=filters,
            limit=self.rows_wanted(lists),
            after=(position.order, position.row_id) if position else None,
            as_of_ns=self.as_of_ns(lists),
        )


def reading(
    request: Request, caller: Annotated[Principal, Depends(needs(Role.VIEWER))], services: ServicesOf
) -> Reading:
    """The dependency of every reading route: a viewer, and the store of the caller's own tenant."""
    said = [(k, v) for k, v in sorted(request.query_params.multi_items()) if k not in ("cursor", "limit")]
    return Reading(
        caller=caller,
        services=services,
        store=services.store.tenant(caller.tenant),
        query=f"{request.url.path}?{urlencode(said)}",
        arrow=ARROW in request.headers.get("accept", ""),
    )


ReadingOf = Annotated[Reading, Depends(reading)]


def window_of_times(times: Times, now_ns: int) -> Window:
    """The window of some parameters: `since` counts back from `end`, or from now with an hour to spare ahead.

    Raises InvalidInput naming the parameter.
    """
    end_ns = moment_ns(times.end, "end") if times.end is not None else None
    if times.since is not None:
        if times.start is not None:
            raise InvalidInput("give since= or start=, not both", field="since")
        back_ns = parse_duration_s(times.since) * NS_PER_S
        if back_ns == 0:
            raise InvalidInput(f"since={times.since} is an empty window", field="since")
        base = now_ns if end_ns is None else end_ns
        return Window(start_ns=base - back_ns, end_ns=now_ns + 3600 * NS_PER_S if end_ns is None else end_ns)
    if times.start is None:
        raise InvalidInput("a time window is required: give since=7d, or start= and end=", field="since")
    return Window(
        start_ns=moment_ns(times.start, "start"), end_ns=now_ns + 3600 * NS_PER_S if end_ns is None else end_ns
    )


def moment_ns(text: str, field: str) -> int:
    """Nanoseconds of an RFC 3339 time with a zone, or of an integer of nanoseconds. Raises InvalidInput."""
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit():
        value = int(text) if len(digits) <= 19 else 2**63
        if not -(2**63) <= value < 2**63:
            raise InvalidInput(f"{field} is out of range for nanoseconds", field=field)
        return value
    # An unescaped "+" of a zone reaches us as a space.
    found = parse_moment(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text, field)
    if not -(2**63) <= found < 2**63:
        raise InvalidInput(f"{field}={text[:40]!r} is outside the years 1678 to 2262", field=field)
    return found
