"""A decision with everything it was made of, as one JSON file that anybody can compute again without a server.

The digest is the SHA-256 of the whole file without it, in canonical JSON. It finds what was altered by accident or in
passing; it is no signature: who alters a bundle can make a new digest. Who kept a digest elsewhere (the server keeps
it, and the audit log) can tell.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import polars as pl

from core.errors import Corrupt, InvalidInput
from evaluators.evidence import COLUMNS, RunScores
from evaluators.records import Direction
from experiments.gates.decide import decide
from experiments.gates.policy import GatePolicy
from experiments.gates.records import Asked, Cause, Decision, MetricFacts, Reason, as_json
from store.control import certificates
from store.control.certificates import JudgeFacts

FORMAT: Final = "assay-gate-bundle"
VERSION: Final = 1
CLOSE: Final = 1e-9  # how far a figure may be off on another machine, relatively
MOST_BYTES: Final = 512 << 20

ReadPolicy = Callable[[str], GatePolicy]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a decision is a function of."""

    policy_text: str
    asked: Asked
    baseline: RunScores | None
    candidate: RunScores | None
    facts: Mapping[str, MetricFacts]
    absent: tuple[Reason, ...]
    now_ns: int
    seed: int
    judges: Mapping[str, JudgeFacts] = field(default_factory=dict)

    def decided(self, policy: GatePolicy) -> Decision:
        """The decision."""
        return decide(
            self.baseline,
            self.candidate,
            policy,
            self.asked,
            facts=self.facts,
            now_ns=self.now_ns,
            seed=self.seed,
            absent=self.absent,
            judges=self.judges,
        )


def bundle_of(evidence: Evidence, decision: Decision, *, assay_version: str) -> dict[str, Any]:
    """The bundle as a JSON object, with its digest."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "assay_version": assay_version,
        "policy": evidence.policy_text,
        "asked": asdict(evidence.asked),
        "facts": {name: {**asdict(one), "direction": one.direction.value} for name, one in evidence.facts.items()},
        "absent": [_reason(one) for one in evidence.absent],
        "now_ns": evidence.now_ns,
        "seed": evidence.seed,
        "judges": {name: certificates.as_json(one) for name, one in evidence.judges.items()},
        "runs": {
            side: None if run is None else _run(run)
            for side, run in (("baseline", evidence.baseline), ("candidate", evidence.candidate))
        },
        "decision": as_json(decision),
    }
    return {**found, "digest": digest_of(found)}


def digest_of(bundle: Mapping[str, Any]) -> str:
    """The digest of a bundle, with or without one in it."""
    content = {name: value for name, value in bundle.items() if name != "digest"}
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def verify(bundle: object, read_policy: ReadPolicy) -> Decision:
    """The decision computed again from what a bundle holds.

    Raises InvalidInput when it is no bundle, Corrupt when it was altered or says another decision or other figures than
    its evidence gives.
    """
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        raise InvalidInput("this is no bundle of a gate", field="bundle")
    if bundle.get("version") != VERSION:
        raise InvalidInput(
            f"the bundle is of version {str(bundle.get('version'))[:20]}, this Assay reads {VERSION}", field="bundle"
        )
    try:
        digest = digest_of(bundle)
    except ValueError:
        raise Corrupt("the bundle holds a number that is none: it was altered") from None
    if digest != bundle.get("digest"):
        raise Corrupt(f"the bundle was altered: its digest says {str(bundle.get('digest'))[:16]}, it has {digest[:16]}")
    try:
        evidence = evidence_of(bundle)
        again = evidence.decided(read_policy(evidence.policy_text))
        said = bundle["decision"]
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, pl.exceptions.PolarsError) as error:
        raise Corrupt(f"the bundle lacks a part or has one of another kind ({type(error).__name__})") from error
    found = as_json(again)
    if (where := _differs(said, found, "decision")) is not None:
        raise Corrupt(f"the bundle's evidence does not give what it says: {where}")
    return again


def evidence_of(bundle: Mapping[str, Any]) -> Evidence:
    """What a bundle holds, as values. Raises what wrong shapes raise."""
    facts = {
        str(name): MetricFacts(direction=Direction(one["direction"]), low=one["low"], high=one["high"])
        for name, one in bundle["facts"].items()
    }
    absent = tuple(Reason(cause=Cause(one["cause"]), text=str(one["text"])) for one in bundle["absent"])
    runs = bundle["runs"]
    return Evidence(
        policy_text=str(bundle["policy"]),
        asked=Asked(**bundle["asked"]),
        baseline=None if runs["baseline"] is None else _scores(runs["baseline"]),
        candidate=None if runs["candidate"] is None else _scores(runs["candidate"]),
        facts=facts,
        absent=absent,
        now_ns=int(bundle["now_ns"]),
        seed=int(bundle["seed"]),
        judges={str(name): certificates.of_json(one) for name, one in bundle.get("judges", {}).items()},
    )


def _reason(one: Reason) -> dict[str, str]:
    return {"cause": one.cause.value, "text": one.text}


def _run(run: RunScores) -> dict[str, Any]:
    told = {name: getattr(run, name) for name in _PLAIN}
    rows = run.rows.sort("metric", "example_id", "trial")
    columns = {name: [_number(value) for value in rows[name].to_list()] for name in COLUMNS}
    return {
        **told,
        "evaluators": dict(run.evaluators),
        "examples": dict(run.examples),
        "rows": columns,
        "judges": sorted(run.judges),
    }


_PLAIN: Final = (
    *("run_id", "app", "release", "dataset", "dataset_version", "content_hash"),
    *("k", "finished_at_ns", "status"),
)


def _number(value: Any) -> Any:
    """NaN and infinities by their names, which JSON does not have."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _scores(told: Mapping[str, Any]) -> RunScores:
    columns = {name: told["rows"][name] for name in COLUMNS}
    columns["value"] = [None if value is None else float(value) for value in columns["value"]]
    return RunScores(
        **{name: told[name] for name in _PLAIN},
        evaluators=dict(told["evaluators"]),
        examples=dict(told["examples"]),
        judges=frozenset(map(str, told.get("judges", ()))),
        rows=pl.DataFrame(columns, schema=COLUMNS, strict=True),
    )


def _differs(said: Any, found: Any, where: str) -> str | None:
    """The first place at which two JSON values differ by more than rounding, in words."""
    if isinstance(found, dict) and isinstance(said, dict):
        if said.keys() != found.keys():
            return f"{where} has other parts"
        return next((w for name in found if (w := _differs(said[name], found[name], f"{where}.{name}"))), None)
    if isinstance(found, list) and isinstance(said, list):
        if len(said) != len(found):
            return f"{where} has {len(said)} parts, not {len(found)}"
        pairs = enumerate(zip(said, found, strict=True))
        return next((w for n, (a, b) in pairs if (w := _differs(a, b, f"{where}[{n}]"))), None)
    numbers = [one for one in (said, found) if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) == 2 and math.isclose(said, found, rel_tol=CLOSE, abs_tol=1e-12):
        return None
    return (
        None if type(said) is type(found) and said == found else f"{where} is {str(found)[:60]}, not {str(said)[:60]}"
    )
