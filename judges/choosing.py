"""Which targets a judge looks at, with which probability, and under which ids its scores are kept. Pure.

A target's place, from 0 to 1, is a hash of its id and the rubric's name: judges of one rubric see the same sessions, a
larger share holds every target of a smaller one, and targets are judged in order of place, so that those a budget
leaves out are a random part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from core.ids import TenantId
from evaluators.online.planning import OWN_APP
from store.control.judge_records import TargetRecord
from store.scores import JUDGED

APP: Final = OWN_APP  # whose spans the judges' own calls are
SESSION: Final = "judge."  # begins the session of a judge's calls over a session


def place_of(tenant: TenantId, rubric: str, target: str) -> float:
    """Where a target lies, at least 0 and below 1."""
    said = f"assay judge\0{tenant}\0{rubric}\0{target}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.sha256(said).digest()[:8]) / 2**64


def chosen(
    tenant: TenantId, rubric: str, targets: Sequence[TargetRecord], share: float, limit: int | None = None
) -> list[TargetRecord]:
    """Those within the share, at most `limit`, in order of place; each with the probability that it was chosen."""
    placed = sorted((place_of(tenant, rubric, id_of(one)), n) for n, one in enumerate(targets))
    within = [n for place, n in placed if place < share]
    probability = share
    if limit is not None and limit < len(within):
        within, probability = within[:limit], limit / len(targets)
    return [replace(targets[n], probability=probability) for n in within]


def id_of(target: TargetRecord) -> str:
    """The target's id among those of its kind."""
    match target.target:
        case "turn":
            return target.trace_id or ""
        case "example":
            return json.dumps([target.run_id, target.example_id, target.trial])
        case _:
            return target.session_id


def score_id(
    tenant: TenantId, judge: str, version: str, target: TargetRecord, content_hash: str, probability: float
) -> str:
    """The same for the same verdict of the same state of a target, chosen with the same probability."""
    said = [tenant, judge, version, target.target, id_of(target), content_hash, round(probability * 1e9)]
    return JUDGED + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]
