"""All routers of the API. Adding one costs a line here; `create_app` refuses a route that has no policy."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.routes import (
    annotating,
    apps,
    audit,
    comparisons,
    dataset_changes,
    datasets,
    doctor,
    erasure,
    evaluators,
    facets,
    gates,
    gateway,
    health,
    keys,
    label_queues,
    ledger,
    me,
    metrics,
    online,
    plans,
    quarantine,
    releases,
    rollups,
    runs,
    scores,
    search,
    sessions,
    spans,
    spend,
    tenant_settings,
    trace_diff,
    traces,
    turns,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    health.router,
    me.router,
    keys.router,
    tenant_settings.router,
    audit.router,
    erasure.router,
    ledger.router,
    doctor.router,
    quarantine.router,
    apps.router,
    spans.router,
    trace_diff.router,  # before /traces/{trace_id}
    traces.router,
    turns.router,
    sessions.router,
    rollups.router,
    releases.router,
    plans.router,
    datasets.router,
    dataset_changes.router,
    gates.router,
    gateway.router,
    spend.router,
    metrics.router,
    comparisons.router,
    facets.router,
    search.router,
    scores.router,
    online.router,  # before /evaluators/{name}
    evaluators.router,
    runs.router,
    label_queues.router,
    annotating.router,
)
