"""Backup and restore of an instance whose lake lies in S3 and whose control database on PostgreSQL, by counting."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from store.objects import Objects
from tests.collector import otlp
from tests.stack import REPOSITORY, Stack, running_stack
from tests.store.buckets import environment, new_bucket
from tests.store.databases import PostgreSQL
from tests.waiting import wait_until

N_TRACES = 40


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Where one is, and what its processes are told of it."""

    data: Path
    environment: dict[str, str]

    def assay(self, *words: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
        return subprocess.run(
            [sys.executable, "-m", "server.cli.main", *words, "--data", str(self.data)],
            cwd=REPOSITORY,
            env={**inherited, **self.environment},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


def new_instance(folder: Path, s3: str, postgres: PostgreSQL, name: str) -> Instance:
    """An instance that is not there yet, with a bucket and a database of its own."""
    postgres.psql(f"CREATE DATABASE {name}")
    services = {"ASSAY_LAKE": new_bucket(s3), "ASSAY_CONTROL_URL": postgres.get_uri(name)}
    return Instance(data=folder / name / "data", environment={**environment(s3), **services})


def send(stack: Stack) -> None:
    for n in range(1, N_TRACES + 1):
        trace = bytes.fromhex(f"{n:032x}")
        spans = [
            otlp.span({"session.id": f"s{n % 4}"}, trace_id=trace, span_id=bytes.fromhex(f"{n:08x}{i:08x}"))
            for i in (1, 2)
        ]
        body = otlp.traces(*spans).SerializeToString()
        headers = {**stack.headers, "content-type": "application/x-protobuf"}
        assert httpx.post(f"{stack.otlp_http}/v1/traces", content=body, headers=headers, timeout=60).status_code == 200


def answers(stack: Stack) -> dict[str, Any]:
    """What a user counts: rows by list, the ledger, the keys, and what the doctor finds wrong."""
    with stack.client() as api:
        params = {"start": "2000-01-01T00:00:00Z", "end": "2200-01-01T00:00:00Z", "limit": "200"}
        lists = {path: api.get(f"/api/v1/{path}", params=params).json()["items"] for path in ("spans", "sessions")}
        ledger = [row for row in api.get("/api/v1/ledger").json()["items"] if row["signal"] == "spans"]
        checks = api.get("/api/v1/doctor").json()["checks"]
        return {
            **{path: sorted(map(str, items)) for path, items in lists.items()},
            "ledger": ledger,
            "keys": sorted(key["key_id"] for key in api.get("/api/v1/keys").json()["items"]),
            "wrong": [check for check in checks if check["status"] != "ok" and check["name"] != "disk"],
            "rows": [check["detail"] for check in checks if check["name"].startswith("rows: ")],
        }


def objects_of(instance: Instance) -> Objects:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in instance.environment.items():
            patch.setenv(name, value)
        return Objects(instance.environment["ASSAY_LAKE"])


@pytest.fixture(scope="module")
def far(s3: str, postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> tuple[Instance, dict[str, Any]]:
    """An instance in S3 and PostgreSQL that has stored something and stands still, and what it answered."""
    instance = new_instance(tmp_path_factory.mktemp("far"), s3, postgres, "far_source")
    with running_stack(instance.data.parent, environment=instance.environment) as stack:
        send(stack)
        expected = [f"{2 * N_TRACES} stored = {2 * N_TRACES} in the lake + 0 removed"]
        wait_until(lambda: answers(stack)["rows"] == expected, 60, "everything to be stored and counted")
        said = answers(stack)
        assert said["wrong"] == []
        assert len(said["spans"]) == 2 * N_TRACES
        return instance, said


@pytest.mark.timeout(600)
def test_one_backup_restores_into_either_kind_of_place(
    far: tuple[Instance, dict[str, Any]], s3: str, postgres: PostgreSQL, tmp_path: Path
) -> None:
    source, said = far
    target = str(tmp_path / "copy.tar.zst")
    made = source.assay("backup", target, "--json")
    assert made.returncode == 0, made.stderr
    summary = json.loads(made.stdout)
    assert (summary["rows"]["spans"], summary["control"]) == (2 * N_TRACES, True)
    assert objects_of(source).list("_holds") == []
    near = Instance(data=tmp_path / "near" / "data", environment={})
    other = new_instance(tmp_path, s3, postgres, "far_restored")
    for place in (near, other):
        assert json.loads(place.assay("restore", target, "--dry-run", "--json").stdout) == summary
        done = place.assay("restore", target)
        assert done.returncode == 0, done.stderr
        with running_stack(place.data.parent, environment=place.environment) as stack:
            assert answers(stack) == said
            assert (place.data / "control.db").exists() is (place is near)
            assert (place.data / "lake").exists() is (place is near)
    again = other.assay("restore", target)
    assert (again.returncode, "not empty" in again.stderr) == (1, True)
    shutil.rmtree(other.data)
    again = other.assay("restore", target)
    assert (again.returncode, "there is a lake at" in again.stderr) == (1, True)
    back = near.assay("backup", str(tmp_path / "near" / "copy"), "--json")
    assert json.loads(back.stdout)["rows"] == summary["rows"], "a folder can move to S3 the same way"


def test_a_damaged_object_ends_a_backup_and_the_doctor_of_a_stopped_instance_names_it(
    far: tuple[Instance, dict[str, Any]], tmp_path: Path
) -> None:
    source, _ = far
    healthy = source.assay("doctor", "--offline", "--json")
    assert healthy.returncode == 0, healthy.stdout
    found = {check["name"]: check["detail"] for check in json.loads(healthy.stdout)["checks"]}
    assert found["control database"] == "every row fits its seal"
    assert found["ledger: spans of default"].startswith(f"{2 * N_TRACES} received")
    objects = objects_of(source)
    victim = next(each.path for each in objects.list("spans") if "part-" in each.path)
    sound = objects.get(victim) or b""
    objects.put(victim, sound[:-1] + bytes([sound[-1] ^ 1]))
    refused = source.assay("backup", str(tmp_path / "copy"))
    assert (refused.returncode, "is damaged" in refused.stderr) == (1, True)
    assert not list(tmp_path.iterdir())
    doctor = source.assay("doctor", "--offline", "--json")
    assert (doctor.returncode, victim in doctor.stdout) == (1, True)
    repaired = source.assay("doctor", "--repair", "--yes", "--json")
    assert [row["act"] for row in json.loads(repaired.stdout)["done"]] == ["send"], repaired.stdout
    assert objects.get(victim) == sound
