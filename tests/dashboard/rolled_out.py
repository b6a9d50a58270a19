"""A server whose app had three rollouts (promoted, rolled back, under way) and one whose rollout waits, with dashboards
of three roles before them. Traffic is written on a clock of its own; everything that decided is the product's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.records import Role
from server.settings import Settings
from server.wiring import build_services
from store.control.records import PlanSpec, ReleaseSpec
from tests.dashboard.alone import running_dashboard
from tests.dashboard.test_gates_page import ATTACK
from tests.experiments.rollouts.shop import ANN, APP, TENANT, Clock, Nature, Shop
from tests.server.shell import Shell, running_shell, served
from tests.store.build import T0

DESK = "desk"
A_MINUTE = 200


@dataclass(frozen=True, kw_only=True)
class RolledOut:
    """The dashboard with a key of role power_user, and with one of a viewer; `ids` of the app's rollouts by status."""

    shell: Shell
    url: str
    viewer_url: str
    admin_key: str
    ids: dict[str, str]

    def told(self, app: str, rollout_id: str = "") -> dict[str, Any]:
        """A rollout as the API tells it."""
        found = self.shell.client.get(f"/api/v1/rollouts/{app}", params={"id": rollout_id} if rollout_id else {},
                                      headers=self.headers())  # fmt: skip
        found.raise_for_status()
        told: dict[str, Any] = found.json()
        return told

    def headers(self) -> dict[str, str]:
        """Of an admin who deployed nothing."""
        return {"Authorization": f"Bearer {self.admin_key}"}


@contextmanager
def rolled_out_dashboard(folder: Path) -> Iterator[RolledOut]:
    """Builds it, and tears it down."""
    ids = _history(folder / "data")
    with running_shell(folder, trusted_hosts=("*",)) as shell, served(shell.services) as api:
        keys = {role: shell.services.control.create_key(TENANT, role, f"{role.value} key")[1] for role in Role}
        made = _waiting(shell, keys[Role.POWER_USER])
        with (
            running_dashboard(api, keys[Role.POWER_USER], folder / "dashboard.log") as url,
            running_dashboard(api, keys[Role.VIEWER], folder / "viewer.log") as viewer_url,
        ):
            yield RolledOut(
                shell=shell, url=url, viewer_url=viewer_url, admin_key=keys[Role.ADMIN], ids=ids | {"waiting": made}
            )  # fmt: skip


def _history(data: Path) -> dict[str, str]:
    """v2 is as good as v1, v3 fails half of its sessions, v4 is under way."""
    clock = Clock(now_ns=T0)
    services = build_services(Settings(data=data), clock)
    services.control.ensure_tenant(TENANT)
    for app, names in ((APP, ("v1", "v2", "v3", "v4")), (DESK, ("d1", "d2"))):
        for name in names:
            spec = ReleaseSpec(app=app, name=name, model="sim-1", endpoint=f"http://127.0.0.1:1/{name}")
            services.control.register_release(TENANT, spec, by=ANN)
        services.control.set_plan(TENANT, PlanSpec(app=app, baseline=names[0], weights={names[0]: 1.0}), by=ANN)
    shop = Shop(
        control=services.control, lake=services.lake, store=services.store.tenant(TENANT), clock=clock,
        rng=random.Random(1), natures={"v3": Nature(error=0.5, success=0.4)},
    )  # fmt: skip
    shop.minutes(3, ticks=False, a_minute=A_MINUTE)
    found = {}
    for candidate, minutes in (("v2", 20), ("v3", 20), ("v4", 5)):
        shop.deploy(candidate=candidate)
        record = shop.minutes(minutes, a_minute=A_MINUTE)
        assert record is not None
        found[record.status.value] = record.rollout_id
    services.control.close()
    return found


def _waiting(shell: Shell, key: str) -> str:
    """Of the other app: it takes an approval and two checks, of which one was reported, in the words of an attacker."""
    headers = {"Authorization": f"Bearer {key}"}
    requires = {"approval": True, "checks": ["soc2", "privacy"]}
    body = {"app": DESK, "candidate": "d2", "requires": requires, "without": ["safety"]}
    answer = shell.client.post("/api/v1/rollouts", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    check = {"name": "soc2", "passed": True, "note": ATTACK}
    reported = shell.client.post(f"/api/v1/rollouts/{DESK}/checks", json=check, headers=headers)
    assert reported.status_code == 201, reported.text
    return str(answer.json()["id"])
