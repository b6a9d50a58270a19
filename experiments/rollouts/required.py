"""What a rollout needs before its first step, and what of it is there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.gates.records import GateDecision
from experiments.rollouts.records import Requires
from store.control.gates import GateRecord
from store.control.rollout_records import CheckRecord


@dataclass(frozen=True, kw_only=True)
class Needed:
    """One thing that is needed: whether it is there, and in words what there is or what to do."""

    what: str
    is_there: bool
    text: str


def needed(
    requires: Requires,
    pair: tuple[str, str],
    gates: Sequence[GateRecord],
    checks: Sequence[CheckRecord],
    approved_by: str | None,
) -> list[Needed]:
    """All that is needed for this pair of candidate and baseline. Of gates and of each check the newest counts."""
    found = [_gate(pair, gates)] if requires.gate else []
    found += [_check(name, checks) for name in requires.checks]
    if requires.approval:
        text = f"approved by {approved_by}" if approved_by else (
            "no approval yet: a key with the role admin that did not deploy it: assay rollouts approve APP"
        )  # fmt: skip
        found.append(Needed(what="approval", is_there=approved_by is not None, text=text))
    return found


def _gate(pair: tuple[str, str], gates: Sequence[GateRecord]) -> Needed:
    own = [one for one in gates if (one.candidate, one.baseline) == pair]
    if not own:
        text = f"no gate has decided on {pair[0]} against {pair[1]} yet: assay gate APP --candidate ... --baseline ..."
        return Needed(what="gate", is_there=False, text=text)
    newest = max(own, key=lambda one: (one.made_at_ns, one.gate_id))
    said = f"gate {newest.gate_id} says {newest.decision}"
    passed = newest.decision == GateDecision.PASS.value
    return Needed(what="gate", is_there=passed, text=said if passed else f"{said}; a later decision has to pass")


def _check(name: str, checks: Sequence[CheckRecord]) -> Needed:
    own = [one for one in checks if one.name == name]
    if not own:
        return Needed(what=f"check:{name}", is_there=False, text=f"check {name}: nobody has reported it yet")
    newest = max(own, key=lambda one: one.number)
    link = f" ({newest.link})" if newest.link else ""
    if newest.passed:
        return Needed(what=f"check:{name}", is_there=True, text=f"check {name} passed, by {newest.made_by}{link}")
    text = f"check {name} failed, by {newest.made_by}{link}; a later report has to pass"
    return Needed(what=f"check:{name}", is_there=False, text=text)
