"""Scores at the API: written durably, read back, refused by name, repeated without doubling."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from core.clock import system_clock
from core.records import Role
from server.control_access import open_control
from server.routes.scores import ScoresBody
from store.control.claims import LEASE_NS
from store.control.records import ClaimState
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.store.build import agent_trace, fill, span, trace
from tests.waiting import wait_until

GOOD: dict[str, Any] = {"evaluator": "e", "evaluator_kind": "human", "target": "turn", "trace_id": trace(1), "value": 1}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("scores")) as running:
        fill(running.services.lake, agent_trace(1, tenant=AIRLINE, session_id="s"))
        yield running


def post(shell: Shell, *items: dict[str, Any], role: Role = Role.USER, **headers: str) -> Any:
    body = json.dumps({"items": list(items)})
    sent = shell.headers(role) | {"Content-Type": "application/json"} | headers
    return shell.client.post("/api/v1/scores", content=body, headers=sent)


def stored(shell: Shell, whose: Any = AIRLINE, **params: Any) -> list[dict[str, Any]]:
    asked: dict[str, Any] = {"since": "1d", "limit": 1000} | params
    answer = shell.client.get("/api/v1/scores", params=asked, headers=shell.headers(Role.VIEWER, whose))
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_a_score_is_written_and_found_at_its_target(shell: Shell) -> None:
    answer = post(
        shell,
        GOOD | {"evaluator": "golden", "label": "good", "explanation": "why", "metadata": {"a": [1]}},
        GOOD | {"evaluator": "golden", "target": "span", "span_id": span(11), "value": 0.25},
    )
    assert answer.status_code == 201
    first, second = answer.json()["score_ids"]
    found = {score["score_id"]: score for score in stored(shell, evaluator="golden")}
    assert set(found) == {first, second}
    assert found[first]["metadata"] == {"a": [1]}
    assert (found[first]["value"], found[first]["label"], found[first]["evaluator_version"]) == (1.0, "good", "1")
    headers = shell.headers(Role.VIEWER)
    of_trace = shell.client.get(f"/api/v1/traces/{trace(1)}", headers=headers).json()["scores"]
    assert {first, second} <= {score["score_id"] for score in of_trace}
    of_span = shell.client.get(f"/api/v1/traces/{trace(1)}/spans/{span(11)}", headers=headers).json()["scores"]
    assert [score["score_id"] for score in of_span] == [second]
    turn = shell.client.get("/api/v1/sessions/s", headers=headers).json()["turns"][0]
    assert first in {score["score_id"] for score in turn["scores"]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"value": None}, "value"),
        ({"value": "1"}, "value"),
        ({"value": True}, "value"),
        ({"unscored": "why"}, "unscored"),
        ({"target": "trace"}, "target"),
        ({"target": "span"}, "span_id"),
        ({"target": "session"}, "session_id"),
        ({"trace_id": "nonsense"}, "trace_id"),
        ({"evaluator": ""}, "evaluator"),
        ({"evaluator": "a\0b"}, "evaluator"),
        ({"evaluator": "a\nb"}, "evaluator"),
        ({"evaluator_version": "1\x1b[31m"}, "evaluator_version"),
        ({"label": "go\0od"}, "label"),
        ({"trace_id": "\0" * 32}, "trace_id"),
        ({"span_id": "\r"}, "span_id"),
        ({"session_id": "s\x9b"}, "session_id"),
        ({"evaluator": "\ud800"}, "evaluator"),
        ({"explanation": "\ud800"}, "explanation"),
        ({"metadata": {"a": "\ud800"}}, "metadata"),
        ({"metadata": {"a": float("nan")}}, "metadata"),
        ({"evaluator_kind": "oracle"}, "evaluator_kind"),
        ({"at": "yesterday"}, "at"),
        ({"role": "admin"}, "role"),
        ({"tenant": "shop"}, "tenant"),
        ({"author": "somebody"}, "author"),
        ({"metadata": [1]}, "metadata"),
    ],
)
def test_a_wrong_score_is_named_and_nothing_is_stored(shell: Shell, change: dict[str, Any], field: str) -> None:
    answer = post(shell, GOOD | {"evaluator": "wrong"}, GOOD | {"evaluator": "wrong"} | change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"].split(".")[-1] == field
    assert stored(shell, evaluator="wrong") == []


def test_a_control_character_is_named_by_its_place(shell: Shell) -> None:
    answer = post(shell, GOOD | {"evaluator": "ab\0"})
    assert answer.json()["field"] == "items.0.evaluator"
    assert "U+0000 at position 2" in answer.json()["detail"]
    asked = {"since": "1d", "evaluator": "ab\0"}
    listed = shell.client.get("/api/v1/scores", params=asked, headers=shell.headers(Role.VIEWER))
    assert (listed.status_code, listed.json()["field"]) == (422, "evaluator")


def test_free_text_is_kept_as_it_is_nul_included(shell: Shell) -> None:
    text = "tab\t NUL\0 line\n bidi\u202e \U0001f600"
    assert post(shell, GOOD | {"evaluator": "free", "explanation": text, "metadata": {"k": text}}).status_code == 201
    (found,) = stored(shell, evaluator="free")
    assert found["explanation"] == text
    assert found["metadata"] == {"k": text}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_refused(shell: Shell, number: str) -> None:
    body = json.dumps({"items": [GOOD | {"evaluator": "nan"}]}).replace('"value": 1', f'"value": {number}')
    headers = shell.headers(Role.USER) | {"Content-Type": "application/json"}
    answer = shell.client.post("/api/v1/scores", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert stored(shell, evaluator="nan") == []


def test_the_same_key_and_body_answer_the_same_ids_and_store_once(shell: Shell) -> None:
    key: Any = {"Idempotency-Key": "again-1"}
    first = post(shell, GOOD | {"evaluator": "once"}, **key)
    second = post(shell, GOOD | {"evaluator": "once"}, **key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len(stored(shell, evaluator="once")) == 1
    assert post(shell, GOOD | {"evaluator": "once", "value": 0}, **key).status_code == 409


def _bodies(evaluator: str) -> tuple[bytes, bytes]:
    """A body, and the hash by which a claim knows it."""
    items = {"items": [GOOD | {"evaluator": evaluator}]}
    return json.dumps(items).encode(), hashlib.sha256(
        ScoresBody.model_validate(items).model_dump_json().encode()
    ).digest()


def _at_once(shell: Shell, url: str, body: bytes, key: str, n: int) -> list[httpx.Response]:
    """The answers to `n` equal requests that are sent together."""
    headers = shell.headers(Role.USER) | {"Content-Type": "application/json", "Idempotency-Key": key}
    together = threading.Barrier(n)

    def one(_: int) -> httpx.Response:
        together.wait(20)
        return httpx.post(f"{url}/api/v1/scores", content=body, headers=headers, timeout=60)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(one, range(n)))


@pytest.mark.parametrize("n", [2, 8])
def test_equal_requests_at_once_store_once_and_all_answer_the_same(shell: Shell, n: int) -> None:
    with served(shell.services) as url:
        for turn in range(6):
            evaluator = f"together-{n}-{turn}"
            answers = _at_once(shell, url, _bodies(evaluator)[0], evaluator, n)
            assert {answer.status_code for answer in answers} == {201}
            assert len({answer.text for answer in answers}) == 1
            assert len(stored(shell, evaluator=evaluator)) == 1


def test_a_request_beside_one_that_takes_long_is_told_to_come_again(shell: Shell) -> None:
    key: Any = {"Idempotency-Key": "slow"}
    with ThreadPoolExecutor(1) as pool:
        with shell.services.lake.unwritten():  # nobody can commit a file
            first = pool.submit(post, shell, GOOD | {"evaluator": "slow"}, **key)
            wait_until(lambda: shell.services.control.claim_is_pending(AIRLINE, "scores:slow"), 20, "the claim")
            second = post(shell, GOOD | {"evaluator": "slow"}, **key)
            assert (second.status_code, second.json()["code"]) == (409, "in_progress")
            assert second.headers["Retry-After"] == "1"
            assert post(shell, GOOD | {"evaluator": "slow", "value": 0}, **key).json()["code"] == "conflict"
            assert not first.done()
        assert first.result(20).status_code == 201
    assert post(shell, GOOD | {"evaluator": "slow"}, **key).json() == first.result().json()
    assert len(stored(shell, evaluator="slow")) == 1


def test_the_claim_of_a_process_that_died_is_taken_over_by_one(shell: Shell) -> None:
    """Its lease has run out; the scores are stored under the ids that it promised."""
    body, content = _bodies("dead")
    settings = shell.services.settings
    earlier = open_control(settings, clock=lambda: system_clock() - LEASE_NS)
    assert earlier.claim(AIRLINE, "scores:dead", content, '["score_promised"]').state is ClaimState.NEW
    earlier.close()
    with served(shell.services) as url:
        answers = _at_once(shell, url, body, "dead", 4)
    assert [answer.status_code for answer in answers] == [201] * 4
    assert all(answer.json() == {"score_ids": ["score_promised"]} for answer in answers)
    assert [score["score_id"] for score in stored(shell, evaluator="dead")] == ["score_promised"]


def test_the_claim_of_a_process_that_may_live_is_not_taken_over(shell: Shell) -> None:
    _, content = _bodies("alive")
    claim = shell.services.control.claim(AIRLINE, "scores:alive", content, '["score_other"]')
    key: Any = {"Idempotency-Key": "alive"}
    assert post(shell, GOOD | {"evaluator": "alive"}, **key).status_code == 409
    assert stored(shell, evaluator="alive") == []
    shell.services.control.give_up_claim(AIRLINE, "scores:alive", claim.since_ns)
    assert post(shell, GOOD | {"evaluator": "alive"}, **key).json() == {"score_ids": ["score_other"]}


def test_a_key_belongs_to_its_tenant(shell: Shell) -> None:
    key: Any = {"Idempotency-Key": "mine"}
    mine = post(shell, GOOD | {"evaluator": "mine"}, **key).json()
    body = json.dumps({"items": [GOOD | {"evaluator": "mine"}]})
    headers = shell.headers(Role.USER, SHOP) | {"Content-Type": "application/json"} | key
    theirs = shell.client.post("/api/v1/scores", content=body, headers=headers)
    assert theirs.status_code == 201
    assert theirs.json() != mine
    assert len(stored(shell, evaluator="mine")) == 1


@pytest.mark.parametrize("role", [Role.VIEWER, Role.INGEST])
def test_who_may_not_write_may_not(shell: Shell, role: Role) -> None:
    assert post(shell, GOOD, role=role).status_code == 403


@pytest.mark.parametrize("body", ['{"items":[]}', '{"items":null}', "[]", "{", '{"items":[{}],"items":[{}]}'])
def test_a_body_that_is_no_list_of_scores(shell: Shell, body: str) -> None:
    headers = shell.headers(Role.USER) | {"Content-Type": "application/json"}
    assert shell.client.post("/api/v1/scores", content=body, headers=headers).status_code in (400, 422)


def test_personal_information_in_a_score_never_reaches_the_lake(shell: Shell) -> None:
    mail = "canary.person@example.org"
    answer = post(
        shell,
        GOOD
        | {
            "evaluator": "pii",
            "explanation": f"ask {mail}",
            "label": mail,
            "metadata": {"who": mail, "n": 3},
            "session_id": mail,
        },
    )
    assert answer.status_code == 201
    (found,) = stored(shell, evaluator="pii")
    assert (found["explanation"], found["label"]) == ("ask [EMAIL]", "[EMAIL]")
    assert found["metadata"] == {"who": "[EMAIL]", "n": 3}
    assert found["session_id"].startswith("[EMAIL:")
    lake = shell.services.lake
    for file in lake.snapshot("scores").files:
        assert mail not in str(lake.read(file).to_pylist())
