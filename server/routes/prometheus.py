"""Metrics of the caller's tenant for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from server.exposition import CONTENT_TYPE, exposition
from server.policy import known_parameters_only
from server.routes.asking import ReadingOf

router = APIRouter(tags=["health"], dependencies=[Depends(known_parameters_only)])


@router.get("/metrics")
def scrape(reading: ReadingOf) -> Response:
    """Alerts, incidents, messages and jobs of the caller's tenant, as Prometheus reads them."""
    control, tenant = reading.services.control, reading.caller.tenant
    text = exposition(
        version=reading.services.version,
        now_ns=reading.services.clock(),
        alerts=[one for status in ("pending", "firing") for one in control.alerts(tenant, status=status)],
        incidents=[one for status in ("open", "acknowledged") for one in control.incidents(tenant, status=status)],
        deliveries=control.deliveries(tenant),
        jobs=control.jobs(tenant),
    )
    return Response(text, headers={"cache-control": "no-store"}, media_type=CONTENT_TYPE)
