"""An annotator's process that is killed anywhere: no answer is lost, no label is written twice."""

from __future__ import annotations

import shutil
from pathlib import Path

from core.records import EvaluatorKind, Principal, Role
from core.windows import Window
from judges.service_draws import NewItem, add
from judges.service_labels import NewQueue
from server.routes.label_queues import labels_of
from server.settings import Settings
from server.wiring import build_services
from store.control.label_records import TaskStatus
from store.judged import newest_said
from store.scores import ScoresAsked, list_scores
from tests.killing import killed_at, n_changes
from tests.server.shell import AIRLINE, running_shell
from tests.server.test_label_queues import judged_sessions

N = 5
MODULE = "tests.server.label_sitting"


def test_killed_anywhere_every_task_has_its_label_once(tmp_path: Path) -> None:
    with running_shell(tmp_path) as shell:
        judged_sessions(shell, N)
        power, service = Principal(tenant=AIRLINE, role=Role.POWER_USER, name="eve"), labels_of(shell.services)
        service.create(NewQueue(name="q", app="airline", judge="kind"), by=power)
        add(service, "q", [NewItem(session_id=f"s{n}") for n in range(1, N + 1)], (), by=power)
    data = tmp_path / "data"
    whole = n_changes(Path(shutil.copytree(data, tmp_path / "copy")), MODULE, str(tmp_path / "copy"), "q")
    assert whole > 3 * N  # a reservation, an answer and a score of each
    at = whole // 4
    for _ in range(4):  # each goes on from where the one before was killed
        killed_at(at, data, MODULE, str(data), "q")
    n_changes(data, MODULE, str(data), "q")
    services = build_services(Settings(data=data))
    try:
        tasks = services.control.label_tasks(AIRLINE, "q")[1]
        assert [(one.status, one.label, one.revision, one.scored) for one in tasks] == [
            (TaskStatus.COMPLETED, "pass", 1, 1)
        ] * N
        assert [one.annotator for one in services.control.annotations(AIRLINE, "q")] == ["ann"] * N
        store = services.store.tenant(AIRLINE)
        asked = ScoresAsked(window=Window(start_ns=0, end_ns=2**62), evaluator="helpful", limit=100)
        assert sorted(list_scores(store, asked)["session_id"]) == [f"s{n}" for n in range(1, N + 1)]
        assert newest_said(store, "helpful", EvaluatorKind.HUMAN).height == N
    finally:
        services.control.close()
