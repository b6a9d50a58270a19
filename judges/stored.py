"""Rubrics, judges and verdicts as plain JSON, for the control database, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from core.ids import TenantId
from core.records import TargetKind
from judges.content import Content
from judges.records import (
    PROMPT_VERSION,
    JudgeSpec,
    Missing,
    ModelRef,
    OwnFamily,
    Reply,
    Rubric,
    ScaleKind,
    Usage,
    Verdict,
)
from store.control.judge_records import RubricRecord, VerdictRecord


def rubric_json(rubric: Rubric) -> dict[str, Any]:
    """A rubric as plain JSON."""
    told = {name: getattr(rubric, name) for name in ("name", "version", "text")}
    told |= {"kind": rubric.kind.value, "target": rubric.target.value, "labels": list(rubric.labels)}
    return told | {
        "passing": sorted(rubric.passing),
        "anchors": dict(rubric.anchors),
        "aliases": dict(rubric.aliases),
        "order": list(rubric.anchors),  # JSON in the database is sorted by key
    }


def rubric_of(said: Mapping[str, Any]) -> Rubric:
    """The rubric that `rubric_json` wrote."""
    same = {name: said[name] for name in ("name", "version", "text", "aliases")}
    return Rubric(
        kind=ScaleKind(said["kind"]),
        target=TargetKind(said["target"]),
        labels=tuple(said["labels"]),
        passing=frozenset(said["passing"]),
        anchors={label: said["anchors"][label] for label in said["order"]},
        **same,
    )


def rubric_record(tenant: TenantId, rubric: Rubric) -> RubricRecord:
    """A rubric as the control database takes it."""
    body = rubric_json(rubric)
    return RubricRecord(tenant=tenant, name=rubric.name, version=rubric.version, digest=rubric.digest, body=body)


def spec_json(spec: JudgeSpec) -> dict[str, Any]:
    """A judge as plain JSON. No key is in it: `key_env` is a variable's name."""
    return {**asdict(spec), "models": [asdict(one) for one in spec.models], "own_family": spec.own_family.value}


def spec_of(said: Mapping[str, Any]) -> JudgeSpec:
    """The judge that `spec_json` wrote."""
    known = {one.name for one in fields(JudgeSpec)}
    given = {name: value for name, value in said.items() if name in known}
    given["models"] = tuple(ModelRef(**one) for one in said["models"])
    given["own_family"] = OwnFamily(said.get("own_family", OwnFamily.WARN.value))
    return JudgeSpec(**given)


def verdict_key(spec: JudgeSpec, content: Content) -> str:
    """What two verdicts have in common that may stand for each other: SHA-256 in hex of the rubric's digest, the
    target's hash, the models and the parameters."""
    said = {
        "rubric": spec.rubric_digest,
        "target": content.hash,
        "models": [[one.text, one.url] for one in spec.models],
        "parameters": [spec.temperature, spec.max_output_tokens, spec.repeats, spec.both_orders, PROMPT_VERSION],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def verdict_of(record: VerdictRecord) -> Verdict:
    """The verdict that is kept."""
    return Verdict(
        labels=record.labels,
        missing=None if record.missing is None else Missing(record.missing),
        explanation=record.explanation,
        confidence=record.confidence,
        raw=record.raw,
        repaired=record.repaired,
        usage=Usage(
            input_tokens=record.input_tokens,
            output_tokens=record.output_tokens,
            cost_usd=record.cost_usd,
            n_calls=record.n_calls,
        ),
        replies=tuple(_reply(one) for one in record.replies),
    )


def reply_json(reply: Reply) -> dict[str, Any]:
    """A reply without its words: those are in the verdict's."""
    said = {name: getattr(reply, name) for name in ("model", "repeat", "shown", "confidence", "repaired")}
    missing = None if reply.missing is None else reply.missing.value
    return {**said, "labels": list(reply.labels), "missing": missing, "usage": asdict(reply.usage)}


def _reply(said: Mapping[str, Any]) -> Reply:
    same = {name: said[name] for name in ("model", "repeat", "shown", "confidence", "repaired")}
    return Reply(
        labels=tuple(said["labels"]),
        missing=None if said["missing"] is None else Missing(said["missing"]),
        usage=Usage(**said["usage"]),
        **same,
    )
