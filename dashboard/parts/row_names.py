"""Names of the rows of a picture above each row: beside it there is no room on a narrow screen. Rows stand at y = 0, 1…
from the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

ROW_PX: Final = 46


def rows(names: Sequence[str]) -> dict[str, Any]:
    """The y axis and the annotations of a layout. `names` went through `chart_text`."""
    where = {"xref": "paper", "x": 0, "xanchor": "left", "yanchor": "bottom", "align": "left", "showarrow": False}
    return {
        "yaxis": {"showticklabels": False, "range": [len(names) - 0.5, -0.8], "showgrid": False},
        "annotations": [{**where, "y": at - 0.18, "text": name or "(empty)"} for at, name in enumerate(names)],
    }
