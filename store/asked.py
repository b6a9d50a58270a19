"""What a list is asked for: one frozen record for every list."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.windows import Window
from store.filters import Filters


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Rows that start in `window` and pass `filters`, newest first, at most `limit`.

    `after` is the (order value, row id) of the last row of the page before. `as_of_ns` hides what was stored later.
    """

    window: Window
    filters: Filters = field(default_factory=Filters)
    limit: int = 50
    after: tuple[int, str] | None = None
    as_of_ns: int | None = None

    @property
    def remaining(self) -> Window:
        """The part of the window that the pages before have not shown."""
        if self.after is None:
            return self.window
        end = max(self.window.start_ns + 1, min(self.window.end_ns, self.after[0] + 1))
        return Window(start_ns=self.window.start_ns, end_ns=end)

    @property
    def after_values(self) -> dict[str, object]:
        """The slots `after_order` and `after_id`; a position above everything for a first page."""
        order, row_id = self.after if self.after is not None else (2**63 - 1, "\U0010ffff")
        return {"after_order": order, "after_id": row_id}
