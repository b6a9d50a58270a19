"""What every band takes and gives: points of many series at one time, a state that can be kept, a judgement each."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any, Final, Protocol, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]
Rows = NDArray[np.intp] | NDArray[np.bool_]


class Kind(StrEnum):
    """What a series' values are, and so the scale on which they are compared."""

    RATE = "rate"
    """A share in 0..1 of n observations."""
    LEVEL = "level"
    """Any real number: a mean score, an agreement, a difference."""
    POSITIVE = "positive"
    """Above zero and of many sizes, as latency and cost: compared on the log scale."""
    COUNT = "count"
    """Events in the bucket; zero is a value."""


class Direction(StrEnum):
    """On which side of the band a point is a breach."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


class Status(IntEnum):
    """What a judgement is worth."""

    OK = 0
    """Compared with the band."""
    WARMING_UP = 1
    """A value, but too few before it for a verdict."""
    MISSING = 2
    """No value, or one of a time already stepped over: the state is as before."""
    SHIFT_ADOPTED = 3
    """A new level has lasted: from the next point on it is the expected one. This point still breaches the old one."""


KINDS: Final = tuple(Kind)
BOTH_SIDES: Final = (-1, 1)


@dataclass(frozen=True, kw_only=True)
class Points:
    """The values of S series in the bucket that begins at `at_ns` (UTC). Made by `Points.of`, which checks them."""

    at_ns: int
    x: Floats
    """NaN is missing: a bucket without traffic."""
    n: Floats
    """Observations behind x; NaN where x is no rate and no mean."""
    kinds: Codes
    """By series, the position in `KINDS`."""

    @classmethod
    def of(
        cls, at_ns: int, x: Sequence[float] | Floats, *, n: Sequence[float] | Floats | None = None,
        kinds: Kind | Sequence[Kind] | Codes = Kind.LEVEL,
    ) -> Points:  # fmt: skip
        """Points as bands take them: what is no number, or none its kind can be, is missing. Raises InvalidInput."""
        values = np.array(x, dtype=np.float64, ndmin=1)
        behind = np.full(len(values), np.nan) if n is None else np.array(n, dtype=np.float64, ndmin=1)
        codes = _codes(kinds, len(values))
        if values.ndim != 1 or behind.shape != values.shape or codes.shape != values.shape:
            raise InvalidInput("x, n and kinds are one value for each series", field="points")
        values[~possible(values, behind, codes)] = np.nan
        return cls(at_ns=at_ns, x=values, n=behind, kinds=codes)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which series have a value."""
        return np.isfinite(self.x)

    def taken(self, rows: Rows) -> Points:
        """Some of the series, in the order asked for."""
        return Points(at_ns=self.at_ns, x=self.x[rows], n=self.n[rows], kinds=self.kinds[rows])


def possible(x: Floats, n: Floats, kinds: Codes) -> NDArray[np.bool_]:
    """Which values can be of their kind: finite; a rate in 0..1 and of at least one observation; a count not negative.

    A latency or cost of zero or less has no logarithm and is missing.
    """
    rate, positive, count = (kinds == KINDS.index(one) for one in (Kind.RATE, Kind.POSITIVE, Kind.COUNT))
    with np.errstate(invalid="ignore"):
        wrong = (rate & ((x < 0) | (x > 1) | (n <= 0))) | (positive & (x <= 0)) | (count & (x < 0))
    return cast(NDArray[np.bool_], np.isfinite(x) & ~wrong & ~np.isinf(n))


def _codes(kinds: Kind | Sequence[Kind] | Codes, s: int) -> Codes:
    if isinstance(kinds, Kind):
        return np.full(s, KINDS.index(kinds), dtype=np.int8)
    if isinstance(kinds, np.ndarray):
        return kinds.astype(np.int8)
    return np.array([KINDS.index(one) for one in kinds], dtype=np.int8)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One point of one series against its band. What is not known is None."""

    status: Status
    breach: int
    """-1 below the band, 1 above, 0 neither."""
    z: float | None
    expected: float | None
    low: float | None
    high: float | None
    seen: float | None
    """What was compared: the value itself, or what the chart made of it (its smoothed mean)."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """S judgements. Numbers are on the user's scale, z in standard deviations; NaN is not known, see `one`."""

    expected: Floats
    low: Floats
    high: Floats
    seen: Floats
    z: Floats
    breach: Codes
    status: Codes

    def one(self, row: int) -> Judgement:
        """The judgement of one series."""
        return Judgement(
            status=Status(int(self.status[row])),
            breach=int(self.breach[row]),
            z=_known(self.z[row]),
            expected=_known(self.expected[row]),
            low=_known(self.low[row]),
            high=_known(self.high[row]),
            seen=_known(self.seen[row]),
        )


