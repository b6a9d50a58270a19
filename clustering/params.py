"""Parameters of a run, from what a caller says and from what a record keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from clustering.embedders import table
from clustering.records import Method, Params, Weights
from core.errors import InvalidInput

_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "n_neighbors": (2, 200),
    "n_components": (2, 50),
    "min_cluster_size": (2, 100_000),
    "min_samples": (1, 1_000),
    "reassign_at": (0.0, 1.0),
    "n_resamples": (0, 100),
    "seed": (0, 2**32 - 1),
}
_WHOLE: Final = frozenset({"n_neighbors", "n_components", "min_cluster_size", "min_samples", "n_resamples", "seed"})
_MAY_BE_NULL: Final = frozenset({"min_cluster_size", "min_samples"})
_MOST_WEIGHT: Final = 100.0


def params_of(said: Mapping[str, Any]) -> Params:
    """The parameters that `said` names, the others by default. Raises InvalidInput naming the field."""
    known = {one.name for one in fields(Params)}
    if unknown := sorted(set(said) - known):
        raise InvalidInput(f"{unknown[0][:40]!r} is no parameter; known are {', '.join(sorted(known))}", field="params")
    made = Params()
    for name, value in said.items():
        made = replace(made, **{name: _checked(name, value)})
    return made


def _checked(name: str, value: Any) -> Any:
    match name:
        case "embedder":
            return _one_of(name, value, table.names())
        case "method":
            return Method(_one_of(name, value, tuple(one.value for one in Method)))
        case "weights":
            return _weights(value)
        case "reassign":
            if not isinstance(value, bool):
                raise InvalidInput("reassign is true or false", field="params.reassign")
            return value
        case _:
            return _number(name, value)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InvalidInput(f"{name} is one of {', '.join(known)}", field=f"params.{name}")
    return str(value)


def _number(name: str, value: Any) -> float | int | None:
    if value is None and name in _MAY_BE_NULL:
        return None
    low, high = _BOUNDS[name]
    whole = name in _WHOLE
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and low <= value <= high
    if not fits:
        what = "a whole number" if whole else "a number"
        raise InvalidInput(f"{name} is {what} from {low:g} to {high:g}", field=f"params.{name}")
    return int(value) if whole else float(value)


def _weights(value: Any) -> Weights:
    if isinstance(value, Weights):
        return value
    known = [one.name for one in fields(Weights)]
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        raise InvalidInput(f"weights names facets: {', '.join(known)}", field="params.weights")
    for name, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= _MOST_WEIGHT:
            raise InvalidInput(f"a facet's weight is from 0 to {_MOST_WEIGHT:g}", field=f"params.weights.{name}")
    made = Weights(**{name: float(weight) for name, weight in value.items()})
    if not made.intent + made.actions + made.outcome > 0:
        raise InvalidInput("some facet needs a weight above 0", field="params.weights")
    return made
