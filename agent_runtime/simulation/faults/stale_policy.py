"""The index holds the versions of documents that are no longer valid."""

from __future__ import annotations

from collections.abc import Sequence

from agent_runtime.records import Document
from agent_runtime.simulation.documents import versioned_ids
from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.scenario import Scenario


def _applies(scenario: Scenario) -> bool:
    return bool(versioned_ids() & set(scenario.goal.cites))


def _oldest(documents: Sequence[Document]) -> list[Document]:
    newest_first = sorted(documents, key=lambda each: -each.version)
    return list({each.doc_id: each for each in newest_first}.values())


FAULT = Fault(
    name="stale_policy",
    seam=Seam.DOCUMENTS,
    what="answers quote a policy that was replaced",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    documents=_oldest,
)