def sides(direction: Direction) -> tuple[int, ...]:
    """The values of `breach` that a direction asks for."""
    return {Direction.UP: (1,), Direction.DOWN: (-1,), Direction.BOTH: BOTH_SIDES}[direction]


@dataclass(frozen=True, kw_only=True)
class State:
    """Base of every band's state: a frozen dataclass of arrays whose first axis is the series, and of such states.

    As JSON it is exact: floats come back bit for bit, NaN as null.
    """

    def as_json(self) -> dict[str, Any]:
        """Every array as its type, its shape and its values."""
        return {
            one.name: value.as_json() if isinstance(value, State) else _array_told(value)
            for one, value in self._parts()
            if value is not None
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The state again. Raises InvalidInput when it is of another band or of another version of it."""
        types_of = typing.get_type_hints(cls)
        known: dict[str, Any] = {}
        for one in fields(cls):
            inner = _state_in(types_of[one.name])
            optional = inner is not None and isinstance(types_of[one.name], types.UnionType)
            if one.name not in told and not optional:
                raise InvalidInput(f"a state without {one.name} is not {cls.__name__}", field="state")
            value = told.get(one.name)
            known[one.name] = (
                None if value is None else inner.from_json(value) if inner is not None else _array_of(value)
            )
        if set(told) - set(known):
            raise InvalidInput(f"{sorted(set(told) - set(known))} is not of {cls.__name__}", field="state")
        return cls(**known)

    def taken(self, rows: Rows) -> Self:
        """The state of some of the series, in the order asked for."""
        return replace(
            self,
            **{one.name: value.taken(rows) if isinstance(value, State) else value[rows] for one, value in self._some()},
        )

    def joined(self, other: Self) -> Self:
        """The state of this one's series and then the other's: how a series that is new comes in."""
        with_other = {one.name: getattr(other, one.name) for one, _ in self._some()}
        return replace(
            self,
            **{
                one.name: value.joined(with_other[one.name])
                if isinstance(value, State)
                else np.concatenate([value, with_other[one.name]])
                for one, value in self._some()
            },
        )

    def _parts(self) -> list[tuple[Any, Any]]:
        return [(one, getattr(self, one.name)) for one in fields(self)]

    def _some(self) -> list[tuple[Any, Any]]:
        return [(one, value) for one, value in self._parts() if value is not None]


S = TypeVar("S", bound=State)


class Band(Protocol[S]):
    """A frozen dataclass of parameters. No clock, no chance: the same state and points give the same judgement.

    A step compares first and updates then. Points of a time that is not after the state's are missing and change
    nothing.
    """

    def start(self, s: int) -> S:
        """The state of s series of which nothing is known."""

    def step(self, state: S, points: Points) -> tuple[S, Judged]:
        """Judges the points against the state, then takes them in."""


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None


def _array_told(values: NDArray[Any]) -> dict[str, Any]:
    flat = values.ravel().tolist()
    if values.dtype.kind == "f":
        flat = [one if math.isfinite(one) else None if one != one else str(one) for one in flat]  # "inf": JSON has none
    return {"type": values.dtype.str, "shape": list(values.shape), "values": flat}


def _array_of(told: Mapping[str, Any]) -> NDArray[Any]:
    try:
        kind = np.dtype(told["type"])
        flat = told["values"]
        if kind.kind == "f":
            flat = [np.nan if one is None else float(one) for one in flat]
        return cast(NDArray[Any], np.array(flat, dtype=kind).reshape(told["shape"]))
    except (KeyError, TypeError, ValueError) as wrong:
        raise InvalidInput(f"an array of a state cannot be read: {wrong}", field="state") from wrong


def _state_in(hint: Any) -> type[State] | None:
    """The state that a field holds: itself or `State | None`; None for an array."""
    for one in typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
        if isinstance(one, type) and is_dataclass(one) and issubclass(one, State):
            return one
    return None
