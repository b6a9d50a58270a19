"""Once a day what monitors left behind long ago is forgotten: `monitors_kept_days`."""

from __future__ import annotations

import logging
from typing import Final

from core.clock import NS_PER_S
from core.errors import AssayError
from core.ids import TenantId
from server.process_name import is_gone, this_process
from server.wiring import Services

UPKEEP_JOB: Final = "monitors-upkeep"
DAY_NS: Final = 86_400 * NS_PER_S
HOUR_NS: Final = 3 * 3600 * NS_PER_S  # at three at night, UTC
_LOG: Final = logging.getLogger("assay.monitors")


def upkeep(services: Services, tenant: TenantId) -> dict[str, int] | None:
    """Forgets what of a tenant is older than it is kept; how many rows of what. None where it is not this process's
    turn: one does it, once a night, and a night that was missed is caught up. Failures are told in the log, and tried
    again."""
    days, control, owner = services.settings.monitors_kept_days, services.control, this_process()
    try:
        if not days or control.take_job(tenant, UPKEEP_JOB, owner, is_gone) is None:
            return None
        now = services.clock()
        try:
            counts = control.forget_monitoring(tenant, now - days * DAY_NS)
        except AssayError as error:
            control.end_job(tenant, UPKEEP_JOB, owner, next_ns=0, error=str(error))
            raise
        control.end_job(tenant, UPKEEP_JOB, owner, next_ns=next_night(now), told=counts)
    except AssayError as error:
        _LOG.error("old incidents of %s cannot be forgotten now, which is tried again: %s", tenant, error)
        return None
    return counts


def next_night(now_ns: int) -> int:
    """The next time that it is three o'clock, UTC."""
    return (now_ns - HOUR_NS) // DAY_NS * DAY_NS + DAY_NS + HOUR_NS
