"""Rubrics, judges, schedules and calibrations: rows, and how they change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Connection, delete

from core.errors import Conflict, Corrupt, NotFound
from core.ids import TenantId
from store.control import seals
from store.control.judge_records import CalibrationState, JudgeCalibration, JudgeRecord, JudgeSchedule, RubricRecord
from store.control.tables import JUDGE_CALIBRATIONS, JUDGE_SCHEDULES, JUDGES, RUBRICS

NANO: Final = 1_000_000_000
_PPM: Final = 1_000_000


def add_rubric(connection: Connection, wanted: RubricRecord) -> tuple[RubricRecord, bool]:
    """The rubric as it is kept, and whether it is new. Raises Conflict when the version is there with another text."""
    key = {"tenant": str(wanted.tenant), "name": wanted.name, "version": wanted.version}
    row = seals.one(connection, RUBRICS, key)
    if row is None:
        rest = {"digest": wanted.digest, "made_by": wanted.made_by, "made_at_ns": wanted.made_at_ns}
        seals.add(connection, RUBRICS, {**key, **rest, "body": text_of(wanted.body)})
        return wanted, True
    if row.digest != wanted.digest:
        raise Conflict(
            f"rubric {wanted.name} has a version {wanted.version} with another text, and versions never change; give "
            "this text the next version"
        )
    return _rubric(row), False


def rubrics(connection: Connection, tenant: TenantId, name: str | None) -> list[RubricRecord]:
    """The versions of a rubric, or of all, by name and then newest first."""
    key = {"tenant": str(tenant)} | ({} if name is None else {"name": name})
    return sorted(map(_rubric, seals.rows(connection, RUBRICS, key)), key=lambda one: (one.name, -one.version))


def need_rubric(connection: Connection, tenant: TenantId, name: str, version: int | None) -> RubricRecord:
    """A version of a rubric, None the newest. Raises NotFound."""
    found = [one for one in rubrics(connection, tenant, name) if version in (None, one.version)]
    if not found:
        raise NotFound(f"there is no rubric {name[:80]!r}" + ("" if version is None else f" version {version}"))
    return found[0]


def put_judge(connection: Connection, wanted: JudgeRecord) -> tuple[JudgeRecord, JudgeRecord | None]:
    """The judge as it holds from now on, and what held before; the same when nothing changed. `seq` is given here."""
    before = next(iter(judges(connection, wanted.tenant, wanted.name)), None)
    if before is not None and text_of(before.spec) == text_of(wanted.spec):
        return before, before
    seq = 1 if before is None else before.seq + 1
    made = JudgeRecord(**{**wanted.__dict__, "seq": seq})
    values = {name: getattr(made, name) for name in ("name", "seq", "version", "made_by", "made_at_ns")}
    seals.add(connection, JUDGES, {"tenant": str(made.tenant), **values, "spec": text_of(made.spec)})
    return made, before


def judges(connection: Connection, tenant: TenantId, name: str | None) -> list[JudgeRecord]:
    """The versions of a judge, or of all, by name and then newest first."""
    key = {"tenant": str(tenant)} | ({} if name is None else {"name": name})
    return sorted(map(_judge, seals.rows(connection, JUDGES, key)), key=lambda one: (one.name, -one.seq))


def need_judge(connection: Connection, tenant: TenantId, name: str, version: str | None = None) -> JudgeRecord:
    """A judge as it holds, or the newest of a version. Raises NotFound."""
    found = [one for one in judges(connection, tenant, name) if version in (None, one.version)]
    if not found:
        raise NotFound(f"there is no judge {name[:80]!r}" + ("" if version is None else f" version {version[:20]}"))
    return found[0]


def schedules(connection: Connection, tenant: TenantId | None) -> list[JudgeSchedule]:
    """The schedules of a tenant, or of all."""
    found = seals.rows(connection, JUDGE_SCHEDULES, None if tenant is None else {"tenant": str(tenant)})
    return sorted(map(_schedule, found), key=lambda one: (one.tenant, one.judge, one.app))


def schedule(connection: Connection, tenant: TenantId, judge: str, app: str) -> JudgeSchedule | None:
    """One schedule, or None."""
    row = seals.one(connection, JUDGE_SCHEDULES, {"tenant": str(tenant), "judge": judge, "app": app})
    return None if row is None else _schedule(row)


def put_schedule(connection: Connection, wanted: JudgeSchedule) -> None:
    """Writes a schedule."""
    key = {"tenant": str(wanted.tenant), "judge": wanted.judge, "app": wanted.app}
    values: dict[str, object] = {
        "share_ppm": round(wanted.share * _PPM),
        "budget_nano_usd": round(wanted.budget_usd * NANO),
        "idle_ms": round(wanted.idle_s * 1000),
        "is_on": int(wanted.is_on),
        "marks": text_of({str(journal): seq for journal, seq in wanted.marks.items()}),
        "told": text_of(wanted.told),
        "changed_at_ns": wanted.changed_at_ns,
        "changed_by": wanted.changed_by,
    }
    row = seals.one(connection, JUDGE_SCHEDULES, key)
    if row is None:
        seals.add(connection, JUDGE_SCHEDULES, {**key, **values})
    else:
        seals.change(connection, JUDGE_SCHEDULES, row, **values)


def put_calibration(connection: Connection, made: JudgeCalibration) -> None:
    """Writes a calibration; one of the same moment is replaced."""
    key = {"tenant": str(made.tenant), "judge": made.judge, "version": made.version, "at_ns": made.at_ns}
    figures = {name: getattr(made, name) for name in ("kappa_low", "kappa_high", "bar")}
    body, n_bytes = packed(text_of(made.report).encode())
    connection.execute(delete(JUDGE_CALIBRATIONS).where(*[JUDGE_CALIBRATIONS.c[name] == key[name] for name in key]))
    values = {"state": made.state.value, "n": made.n, "figures": text_of(figures), "made_by": made.made_by}
    seals.add(connection, JUDGE_CALIBRATIONS, {**key, **values, "body": body, "n_bytes": n_bytes})


def calibrations(connection: Connection, tenant: TenantId, judge: str, version: str | None) -> list[JudgeCalibration]:
    """The calibrations of a judge, or of one version of it, newest first."""
    key = {"tenant": str(tenant), "judge": judge} | ({} if version is None else {"version": version})
    found = map(_calibration, seals.rows(connection, JUDGE_CALIBRATIONS, key))
    return sorted(found, key=lambda one: (-one.at_ns, one.version))


def packed(content: bytes) -> tuple[bytes, int]:
    """The content packed (zstd), and how many bytes it had."""
    return bytes(pa.compress(content, codec="zstd", asbytes=True)), len(content)


def unpacked(body: bytes, n_bytes: int, what: str) -> bytes:
    """What was packed. Raises Corrupt."""
    try:
        return bytes(pa.decompress(body, decompressed_size=n_bytes, codec="zstd", asbytes=True))
    except (OSError, pa.ArrowException) as error:
        raise Corrupt(f"{what} cannot be unpacked; run assay doctor") from error


def text_of(value: Mapping[str, Any] | list[Any]) -> str:
    """Canonical JSON. Raises ValueError for a number that is not finite."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _rubric(row: Any) -> RubricRecord:
    same = {name: getattr(row, name) for name in ("name", "version", "digest", "made_by", "made_at_ns")}
    return RubricRecord(tenant=TenantId(row.tenant), body=json.loads(row.body), **same)


