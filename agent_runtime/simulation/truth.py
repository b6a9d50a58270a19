"""What is known to be true of each session, and its delayed way to Assay: as `outcome` scores of the session.

A session's scores are `task_success` (1 or 0) and `fault` (its label, or "none"). They are due some time after the
session ended, as a real outcome is; `post_due` sends what is due, in batches whose Idempotency-Key follows from their
content. A batch is written down before it is sent, so that after a crash the same one is sent again and stored once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from agent_runtime.errors import BackendUnavailable, InvalidInput
from agent_runtime.records import TurnResult
from agent_runtime.simulation.faults.table import fault_named
from agent_runtime.simulation.goals import Outcome
from agent_runtime.simulation.plans import Cast
from agent_runtime.simulation.world import World

NO_FAULT: Final = "none"
_SESSIONS_PER_BATCH: Final = 500  # two scores each; a request takes 1,000
_EVALUATOR_VERSION: Final = "1"
_ATTEMPTS: Final = 12  # while Assay still works on the same scores, sent by a run that died
_MOST_WAIT_S: Final = 5


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A row of the truth. `passed` is None until the session ended; `fault` is "" where none was planted."""

    session_id: str
    release: str
    scenario: str
    fault: str
    expected_fail: bool
    passed: bool | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A session whose whole course is known: what it played, how and when it ended, when Assay is told."""

    chosen: Cast
    release: str
    seed: int
    outcome: Outcome
    began: datetime
    ended: datetime
    due: datetime


def record_many(world: World, sessions: Sequence[Ended]) -> None:
    """Writes down sessions that were made as traces; they have no rows in the shop."""
    played, known = [], []
    for each in sessions:
        chosen, names = each.chosen, each.chosen.faults
        session, scenario = chosen.session_id, chosen.scenario.scenario_id
        user_id = f"u-{hashlib.blake2b(session.encode(), digest_size=6).hexdigest()}"
        played.append((session, each.release, scenario, chosen.persona.name, user_id, each.seed, json.dumps(names)))
        fails = any(fault_named(name).fails_task for name in names)
        why = json.dumps(each.outcome.reasons)
        times = (_text(each.began), int(fails), int(each.outcome.passed), why, _text(each.ended), _text(each.due))
        known.append((session, each.release, scenario, "+".join(names), *times))
    with world.writing():
        world.change_many("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)", played)
        world.change_many("INSERT OR REPLACE INTO truth VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)", known)


def record_planted(world: World, release: str, chosen: Cast, at: datetime) -> None:
    """Writes down, before the session begins, what was planted in it and whether it must fail."""
    world.change("DELETE FROM turns WHERE session_id = ?", chosen.session_id)  # of an earlier play of it
    fails = any(fault_named(name).fails_task for name in chosen.faults)
    world.change(
        "INSERT OR REPLACE INTO truth (session_id, release, scenario, fault, planted_at, expected_fail) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        *(chosen.session_id, release, chosen.scenario.scenario_id, "+".join(chosen.faults), _text(at), int(fails)),
    )


def record_outcome(world: World, session_id: str, found: Outcome, at: datetime, delay: timedelta) -> None:
    """Writes down how it ended; Assay is told `delay` later. Raises InvalidInput for a session that was not planted."""
    changed = world.change(
        "UPDATE truth SET passed = ?, reasons = ?, ended_at = ?, due_at = ?, posted_at = NULL WHERE session_id = ?",
        *(int(found.passed), json.dumps(found.reasons), _text(at), _text(at + delay), session_id),
    )
    if not changed:
        raise InvalidInput(f"session {session_id!r} has no row of truth: record_planted comes first")


def record_turn(world: World, number: int, user: str, result: TurnResult) -> None:
    """Writes down what was said and spent in a turn. `user` is "" where it went on after an approval."""
    world.change(
        "INSERT OR REPLACE INTO turns (session_id, number, trace_id, user, reply, status, input_tokens, "
        "output_tokens, cost_usd) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(result.session_id, number, result.trace_id, user, result.reply, result.status.value),
        *(result.input_tokens, result.output_tokens, None if result.cost_usd is None else str(result.cost_usd)),
    )


def was_played(world: World, session_id: str) -> bool:
    """Whether this session has ended, or broke off after a turn: to play it again would tell Assay twice."""
    found = world.row(
        "SELECT 1 FROM truth WHERE session_id = ? "
        "AND (passed IS NOT NULL OR EXISTS (SELECT 1 FROM turns WHERE turns.session_id = truth.session_id))",
        session_id,
    )
    return found is not None


def truths(world: World, release: str | None = None) -> list[Truth]:
    """The truth of a release's sessions, or of all."""
    rows = world.rows("SELECT * FROM truth WHERE ? IS NULL OR release = ? ORDER BY session_id", release, release)
    return [
        Truth(
            session_id=row["session_id"],
            release=row["release"],
            scenario=row["scenario"],
            fault=row["fault"],
            expected_fail=bool(row["expected_fail"]),
            passed=None if row["passed"] is None else bool(row["passed"]),
            reasons=tuple(json.loads(row["reasons"])),
        )
        for row in rows
    ]


