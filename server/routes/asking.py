"""What lists are asked with: time windows, filters, limits and cursors as query parameters, read in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.errors import InvalidInput
from core.records import Principal, Role, SpanKind
from core.windows import Window, moment_ns, window_of
from server.policy import ServicesOf, needs
from server.wiring import Services
from store.asked import Asked
from store.cursor import Position
from store.filters import Filters, Status, parse_attribute
from store.tenant import TenantStore

ARROW: Final = "application/vnd.apache.arrow.stream"
MOST_ROWS: Final = 1000
MOST_ARROW_ROWS: Final = 100_000
NO_TIME: Final = Window(start_ns=0, end_ns=1)  # of a list that is of no window

T = TypeVar("T")


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
        return window_of(now_ns=self.services.clock(), start=times.start, end=times.end, since=times.since)

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

    def page(
        self, items: Sequence[T], place: Callable[[T], tuple[int, str]], *, limit: int, cursor: str | None
    ) -> tuple[Sequence[T], str | None]:
        """The next page of a list that is held whole, newest first, and the cursor behind it. `place` says when an item
        was and which it is; where the one that was shown last is gone, those of its moment are shown again. Raises
        Undecodable."""
        if position := self.position(cursor):
            last = (position.order, position.row_id)
            begin = next((at + 1 for at, one in enumerate(items) if place(one) == last), None)
            gone = next((at for at, one in enumerate(items) if place(one)[0] <= position.order), len(items))
            items = items[gone if begin is None else begin :]
        if len(items) <= limit:
            return items, None
        order, row_id = place(items[limit - 1])
        return items[:limit], self.cursor(Position(order=order, row_id=row_id, window=NO_TIME))

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
