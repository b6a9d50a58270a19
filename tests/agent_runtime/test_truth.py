"""Plans, casts and the truth: recorded before and after a session, and posted to a real Assay, late and once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from agent_runtime.errors import BackendUnavailable, InvalidInput, NotFound
from agent_runtime.records import Release
from agent_runtime.simulation.goals import Outcome
from agent_runtime.simulation.plans import Cast, cast, enrol, plan_of, read_plan, scenario_of, write_plan
from agent_runtime.simulation.truth import Truth, post_due, record_outcome, record_planted, truths
from agent_runtime.simulation.world import World
from tests.stack import Stack

V2 = Release(name="v2", faults={"drop_confirmation": 0.5, "verbose_padding": 0.5})
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
FAILED = Outcome(passed=False, reasons=("cancel_order was done 0 times, not 1",))


def _ended(world: World, release: Release, n: int, delay: timedelta) -> dict[str, Cast]:
    """`n` sessions of a release that ended at NOW as they had to."""
    plan = plan_of(release, seed=11)
    chosen = {name: cast(plan, name) for name in (f"{release.name}-{number}" for number in range(n))}
    for name, each in chosen.items():
        enrol(world, plan, each)
        record_planted(world, release.name, each, NOW)
        record_outcome(world, name, FAILED if "drop_confirmation" in each.faults else Outcome(passed=True), NOW, delay)
    return chosen


def test_another_process_reads_the_plan_and_the_session(world: World) -> None:
    plan = plan_of(V2, seed=5)
    write_plan(world, plan_of(Release(name="v2", faults={"tool_loop": 1.0}), seed=1))
    write_plan(world, plan)
    chosen = cast(plan, "read-elsewhere")
    enrol(world, plan, chosen)
    other = World.open(world.path)
    assert read_plan(other, "v2") == plan
    played = other.session("read-elsewhere")
    assert played is not None
    assert (played.release, played.faults, played.seed) == ("v2", chosen.faults, 5)
    assert (played.scenario, played.persona) == (chosen.scenario.scenario_id, chosen.persona.name)
    assert scenario_of(other, "read-elsewhere") == chosen.scenario
    assert other.session("a person typing") is None
    other.close()


def test_a_release_without_faults_has_a_plan(world: World) -> None:
    plan = plan_of(Release(name="v1"), seed=3)
    write_plan(world, plan)
    assert read_plan(world, "v1") == plan
    with pytest.raises(NotFound, match="no plan of release 'v0'"):
        read_plan(world, "v0")
    with pytest.raises(NotFound, match="'strange' is not simulated"):
        scenario_of(world, "strange")


def test_a_cast_is_the_same_every_time_and_faults_apply() -> None:
    plan = plan_of(Release(name="v3", faults={"stale_policy": 1.0, "double_refund": 1.0}), seed=2)
    casts = [cast(plan, f"s{number}") for number in range(200)]
    assert casts == [cast(plan, f"s{number}") for number in range(200)]
    for each in casts:
        assert ("stale_policy" in each.faults) <= bool(each.scenario.goal.cites)
        assert ("double_refund" in each.faults) <= bool(each.scenario.gold_calls("refund_order"))
    assert len({each.scenario.scenario_id for each in casts}) > 50
    assert len({each.persona.name for each in casts}) == 8


@pytest.mark.parametrize(
    ("faults", "message"), [({"gremlins": 0.1}, "no fault"), ({"tool_loop": 1.5}, "between 0 and 1")]
)
def test_a_plan_that_makes_no_sense_is_refused(faults: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        plan_of(Release(name="v2", faults=faults), seed=1)


def test_an_outcome_without_its_planting_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput, match="record_planted comes first"):
        record_outcome(world, "nobody", FAILED, NOW, timedelta())


def test_the_truth_says_what_was_planted_and_what_came_of_it(world: World) -> None:
    chosen = _ended(world, Release(name="v4", faults=V2.faults), 60, timedelta(days=1))
    found = truths(world, "v4")
    assert len(found) == 60
    for each in found:
        faults = chosen[each.session_id].faults
        assert each.fault == "+".join(faults)
        assert each.expected_fail == ("drop_confirmation" in faults)
        assert each.passed is not each.expected_fail
        assert each.reasons == (FAILED.reasons if each.expected_fail else ())
    assert {each.fault for each in found} >= {"", "drop_confirmation", "verbose_padding"}
    assert isinstance(found[0], Truth)


def _answering(world: World, now: datetime, answer: Callable[[httpx.Request], httpx.Response]) -> int:
    async def post() -> int:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://assay") as client:
            return await post_due(world, client, now)

    return asyncio.run(post())


def test_scores_wait_until_they_are_due_and_stay_due_until_they_are_taken(world: World) -> None:
    """The far side of the wire is scripted here, because it refuses; the next test posts to a real one."""
    _ended(world, Release(name="v5"), 700, timedelta(days=1000))
    sent: list[str | None] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("idempotency-key"))
        return httpx.Response(503, text="the disk is full")

    assert _answering(world, NOW, refuse) == 0
    later = NOW + timedelta(days=1001)
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="503 to the scores: the disk is full"):
            _answering(world, later, refuse)
    assert len(sent) == 2
    assert sent[0] == sent[1]
    n_due = len(world.rows("SELECT 1 FROM truth WHERE posted_at IS NULL AND passed IS NOT NULL"))
    assert _answering(world, later, lambda request: httpx.Response(201, json={"score_ids": []})) == n_due
    assert _answering(world, later, refuse) == 0


def test_scores_that_assay_still_works_on_are_sent_again_and_told_in_words(world: World) -> None:
    _ended(world, Release(name="v7"), 3, timedelta(days=2000))
    later, keys = NOW + timedelta(days=2001), set()
    said = {"detail": "another request is still being worked on", "code": "in_progress"}
    busy = [httpx.Response(409, json=said, headers={"retry-after": "0"}) for _ in range(3)]

    def answer(request: httpx.Request) -> httpx.Response:
        keys.add(request.headers["idempotency-key"])
        return busy.pop() if busy else httpx.Response(201, json={"score_ids": []})

    assert _answering(world, later, answer) == 3
    assert (len(keys), busy) == (1, [])
    _ended(world, Release(name="v8"), 1, timedelta(days=2000))
    with pytest.raises(BackendUnavailable, match=r"^Assay is still at work on scores that were sent before"):
        _answering(world, later, lambda request: httpx.Response(409, json=said, headers={"retry-after": "0"}))
    with pytest.raises(BackendUnavailable, match=r"409 to the scores: another body$"):
        _answering(
            world, later, lambda request: httpx.Response(409, json={"code": "conflict", "detail": "another body"})
        )
    assert _answering(world, later, lambda request: httpx.Response(201, json={"score_ids": []})) == 1


def test_assay_holds_the_outcomes_that_the_world_recorded(world: World, stack: Stack) -> None:
    chosen = _ended(world, Release(name="v6", faults=V2.faults), 40, timedelta(minutes=1))

    async def post(url: str, headers: dict[str, str]) -> int:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            return await post_due(world, client, NOW + timedelta(minutes=2), chosen.__contains__)

    ours = []
    with stack.client() as api:
        assert asyncio.run(post(stack.url, stack.headers)) == len(chosen)
        assert asyncio.run(post(stack.url, stack.headers)) == 0
        for session in chosen:
            answer = api.get("/api/v1/scores", params={"since": "1h", "session_id": session})
            assert answer.status_code == 200, answer.text
            ours += answer.json()["items"]
    assert len(ours) == 2 * len(chosen)
    for each in ours:
        faults = chosen[each["session_id"]].faults
        assert (each["evaluator_kind"], each["target"]) == ("outcome", "session")
        if each["evaluator"] == "task_success":
            assert each["value"] == float("drop_confirmation" not in faults)
        else:
            assert (each["evaluator"], each["label"]) == ("fault", "+".join(faults) or "none")
