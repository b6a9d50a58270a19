"""From a plan in the control database to the release that a session reaches, through the gateway's own process."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import httpx

from core.ids import TenantId
from core.records import Principal, Role
from server.control_access import open_control
from server.settings import Settings
from store.control.records import PlanSpec, ReleaseSpec
from tests.gateway.releases import running
from tests.server.gateways import MODELS, running_gateway
from tests.waiting import wait_until

TENANT = TenantId("default")
ANN = Principal(tenant=TENANT, role=Role.POWER_USER, name="ann", key_id="0123456789ab")


def test_a_plan_decides_and_another_one_does_within_seconds(tmp_path: Path) -> None:
    with running("v1") as v1, running("v2") as v2:
        more = f'{MODELS}\nsessions:\n  shop: {{baseline: v1, releases: {{v1: "{v1.url}"}}}}\n'
        with running_gateway(tmp_path, more) as gateway:
            control = open_control(Settings(data=gateway.data))

            def answers(session: str) -> tuple[str, str]:
                url = f"{gateway.url}/apps/shop/v1/sessions/{session}/turns"
                answer = httpx.post(url, headers=gateway.headers, json={"text": "hello"}, timeout=30)
                assert answer.status_code == 200, answer.text
                return answer.json()["release"], answer.headers["x-assay-variant"]

            def plan(**weights: float) -> None:
                control.set_plan(TENANT, PlanSpec(app="shop", baseline="v1", weights=weights), by=ANN)

            try:
                assert answers("s1") == ("v1", "control")
                for name, endpoint in (("v1", None), ("v2", v2.url)):
                    spec = ReleaseSpec(app="shop", name=name, endpoint=endpoint, variant="green" if endpoint else None)
                    control.register_release(TENANT, spec, by=ANN)
                plan(v1=0.0, v2=1.0)
                wait_until(lambda: answers("s1") == ("v2", "green"), 30, "the plan")
                plan(v1=0.99, v2=0.01)
                fresh = count()  # a session that was seen under the plan before stays where it is
                wait_until(lambda: answers(f"new-{next(fresh)}") == ("v1", "control"), 30, "the next plan")
                assert answers("s1") == ("v2", "green"), "who was seen stays"
                plan(v1=1.0, v2=0.0)
                wait_until(lambda: answers("s1") == ("v1", "control"), 30, "the rollback")
            finally:
                control.close()
