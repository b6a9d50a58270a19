"""Jobs of judges: what is left of them, and the verdicts that were paid for.

A job's targets lie in slices, in the order of judging. A verdict is kept, and its money counted, in one transaction as
soon as it is there; a slice goes, and its targets are counted, once all its scores are in the lake. So whoever takes
the job up after a kill begins with the first slice that is left, and finds its verdicts by their keys.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select

from core.errors import NotFound
from core.ids import TenantId
from store.control import seals
from store.control.judge_records import JobRecord, JobStatus, TargetRecord, VerdictRecord
from store.control.judge_rows import NANO, packed, text_of, unpacked
from store.control.tables import JUDGE_JOBS, JUDGE_TARGETS, JUDGE_VERDICTS

SLICE: Final = 200  # targets
MODEL_FAILED: Final = "model_failed"  # the one outcome that another job asks for again
NO_CONTENT: Final = "no_content"  # what targets count as that are gone
_AT_ONCE: Final = 400  # keys of a query
_PPM: Final = 1_000_000
_SAME: Final = ("job_id", "judge", "version", "app", "created_at_ns", "created_by", "started_at_ns", "finished_at_ns")
_COUNTS: Final = ("n_targets", "n_done", "n_missing", "n_paid", "n_cached", "n_calls", "n_unpriced")
_TOKENS: Final = ("input_tokens", "output_tokens")
_VERDICT: Final = ("key", "job_id", "judge", "version", "rubric_digest", "target_hash", "session_id", "missing")
_LOG: Final = logging.getLogger("assay.judges")


def add(connection: Connection, job: JobRecord, targets: Sequence[TargetRecord]) -> JobRecord:
    """Writes a job with its targets."""
    values = {name: getattr(job, name) for name in (*_SAME, *_COUNTS, *_TOKENS, "reason")}
    values |= {name: text_of(getattr(job, name)) for name in ("spec", "rubric", "params", "missing")}
    values |= {"tenant": str(job.tenant), "status": job.status.value, "cost_nano_usd": round(job.cost_usd * NANO)}
    values["budget_nano_usd"] = None if job.budget_usd is None else round(job.budget_usd * NANO)
    seals.add(connection, JUDGE_JOBS, values)
    return append(connection, job.tenant, job.job_id, targets)


def append(connection: Connection, tenant: TenantId, job_id: str, targets: Sequence[TargetRecord]) -> JobRecord:
    """Gives a job more targets. Raises NotFound."""
    row = find(connection, tenant, job_id)
    key = {"tenant": str(tenant), "job_id": job_id}
    last = connection.execute(
        select(func.max(JUDGE_TARGETS.c.slice)).where(*[JUDGE_TARGETS.c[name] == key[name] for name in key])
    ).scalar()
    first = max(0 if last is None else last + 1, row.n_targets)  # never a number that was used before
    for n, at in enumerate(range(0, len(targets), SLICE)):
        part = targets[at : at + SLICE]
        body, n_bytes = _packed(part)
        seals.add(connection, JUDGE_TARGETS, {**key, "slice": first + n, "n": len(part), "body": body,
                                              "n_bytes": n_bytes})  # fmt: skip
    return change(connection, tenant, job_id, n_targets=row.n_targets + len(targets))


def find(connection: Connection, tenant: TenantId, job_id: str) -> Any:
    """The row of a job. Raises NotFound, also for one of another tenant."""
    row = seals.one(connection, JUDGE_JOBS, {"tenant": str(tenant), "job_id": job_id})
    if row is None:
        raise NotFound(f"there is no job {job_id[:60]!r} of a judge")
    return row


def rows(connection: Connection, tenant: TenantId, judge: str | None) -> list[JobRecord]:
    """The jobs of a judge, or of all, newest first."""
    key = {"tenant": str(tenant)} | ({} if judge is None else {"judge": judge})
    found = map(record, seals.rows(connection, JUDGE_JOBS, key))
    return sorted(found, key=lambda one: (-one.created_at_ns, one.job_id))


def change(connection: Connection, tenant: TenantId, job_id: str, **changes: object) -> JobRecord:
    """Writes some columns of a job; the job from then on. Raises NotFound."""
    row = find(connection, tenant, job_id)
    seals.change(connection, JUDGE_JOBS, row, **changes)
    for name, value in changes.items():
        setattr(row, name, value)
    return record(row)


def first_slice(
    connection: Connection, tenant: TenantId, job_id: str, after: int = -1
) -> tuple[int, list[TargetRecord]] | None:
    """The first slice that is left behind the number `after`, with its number; None when none is."""
    table = JUDGE_TARGETS
    least = select(func.min(table.c.slice)).where(
        table.c.tenant == str(tenant), table.c.job_id == job_id, table.c.slice > after
    )
    number = connection.execute(least).scalar()
    if number is None:
        return None
    row: Any = seals.one(connection, table, {"tenant": str(tenant), "job_id": job_id, "slice": number})
    return number, _targets(row)


def settle(
    connection: Connection,
    tenant: TenantId,
    job_id: str,
    number: int,
    *,
    n_done: int,
    n_cached: int,
    missing: Mapping[str, int],
    left: Sequence[TargetRecord] = (),
) -> JobRecord:
    """A slice whose scores are in the lake goes, and is counted; `left` of it, which nobody asked, stays, but for what
    `forget_targets` took meanwhile: that is missing. Once only: a slice that is gone counts nothing. Raises NotFound
    for the job."""
    row = find(connection, tenant, job_id)
    key = {"tenant": str(tenant), "job_id": job_id, "slice": number}
    old = seals.one(connection, JUDGE_TARGETS, key)
    if old is None:
        return record(row)
    there = set(_targets(old)) if left else set()
    gone = [one for one in left if one not in there]
    missing = {**missing, NO_CONTENT: missing.get(NO_CONTENT, 0) + len(gone)} if gone else missing
    left = [one for one in left if one in there]
    if left:
        body, n_bytes = _packed(left)
        seals.change(connection, JUDGE_TARGETS, old, n=len(left), body=body, n_bytes=n_bytes)
    else:
        connection.execute(delete(JUDGE_TARGETS).where(*[JUDGE_TARGETS.c[name] == key[name] for name in key]))
    reasons = json.loads(row.missing)
    total = {name: reasons.get(name, 0) + missing.get(name, 0) for name in reasons | missing}
    sums = {"n_done": row.n_done + n_done, "n_cached": row.n_cached + n_cached}
    sums["n_missing"] = row.n_missing + sum(missing.values())
    return change(connection, tenant, job_id, missing=text_of(total), **sums)


def drop_targets(connection: Connection, tenant: TenantId, job_id: str) -> None:
    """Takes away what is left of a job that ended."""
    connection.execute(
        delete(JUDGE_TARGETS).where(JUDGE_TARGETS.c.tenant == str(tenant), JUDGE_TARGETS.c.job_id == job_id)
    )


def forget_targets(
    connection: Connection, tenant: TenantId, ids: AbstractSet[str], stands_for: Callable[[str], str]
) -> int:
    """Puts `stands_for` of them in the place of ids of sessions and traces in what is left of jobs; in how many
    targets. Nothing is stored under those: the jobs count such targets as missing."""
    n = 0
    for row in seals.rows(connection, JUDGE_TARGETS, {"tenant": str(tenant)}):
        before = _targets(row)
        after = [_forgotten(one, ids, stands_for) for one in before]
        if found := sum(one != other for one, other in zip(before, after, strict=True)):
            body, n_bytes = _packed(after)
            seals.change(connection, JUDGE_TARGETS, row, body=body, n_bytes=n_bytes)
            n += found
    return n


def put_verdicts(connection: Connection, tenant: TenantId, job_id: str, made: Sequence[VerdictRecord]) -> JobRecord:
    """Keeps verdicts and counts their money; one whose key is kept already is left out, money and all. A model that
    failed, and a row that was damaged, is replaced. Raises NotFound for the job."""
    row = find(connection, tenant, job_id)
    new = {one.key: one for one in made}
    kept = verdicts(connection, tenant, list(new))
    new = {key: one for key, one in new.items() if _replaces(one, kept.get(key))}
    for part in _parts(list(new)):
        connection.execute(
            delete(JUDGE_VERDICTS).where(JUDGE_VERDICTS.c.tenant == str(tenant), JUDGE_VERDICTS.c.key.in_(part))
        )
    if not new:
        return record(row)
    connection.execute(insert(JUDGE_VERDICTS), [seals.sealed(JUDGE_VERDICTS, _values(one)) for one in new.values()])
    sums = {
        name: getattr(row, name) + sum(getattr(one, name) for one in new.values()) for name in ("n_calls", *_TOKENS)
    }
    unpriced = sum(one.cost_usd is None and one.n_calls > 0 for one in new.values())
    cost = sum(round(one.cost_usd * NANO) for one in new.values() if one.cost_usd is not None)
    return change(
        connection, tenant, job_id, n_paid=row.n_paid + len(new), n_unpriced=row.n_unpriced + unpriced,
        cost_nano_usd=row.cost_nano_usd + cost, **sums,
    )  # fmt: skip


def verdicts(connection: Connection, tenant: TenantId, keys: Sequence[str]) -> dict[str, VerdictRecord]:
    """Those of these verdicts that are kept, by key. One that was damaged beyond repair counts as not kept."""
    found = {}
    for part in _parts(keys):
        asked = select(JUDGE_VERDICTS).where(JUDGE_VERDICTS.c.tenant == str(tenant), JUDGE_VERDICTS.c.key.in_(part))
        for row in connection.execute(asked).all():
            values: Mapping[str, Any] | None = dict(row._mapping)
            if values is not None and not seals.is_sound(JUDGE_VERDICTS, values):
                values = seals.mended(JUDGE_VERDICTS, values)
            if values is None:
                _LOG.error("the verdict %s was altered and is asked for again", row.key)
            else:
                found[values["key"]] = _verdict(values)
    return found


def forget(connection: Connection, tenant: TenantId, sessions: Sequence[str]) -> int:
    """Deletes the verdicts over these sessions; how many."""
    n = 0
    for part in _parts(sessions):
        gone = delete(JUDGE_VERDICTS).where(
            JUDGE_VERDICTS.c.tenant == str(tenant), JUDGE_VERDICTS.c.session_id.in_(part)
        )
        n += connection.execute(gone).rowcount
    return n


def has_older(connection: Connection, tenant: TenantId, before_ns: int) -> bool:
    """Whether there are verdicts from before then."""
    old = (JUDGE_VERDICTS.c.tenant == str(tenant), JUDGE_VERDICTS.c.at_ns < before_ns)
    return connection.execute(select(JUDGE_VERDICTS.c.key).where(*old).limit(1)).first() is not None


def expire(connection: Connection, tenant: TenantId, before_ns: int) -> int:
    """Deletes the verdicts from before then; how many."""
    old = (JUDGE_VERDICTS.c.tenant == str(tenant), JUDGE_VERDICTS.c.at_ns < before_ns)
    return connection.execute(delete(JUDGE_VERDICTS).where(*old)).rowcount


def record(row: Any) -> JobRecord:
    """A row as a record."""
    return JobRecord(
        tenant=TenantId(row.tenant),
        **{name: getattr(row, name) for name in (*_SAME, *_COUNTS, *_TOKENS, "reason")},
        **{name: json.loads(getattr(row, name)) for name in ("spec", "rubric", "params", "missing")},
        status=JobStatus(row.status),
        cost_usd=row.cost_nano_usd / NANO,
        budget_usd=None if row.budget_nano_usd is None else row.budget_nano_usd / NANO,
    )


def _targets(row: Any) -> list[TargetRecord]:
    lines = unpacked(row.body, row.n_bytes, f"a slice of {row.job_id[:60]}").splitlines()
    return [TargetRecord(**json.loads(line)) for line in lines]


def _packed(targets: Sequence[TargetRecord]) -> tuple[bytes, int]:
    return packed("\n".join(text_of(asdict(one)) for one in targets).encode())


def _forgotten(one: TargetRecord, ids: AbstractSet[str], stands_for: Callable[[str], str]) -> TargetRecord:
    session = stands_for(one.session_id) if one.session_id in ids else one.session_id
    trace = stands_for(one.trace_id) if one.trace_id is not None and one.trace_id in ids else one.trace_id
    example = session if one.example_id == one.session_id else one.example_id  # of a run without a dataset
    return replace(one, session_id=session, trace_id=trace, example_id=example)


def _replaces(new: VerdictRecord, kept: VerdictRecord | None) -> bool:
    return kept is None or (kept.missing == MODEL_FAILED and kept.job_id != new.job_id)


def _parts(of: Sequence[str]) -> Iterator[Sequence[str]]:
    return (of[at : at + _AT_ONCE] for at in range(0, len(of), _AT_ONCE))


def _values(one: VerdictRecord) -> dict[str, object]:
    said = {"explanation": one.explanation, "raw": one.raw, "replies": list(one.replies), "calls": list(one.calls)}
    body, n_bytes = packed(text_of(said).encode())
    return {
        "tenant": str(one.tenant),
        **{name: getattr(one, name) for name in (*_VERDICT, *_TOKENS, "n_calls", "at_ns")},
        "labels": text_of(list(one.labels)),
        "confidence_ppm": None if one.confidence is None else round(one.confidence * _PPM),
        "repaired": int(one.repaired),
        "cost_nano_usd": None if one.cost_usd is None else round(one.cost_usd * NANO),
        "body": body,
        "n_bytes": n_bytes,
    }


def _verdict(values: Mapping[str, Any]) -> VerdictRecord:
    said = json.loads(unpacked(values["body"], values["n_bytes"], f"the verdict {values['key']}"))
    confidence, cost = values["confidence_ppm"], values["cost_nano_usd"]
    return VerdictRecord(
        tenant=TenantId(values["tenant"]),
        **{name: values[name] for name in (*_VERDICT, *_TOKENS, "n_calls", "at_ns")},
        labels=tuple(json.loads(values["labels"])),
        confidence=None if confidence is None else confidence / _PPM,
        repaired=bool(values["repaired"]),
        cost_usd=None if cost is None else cost / NANO,
        explanation=said["explanation"],
        raw=said["raw"],
        replies=tuple(said["replies"]),
        calls=tuple(said["calls"]),
    )
