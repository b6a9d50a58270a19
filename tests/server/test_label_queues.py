"""Label queues at the API: drawn for, handed out once, blind, adjudicated, written as scores whoever is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from core.records import EvaluatorKind, Principal, Role, TargetKind
from judges.records import JudgeSpec, ModelRef, Rubric, ScaleKind
from judges.service_labels import LabelService
from judges.stored import rubric_record, spec_json
from server.routes.label_queues import labels_of
from store.control.label_records import TaskStatus
from store.scores import NewScore, append_scores
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.store.build import agent_trace, fill

RUBRIC = Rubric(
    name="helpful", version=2, kind=ScaleKind.PASS_FAIL, labels=("fail", "pass"), passing=frozenset({"pass"}),
    text="Did it help?", anchors={"pass": "It did."},
)  # fmt: skip
SPEC = JudgeSpec(
    name="kind", rubric="helpful", rubric_version=2, rubric_digest=RUBRIC.digest,
    models=(ModelRef(provider="simulated", model="sim-judge"),),
)  # fmt: skip
N = 40
SECRET = "judge-only-word"


def judged_sessions(running: Shell, n_sessions: int) -> None:
    """Sessions of the app airline with a verdict of the judge `kind` on each, and its rubric."""
    services, admin = running.services, Principal(tenant=AIRLINE, role=Role.ADMIN, name="admin")
    numbers = range(1, n_sessions + 1)
    fill(
        services.lake,
        [row for n in numbers for row in agent_trace(n, tenant=AIRLINE, session_id=f"s{n}", at_s=n)],
    )
    services.control.add_rubric(rubric_record(AIRLINE, RUBRIC), by=admin)
    services.control.put_judge(AIRLINE, "kind", SPEC.version, spec_json(SPEC), by=admin)
    said = [
        NewScore(
            evaluator="kind", evaluator_version=SPEC.version, evaluator_kind=EvaluatorKind.JUDGE,
            target=TargetKind.SESSION, session_id=f"s{n}", value=float(n % 4 > 0),
            label="pass" if n % 4 else "fail", explanation=SECRET,
            metadata={"app": "airline", "confidence": 0.9 if n % 3 else 0.5, "probability": 1.0},
        )
        for n in numbers
    ]  # fmt: skip
    ids = [f"judge_{n}" for n in numbers]
    append_scores(services.store.tenant(AIRLINE), said, ids=ids, author="judge", now_ns=services.clock())


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("labels")) as running:
        judged_sessions(running, N)
        for name in ("ann", "bob", "cho"):
            key = running.services.control.create_key(AIRLINE, Role.USER, name)[1]
            running.keys[AIRLINE, name] = key  # type: ignore[index]
        yield running


def call(
    shell: Shell, method: str, path: str, who: Any = Role.POWER_USER, body: Any = None, tenant: Any = AIRLINE
) -> Any:
    headers = {"Authorization": f"Bearer {shell.keys[tenant, who]}"}
    return shell.client.request(method, f"/api/v1/label-queues{path}", json=body, headers=headers)


def ok(answer: Any) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def queue(shell: Shell, name: str, *, items: int = 0, **given: Any) -> str:
    body = {"name": name, "app": "airline", "judge": "kind", "n_annotators": 2, **given}
    ok(call(shell, "POST", "", body=body))
    if items:
        ok(
            call(
                shell, "POST", f"/{name}/tasks", body={"items": [{"session_id": f"s{n}"} for n in range(1, items + 1)]}
            )
        )
    return name


def label(shell: Shell, name: str, who: str, labels: list[str], task_id: str | None = None, **more: Any) -> Any:
    if task_id is None:
        task_id = ok(call(shell, "POST", f"/{name}/next", who))["task"]["task_id"]
    return call(shell, "POST", f"/{name}/tasks/{task_id}/annotations", who, {"labels": labels, **more})


def human(shell: Shell, session: str) -> list[dict[str, Any]]:
    asked = {"since": "1d", "session_id": session, "evaluator": "helpful"}
    found = shell.client.get("/api/v1/scores", params=asked, headers=shell.headers()).json()["items"]
    return [one for one in found if one["evaluator_kind"] == "human"]


def test_a_task_goes_from_answer_to_score(shell: Shell) -> None:
    name = queue(shell, "way", items=1)
    first = ok(call(shell, "POST", f"/{name}/next", "ann"))
    assert first["queue"]["rubric"]["labels"] == ["fail", "pass"]
    assert first["content"]["parts"][0]["entries"][0] == {"turn": 0, "user": "question 1"}
    assert first["progress"] == {"n_done": 0, "n_left": 1, "n_reserved": 0, "n_total": 1}
    again = ok(call(shell, "POST", f"/{name}/next", "ann"))
    assert again["task"]["task_id"] == first["task"]["task_id"]  # the one that is held
    told = ok(label(shell, name, "ann", ["pass"], duration_ms=1200))
    assert (told["status"], told["label"], told["own"]["labels"]) == ("needs_others_review", None, ["pass"])
    assert ok(call(shell, "POST", f"/{name}/next", "ann"))["task"] is None
    done = ok(label(shell, name, "bob", ["pass"]))
    assert (done["status"], done["label"], done["how"]) == ("completed", "pass", "unanimous")
    (score,) = human(shell, "s1")
    assert (score["evaluator"], score["evaluator_version"], score["value"], score["label"]) == (
        "helpful",
        "2",
        1.0,
        "pass",
    )
    said = {key: score["metadata"][key] for key in ("queue", "item", "probability", "n_annotators", "how")}
    assert said == {"queue": "way", "item": "s1", "probability": 1.0, "n_annotators": 2, "how": "unanimous"}
    assert ok(call(shell, "GET", f"/{name}/progress", Role.VIEWER))["n_waiting"] == 0


def test_nothing_leaks_to_an_annotator_before_the_task_is_completed(shell: Shell) -> None:
    name = queue(shell, "blind")
    ok(call(shell, "POST", f"/{name}/sample", body={"since": "1d", "n": 20, "judge": "kind", "seed": 1}))
    task_id = ok(call(shell, "POST", f"/{name}/next", "ann"))["task"]["task_id"]
    ok(label(shell, name, "ann", ["fail"], task_id, note="a note that nobody else sees"))
    seen = [
        call(shell, "POST", f"/{name}/next", "bob").text,
        call(shell, "GET", f"/{name}/tasks/{task_id}", "bob").text,
        call(shell, "GET", f"/{name}/progress", "bob").text,
        call(shell, "GET", f"/{name}", "bob").text,
        call(shell, "POST", f"/{name}/tasks/{task_id}/requeue", "bob").text,
    ]
    for text in seen:
        assert SECRET not in text
        assert "a note that nobody" not in text
    for text in (*seen[:2], seen[4]):
        told = json.loads(text)
        task = told.get("task", told)
        assert set(task) == {
            "task_id", "queue", "app", "target", "item", "session_id", "trace_id", "status", "reserved_until", "own",
            "label", "how", "completed_at",
        }  # fmt: skip
        assert (task["own"], task["label"], task["how"]) == (None, None, None)
        for word in ("stratum", "verdict", "confidence", "probability", "segment"):
            assert word not in text
    for path in ("/tasks", "/labels"):
        assert call(shell, "GET", f"/{name}{path}", "bob").status_code == 403
    deciding = call(shell, "GET", f"/{name}/tasks").text
    assert "a note that nobody else sees" in deciding
    for word in (SECRET, "stratum", "verdict", "confidence"):
        assert word not in deciding


def test_two_annotators_never_hold_the_same_task_of_one_answer(shell: Shell) -> None:
    name = queue(shell, "once", items=20, n_annotators=1)

    def work(who: str) -> list[str]:
        mine = []
        while (task := ok(call(shell, "POST", f"/{name}/next", who))["task"]) is not None:
            mine.append(task["task_id"])
            ok(label(shell, name, who, ["pass"], task["task_id"]))
        return mine

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(work, ("ann", "bob", "cho")))
    assert sorted(one for each in done for one in each) == sorted({one for each in done for one in each})
    assert sum(map(len, done)) == 20
    assert ok(call(shell, "GET", f"/{name}/progress"))["n_completed"] == 20


def test_disagreement_goes_to_who_may_decide_and_a_later_decision_holds(shell: Shell) -> None:
    name = queue(shell, "dispute", items=1)
    task_id = ok(call(shell, "POST", f"/{name}/next", "ann"))["task"]["task_id"]
    ok(label(shell, name, "ann", ["pass"], task_id))
    told = ok(call(shell, "GET", f"/{name}/tasks/{task_id}", "bob"))["task"]
    assert (told["status"], told["own"]) == ("needs_review", None)  # not even that somebody answered
    # Who answers last does not learn whether the others agreed, from nothing that they may ask for.
    told = ok(label(shell, name, "bob", ["fail"], task_id))
    assert (told["status"], told["label"], told["completed_at"]) == ("needs_others_review", None, None)
    shown = ok(call(shell, "GET", f"/{name}", "bob"))["progress"]
    for seen in (ok(call(shell, "GET", f"/{name}/progress", "bob")), shown):
        assert (seen["n_needs_others_review"], seen["n_needs_adjudication"], seen["n_completed"]) == (1, None, 0)
    assert ok(call(shell, "GET", f"/{name}/progress"))["n_needs_adjudication"] == 1
    assert label(shell, name, "cho", ["fail"], task_id).status_code == 409
    before = human(shell, "s1")
    (listed,) = ok(call(shell, "GET", f"/{name}/tasks?status=needs_adjudication"))["items"]
    assert sorted((one["annotator"], one["labels"][0]) for one in listed["answers"]) == [
        ("ann", "pass"),
        ("bob", "fail"),
    ]
    path = f"/{name}/tasks/{task_id}/adjudications"
    assert call(shell, "POST", path, "ann", {"labels": ["fail"]}).status_code == 403
    assert call(shell, "POST", path, body={"labels": ["maybe"]}).status_code == 422
    decided = ok(call(shell, "POST", path, body={"labels": ["fail"], "note": "the refund never came"}))
    assert (decided["label"], decided["how"], decided["decided_by"]) == ("fail", "adjudicated", "power_user of airline")
    assert label(shell, name, "ann", ["fail"], task_id).status_code == 409
    ok(call(shell, "POST", path, body={"labels": ["pass"]}))
    (new,) = human(shell, "s1")  # the newest of a target and rubric
    assert new not in before
    assert (new["label"], new["metadata"]["revision"]) == ("pass", 2)


def test_an_answer_is_given_again_until_the_task_is_completed(shell: Shell) -> None:
    name = queue(shell, "again", items=1)
    task_id = ok(call(shell, "POST", f"/{name}/next", "ann"))["task"]["task_id"]
    for said in (["pass"], ["pass"], ["fail"]):
        assert ok(label(shell, name, "ann", said, task_id))["own"]["labels"] == said
    assert ok(label(shell, name, "bob", ["fail"], task_id))["label"] == "fail"
    assert ok(label(shell, name, "bob", ["fail"], task_id))["status"] == "completed"  # sent again: nothing changes
    assert label(shell, name, "ann", ["pass"], task_id).status_code == 409
    found = [
        one
        for one in shell.services.control.list_audit(AIRLINE, limit=200)
        if one.resource == f"label-queue/again/{task_id}"
    ]
    assert [one.after["labels"] for one in found if one.after][::-1] == [["pass"], ["fail"], ["fail"]]


def test_who_learns_that_the_others_disagree_cannot_join_them(shell: Shell) -> None:
    name = queue(shell, "joining", items=1)
    task_id = ok(call(shell, "POST", f"/{name}/next", "ann"))["task"]["task_id"]
    ok(label(shell, name, "ann", ["pass"], task_id))
    ok(label(shell, name, "bob", ["fail"], task_id))
    told = ok(call(shell, "GET", f"/{name}/progress", "bob"))  # all answered, and nothing is completed
    assert (told["n_answers"], told["n_answers_wanted"], told["n_completed"]) == (2, 2, 0)
    for who, said in (("bob", "pass"), ("ann", "fail")):
        assert label(shell, name, who, [said], task_id).status_code == 409
    assert ok(label(shell, name, "bob", ["fail"], task_id))["own"]["labels"] == ["fail"]  # the same again is no change


def test_skips_requeues_and_annotators_who_leave(shell: Shell) -> None:
    name = queue(shell, "leave", n_annotators=1)
    body = {"items": [{"session_id": f"s{n}"} for n in range(1, 4)], "assign": ["ann"]}
    ok(call(shell, "POST", f"/{name}/tasks", body=body))
    assert ok(call(shell, "POST", f"/{name}/next", "bob"))["task"] is None  # all is ann's
    first = ok(call(shell, "POST", f"/{name}/next", "ann"))["task"]
    ok(call(shell, "POST", f"/{name}/tasks/{first['task_id']}/requeue", "ann"))
    second = ok(call(shell, "POST", f"/{name}/next", "ann"))["task"]
    assert second["item"] != first["item"]
    assert label(shell, name, "bob", ["pass"], second["task_id"]).status_code == 403
    path = f"/{name}/tasks/{second['task_id']}/annotations"
    assert call(shell, "POST", path, "ann", {"skip": " "}).status_code == 422
    assert ok(call(shell, "POST", path, "ann", {"skip": "not my language"}))["status"] == "skipped"
    assert ok(call(shell, "POST", f"/{name}/assignments", body={"away": "ann", "to": "bob"})) == {"n_changed": 2}
    left = [ok(call(shell, "POST", f"/{name}/next", "bob"))["task"]["item"]]
    ok(label(shell, name, "bob", ["pass"]))
    left.append(ok(call(shell, "POST", f"/{name}/next", "bob"))["task"]["item"])
    assert left[1] == first["item"]  # at the end
    told = ok(call(shell, "GET", f"/{name}/progress"))
    assert (told["n_skipped"], told["n_completed"], told["n_needs_review"]) == (1, 1, 1)


def test_a_sample_is_stratified_and_keeps_its_chances(shell: Shell) -> None:
    name = queue(shell, "drawn", n_annotators=1)
    asked = {"since": "1d", "n": 30, "judge": "kind", "floor": 5, "random_share": 0.1, "seed": 3}
    dry = ok(call(shell, "POST", f"/{name}/sample", body={**asked, "dry_run": True}))
    assert {one["name"] for one in dry["strata"]} == {"fail / high", "fail / low", "pass / high", "pass / low"}
    assert (dry["n_population"], dry["n_random"], dry["n_new"]) == (N, 3, 0)
    assert all(one["n_drawn"] >= min(5, one["n"]) for one in dry["strata"])
    drawn = ok(call(shell, "POST", f"/{name}/sample", body=asked))
    assert (drawn["strata"], drawn["n_new"]) == (dry["strata"], 30)
    ok(label(shell, name, "ann", ["pass"]))
    (done,) = ok(call(shell, "GET", f"/{name}/labels"))["items"]
    chances = {one["name"]: one["probability"] for one in dry["strata"]}
    assert done["probability"] == chances[done["stratum"]]
    more = ok(call(shell, "POST", f"/{name}/sample", body={**asked, "seed": 4}))
    assert more["n_there"] == drawn["n_new"]
    (again,) = ok(call(shell, "GET", f"/{name}/labels"))["items"]
    assert again["probability"] > done["probability"]  # of being in either draw
    assert human(shell, again["item"])[0]["metadata"]["probability"] == again["probability"]
    refused = call(shell, "POST", f"/{name}/sample", body={"since": "1d", "n": 5, "judge": None})
    assert refused.status_code == 409  # sessions and verdicts in one queue


def test_a_draw_is_bounded(shell: Shell) -> None:
    name = queue(shell, "bounded")
    refused = call(shell, "POST", f"/{name}/sample", body={"since": "1d", "n": 5_001})
    assert (refused.status_code, refused.json()["field"]) == (422, "n")


def test_a_queue_that_is_for_a_judge_is_drawn_from_its_verdicts_unless_said_otherwise(shell: Shell) -> None:
    name = queue(shell, "judged", judge="kind")
    asked = {"since": "1d", "n": 30, "dry_run": True}
    by_verdict = ok(call(shell, "POST", f"/{name}/sample", body=asked))["strata"]
    assert {one["name"] for one in by_verdict} == {"fail / high", "fail / low", "pass / high", "pass / low"}
    sessions = ok(call(shell, "POST", f"/{name}/sample", body={**asked, "since": "30w", "judge": None}))
    assert [one["name"] for one in sessions["strata"]] == ["all"]


def test_a_judge_of_another_version_of_the_rubric_is_refused(shell: Shell) -> None:
    services, admin = shell.services, Principal(tenant=AIRLINE, role=Role.ADMIN, name="admin")
    later = replace(RUBRIC, version=3, text="Did it really help?")
    services.control.add_rubric(rubric_record(AIRLINE, later), by=admin)
    spec = replace(SPEC, name="later", rubric_version=3, rubric_digest=later.digest)
    services.control.put_judge(AIRLINE, "later", spec.version, spec_json(spec), by=admin)
    name = queue(shell, "older")
    refused = call(shell, "POST", f"/{name}/sample", body={"since": "1d", "n": 5, "judge": "later"})
    assert (refused.status_code, "helpful v3" in refused.json()["detail"]) == (422, True)
    newest = ok(call(shell, "POST", "", body={"name": "newest", "app": "airline", "rubric": "helpful"}))
    assert newest["rubric"]["version"] == 3


def test_sessions_are_drawn_without_a_judge(shell: Shell) -> None:
    name = queue(shell, "plain")
    told = ok(call(shell, "POST", f"/{name}/sample", body={"since": "30w", "n": 10, "judge": None}))
    assert (told["n_population"], [one["name"] for one in told["strata"]]) == (N, ["all"])
    assert call(shell, "POST", f"/{name}/sample", body={"since": "1s", "n": 10, "judge": None}).status_code == 422


def test_an_item_from_elsewhere_is_shown_and_labelled(shell: Shell) -> None:
    name = queue(shell, "pairs", n_annotators=1)
    items = [{"item": "q1", "content": {"question": "2+2?", "answer_a": "4", "answer_b": "5"}, "segment": "maths"}]
    assert ok(call(shell, "POST", f"/{name}/tasks", body={"items": items * 2})) == {"n_new": 1, "n_there": 1}
    told = ok(call(shell, "POST", f"/{name}/next", "ann"))
    assert [part["name"] for part in told["content"]["parts"]] == ["question", "answer_1", "answer_2"]
    assert ok(label(shell, name, "ann", ["pass"]))["target"] == "example"
    assert human(shell, "q1")[0]["metadata"]["segment"] == "maths"
    for bad in ({"item": "q2"}, {"session_id": "s", "item": "q"}, {"item": "q", "content": {"text": "x"}}, {}):
        assert call(shell, "POST", f"/{name}/tasks", body={"items": [bad]}).status_code == 422


def test_killed_between_answer_and_score_the_next_look_writes_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    name = queue(shell, "killed", n_annotators=1)
    ok(call(shell, "POST", f"/{name}/tasks", body={"items": [{"session_id": "s7"}, {"session_id": "s8"}]}))
    with monkeypatch.context() as patch:
        patch.setattr(LabelService, "_write", lambda *_: None)  # as if the process had died here
        ok(label(shell, name, "ann", ["pass"]))
    assert ok(call(shell, "GET", f"/{name}/progress"))["n_waiting"] == 1
    assert labels_of(shell.services).settle(name, AIRLINE) == 1
    assert labels_of(shell.services).settle(name, AIRLINE) == 0
    item = ok(call(shell, "GET", f"/{name}/labels"))["items"][0]["item"]
    assert [one["metadata"]["queue"] for one in human(shell, item)].count(name) == 1


def test_agreement_counts_the_tasks_that_people_disagree_on(shell: Shell) -> None:
    name = queue(shell, "agree", items=12)
    tasks = {one["item"]: one["task_id"] for one in ok(call(shell, "GET", f"/{name}/tasks"))["items"]}
    for n in range(1, 13):
        assert ok(call(shell, "GET", f"/{name}/agreement", "ann"))["n_items"] == (n - 1) // 10 * 10
        ok(label(shell, name, "ann", ["pass" if n % 2 else "fail"], tasks[f"s{n}"]))
        ok(label(shell, name, "bob", ["pass" if n % 2 or n == 12 else "fail"], tasks[f"s{n}"]))
    told = ok(call(shell, "GET", f"/{name}/agreement"))
    assert (told["n_items"], told["n_annotators"], told["n_pairs"]) == (12, 2, 1)
    assert told["kappa"]["value"] == pytest.approx(5 / 6)
    assert told["kappa"]["low"] < 5 / 6 < told["kappa"]["high"]
    assert ok(call(shell, "GET", f"/{name}/agreement", Role.VIEWER))["kappa"]["value"] == 1  # of the first ten
    assert ok(call(shell, "GET", "/way/agreement", Role.VIEWER))["kappa"]["lack"] is not None


def test_queues_belong_to_their_tenant_and_roles(shell: Shell) -> None:
    name = queue(shell, "mine", items=1)
    assert call(shell, "GET", "", Role.VIEWER, tenant=SHOP).json()["items"] == []
    assert call(shell, "POST", f"/{name}/next", Role.USER, tenant=SHOP).status_code == 404
    assert call(shell, "POST", "", Role.USER, {"name": "x", "app": "a", "judge": "kind"}).status_code == 403
    assert call(shell, "POST", f"/{name}/next", Role.VIEWER).status_code == 403
    assert call(shell, "POST", "", body={"name": name, "app": "a", "judge": "kind"}).status_code == 409
    assert call(shell, "POST", "", body={"name": "a b", "app": "a", "judge": "kind"}).status_code == 422
    assert call(shell, "POST", "", body={"name": "x", "app": "a", "rubric": "none"}).status_code == 404
    assert call(shell, "POST", "", body={"name": "x", "app": "a"}).status_code == 422
    ok(call(shell, "DELETE", f"/{name}"))
    assert call(shell, "GET", f"/{name}").status_code == 404


def test_a_session_that_is_gone_can_only_be_skipped(shell: Shell) -> None:
    name = queue(shell, "gone", n_annotators=1)
    ok(call(shell, "POST", f"/{name}/tasks", body={"items": [{"session_id": "never"}]}))
    told = ok(call(shell, "POST", f"/{name}/next", "ann"))
    assert told["content"] is None
    assert "skip it" in told["unreadable"]
    task_id = told["task"]["task_id"]
    ok(call(shell, "POST", f"/{name}/tasks/{task_id}/annotations", "ann", {"skip": "gone"}))
    task = shell.services.control.label_task(AIRLINE, name, task_id)[1]
    assert (task.status, human(shell, "never")) == (TaskStatus.SKIPPED, [])


def test_two_keys_of_one_name_are_one_annotator(shell: Shell) -> None:
    name = queue(shell, "names", items=1)
    shell.keys[AIRLINE, "ann2"] = shell.services.control.create_key(AIRLINE, Role.USER, "ann")[1]  # type: ignore[index]
    held = ok(call(shell, "POST", f"/{name}/next", "ann"))["task"]["task_id"]
    assert ok(call(shell, "POST", f"/{name}/next", "ann2"))["task"]["task_id"] == held
    ok(label(shell, name, "ann", ["pass"], held))
    assert ok(call(shell, "POST", f"/{name}/next", "ann2"))["task"] is None


def test_what_a_control_database_cannot_hold_is_refused(shell: Shell) -> None:
    name = queue(shell, "nul", items=1, n_annotators=1)
    task_id = ok(call(shell, "POST", f"/{name}/next", "ann"))["task"]["task_id"]
    assert label(shell, name, "ann", ["pass"], task_id, note="a\0b").status_code == 422
    assert call(shell, "POST", f"/{name}/tasks/{task_id}/annotations", "ann", body={"skip": "\0"}).status_code == 422
    body: dict[str, Any] = {"labels": ["pass"], "note": "\0"}
    assert call(shell, "POST", f"/{name}/tasks/{task_id}/adjudications", body=body).status_code == 422
    body = {"items": [{"session_id": "s2", "segment": "\0"}]}
    assert call(shell, "POST", f"/{name}/tasks", body=body).status_code == 422
