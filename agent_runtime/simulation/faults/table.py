"""Every fault by name, and what a session's planted faults do at each seam."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Final

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Document, Parameters
from agent_runtime.simulation.faults import (
    context_overflow,
    discount_above_cap,
    double_refund,
    drop_confirmation,
    harder_users,
    injection_success,
    invented_confirmation,
    latency_spike,
    leaked_pii,
    missing_citation,
    silent_model_change,
    stale_policy,
    tool_loop,
    verbose_padding,
    wrong_order,
    wrong_refund_amount,
)
from agent_runtime.simulation.faults.fault import Fault
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.scenario import Scenario
from agent_runtime.tools.backend import Backend

_MODULES: Final = (
    context_overflow,
    discount_above_cap,
    double_refund,
    drop_confirmation,
    harder_users,
    injection_success,
    invented_confirmation,
    latency_spike,
    leaked_pii,
    missing_citation,
    silent_model_change,
    stale_policy,
    tool_loop,
    verbose_padding,
    wrong_order,
    wrong_refund_amount,
)
FAULTS: Final[Mapping[str, Fault]] = MappingProxyType({each.FAULT.name: each.FAULT for each in _MODULES})


def fault_named(name: str) -> Fault:
    """The fault of this name. Raises InvalidInput naming those there are."""
    if name not in FAULTS:
        raise InvalidInput(f"there is no fault {name!r}; there are {', '.join(sorted(FAULTS))}")
    return FAULTS[name]


def alter_reply(names: Iterable[str], proposal: Proposal, situation: Situation) -> Proposal:
    """What the model answers in a session with these faults; `proposal` itself where none has a say."""
    for name in names:
        alter = fault_named(name).alter_reply
        proposal = proposal if alter is None else alter(proposal, situation)
    return proposal


def altered_backend(names: Iterable[str], backend: Backend) -> Backend:
    """The shop as a session with these faults meets it: one such backend per session."""
    for name in names:
        wrap = fault_named(name).wrap_backend
        backend = backend if wrap is None else wrap(backend)
    return backend


def altered_documents(names: Iterable[str], documents: Sequence[Document]) -> list[Document]:
    """The documents a session with these faults finds. Give every version: the newest are chosen here."""
    chosen = {each.doc_id: each for each in sorted(documents, key=lambda each: each.version)}
    found = list(chosen.values())
    for name in names:
        alter = fault_named(name).documents
        found = found if alter is None else alter(documents)
    return found


def altered_parameters(names: Iterable[str], parameters: Parameters) -> Parameters:
    """The release's parameters in a session with these faults."""
    for name in names:
        alter = fault_named(name).parameters
        parameters = parameters if alter is None else alter(parameters)
    return parameters


def chosen_scenario(names: Iterable[str], scenarios: Sequence[Scenario], chance: Random) -> Scenario:
    """The task a session plays: any of them evenly, or as a planted shift of traffic chooses."""
    for name in names:
        choose = fault_named(name).choose
        if choose is not None:
            return choose(scenarios, chance)
    return scenarios[chance.randrange(len(scenarios))]
