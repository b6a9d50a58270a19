"""An app whose sessions end well or badly, in a real lake and control database, looked at by hand-set clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.clock import NS_PER_S
from core.ids import TenantId
from core.records import EvaluatorKind, Principal, Role, TargetKind
from monitors.definition import Definition
from monitors.service_evaluate import Evaluator, Looked
from store.control.control import Control
from store.control.monitor_records import MonitorRecord
from store.control.monitoring import MONITORS_JOB
from store.engine import DuckDBEngine
from store.lake import Lake
from store.scores import NewScore, append_scores
from store.tenant import Store, TenantStore
from tests.store.build import fill, row

STEP_S: Final = 300
STEP: Final = STEP_S * NS_PER_S
BEGIN: Final = 1_790_000_100 * NS_PER_S // STEP * STEP
ACME: Final = TenantId("acme")
ANN: Final = Principal(tenant=ACME, role=Role.POWER_USER, name="ann")
BAND: Final = {"kind": "ema", "alpha": 0.05, "season": False}


class Hands:
    """A clock that is set by hand."""

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def __call__(self) -> int:
        return self.ns


@dataclass(kw_only=True)
class Shop:
    """The shop and what watches it. Buckets are numbered from BEGIN on."""

    lake: Lake
    control: Control
    store: TenantStore
    hands: Hands
    rng: np.random.Generator
    n: int = 0
    looks: list[Looked] = field(default_factory=list)

    def traffic(
        self, buckets: Iterable[int], rate: Callable[[int], float], *, per: int = 12, release: str = "v1",
        ms: Callable[[], float] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        """So many sessions in each of these buckets, of which about a share of `rate` end well; `more` is said of each
        of their spans."""
        spans, scores, ids = [], [], []
        for bucket in buckets:
            for place in range(per):
                self.n += 1
                at = BEGIN + bucket * STEP + place * (STEP // (per + 1))
                name = f"s{self.n}"
                common: dict[str, Any] = {
                    "app": "shop",
                    "release": release,
                    "session_id": name,
                    "user_id": f"u{self.n}",
                    "kind": "AGENT",
                    **more,
                }
                lasts = 900 + 10 * (self.n % 7) if ms is None else ms()
                spans.append(
                    row(**common, trace_id=self.n, span_id=self.n, start_ns=at, ms=lasts)
                )  # fmt: skip
                scores.append(
                    NewScore(
                        evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
                        session_id=name, value=float(self.rng.random() < rate(bucket)), at_ns=at + NS_PER_S,
                    )
                )  # fmt: skip
                ids.append(f"o{self.n}")
        fill(self.lake, spans)
        append_scores(self.store, scores, ids=ids, author="test", now_ns=self.hands.ns)

    def at(self, bucket: int) -> None:
        """Sets the clock to when the buckets before this one can be read."""
        self.hands.ns = BEGIN + bucket * STEP + 100 * NS_PER_S

    def watch(self, **given: Any) -> MonitorRecord:
        """A monitor of resolution."""
        said = {"app": "shop", "series": "resolution", "band": BAND, "channels": ["oncall"], **given}
        name = said.pop("name", "resolution")
        definition = Definition.from_json(said)
        made = MonitorRecord(tenant=ACME, name=name, app="shop", definition=definition.as_json())
        return self.control.add_monitor(made, by=ANN)

    def look(self, owner: str = "me") -> Looked | None:
        """One look, as the job takes it; None where it is not this process's to take."""
        if self.control.take_job(ACME, MONITORS_JOB, owner) is None:
            return None
        made = Evaluator(control=self.control, store=self.store, clock=self.hands, owner=owner).look()
        self.control.end_job(ACME, MONITORS_JOB, owner, next_ns=self.hands.ns, told=made.as_json())
        self.looks.append(made)
        return made

    def told(self) -> list[tuple[str, str]]:
        """What goes out, in order: kind and text."""
        found = sorted(self.control.deliveries(ACME), key=lambda one: (one.incident, one.seq))
        return [(one.payload["kind"], one.payload["event"]) for one in found]


@contextmanager
def open_shop(folder: Path) -> Iterator[Shop]:
    """A shop without traffic."""
    hands = Hands(BEGIN)
    folder.mkdir(exist_ok=True)
    lake = Lake(folder / "lake", clock=hands)
    control = Control.open(f"sqlite:///{folder / 'control.db'}", pepper=bytes(32), clock=hands)
    control.ensure_tenant(ACME)
    store = Store(lake, DuckDBEngine(lake.root), hands).tenant(ACME)
    yield Shop(lake=lake, control=control, store=store, hands=hands, rng=np.random.default_rng(7))
    control.close()
