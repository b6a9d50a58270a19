"""A process that labels all tasks of a queue and ends: `python -m tests.server.label_sitting DATA QUEUE`."""

from __future__ import annotations

import sys
from pathlib import Path

from core.records import Principal, Role
from judges.service_labels import Answer
from server.routes.label_queues import labels_of
from server.settings import Settings
from server.wiring import build_services
from tests.server.shell import AIRLINE


def main() -> None:
    services = build_services(Settings(data=Path(sys.argv[1])))
    service, ann = labels_of(services), Principal(tenant=AIRLINE, role=Role.USER, name="ann")
    while (task := service.next(sys.argv[2], by=ann)[1]) is not None:
        service.answer(sys.argv[2], task.task_id, Answer(labels=("pass",)), by=ann)
    service.settle(sys.argv[2], AIRLINE)
    services.control.close()


if __name__ == "__main__":
    main()
