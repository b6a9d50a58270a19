"""The API's erasures, on a whole running instance: the journal is emptied while requests go on."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import httpx

from server.exclusive import alone
from server.settings import Settings
from tests.bytes_left import mentions
from tests.collector import otlp
from tests.server.erasable import OTHER, PIECES, TEXT, USER, spans
from tests.stack import Stack, running_stack
from tests.waiting import wait_until


def send(stack: Stack, n: int, user: str, text: str) -> None:
    body = otlp.traces(*spans(n, user, text, f"s-{n}")).SerializeToString()
    headers = {**stack.headers, "content-type": "application/x-protobuf"}
    assert httpx.post(f"{stack.otlp_http}/v1/traces", content=body, headers=headers, timeout=30).status_code == 200


def done(client: httpx.Client, erasure_id: str) -> bool:
    return bool(client.get(f"/api/v1/erasures/{erasure_id}").json()["state"] == "done")


def counted(client: httpx.Client, narrowed: dict[str, str]) -> int:
    window = {"start": "2026-09-20T00:00:00Z", "end": "2026-09-23T00:00:00Z"}
    return int(client.get("/api/v1/spans/count", params={**window, **narrowed}).json()["count"])


def test_an_erasure_on_a_running_instance_under_load(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack, stack.client() as client:
        stop = threading.Event()
        n_sent = [0]

        def load() -> None:
            while not stop.is_set():
                n_sent[0] += 1
                send(stack, 1000 + n_sent[0], OTHER, "fine")

        thread = threading.Thread(target=load, daemon=True)
        thread.start()
        try:
            for n in range(1, 4):
                send(stack, n, USER, TEXT)
            foreseen = client.post("/api/v1/erasures", json={"user_id": USER}).json()
            assert foreseen["dry_run"]
            answer = client.post("/api/v1/erasures", json={"user_id": USER, "dry_run": False})
            assert answer.status_code == 202
            begun = answer.json()
            wait_until(lambda: done(client, begun["erasure_id"]), 180, "the erasure to be done")
        finally:
            stop.set()
            thread.join(30)
        receipt = client.get(f"/api/v1/erasures/{begun['erasure_id']}").json()["receipt"]
        assert (receipt["traces"], receipt["rows"]["spans"]) == (3, 9)
        assert receipt["journal_segments"] >= 1
        (listed,) = client.get("/api/v1/erasures").json()["items"]
        assert listed["subject"] == begun["subject"] != USER
        for narrowed, n in (({"user_id": USER}, 0), ({}, 3 * n_sent[0])):
            wait_until(lambda chosen=narrowed, n=n: counted(client, chosen) == n, 30, f"{n} spans of {narrowed}")  # type: ignore[misc]
        lines = client.get("/api/v1/audit").json()["items"]
        assert {"erasure.begin", "erasure.finish"} <= {line["action"] for line in lines}
        assert USER not in str(lines)
        assert client.get("/api/v1/audit/verify").json()["ok"]
        assert client.get("/api/v1/erasures/nobody").status_code == 404
        assert client.post("/api/v1/erasures", json={"user_id": " "}).status_code == 422
    assert mentions(tmp_path, PIECES) == []


def is_held(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_erasures_accepted_while_a_backup_runs_are_carried_out_after_it(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack, stack.client() as client:
        for n, user in enumerate((USER, OTHER), 1):
            send(stack, n, user, TEXT)
        with alone(Settings(data=stack.data_dir)):  # what assay backup holds
            begun = []
            for user in (USER, OTHER):
                answer = client.post("/api/v1/erasures", json={"user_id": user, "dry_run": False})
                assert answer.status_code == 202
                begun.append(answer.json()["erasure_id"])
            waits = stack.data_dir / "run" / "waits.lock"
            wait_until(lambda: waits.exists() and is_held(waits), 60, "a process to wait for the folder")
            refused = stack.cli("erase", "--user", USER, "--yes", "--data", str(stack.data_dir))
            assert (refused.returncode, "a backup of this data folder is running" in refused.stderr) == (1, True)
            assert not any(done(client, one) for one in begun)
        for one in begun:
            wait_until(lambda one=one: done(client, one), 120, "the erasure to be done")  # type: ignore[misc]
        assert counted(client, {}) == 0
