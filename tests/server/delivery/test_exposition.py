"""/metrics as Prometheus reads it: of one tenant, for those who have a key."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from core.records import Role
from server.exposition import exposition
from store.control.monitor_records import Delivery, DeliveryState, IncidentRecord, JobState, RaisedAlert, ScheduledJob
from tests.server.delivery.world import ACME, ANN, BEGIN, payload
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell

LINE = re.compile(r'[a-z_]+\{([a-z]+="([^"\\\n]|\\["\\n])*",?)*\} [0-9.e+-]+\Z')


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("metrics")) as running:
        yield running


def told(channel: str = "oncall") -> str:
    message = Delivery(tenant=ACME, id="d", channel=channel, incident=1, seq=1, payload={}, created_ns=BEGIN)
    return exposition(
        version="1",
        now_ns=BEGIN + 90 * 10**9,
        alerts=[
            RaisedAlert(
                tenant=ACME, monitor="resolution", series=name, episode=1, app="shop", status="firing",
                severity="page", since_ns=BEGIN,
            )
            for name in "ab"
        ],
        incidents=[IncidentRecord(tenant=ACME, number=1, app="shop", status="open", severity="page", opened_ns=BEGIN)],
        deliveries=[message],
        jobs=[ScheduledJob(tenant=ACME, name="monitors", state=JobState.DEAD, succeeded_ns=BEGIN)],
    )  # fmt: skip


def test_what_is_counted() -> None:
    lines = told().splitlines()
    assert 'assay_alerts{app="shop",monitor="resolution",severity="page",status="firing"} 2' in lines
    assert 'assay_incidents{app="shop",severity="page",status="open"} 1' in lines
    assert 'assay_deliveries{channel="oncall",state="queued"} 1' in lines
    assert 'assay_delivery_oldest_waiting_seconds{channel="oncall"} 90' in lines
    assert 'assay_jobs{job="monitors",state="dead"} 1' in lines
    assert 'assay_job_last_success_timestamp_seconds{job="monitors"} 1800000000' in lines


def test_every_line_is_one_whatever_names_say() -> None:
    lines = told('a"b\\c\nd} 5').splitlines()
    assert all(one.startswith("# ") or LINE.fullmatch(one) for one in lines)


def test_it_is_of_the_keys_tenant(shell: Shell) -> None:
    control = shell.services.control
    sent = control.put_test_delivery(AIRLINE, "oncall", payload("test", "hello"), by=ANN)
    assert sent.state is DeliveryState.QUEUED
    accept = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}
    own = shell.client.get("/metrics", headers=shell.headers(Role.VIEWER) | accept)
    other = shell.client.get("/metrics", headers=shell.headers(Role.VIEWER, SHOP) | accept)
    assert own.status_code == other.status_code == 200
    assert own.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'assay_deliveries{channel="oncall",state="queued"} 1' in own.text.splitlines()
    assert "oncall" not in other.text
    assert shell.client.get("/metrics").status_code == 401