def _judge(row: Any) -> JudgeRecord:
    same = {name: getattr(row, name) for name in ("name", "seq", "version", "made_by", "made_at_ns")}
    return JudgeRecord(tenant=TenantId(row.tenant), spec=json.loads(row.spec), **same)


def _schedule(row: Any) -> JudgeSchedule:
    return JudgeSchedule(
        tenant=TenantId(row.tenant),
        judge=row.judge,
        app=row.app,
        share=row.share_ppm / _PPM,
        budget_usd=row.budget_nano_usd / NANO,
        idle_s=row.idle_ms / 1000,
        is_on=bool(row.is_on),
        marks={int(journal): int(seq) for journal, seq in json.loads(row.marks).items()},
        told=json.loads(row.told),
        changed_at_ns=row.changed_at_ns,
        changed_by=row.changed_by,
    )


def _calibration(row: Any) -> JudgeCalibration:
    report = unpacked(row.body, row.n_bytes, f"the calibration of {row.judge[:80]}")
    same = {name: getattr(row, name) for name in ("judge", "version", "at_ns", "n", "made_by")}
    return JudgeCalibration(
        tenant=TenantId(row.tenant),
        state=CalibrationState(row.state),
        report=json.loads(report),
        **json.loads(row.figures),
        **same,
    )
