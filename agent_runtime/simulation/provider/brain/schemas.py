"""Any JSON value that a schema allows, decided by hash: what a simulated model says to a schema it knows nothing of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

MOST_DEPTH: Final = 8


def filled(schema: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """Gives an object for the object schema `schema`; equal arguments give equal objects."""
    value = _value(schema, schema, salt, 0)
    return value if isinstance(value, dict) else {}


def _value(schema: object, root: Mapping[str, Any], salt: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > MOST_DEPTH:
        return None
    if isinstance(schema.get("$ref"), str):
        return _value(_referred(schema["$ref"], root), root, salt, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][_hash(salt) % len(schema["enum"])]
    for several in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(several), list) and schema[several]:
            return _value(schema[several][0], root, salt, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind == "object" or (kind is None and isinstance(schema.get("properties"), Mapping)):
        return _object(schema, root, salt, depth)
    if kind == "array":
        n_least = schema.get("minItems")
        n_items = max(1, min(n_least, 16)) if isinstance(n_least, int) else 1
        return [_value(schema.get("items"), root, f"{salt}\0{i}", depth + 1) for i in range(n_items)]
    return _scalar(kind, schema, salt)


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], salt: str, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {name: _value(one, root, f"{salt}\0{name}", depth + 1) for name, one in properties.items()}


def _scalar(kind: object, schema: Mapping[str, Any], salt: str) -> Any:
    low, high = schema.get("minimum"), schema.get("maximum")
    low = low if isinstance(low, int | float) else 0
    high = high if isinstance(high, int | float) and high >= low else low + 1
    match kind:
        case "boolean":
            return _hash(salt) % 2 == 0
        case "integer":
            return int(low) + _hash(salt) % (int(high) - int(low) + 1)
        case "number":
            return round(low + (high - low) * (_hash(salt) % 101) / 100, 4)
        case "null":
            return None
        case _:
            return "simulated"


def _referred(reference: str, root: Mapping[str, Any]) -> object:
    found: object = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _hash(salt: str) -> int:
    return int.from_bytes(hashlib.blake2b(salt.encode("utf-8", "replace"), digest_size=6).digest(), "big")
