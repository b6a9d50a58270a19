"""The manifests in deploy/ are what Argo Rollouts and Flagger define: no unknown field, nothing of another type."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

CRDS = Path(__file__).parent / "crds"
DEPLOY = Path(__file__).parents[2] / "deploy"
KINDS = {"AnalysisTemplate": "argo-analysistemplate", "Rollout": "argo-rollout", "Canary": "flagger-canary"}


def closed(schema: Any) -> Any:
    """The schema without room for fields that it does not name: a cluster would drop them without a word."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {key: closed(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema["properties"] and schema.get("type") == "object"
    return {"additionalProperties": False, **inside} if named else inside


def manifests() -> list[dict[str, Any]]:
    found = []
    for path in sorted([*DEPLOY.glob("argo/*.yaml"), *DEPLOY.glob("flagger/*.yaml")]):
        found += list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return found


def problems(manifest: Mapping[str, Any]) -> list[str]:
    schema = json.loads((CRDS / f"{KINDS[manifest['kind']]}.json").read_text(encoding="utf-8"))
    return [one.message for one in Draft202012Validator(closed(schema)).iter_errors(manifest)]


@pytest.mark.parametrize("manifest", manifests(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_a_manifest_is_of_its_definition(manifest: dict[str, Any]) -> None:
    assert problems(manifest) == []


def test_every_kind_is_there() -> None:
    assert {one["kind"] for one in manifests()} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("AnalysisTemplate", ("spec", "metrics", 0, "provider", "web", "headers", 0, "key"), 7),
        ("AnalysisTemplate", ("spec", "metrics", 0, "sucessCondition"), "result == 1"),
        ("AnalysisTemplate", ("spec", "metrics", 0, "provider", "web", "uri"), "http://x"),
        ("Rollout", ("spec", "strategy", "canary", "steps", 0, "setWeight"), "5%"),
        ("Rollout", ("spec", "strategy", "canary", "steps", 2, "analysis", "template"), "x"),
        ("Canary", ("spec", "analysis", "webhooks", 0, "type"), "confirm"),
        ("Canary", ("spec", "analysis", "webhooks", 0, "headers"), {"a": "b"}),
        ("Canary", ("spec", "analysis", "interval"), "soon"),
    ],
)
def test_a_wrong_one_is_found(kind: str, place: tuple[Any, ...], value: Any) -> None:
    wrong = copy.deepcopy(next(one for one in manifests() if one["kind"] == kind))
    inside: Any = wrong
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    assert problems(wrong)
