"""What the gateway reads of experiments: a start, a ramp, a tester and a stop arrive, and no tester's id with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from core.clock import system_clock
from core.ids import TenantId
from core.records import Principal, Role
from experiments import service_definitions
from experiments.splits import override_of, placed
from gateway.enrolment import Running, enrolled
from server.gateway_directory import Directory
from server.gateway_plans import GatewayExperiments
from store.control.control import Control
from store.control.records import ReleaseSpec
from tests.store.databases import PEPPER
from tests.waiting import wait_until

TENANT: Final = TenantId("acme")
ANN: Final = Principal(tenant=TENANT, role=Role.POWER_USER, name="ann")
ASKED: Final = {
    "arms": [
        {"variant": "control", "release": "v1", "weight": 0.5},
        {"variant": "treatment", "release": "v2", "weight": 0.5},
    ],
    "metrics": [{"name": "resolution", "role": "primary"}],
}


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    found = Control.open(f"sqlite:///{tmp_path / 'control.db'}", pepper=PEPPER)
    found.ensure_tenant(TENANT)
    for name in ("v1", "v2"):
        found.register_release(
            TENANT, ReleaseSpec(app="shop", name=name, endpoint=f"http://127.0.0.1:1/{name}"), by=ANN
        )
    yield found
    found.close()


def test_a_start_a_ramp_a_tester_and_a_stop_arrive(control: Control, tmp_path: Path) -> None:
    directory = Directory(control, tmp_path / "keys.json", system_clock)
    directory.start()
    try:
        of = GatewayExperiments(directory).of

        def arrived(what: str, coverage: float, n_testers: int = 0) -> Running:
            def there() -> bool:
                return [(one.coverage, len(one.overrides)) for one in of(TENANT, "shop")] == [(coverage, n_testers)]

            wait_until(there, 20, what)
            return of(TENANT, "shop")[0]

        service_definitions.register(control, "refund-prompt", "shop", ASKED, by=ANN, dry_run=False)
        service_definitions.start(control, "refund-prompt", 0.2, by=ANN, dry_run=False)
        one = arrived("the start", 0.2)
        assert one.endpoints == {"v1": "http://127.0.0.1:1/v1", "v2": "http://127.0.0.1:1/v2"}
        control.ramp_experiment(TENANT, "refund-prompt", 1.0, by=ANN)
        one = arrived("the ramp", 1.0)
        for user in (f"u-{n}" for n in range(20)):
            met = enrolled([one], user, "s1", None)
            assert met is not None
            ((record, told),) = service_definitions.assigned(control, TENANT, "shop", user, one.definition.unit)
            assert (met.variant, met.release) == (told.variant, told.release)
            assert told == placed(one.definition, 1.0, user)
            assert met.experiment == f"{record.name}:{record.version}"
        control.set_overrides(TENANT, "refund-prompt", {"tester@example.com": "treatment"}, by=ANN)
        one = arrived("the tester", 1.0, 1)
        assert override_of(one.overrides, one.override_key, "tester@example.com") == "treatment"
        assert "tester@example.com" not in repr(one)
        assert of(TENANT, "another") == of("other", "shop") == ()
        control.stop_experiment(TENANT, "refund-prompt", None, by=ANN)
        wait_until(lambda: not of(TENANT, "shop"), 20, "the stop")
    finally:
        directory.close()
