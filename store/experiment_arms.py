"""In which arm of an experiment a session is: by what its spans say, and by the hash of its unit, in the engine.

The hash is that of experiments/assignment.py: the first sixteen hexadecimal digits of SHA-256 of salt, colon and unit,
which sort as the numbers do, so that a part of [0, 1) is a range of texts on every engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from store.engine import slot

DIGITS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Range:
    """Units whose digits under `salt` are from `first` up to and with `last`."""

    salt: str
    first: str
    last: str


@dataclass(frozen=True, kw_only=True)
class ArmSeen:
    """An arm as spans show it; `release` None: the variant alone tells. `part`: the units that the hash gives it; None
    where nobody hashes, or nobody is given it."""

    variant: str
    release: str | None
    part: Range | None = None


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """Who takes part where the gateway assigns: units in all of `within`, and from each moment (ns) of `ramps` on in
    its range; whoever begins earlier does not. Testers, by SHA-256 of `tester_key`, colon and unit, never count."""

    within: tuple[Range, ...]
    ramps: tuple[tuple[int, Range], ...]


@dataclass(frozen=True, kw_only=True)
class Arms:
    """The arms, the first the control, and who takes part (None: everybody whose spans name an arm)."""

    arms: tuple[ArmSeen, ...]
    enrolment: Enrolment | None = None
    testers: tuple[str, ...] = ()
    tester_key: str = ""


@dataclass(frozen=True, kw_only=True)
class ArmsShape:
    """What expressions depend on: which arms have a release and a part, how many conditions there are."""

    has_release: tuple[bool, ...]
    has_part: tuple[bool, ...]
    n_within: int = 0
    n_ramps: int = 0
    hashed: bool = False
    testers: bool = False


def shape_of(asked: Arms) -> ArmsShape:
    """The shape of these."""
    enrolment = asked.enrolment
    return ArmsShape(
        has_release=tuple(one.release is not None for one in asked.arms),
        has_part=tuple(one.part is not None for one in asked.arms),
        n_within=0 if enrolment is None else len(enrolment.within),
        n_ramps=0 if enrolment is None else len(enrolment.ramps),
        hashed=enrolment is not None,
        testers=bool(asked.testers),
    )


def values_of(asked: Arms) -> dict[str, object]:
    """The slots' values."""
    values: dict[str, object] = {"tester_salt": f"{asked.tester_key}:"}
    for i, arm in enumerate(asked.arms):
        values |= {f"variant_{i}": arm.variant, f"release_{i}": arm.release or ""}
        values |= {} if arm.part is None else _values(f"arm_{i}", arm.part)
    if asked.enrolment is not None:
        for i, part in enumerate(asked.enrolment.within):
            values |= _values(f"within_{i}", part)
        for i, (from_ns, part) in enumerate(asked.enrolment.ramps):
            values |= {**_values(f"ramp_{i}", part), f"ramp_from_{i}": from_ns}
    return values


def given_of(asked: Arms) -> dict[str, pa.Table]:
    """The table of testers."""
    return {"testers": pa.table({"digest": pa.array(asked.testers, pa.string())})}


def observed(shape: ArmsShape, rows: ir.Table) -> ir.IntegerValue:
    """The number of the arm that `rows` (release, variant) show; null: none of them. Both have to fit; where the
    variant is none of the arms', the release tells if one arm alone has it; where the arm has no release, the variant.
    """
    fits = [
        (rows.variant == slot(f"variant_{i}", "string"))
        & (rows.release == slot(f"release_{i}", "string") if released else ibis.literal(True))
        for i, released in enumerate(shape.has_release)
    ]
    both = [(one, i) for i, one in enumerate(fits)]
    by_release = [
        ((rows.release == slot(f"release_{i}", "string")) & _alone(shape, i), i)
        for i, released in enumerate(shape.has_release)
        if released
    ]
    return ibis.cases(*[(when.fill_null(False), ibis.literal(i, "int64")) for when, i in (*both, *by_release)])


def assigned(shape: ArmsShape, rows: ir.Table) -> ir.IntegerValue:
    """The number of the arm that the hash gives the `unit` of `rows`; null where nobody hashes."""
    parts = [(_in(rows.unit, f"arm_{i}"), ibis.literal(i, "int64")) for i, one in enumerate(shape.has_part) if one]
    return ibis.cases(*parts) if shape.hashed and parts else ibis.null("int64")


def enrolled(shape: ArmsShape, rows: ir.Table) -> ir.BooleanValue:
    """Whether the `unit` of `rows` took part at `start_ns`; true where nobody hashes."""
    if not shape.hashed:
        return ibis.literal(True)
    found: ir.BooleanValue = ibis.literal(shape.n_ramps > 0)
    for i in range(shape.n_within):
        found &= _in(rows.unit, f"within_{i}")
    later = [
        (rows.start_ns >= slot(f"ramp_from_{i}", "int64")) & _in(rows.unit, f"ramp_{i}") for i in range(shape.n_ramps)
    ]
    return found & ibis.or_(*later) if later else found


def without_testers(shape: ArmsShape, rows: ir.Table) -> ir.Table:
    """`rows` with the column `tester`: whether the unit has an override."""
    if not shape.testers:
        return rows.mutate(tester=ibis.literal(False))
    testers = ibis.table({"digest": "string"}, name="testers")
    rows = rows.mutate(digest=(slot("tester_salt", "string") + rows.unit).hexdigest("sha256"))
    known = testers.select(tester_digest=testers.digest)
    joined = rows.left_join(known, rows.digest == known.tester_digest)
    return joined.mutate(tester=joined.tester_digest.notnull()).drop("digest", "tester_digest")


def of_sha256(parts: Sequence[tuple[str, tuple[str, str]]]) -> tuple[Range, ...]:
    """Ranges from (salt, (first, last)), as experiments/splits.py says them."""
    return tuple(Range(salt=salt, first=first, last=last) for salt, (first, last) in parts)


def _values(name: str, part: Range) -> dict[str, object]:
    return {f"{name}_salt": f"{part.salt}:", f"{name}_first": part.first, f"{name}_last": part.last}


def _in(unit: ir.StringValue, name: str) -> ir.BooleanValue:
    digits = (slot(f"{name}_salt", "string") + unit).hexdigest("sha256").substr(0, DIGITS)
    return digits.between(slot(f"{name}_first", "string"), slot(f"{name}_last", "string"))


def _alone(shape: ArmsShape, index: int) -> ir.BooleanValue:
    """Whether no other arm has the release of this one."""
    mine = slot(f"release_{index}", "string")
    others = [slot(f"release_{i}", "string") for i, has in enumerate(shape.has_release) if has and i != index]
    return ibis.and_(*[mine != one for one in others]) if others else ibis.literal(True)
