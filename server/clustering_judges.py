"""What clusters may know of judges: of those that are certified, how they err (judges/correction)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clustering.service_profile import Judge
from core.errors import AssayError
from core.ids import TenantId
from core.windows import Window
from server.wiring import Services


def judges_of(services: Services, tenant: TenantId) -> Callable[[str, Window], Sequence[Judge]]:
    """The certified judges of an app in a window. A judge of which nothing can be told is left out."""

    def found(app: str, window: Window) -> list[Judge]:
        judges = services.control.judges(tenant)
        if not judges:
            return []
        from judges.correction.records import Corrected
        from judges.service_corrected import CorrectedAsked, corrected_metric
        from server.calibrating import certificate

        made = []
        for one in judges:
            if not certificate(services, tenant, one.name, one.version, app).certified:
                continue
            asked = CorrectedAsked(name=one.name, app=app, window=window)
            try:
                rate = corrected_metric(
                    services.store.tenant(tenant), services.control, tenant, asked, now_ns=services.clock()
                ).rate
            except AssayError:
                continue
            if isinstance(rate, Corrected) and rate.sensitivity is not None and rate.specificity is not None:
                made.append(Judge(name=one.name, sensitivity=rate.sensitivity, specificity=rate.specificity))
        return made

    return found
