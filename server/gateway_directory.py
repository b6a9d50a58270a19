"""What the gateway knows of the control database: keys and plans, read in a thread, so that no call waits for it.

When the database cannot be read, what was read last holds. A revoked key is refused within `READ_EVERY_S` and the
authenticator's own memory; a new one works as soon as it was read.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from core.clock import Clock, system_clock, to_datetime
from core.errors import AssayError, Unauthenticated
from core.ids import KeyId, TenantId
from core.keytext import parse
from core.records import Role
from store.control.control import Control
from store.control.experiment_records import LiveExperiment
from store.control.records import KeyRecord, LivePlan
from store.durable import sync_folder

READ_EVERY_S: Final = 2.0
OUR_NAME: Final = "gateway"  # what the keys are called that its spans are sent with
_LOG: Final = logging.getLogger("assay.gateway")


class Directory:
    """Reads once when it is made, then every `READ_EVERY_S` after `start`. Thread-safe."""

    def __init__(self, control: Control, keys_file: Path, clock: Clock = system_clock) -> None:
        """`keys_file` keeps the texts of the gateway's own ingest keys, mode 0600. Raises StorageFailed, Corrupt:
        nothing could be read yet."""
        self._control = control
        self._keys_file = keys_file
        self._clock = clock
        self._own: dict[str, str] = _kept(keys_file)
        self._wanted: set[str] = set()
        self._used: set[KeyId] = set()
        self._keys: Mapping[KeyId, KeyRecord] = {}
        self._plans: tuple[LivePlan, ...] = ()
        self._experiments: tuple[LiveExperiment, ...] = ()
        self._read_at_ns = 0
        self._trouble = ""
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway-directory", daemon=True)
        self._read()

    def start(self) -> None:
        """Goes on reading, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stops reading. The control database stays open."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def find_key(self, key_id: KeyId) -> KeyRecord | None:
        """The key of this id, as it was read last."""
        return self._keys.get(key_id)

    def note_use(self, key_id: KeyId) -> None:
        """The key was used; written down with the next reading."""
        self._used.add(key_id)

    @property
    def plans(self) -> tuple[LivePlan, ...]:
        """The plans that hold, as they were read last."""
        return self._plans

    @property
    def experiments(self) -> tuple[LiveExperiment, ...]:
        """The running experiments over releases, as they were read last."""
        return self._experiments

    def ingest_key(self, tenant: str) -> str | None:
        """The text of a key that a tenant's spans are sent with. None: there is none yet, it is being made."""
        text = self._own.get(tenant)
        if text is not None and self._works(text, tenant):
            return text
        self._wanted.add(tenant)
        self._wake.set()
        return None

    def status(self) -> dict[str, Any]:
        """When keys and plans were read, and why not since."""
        read_at = to_datetime(self._read_at_ns).isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"read_at": read_at, "n_keys": len(self._keys), "n_plans": len(self._plans), "trouble": self._trouble}

    def _works(self, text: str, tenant: str) -> bool:
        try:
            key = self._keys.get(parse(text).key_id)
        except Unauthenticated:
            return False  # the file was edited by hand
        return key is not None and key.tenant == tenant and key.usable(self._clock())

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(READ_EVERY_S)
            self._wake.clear()
            for step in (self._make_wanted, self._read, self._note_uses):
                self._try(step)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (AssayError, OSError) as error:
            if str(error) != self._trouble:
                _LOG.error("of the control database, what was read before holds: %s", error)
            self._trouble = str(error)
        except Exception:
            _LOG.exception("reading keys and plans ended in a defect; those of before hold")
            self._trouble = "a defect; see the log"

    def _read(self) -> None:
        keys = {key.key_id: key for key in self._control.every_key()}
        self._plans = tuple(self._control.live_plans())
        self._experiments = tuple(self._control.live_experiments())
        self._keys, self._read_at_ns, self._trouble = keys, self._clock(), ""

    def _make_wanted(self) -> None:
        """A key for every tenant that has spans to send and no key to send them with."""
        while self._wanted:
            tenant = self._wanted.pop()
            if tenant in self._own and self._works(self._own[tenant], tenant):
                continue
            _, text = self._control.create_key(TenantId(tenant), Role.INGEST, OUR_NAME)
            self._own = {**self._own, tenant: text}
            _keep(self._keys_file, self._own)

    def _note_uses(self) -> None:
        while self._used:
            self._control.touch(self._used.pop())


def _kept(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        _LOG.warning("%s cannot be read; new keys are made as they are needed", path)
        return {}
    return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}


def _keep(path: Path, keys: Mapping[str, str]) -> None:
    """Replaces the file, which nobody else may read from its first byte on. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(dict(keys), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)