def _any(session_id: str) -> bool:
    return True


async def post_due(world: World, client: httpx.AsyncClient, now: datetime, counts: Callable[[str], bool] = _any) -> int:
    """Posts the scores of every session that is due, whichever run played it; how many sessions whose id `counts`.

    `client` has Assay's address and key. Raises BackendUnavailable: Assay did not take them; they stay due.
    """
    n_posted = 0
    while batch := _begun(world, now):
        await _post(client, [score for row in batch for score in _scores(row)])
        with world.writing():
            world.change_many(
                "UPDATE truth SET posted_at = ? WHERE session_id = ?",
                [(_text(now), each["session_id"]) for each in batch],
            )
            world.change_many("DELETE FROM posting WHERE session_id = ?", [(each["session_id"],) for each in batch])
        n_posted += sum(counts(row["session_id"]) for row in batch)
    return n_posted


def waiting(world: World) -> list[str]:
    """The sessions of this world that have ended and whose outcome Assay was not told."""
    found = world.rows("SELECT session_id FROM truth WHERE posted_at IS NULL AND passed IS NOT NULL")
    return [str(row["session_id"]) for row in found]


def _begun(world: World, now: datetime) -> list[dict[str, Any]]:
    """The batch that was begun and not finished, as it was; else a new one of what is due."""
    with world.writing():
        if world.row("SELECT 1 FROM posting") is None:
            world.change(
                "INSERT INTO posting SELECT session_id FROM truth WHERE posted_at IS NULL AND passed IS NOT NULL "
                "AND due_at <= ? ORDER BY due_at, session_id LIMIT ?",
                *(_text(now), _SESSIONS_PER_BATCH),
            )
    return world.rows(
        "SELECT truth.* FROM posting JOIN truth USING (session_id) WHERE passed IS NOT NULL ORDER BY due_at, session_id"
    )


async def _post(client: httpx.AsyncClient, scores: Sequence[dict[str, Any]]) -> None:
    body = json.dumps({"items": scores}).encode()
    key = f"truth-{hashlib.sha256(body).hexdigest()[:40]}"
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    for _ in range(_ATTEMPTS):
        try:
            answer = await client.post("/api/v1/scores", content=body, headers=headers)
        except httpx.HTTPError as error:
            raise BackendUnavailable(f"Assay could not be reached: {error!r}; the scores stay due") from None
        if answer.status_code == httpx.codes.CREATED:
            return
        code, said = _problem(answer)
        if code != "in_progress":
            raise BackendUnavailable(f"Assay answered {answer.status_code} to the scores: {said}")
        await asyncio.sleep(min(_MOST_WAIT_S, _whole(answer.headers.get("retry-after", ""))))
    raise BackendUnavailable("Assay is still at work on scores that were sent before; they stay due")


def _problem(answer: httpx.Response) -> tuple[str, str]:
    """Code and words of an error of the API; of any other answer its beginning."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if isinstance(found, dict) and "detail" in found:
        return str(found.get("code", "")), str(found["detail"])[:500]
    return "", answer.text[:500]


def _whole(seconds: str) -> int:
    return int(seconds) if seconds.isdecimal() and len(seconds) < 9 else 1


def _scores(row: dict[str, Any]) -> list[dict[str, Any]]:
    common = {
        "evaluator_version": _EVALUATOR_VERSION,
        "evaluator_kind": "outcome",
        "target": "session",
        "session_id": row["session_id"],
        "at": row["due_at"],
        "metadata": {"scenario": row["scenario"], "release": row["release"], "simulated": True},
    }
    why = "; ".join(json.loads(row["reasons"]))[:2000]
    success = {**common, "evaluator": "task_success", "value": float(row["passed"])}
    if why:
        success["explanation"] = why
    return [success, {**common, "evaluator": "fault", "label": row["fault"] or NO_FAULT}]


def _text(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds: texts of it sort as the times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
