"""Takes the ids of erased sessions and traces out of decisions that are kept, so that their bundles still verify.

Scores and figures stay as they are: they hold no text, and the decision was made of them. Where the id of an example is
that of an erased session (a run over stored traffic, without a dataset), all examples of the bundle are numbered in the
order of their ids, as the order is part of what is computed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from core.ids import TenantId
from evaluators.runs.service import NO_DATASET
from experiments.gates.bundle import digest_of
from store.control.control import Control

MARK: Final = "n_forgotten"  # ids that an erasure took out of a bundle
_PLACES: Final = ("baseline_session", "candidate_session", "baseline_trace", "candidate_trace")


def forget_in_gates(control: Control, tenant: TenantId, ids: Collection[str]) -> int:
    """Takes these ids of sessions and traces out of the tenant's decisions; how many decisions had some. Raises Corrupt
    for a bundle that was altered."""
    gone = frozenset(ids)
    n = 0
    for record in control.gates(tenant):
        before = json.loads(control.gate_bundle(tenant, record.gate_id))
        after = without(before, gone, lambda one: control.stand_in(tenant, one))
        if after is not None:
            text = json.dumps(after, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
            control.rewrite_gate(record, after["decision"], after["digest"], text.encode("ascii"))
            n += 1
    return n


def without(
    bundle: Mapping[str, Any], ids: AbstractSet[str], stands_for: Callable[[str], str]
) -> dict[str, Any] | None:
    """The bundle without these ids, under a new digest and with a mark; None where it names none of them."""
    runs: dict[str, Any] = {side: run for side, run in bundle["runs"].items() if run is not None}
    stored = [run for run in runs.values() if run["dataset"] == NO_DATASET]
    examples = sorted({one for run in stored for one in (*run["examples"], *run["rows"]["example_id"])})
    places = [one for run in runs.values() for name in ("session_id", "trace_id") for one in run["rows"][name]]
    texts = [str(one["text"]) for one in bundle["absent"]]
    found = ids & {*places, *examples} | {one for one in ids if any(_said(one).search(text) for text in texts)}
    if not found:
        return None
    named = {one: stands_for(one) for one in found}
    width = len(str(len(examples)))
    numbered = {} if found.isdisjoint(examples) else {one: f"example {n:0{width}}" for n, one in enumerate(examples, 1)}
    said = {text: _replaced(text, named) for text in texts}
    decision = bundle["decision"]
    after = {
        **bundle,
        "runs": bundle["runs"] | {side: _run(run, named, numbered) for side, run in runs.items()},
        "absent": [{**one, "text": said[one["text"]]} for one in bundle["absent"]],
        "decision": {
            **decision,
            "reasons": [{**one, "text": said.get(one["text"], one["text"])} for one in decision["reasons"]],
            "worst": [
                {name: (numbered if name == "example_id" else named if name in _PLACES else {}).get(value, value)
                 for name, value in one.items()}
                for one in decision["worst"]
            ],
        },
        MARK: bundle.get(MARK, 0) + len(found),
    }  # fmt: skip
    return after | {"digest": digest_of(after)}


def _run(run: Mapping[str, Any], named: Mapping[str, str], numbered: Mapping[str, str]) -> dict[str, Any]:
    rows = dict(run["rows"])
    for column, names in (("session_id", named), ("trace_id", named), ("example_id", numbered)):
        rows[column] = [names.get(one, one) for one in rows[column]]
    return {**run, "rows": rows, "examples": {numbered.get(one, one): said for one, said in run["examples"].items()}}


def _replaced(text: str, named: Mapping[str, str]) -> str:
    for one in sorted(named, key=len, reverse=True):
        text = _said(one).sub(lambda _, of=named[one]: of, text)  # type: ignore[misc]
    return text


def _said(one: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-]){re.escape(one)}(?![\w.-])")
