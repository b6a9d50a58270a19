"""All routers of the API. Adding one costs a line here; `create_app` refuses a route that has no policy."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.routes import audit, health, keys, ledger, me, quarantine, tenant_settings

ROUTERS: Final[tuple[APIRouter, ...]] = (
    health.router,
    me.router,
    keys.router,
    tenant_settings.router,
    audit.router,
    ledger.router,
    quarantine.router,
)
