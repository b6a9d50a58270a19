"""Jobs of judges over stored sessions: chosen by hash, paid once, within the budget, scored, traced, resumed."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from core.records import Principal, Role
from judges.choosing import chosen, place_of
from store.control.judge_records import JobRecord, TargetRecord
from tests.judges.answering import Said, verdict
from tests.judges.judged import RUBRIC, WINDOW, court
from tests.server.shell import AIRLINE, SHOP
from tests.waiting import wait_until


def test_sessions_are_judged_scored_and_traced(tmp_path: Path) -> None:
    def script(index: int, body: dict[str, Any]) -> Said:
        text = json.dumps(body["messages"])
        return verdict("satisfied" if "answer 3" in text else "fail")

    with court(tmp_path, script) as it:
        made = it.judge()
        assert (made["seq"], made["state"], made["rubric"], made["rubric_version"]) == (
            1,
            "undetermined",
            "resolution",
            1,
        )
        job = it.judged()
        assert (job["status"], job["n_targets"], job["n_done"], job["n_missing"]) == ("done", 12, 12, 0)
        assert (job["n_paid"], job["n_cached"], job["n_calls"], job["n_left"]) == (12, 0, 12, 0)
        assert job["rubric_digest"] == made["rubric_digest"]
        assert job["cost_usd"] == pytest.approx(12 * (1000 * 0.25 + 100 * 2) / 1e6)
        scores = {one["session_id"]: one for one in it.scores()}
        assert len(scores) == 12
        assert {name for name, one in scores.items() if one["value"] == 1.0} == {"s3"}
        one = scores["s3"]
        assert (one["evaluator"], one["evaluator_version"], one["evaluator_kind"]) == (
            "resolution",
            made["version"],
            "judge",
        )
        assert (one["label"], one["unscored"], one["target"]) == ("pass", None, "session")
        about = json.loads(one["metadata"])
        assert (about["rubric_digest"], about["models"]) == (made["rubric_digest"], ["openai:gpt-5-mini"])
        assert (about["probability"], about["app"], about["release"]) == (1.0, "airline", "r1")
        assert about["injection_suspected"] is False
        kept = it.ask("GET", f"judges/resolution/verdicts/{about['verdict']}")
        assert (kept["labels"], kept["session_id"], kept["n_calls"]) == (["pass"], "s3", 1)
        assert json.loads(kept["raw"])["label"] == "satisfied"
        assert {app for app, _ in it.sink.spans.values()} == {"assay.judges"}
        calls = it.sink.named("chat gpt-5-mini")
        assert len(calls) == len(it.sink.named("judge resolution")) == 12
        said = {each.key: each.value for each in calls[0].attributes}
        assert said["gen_ai.usage.input_tokens"].int_value == 1000
        assert said["session.id"].string_value.startswith("judge.s")
        assert said["gen_ai.usage.cost"].double_value == pytest.approx(0.00045)
        assert not any("question" in str(span) or "answer" in str(span) for _, span in it.sink.spans.values())
        assert len({headers["idempotency-key"] for headers in it.model.headers}) == 12


def test_what_was_judged_is_not_asked_again_nor_scored_again(tmp_path: Path) -> None:
    with court(tmp_path) as it:
        it.judge()
        it.judged()
        again = it.judged()
        assert (again["n_done"], again["n_paid"], again["n_cached"], again["cost_usd"]) == (12, 0, 12, 0)
        assert len(it.model.asked) == 12
        assert len(it.scores()) == 12
        it.judge(temperature=0.5)
        assert it.judged()["n_paid"] == 12
        assert len(it.scores()) == 24
        it.judge()  # as it was first: what it said stands
        assert it.judged()["n_cached"] == 12


def test_a_share_is_chosen_by_hash_and_its_probability_is_kept(tmp_path: Path) -> None:
    with court(tmp_path, n=60) as it:
        it.judge()
        it.judged(share=0.3)
        few = {one["session_id"] for one in it.scores()}
        assert few == {f"s{k}" for k in range(1, 61) if place_of(AIRLINE, "resolution", f"s{k}") < 0.3}
        assert {json.loads(one["metadata"])["probability"] for one in it.scores()} == {0.3}
        more = it.judged(share=0.6)
        assert more["n_cached"] == len(few)
        newest: dict[str, float] = {}
        for one in it.scores():  # newest first
            newest.setdefault(one["session_id"], json.loads(one["metadata"])["probability"])
        assert few < newest.keys()
        assert set(newest.values()) == {0.6}, "all of them are now known to be of the larger share"
        one = next(iter(few))
        shown = it.ask("GET", f"scores?since=1h&session_id={one}", role=Role.VIEWER)["items"]
        assert [each["metadata"]["probability"] for each in shown] == [0.6], "of a session, the newest one is shown"
        n_rows = len(it.scores())
        it.judged(share=0.3)
        assert len(it.scores()) == n_rows
        limited = it.judged(limit=6)
        assert limited["n_targets"] == 6


def test_a_limit_is_a_share_of_all() -> None:
    targets = [TargetRecord(target="session", session_id=f"s{k}", probability=1.0) for k in range(1000)]
    found = chosen(SHOP, "r", targets, 0.5, 100)
    assert len(found) == 100
    assert {one.probability for one in found} == {0.1}
    places = [place_of(SHOP, "r", one.session_id) for one in found]
    assert places == sorted(places)
    whole = chosen(SHOP, "r", targets, 0.5)
    assert whole[:100] == [TargetRecord(target="session", session_id=one.session_id, probability=0.5) for one in found]
    assert 430 < len(whole) < 570


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_budget_is_never_overspent(tmp_path: Path, concurrency: int) -> None:
    with court(tmp_path, n=60) as it:
        it.judge(max_output_tokens=200)
        budget = 0.0145
        told = it.ask("POST", "judges/resolution/forecast", json={"app": "airline", **WINDOW, "budget_usd": budget})
        assert told["n_targets"] == told["n_read"] == told["n_calls"] == 60
        assert told["n_cached"] == 0
        assert told["usd_most"] > told["usd"] > 0
        assert it.model.asked == []
        job = it.judged(budget_usd=budget, concurrency=concurrency)
        assert job["status"] == "out_of_budget"
        assert 0.0145 * 0.6 < job["cost_usd"] <= budget
        assert job["n_left"] == 60 - job["n_done"] > 0
        assert f"{job['n_left']} were not judged" in job["reason"]
        assert len(it.scores()) == job["n_done"] == job["n_paid"] == len(it.model.asked)
        places = [place_of(AIRLINE, "resolution", one["session_id"]) for one in it.scores()]
        left = [place_of(AIRLINE, "resolution", f"s{k}") for k in range(1, 61)]
        assert max(places) < min(place for place in left if place not in places), "the rest is a random part"
        again = it.ask("POST", "judges/resolution/forecast", json={"app": "airline", **WINDOW})
        assert again["n_cached"] == job["n_done"]
        assert it.judged(budget_usd=1)["status"] == "done"
        assert len(it.model.asked) == 60


def test_answers_that_do_not_say_what_they_used_spend_the_budget_too(tmp_path: Path) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": verdict("pass").text}, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5-mini", "choices": [choice]}
    with court(tmp_path, Said(body=json.dumps(body).encode()), n=12) as it:
        it.judge()
        most = it.ask("POST", "judges/resolution/forecast", json={"app": "airline", **WINDOW})["usd_most"]
        done = it.judged(budget_usd=most / 3)
        assert done["status"] == "out_of_budget"
        assert 0 < done["n_paid"] <= 4
        assert len(it.model.asked) == done["n_paid"]
        assert most / 6 < done["cost_usd"] <= most / 3


def test_what_is_no_verdict_is_missing_and_never_a_fail(tmp_path: Path) -> None:
    def script(index: int, body: dict[str, Any]) -> Said:
        text = json.dumps(body["messages"])
        if "answer 1\\" in text or "answer 1 " in text:
            return Said(text="It went well, I think.")
        if "answer 2\\" in text:
            return Said(refusal="I cannot help with that.", text=None)
        if "answer 4\\" in text:
            return Said(status=500)
        return verdict("pass")

    with court(tmp_path, script, n=5) as it:
        it.judge()
        job = it.judged()
        assert (job["status"], job["n_done"], job["n_missing"]) == ("done", 2, 3)
        assert job["missing"] == {"no_verdict_in_reply": 1, "refused": 1, "model_failed": 1}
        unscored = {one["session_id"]: one["unscored"] for one in it.scores()}
        assert unscored == {"s1": "no_verdict_in_reply", "s2": "refused", "s3": None, "s4": "model_failed", "s5": None}
        assert all(one["value"] is None for one in it.scores() if one["unscored"])
        again = it.judged()
        assert (again["n_cached"], again["n_paid"]) == (4, 1), "only the model that failed is asked again"


def test_a_rubric_and_a_judge_that_change_under_a_job_are_not_the_jobs(tmp_path: Path) -> None:
    held = threading.Event()

    def script(index: int, body: dict[str, Any]) -> Said:
        return Said(text=verdict("pass").text, wait=held)

    with court(tmp_path, script) as it:
        first = it.judge()
        job = it.run(concurrency=2)
        wait_until(lambda: len(it.model.asked) == 2, 120, "two calls")
        it.judge(rubric=RUBRIC.replace("resolved?", "solved?"), status=409)
        second = it.judge(rubric=RUBRIC.replace("version: 1", "version: 2").replace("resolved?", "solved?"))
        assert (second["seq"], second["rubric_version"]) == (2, 2)
        held.set()
        done = it.ended(job)
        assert (done["rubric_digest"], done["version"], done["n_done"]) == (
            first["rubric_digest"],
            first["version"],
            12,
        )
        assert {one["evaluator_version"] for one in it.scores()} == {first["version"]}
        assert it.model.most_at_once <= 2


def test_a_job_can_be_cancelled_and_what_was_paid_for_counts(tmp_path: Path) -> None:
    held = threading.Event()

    def script(index: int, body: dict[str, Any]) -> Said:
        return Said(text=verdict("pass").text, wait=held if index >= 3 else None)

    with court(tmp_path, script) as it:
        it.judge()
        job = it.run(concurrency=1)
        wait_until(lambda: len(it.model.asked) == 4, 120, "the fourth call")
        it.ask("DELETE", "judges/resolution", 409)
        ended = it.ask("POST", f"judges/resolution/runs/{job['job_id']}/cancel")
        assert (ended["status"], ended["reason"]) == ("cancelled", "cancelled by admin of airline")
        held.set()
        wait_until(lambda: it.job(job)["n_done"] == 4, 120, "what was paid for to be counted")
        assert len(it.scores()) == 4
        gone = it.ask("DELETE", "judges/resolution?dry_run=true")
        assert gone["n"] == {
            "judges": 1, "judge_jobs": 1, "judge_verdicts": 4, "judge_schedules": 0, "judge_calibrations": 0,
        }  # fmt: skip
        assert it.ask("DELETE", "judges/resolution")["n"] == gone["n"]
        it.ask("GET", "judges/resolution", 404)
        assert len(it.scores()) == 4


def test_turns_where_the_rubric_says_so(tmp_path: Path) -> None:
    with court(tmp_path, n=4) as it:
        rubric = RUBRIC.replace("kind:", "target: turn\nkind:")
        it.judge(rubric=rubric)
        assert it.judged()["n_done"] == 4
        assert {(one["target"], one["trace_id"]) for one in it.scores()} == {("turn", f"{k:032x}") for k in range(1, 5)}


def test_who_may_do_what_and_what_is_refused(tmp_path: Path) -> None:
    with court(tmp_path, n=2, works=False) as it:
        body = {"name": "j", "rubric": RUBRIC, "models": ["openai:gpt-5-mini"], "url": it.model.url}
        it.ask("POST", "judges", 403, Role.POWER_USER, json=body)
        it.ask("POST", "judges", 403, Role.USER, json={**body, "url": None})
        assert it.ask("POST", "judges", 201, Role.POWER_USER, json={**body, "url": None})["url"] is None
        it.judge(models=["gpt-5-mini"], status=422)
        it.judge(models=["openai:a", "openai:b"], status=422)
        it.judge(key_env="HOME", status=422)
        it.judge(name="Bad name", status=422)
        it.judge(rubric_name="nothing", status=404)
        it.judge(name="unpriced", models=["openai:my-own-model"])
        it.run("unpriced", 422, budget_usd=1)
        assert it.run("unpriced")["status"] == "waiting"
        it.run("nobody", 404)
        it.run("j", 422, app="assay.judges")
        it.run("j", 422, share=0)
        it.run("j", 422, app=None)
        pair = "---\nname: better\nversion: 1\nkind: pairwise\nlabels: [A, B, tie]\n---\nWhich is better?\n"
        it.judge(name="pairs", rubric=pair)
        assert "sessions and turns" in it.run("pairs", 422)["detail"]
        nothing = it.run("j", app="nobody")
        assert (nothing["status"], nothing["reason"]) == ("done", "there was nothing to judge")
        it.judge(name="own", own_family="refuse")
        assert "own family" in it.run("own", 422)["detail"]
        it.run("j", 422, strict=True)
        assert "own family" in it.run("j")["params"]["warnings"][0]
        listed = it.ask("GET", "judges", role=Role.VIEWER)["items"]
        assert [one["name"] for one in listed] == ["j", "own", "pairs", "unpriced"]
        shop = it.shell.client.get("/api/v1/judges/j", headers=it.shell.headers(Role.ADMIN, SHOP))
        assert shop.status_code == 404
        rubrics = it.ask("GET", "rubrics", role=Role.VIEWER)["items"]
        assert [(one["name"], one["version"]) for one in rubrics] == [("better", 1), ("resolution", 1)]
        same = it.ask("POST", "rubrics", 201, json={"text": rubrics[1]["file"]})
        assert same["digest"] == rubrics[1]["digest"]


def test_a_collector_that_does_not_answer_holds_no_job_up(tmp_path: Path) -> None:
    with court(tmp_path, n=3) as it:
        it.sink.status = 400
        it.judge()
        assert it.judged()["status"] == "done"
        assert it.sink.spans == {}


def test_sessions_that_went_are_counted_and_no_model_is_asked(tmp_path: Path) -> None:
    with court(tmp_path, n=3) as it:
        spec = it.judge()
        control = it.shell.services.control
        targets = [TargetRecord(target="session", session_id=one, probability=1.0) for one in ("s1", "gone", "s2")]
        job = JobRecord(
            tenant=AIRLINE,
            job_id="judging_gone",
            judge="resolution",
            version=spec["version"],
            spec=control.judge(AIRLINE, "resolution").spec,
            rubric=control.rubric(AIRLINE, "resolution").body,
            app="airline",
            params={},
        )
        by = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann")
        control.start_job(job, targets, by=by)
        it.shell.services.judge_asked.set()
        done = it.ended({"judge": "resolution", "job_id": "judging_gone"})
        assert (done["status"], done["n_done"], done["missing"]) == ("done", 2, {"no_content": 1})
        assert {one["session_id"]: one["unscored"] for one in it.scores()} == {"s1": None, "s2": None}
        assert len(it.model.asked) == 2
