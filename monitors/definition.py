"""What a monitor is: which series, which band, when it pages, whom. Read from JSON and checked.

{"app": "shop", "series": "resolution", "by": null, "step": "5m", "band": {"kind": "ema"}, "direction": "down",
 "severity": "page", "false_pages_per_week": 0.1, "for_points": 2, "clear_points": 3, "no_data": "keep",
 "renotify_s": 14400, "channels": ["oncall"], "owner": null, "runbook": null, "guard": null}
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from core.errors import InvalidInput
from monitors.alert_records import NoData, Rules, Severity, plain
from monitors.guarding import Guard
from monitors.records import Direction, Kind
from monitors.series import Series, Source, as_distribution, checked_split, series_of, step_s_of

MOST_TEXT: Final = 2_000
MOST_CHANNELS: Final = 10
MOST_POINTS: Final = 10_000  # in a row
MOST_NUMBER: Final = 2**53  # of any number: beyond it JSON's are none that can be told apart
MOST_OF_BAND: Final = 100  # characters of a text of a band
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}\Z")
_TAKEN: Final = frozenset({"kinds", "budget"})  # what else is at the place where a monitor is read
_CHANNEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
E = TypeVar("E", bound=StrEnum)


class BandKind(StrEnum):
    """The bands there are (monitors/bands)."""

    EMA = "ema"
    EWMA = "ewma"
    CUSUM = "cusum"
    NOVELTY = "novelty"
    STATIC = "static"
    SLO = "slo"
    ZERO = "zero"
    DISTRIBUTION = "distribution"
    """Of single values, of embeddings and of mixes, which have no other: sampling.py, mixing.py."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A monitor's definition. `for_points` None: as many as its band is best with. `late_s`: how late points may come
    and still be counted where they belong. `kind` None: the series' own."""

    app: str
    series: str
    by: str | None = None
    step: str = "5m"
    band: Mapping[str, Any] = field(default_factory=lambda: {"kind": "ema"})
    direction: Direction = Direction.BOTH
    kind: Kind | None = None
    severity: Severity = Severity.PAGE
    false_pages_per_week: float = 0.1
    for_points: int | None = None
    clear_points: int = 3
    no_data: NoData = NoData.KEEP
    renotify_s: int | None = 4 * 3600
    late_s: int = 7200
    channels: tuple[str, ...] = ()
    owner: str | None = None
    runbook: str | None = None
    guard: Guard | None = None

    def __post_init__(self) -> None:
        if not self.app.strip() or len(self.app) > 200:
            raise InvalidInput("a monitor is of an app, of 200 characters at most", field="app")
        spec, step_s = series_of(self.series), step_s_of(self.step)
        checked_split(spec, self.by)
        if not 0 < self.false_pages_per_week <= 1000:
            raise InvalidInput("false_pages_per_week is above 0, and 1,000 at most", field="false_pages_per_week")
        if not step_s <= self.late_s <= 7 * 86_400:
            raise InvalidInput("late_s is a step at least, and a week at most", field="late_s")
        for name in ("owner", "runbook"):
            if len(getattr(self, name) or "") > MOST_TEXT:
                raise InvalidInput(f"{name} is longer than {MOST_TEXT:,} characters", field=name)
        for name in ("for_points", "clear_points"):
            if (getattr(self, name) or 0) > MOST_POINTS:
                raise InvalidInput(f"{name} is {MOST_POINTS:,} at most", field=name)
        for name, value in self.band.items():
            if not _is_of_band(value):
                raise InvalidInput(f"{str(name)[:40]} of a band is a number, a short text, or true or false", "band")
        if len(self.channels) > MOST_CHANNELS or not all(_CHANNEL.match(one) for one in self.channels):
            raise InvalidInput(
                f"channels are {MOST_CHANNELS} names at most, of letters, digits, dots and dashes", field="channels"
            )
        if self.guard is not None and self.by not in (None, "release"):
            raise InvalidInput("a guardrail watches an app, or its releases", field="guard")
        self._check_distribution(spec)
        self.rules()

    def _check_distribution(self, spec: Series) -> None:
        if self.band_kind is not BandKind.DISTRIBUTION:
            if spec.source in (Source.MIX, Source.EMBEDDINGS):
                raise InvalidInput(f'{self.series} is watched by a band of kind "distribution"', field="band")
            return
        as_distribution(spec)
        if self.direction is Direction.DOWN:
            raise InvalidInput("a distribution that moved has no side: its direction is up", field="direction")

    @property
    def spec(self) -> Series:
        """What it watches, with its own kind where it says one."""
        found = series_of(self.series)
        if self.band_kind is BandKind.DISTRIBUTION:
            return as_distribution(found)
        return found if self.kind is None else replace(found, kind=self.kind)

    @property
    def step_s(self) -> int:
        """The length of its buckets."""
        return step_s_of(self.step)

    @property
    def band_kind(self) -> BandKind:
        """Which band. Raises InvalidInput."""
        return _of(BandKind, self.band.get("kind", "ema"), "band")

    @property
    def breaches_in_a_row(self) -> int:
        """How many fire: what is said, else two of the spike rule and of a threshold, else one. A chart, a burn rate
        and a range have looked at many points already, and of what must never happen one is enough."""
        if self.for_points is not None:
            return self.for_points
        return 2 if self.band_kind in (BandKind.EMA, BandKind.STATIC) else 1

    def rules(self) -> Rules:
        """How its alerts live. Raises InvalidInput."""
        return Rules(
            step_s=self.step_s, for_points=self.breaches_in_a_row, clear_points=self.clear_points,
            severity=self.severity, no_data=self.no_data, renotify_s=self.renotify_s,
            vanish_s=max(86_400, self.step_s), flap_window_s=86_400,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {name: plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """What a JSON object says. Raises InvalidInput naming the field."""
        known = {one.name for one in fields(cls)}
        if set(told) - known:
            raise InvalidInput(
                f"a monitor has no {', '.join(sorted(set(told) - known))[:200]}; it has {', '.join(sorted(known))}",
                field=min(set(told) - known),
            )
        for name in ("app", "series"):
            if not isinstance(told.get(name), str):
                raise InvalidInput(f"a monitor says its {name}", field=name)
        if not isinstance(told.get("band", {}), Mapping):
            raise InvalidInput('band is an object such as {"kind": "ema"}', field="band")
        given = {name: _checked(name, value) for name, value in told.items()}
        enums: tuple[tuple[str, type[StrEnum]], ...] = (
            *(("direction", Direction), ("kind", Kind), ("severity", Severity), ("no_data", NoData), ("guard", Guard)),
        )
        for name, kind in enums:
            if given.get(name) is not None:
                given[name] = _of(kind, given[name], name)
        if "direction" not in given:
            is_distribution = given.get("band", {}).get("kind") == BandKind.DISTRIBUTION.value
            given["direction"] = Direction.UP if is_distribution else series_of(given["series"]).bad
        if "channels" in given:
            given["channels"] = tuple(given["channels"] or ())
        return cls(**{name: value for name, value in given.items() if value is not None or name in _NULLABLE})


_NULLABLE: Final = frozenset({"by", "kind", "for_points", "renotify_s", "owner", "runbook", "guard"})
_NUMBERS: Final = {
    "false_pages_per_week": float,
    "for_points": int,
    "clear_points": int,
    "renotify_s": int,
    "late_s": int,
}
_TEXTS: Final = frozenset(
    {"app", "series", "by", "step", "direction", "kind", "severity", "no_data", "owner", "runbook", "guard"}
)


def _checked(name: str, value: Any) -> Any:
    """A value of the right type. Raises InvalidInput."""
    if value is None:
        return None
    if name in _NUMBERS:
        wanted = _NUMBERS[name]
        if not _is_number(value) or (wanted is int and value != int(value)):
            raise InvalidInput(f"{name} is a number, not {str(value)[:40]!r}", field=name)
        return wanted(value)
    if name in _TEXTS and not isinstance(value, str):
        raise InvalidInput(f"{name} is a text, not {str(value)[:40]!r}", field=name)
    if name in _TEXTS and not _is_plain(value, lines=name in ("owner", "runbook")):
        raise InvalidInput(f"{name} holds a control character, or half of a character", field=name)
    if name == "channels" and not (isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)):
        raise InvalidInput("channels is a list of names", field="channels")
    return value


def _is_number(value: Any) -> bool:
    """Whether it is a number that is kept as it is: not NaN, which JSON has not, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_NUMBER


def _is_of_band(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MOST_OF_BAND and _is_plain(value)
    return value is None or isinstance(value, bool) or _is_number(value)


def _is_plain(text: str, *, lines: bool = False) -> bool:
    """Whether a text has neither control characters, but ends of lines where it may, nor halves of surrogate pairs."""
    return not any(unicodedata.category(one) in ("Cc", "Cs") and not (lines and one in "\n\t") for one in text)


def _of(kind: type[E], text: Any, name: str) -> E:
    try:
        return kind(text)
    except ValueError:
        some = ", ".join(one.value for one in kind)
        raise InvalidInput(f"{name}={str(text)[:40]!r} is not one of {some}", field=name) from None


def checked_name(name: str) -> str:
    """A monitor's name. Raises InvalidInput."""
    if name in _TAKEN:
        raise InvalidInput(f"{name!r} is a word of Assay's own: give the monitor another name", field="name")
    if not _NAME.match(name):
        raise InvalidInput(
            f"{name[:60]!r} is no name of a monitor: letters, digits, dots, dashes and colons, 100 at most",
            field="name",
        )
    return name


def reads_history(definition: Definition) -> bool:
    """Whether its band learns from what came before."""
    return definition.band_kind not in (BandKind.STATIC, BandKind.ZERO, BandKind.DISTRIBUTION)
