"""The monitors that an agent begins with, by name: a plain table. To add one: an entry here.

Five series, and resolution a second time: its band sees a jump at once and follows what creeps, its chart adds up a few
points that stay (docs/monitors-demo-world.md has what each of them sees).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from monitors.definition import Definition
from monitors.records import Direction
from monitors.series import Source, series_of

DISTRIBUTION_STEP: Final = "1h"  # a window of hours says little more after five minutes
FALSE_PAGES_PER_WEEK: Final = 0.1  # each: one false page in eleven days of all together

_OF_ANY: Final = Definition(app="any", series="resolution", direction=Direction.DOWN)
DEFAULTS: Final = {
    "resolution": replace(_OF_ANY, false_pages_per_week=FALSE_PAGES_PER_WEEK),
    "grounding": replace(_OF_ANY, series="grounding"),
    "p95_latency": replace(_OF_ANY, series="p95_latency", direction=Direction.UP),
    "safety": replace(_OF_ANY, series="safety", band={"kind": "zero"}, clear_points=12),
    "escalation": replace(_OF_ANY, series="escalation", direction=Direction.UP),
    "resolution-drift": replace(_OF_ANY, band={"kind": "ewma"}),
}


def default_of(series: str, app: str) -> Definition:
    """The definition of a series' monitor where nothing else is said: that of the table, else one on its bad side."""
    if series in DEFAULTS:
        return replace(DEFAULTS[series], app=app)
    spec = series_of(series)
    if spec.source in (Source.MIX, Source.EMBEDDINGS):
        band = {"kind": "distribution"}
        return replace(_OF_ANY, app=app, series=series, direction=spec.bad, step=DISTRIBUTION_STEP, band=band)
    return replace(_OF_ANY, app=app, series=series, direction=spec.bad)
