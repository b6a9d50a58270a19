"""A process that works on the jobs of judges of a data folder until none is left: python -m tests.judges.judging_child.

Arguments: the data folder, the collector's address. It is there to be killed.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from server.judging import carry_out
from server.process_name import is_gone, this_process
from server.settings import Settings
from server.wiring import build_services


def main() -> int:
    services = build_services(Settings(data=Path(sys.argv[1]), collector_url=sys.argv[2]))
    while jobs := services.control.take_judge_jobs(this_process(), 1, set(), gone=is_gone):
        print("taken", flush=True)
        carry_out(services, jobs[0], this_process(), "a key", threading.Event())
    services.control.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
