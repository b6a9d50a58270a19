"""What an erasure deletes from the control database is gone from its files before the erasure counts as done."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from core.ids import TenantId
from store.control.control import Control
from tests.stack import REPOSITORY
from tests.store.databases import PEPPER

_KILLED = """
import os, signal, sys
from core.ids import TenantId
from store.control.control import Control
from store.control import erasures

control = Control.open(sys.argv[1], pepper=bytes.fromhex(sys.argv[2]))
tenant = TenantId("acme")
control.ensure_tenant(tenant)
control.claim(tenant, "order-of-subject-4d1c", bytes(32), "answer")
begun = control.begin_erasure(tenant, "subject-4d1c", lambda number: b"sealed")
assert control.forget_claims(tenant, "subject-4d1c") == 1
changing = erasures.finish

def finished_and_killed(*given):
    changing(*given)
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[3] == "before":
    erasures.finish = finished_and_killed
else:
    rewritten, left = control._database.compact, [True]
    control._database.compact = lambda: rewritten() if left and left.pop() else os.kill(os.getpid(), signal.SIGKILL)
control.finish_erasure(begun, {"traces": 0})
"""


def test_a_kill_at_the_end_leaves_no_byte_or_an_erasure_under_way(tmp_path: Path) -> None:
    for when in ("before", "after"):
        data = tmp_path / when
        data.mkdir()
        url = f"sqlite:///{data / 'control.db'}"
        words = [sys.executable, "-c", _KILLED, url, PEPPER.hex(), when]
        child = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
        assert child.returncode == -signal.SIGKILL, child.stderr
        held = [path.name for path in data.iterdir() if b"subject-4d1c" in path.read_bytes()]
        assert held == [], when
        control = Control.open(url, pepper=PEPPER)
        assert len(control.erasures(TenantId("acme"), unfinished=True)) == (when != "after"), when
        control.close()
