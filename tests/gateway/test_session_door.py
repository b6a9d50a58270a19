"""The session door: which release a session reaches, what is passed on, and what never is."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gateway.errors import CallFailed
from gateway.http import Request
from gateway.session_door import Plan, _place_of
from tests.gateway.live import USER, Live, live
from tests.gateway.releases import Release, running
from tests.stack import free_port_base
from tests.waiting import wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEY = "the-key-of-the-endpoints"


class Place:
    """A gateway with an app of two releases, v1 the baseline."""

    def __init__(self, gateway: Live, v1: Release, v2: Release) -> None:
        self.gateway, self.v1, self.v2 = gateway, v1, v2

    def plan(self, weight: float, **more: Any) -> None:
        """From now on v2 has this weight."""
        made = Plan(baseline="v1", weights={"v1": 1 - weight, "v2": weight}, salt="s")
        self.gateway.plans["acme", "shop"] = replace(made, **more)

    def ask(self, session: str, *, method: str = "POST", rest: str = "/turns", **more: Any) -> httpx.Response:
        """A turn of a session."""
        headers = {"authorization": f"Bearer {USER}", **more.pop("headers", {})}
        url = f"{self.gateway.url}/apps/{more.pop('app', 'shop')}/v1/sessions/{session}{rest}"
        more.setdefault("json", {"text": "hello bob@example.com"})
        return httpx.request(method, url, headers=headers, timeout=30, **more)

    def release_of(self, session: str) -> str:
        """Which release answers."""
        answer = self.ask(session)
        assert answer.status_code == 200, answer.text
        assert answer.json()["release"] == answer.headers["x-assay-release"]
        return str(answer.json()["release"])

    def spans(self) -> list[dict[str, Any]]:
        """Of what passed the door."""
        return [each for each in self.gateway.calls(1) if each["name"].startswith("session ")]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as opened:
        v1, v2 = (opened.enter_context(running(name)) for name in ("v1", "v2"))
        yield Place(opened.enter_context(served(tmp_path, v1, v2)), v1, v2)


def served(folder: Path, v1: Release, v2: Release, **more: Any) -> Any:
    """A gateway before two releases."""
    shop = {"baseline": "v1", "releases": {"v1": v1.url, "v2": v2.url}, "key": KEY, "timeout_s": 1, **more}
    return live(folder, sessions={"shop": shop, "closed": {**shop, "tenants": ["other"]}})


def test_without_a_plan_the_baseline_answers_and_nothing_sticks(place: Place) -> None:
    assert {place.release_of(f"s{n}") for n in range(10)} == {"v1"}
    place.plan(1.0)
    assert {place.release_of(f"s{n}") for n in range(10)} == {"v2"}


def test_sessions_are_split_as_the_plan_says_and_stay_when_weights_change(place: Place) -> None:
    names = [f"session-{n}" for n in range(60)]
    place.plan(0.5)
    first = {name: place.release_of(name) for name in names}
    assert 15 <= sum(release == "v2" for release in first.values()) <= 45
    place.plan(0.9)
    assert {name: place.release_of(name) for name in names} == first
    assert {place.release_of(f"later-{n}") for n in range(60)} == {"v1", "v2"}
    place.plan(0.0)  # a rollback: nobody stays on a release that is given nothing
    assert {place.release_of(name) for name in names} == {"v1"}


def test_a_restart_keeps_who_was_where(tmp_path: Path) -> None:
    with running("v1") as v1, running("v2") as v2:
        with served(tmp_path, v1, v2) as gateway:
            place = Place(gateway, v1, v2)
            place.plan(0.5)
            first = {f"s{n}": place.release_of(f"s{n}") for n in range(20)}
        assert set(first.values()) == {"v1", "v2"}
        with served(tmp_path, v1, v2) as gateway:
            place = Place(gateway, v1, v2)  # no plan is known yet: who was seen stays, the others go to the baseline
            assert {name: place.release_of(name) for name in first} == first
            place.plan(0.01)
            assert {name: place.release_of(name) for name in first} == first


def test_what_a_release_is_told(place: Place) -> None:
    place.plan(1.0)
    answer = place.ask(
        "s é1", rest="/turns?do=x&y=a%20b", headers={
            "traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b", "x-assay-user": "ann",
            "baggage": "mine=1;p=2, assay.release=v9,session.id=evil,user.id=eve", "cookie": "c=1", "x-own": "kept",
            "x-assay-release": "v9", "connection": "x-gone", "x-gone": "1", "x-api-key": "not-for-you",
        },
    )  # fmt: skip
    assert answer.status_code == 200
    (asked,) = place.v2.asked
    assert (asked.method, asked.raw_path) == ("POST", "/v1/sessions/s%20%C3%A91/turns?do=x&y=a%20b")
    assert json.loads(asked.body) == {"text": "hello bob@example.com"}
    assert asked.baggage == {
        "session.id": "s%20%C3%A91", "assay.release": "v2", "assay.variant": "treatment", "assay.app": "shop",
        "user.id": "ann", "mine": "1;p=2",
    }  # fmt: skip
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", asked.headers["traceparent"])
    assert TRACE not in asked.headers["traceparent"], "a turn is a trace of its own"
    assert asked.headers["x-own"] == "kept"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert not {"tracestate", "cookie", "x-gone", "x-api-key", "x-assay-release"} & asked.headers.keys()
    assert USER not in str(asked)


def test_headers_of_one_name_go_on_together(place: Place) -> None:
    """Those that end here do so however often they come."""
    address = urlsplit(place.gateway.url)
    given = ["x-own: one", "x-own: two", "baggage: mine=1", "baggage: yours=2", "connection: x-gone",
             "connection: close", "x-gone: 1", "cookie: a=1", "cookie: b=2", "content-length: 2"]  # fmt: skip
    head = "\r\n".join(["POST /apps/shop/v1/sessions/s1/turns HTTP/1.1", "host: x", f"authorization: Bearer {USER}"])
    with socket.create_connection((address.hostname or "", address.port or 0)) as caller:
        caller.sendall("\r\n".join([head, *given, "", "{}"]).encode())
        wait_until(lambda: place.v1.asked, 60, "the release to be asked")
        assert caller.recv(12) == b"HTTP/1.1 200"
    (asked,) = place.v1.asked
    assert [value for name, value in asked.pairs if name.lower() == "x-own"] == ["one", "two"]
    assert (asked.baggage["mine"], asked.baggage["yours"]) == ("1", "2")
    assert [value for name, value in asked.pairs if name.lower() == "content-length"] == ["2"]
    assert not {"x-gone", "cookie"} & asked.headers.keys()


def test_what_a_caller_is_told(place: Place) -> None:
    place.plan(1.0, variants={"v2": "green"})
    answer = place.ask("s1")
    assert (answer.headers["x-assay-release"], answer.headers["x-assay-variant"]) == ("v2", "green")
    assert answer.headers["x-own"] == "kept"
    assert "x-secret" not in answer.headers
    assert place.ask("s1", rest="?do=cookies").headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]
    place.plan(0.0)
    assert place.ask("s1").headers["x-assay-variant"] == "control"


def test_a_stream_passes_piece_by_piece(place: Place) -> None:
    url = f"{place.gateway.url}/apps/shop/v1/sessions/s1/turns?do=stream"
    with httpx.stream("POST", url, headers={"authorization": f"Bearer {USER}"}, json={}) as answer:
        pieces = [piece for piece in answer.iter_raw() if piece]
    assert len(pieces) > 1
    assert b"".join(pieces) == b"".join(b"data: %d\n\n" % n for n in range(5))


def test_the_span_of_a_turn(place: Place) -> None:
    place.plan(1.0)
    place.ask("s1", headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "x-assay-user": "ann"})
    (span,) = place.spans()
    assert (span["name"], span["parent"], span["links"]) == ("session shop", "", [(TRACE, PARENT)])
    said = {
        "session.id": "s1", "gen_ai.conversation.id": "s1", "user.id": "ann", "assay.release": "v2",
        "assay.variant": "treatment", "http.request.method": "POST", "http.response.status_code": 200,
        "assay.gateway.key_id": "id_acme",
    }  # fmt: skip
    assert {name: span[name] for name in said} == said
    texts = [json.loads(span[f"gen_ai.{name}.messages"])[0]["parts"][0]["content"] for name in ("input", "output")]
    assert texts == ["hello [EMAIL]", "v2 says [EMAIL]"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD", "OPTIONS"])
def test_methods_with_and_without_a_body(place: Place, method: str) -> None:
    answer = place.ask("s1", method=method, rest="", json=None)
    assert answer.status_code == 200
    assert [(each.method, each.raw_path, each.body) for each in place.v1.asked] == [(method, "/v1/sessions/s1", b"")]
    assert place.v1.asked[0].headers.get("content-length", "0") == "0"
    assert "transfer-encoding" not in place.v1.asked[0].headers


def test_large_bodies_pass_and_too_large_ones_do_not(tmp_path: Path) -> None:
    with running("v1") as v1, running("v2") as v2:
        shop = {"baseline": "v1", "releases": {"v1": v1.url, "v2": v2.url}}
        with live(tmp_path, sessions={"shop": shop}, max_body_bytes=3_000_000) as gateway:
            place = Place(gateway, v1, v2)
            fits = place.ask("s1", json=None, content=b"x" * 2_900_000)
            assert (fits.status_code, fits.json()["n"]) == (200, 2_900_000)

            def pieces() -> Iterator[bytes]:
                yield from [b"x" * 100_000] * 40

            for content in (b"x" * 3_100_000, pieces()):
                answer = place.ask("s1", json=None, content=content)
                assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
            assert place.release_of("s1") == "v1"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/apps/shop/v1/sessions/../secrets", 400),
        ("/apps/shop/v1/sessions/..", 400),
        ("/apps/shop/v1/sessions/%2e%2e/x", 400),
        ("/apps/shop/v1/sessions/.%2e/x", 400),
        ("/apps/shop/v1/sessions/a%2fb", 400),
        ("/apps/shop/v1/sessions/a%5cb", 400),
        ("/apps/shop/v1/sessions/a%00b", 400),
        ("/apps/shop/v1/sessions/a%0d%0ax:y", 400),
        ("/apps/shop/v1/sessions/%ff", 400),
        ("/apps/shop/v1/sessions//turns", 400),
        ("/apps/shop/v1/sessions/s/../../../admin", 400),
        ("/apps/shop/v1/sessions/" + "a" * 201, 400),
        ("/apps/shop/v1/sessions/" + "a" * 5_000, 400),
        ("/apps/shop/v1/sessions" + "/a" * 40, 404),
        ("/apps/shop/v1/sessions", 404),
        ("/apps/shop/v1/users/u1", 404),
        ("/apps/shop/v2/sessions/s", 404),
        ("/apps/shop/../model/v1/sessions/s", 404),
        ("/apps/%2e%2e/v1/sessions/s", 400),
        ("/apps/other/v1/sessions/s", 404),
        ("/apps/closed/v1/sessions/s", 404),
        ("/apps//v1/sessions/s", 400),
        ("/apps/", 404),
    ],
)
def test_no_path_leads_anywhere_else(place: Place, path: str, status: int) -> None:
    address = urlsplit(place.gateway.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        connection.request("POST", path, b"{}", {"authorization": f"Bearer {USER}"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
    finally:
        connection.close()
    assert answer.status == status, body
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert place.v1.asked == place.v2.asked == []


def test_a_release_is_asked_for_what_was_judged(place: Place) -> None:
    """Every segment is decoded, judged and encoded anew."""
    for sent, arrives in (("%41", "A"), ("a%20b", "a%20b"), ("a%3Fb%23c", "a%3Fb%23c"), ("%252e%252e", "%252e%252e")):
        assert place.ask(sent, rest="").status_code == 200
        assert place.v1.asked[-1].raw_path == f"/v1/sessions/{arrives}"


@pytest.mark.parametrize(
    ("key", "status"), [("acme:viewer", 403), ("acme:ingest", 403), ("nobody", 401), ("acme:admin", 200)]
)
def test_who_may_pass(place: Place, key: str, status: int) -> None:
    assert place.ask("s1", headers={"authorization": f"Bearer {key}"}).status_code == status


def test_a_release_that_is_away_is_said_and_nobody_is_moved(place: Place) -> None:
    place.plan(1.0, endpoints={"v2": f"http://127.0.0.1:{free_port_base(1)}"})
    answer = place.ask("s1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "release_unreachable")
    assert "v2" in answer.json()["error"]["message"]
    assert "127.0.0.1" not in answer.text
    assert place.v1.asked == []
    assert not {"x-assay-release", "x-assay-variant"} & answer.headers.keys(), "no release answered"
    (span,) = place.spans()
    assert (span["error.type"], span["http.response.status_code"]) == ("release_unreachable", 502)
    charged_to_nobody(span)


def charged_to_nobody(span: dict[str, Any]) -> None:
    """The span of a request that reached no release names none, and has what the user said."""
    assert not {"assay.release", "assay.variant", "resource:service.version"} & span.keys()
    assert span["assay.gateway.assigned_release"] == "v2"
    assert span["status"]
    assert json.loads(span["gen_ai.input.messages"])[0]["parts"][0]["content"] == "hello [EMAIL]"


def test_a_release_without_an_endpoint_is_not_charged_with_it(tmp_path: Path) -> None:
    with running("v1") as v1, running("v2") as v2:
        shop = {"baseline": "v1", "releases": {"v1": v1.url}}
        with live(tmp_path, sessions={"shop": shop}) as gateway:
            place = Place(gateway, v1, v2)
            place.plan(1.0)
            answer = place.ask("s1")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "release_without_endpoint")
            (span,) = place.spans()
            assert (span["error.type"], span["http.response.status_code"]) == ("release_without_endpoint", 503)
            charged_to_nobody(span)


def test_with_fallback_and_nobody_there_no_release_is_charged(tmp_path: Path) -> None:
    with running("v1") as v1, running("v2") as v2, served(tmp_path, v1, v2, fallback_to_baseline=True) as gateway:
        place = Place(gateway, v1, v2)
        away = f"http://127.0.0.1:{free_port_base(1)}"
        place.plan(1.0, endpoints={"v1": away, "v2": away})
        assert place.ask("s1").status_code == 502
        charged_to_nobody(place.spans()[0])


def test_with_fallback_the_baseline_answers_and_the_span_says_so(tmp_path: Path) -> None:
    with running("v1") as v1, running("v2") as v2, served(tmp_path, v1, v2, fallback_to_baseline=True) as gateway:
        place = Place(gateway, v1, v2)
        place.plan(1.0, endpoints={"v2": f"http://127.0.0.1:{free_port_base(1)}"})
        answer = place.ask("s1", json=None, content=b"x" * 500_000)
        assert (answer.status_code, answer.json()["n"]) == (200, 500_000)
        assert (answer.headers["x-assay-release"], answer.headers["x-assay-variant"]) == ("v1", "control")
        assert v1.asked[0].baggage["assay.release"] == "v1"
        (span,) = place.spans()
        assert (span["assay.release"], span["assay.gateway.assigned_release"]) == ("v1", "v2")
        place.plan(1.0)
        assert place.release_of("s1") == "v2"
        assert place.ask("s1", rest="?do=close").status_code == 502  # it was connected: nobody is moved


@pytest.mark.parametrize(
    ("what", "status", "code"), [("hang", 504, "release_timeout"), ("close", 502, "release_failed"), ("fail", 503, "")]
)
def test_a_release_that_misbehaves(place: Place, what: str, status: int, code: str) -> None:
    answer = place.ask("s1", rest=f"?do={what}")
    assert answer.status_code == status
    if code:
        assert answer.json()["error"]["code"] == code
        assert (place.spans()[0]["error.type"], len(place.v1.asked)) == (code, 1)
    else:  # its own answers are passed on as they are
        assert (answer.json(), answer.headers["retry-after"]) == ({"error": {"code": "busy"}}, "7")
    (span,) = place.spans()  # it was reached: what became of it is its own
    assert (span["assay.release"], span["resource:service.version"]) == ("v1", "v1")
    assert json.loads(span["gen_ai.input.messages"])[0]["parts"][0]["content"] == "hello [EMAIL]"


def test_a_release_that_breaks_off_leaves_the_answer_unfinished(place: Place) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        place.ask("s1", rest="?do=break")
    assert place.spans()[0]["error.type"] == "release_broke_off"
    assert place.release_of("s1") == "v1"


def test_a_caller_that_leaves_ends_the_request_to_the_release(tmp_path: Path) -> None:
    with running("v1") as v1, running("v2") as v2, served(tmp_path, v1, v2, timeout_s=60) as gateway:
        address = urlsplit(gateway.url)
        with socket.create_connection((address.hostname or "", address.port or 0)) as caller:
            head = (
                f"POST /apps/shop/v1/sessions/s1/turns?do=hang HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {USER}\r\n"
            )
            caller.sendall(head.encode() + b"content-length: 2\r\n\r\n{}")
            wait_until(lambda: v1.asked, 60, "the release to be asked")
        wait_until(lambda: v1.n_left == 1, 20, "the release to be left")
        (span,) = Place(gateway, v1, v2).spans()
        assert (span["error.type"], span["http.response.status_code"]) == ("aborted", 499)


def test_the_key_of_the_endpoints_is_for_those_of_the_file_alone(place: Place) -> None:
    with running("v3") as v3:
        place.plan(1.0, endpoints={"v2": v3.url})
        assert place.ask("s1").json()["release"] == "v3"
        assert "authorization" not in v3.asked[0].headers


def test_an_endpoint_of_a_plan_may_be_forbidden(tmp_path: Path) -> None:
    with running("v1") as v1, running("v2") as v2, served(tmp_path, v1, v2, plan_endpoints=False) as gateway:
        place = Place(gateway, v1, v2)
        place.plan(1.0, endpoints={"v2": "http://127.0.0.1:1"})
        assert place.release_of("s1") == "v2"
        place.plan(1.0, weights={"v9": 1}, endpoints={"v9": v2.url})
        answer = place.ask("s1")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "release_without_endpoint")


def test_a_plan_that_cannot_be_used_leaves_the_baseline(place: Place) -> None:
    place.plan(0.5, weights={"v1": float("nan")})
    assert place.release_of("s1") == "v1"


NOWHERE = ("ftp://x", "http://user:pw@127.0.0.1:1", "nonsense", "http://127.0.0.1:1/?a=b")
CREDENTIALS = (
    *("http://169.254.169.254/latest/meta-data", "http://169.254.170.2/v2/credentials", "http://168.63.129.16"),
    *("http://[fd00:ec2::254]/", "http://[::ffff:169.254.169.254]/", "http://[64:ff9b::a9fe:a9fe]/"),
    *("http://[fe80::1]/", "http://0.0.0.0:1", "http://224.0.0.1"),
)


@pytest.mark.parametrize("endpoint", [*NOWHERE, *CREDENTIALS])
def test_an_endpoint_that_is_no_address_is_as_if_it_were_not_said(place: Place, endpoint: str) -> None:
    place.plan(1.0, endpoints={"v2": endpoint})
    assert place.release_of("s1") == "v2"


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "025177524776", "169.254.43518"])
def test_an_address_of_credentials_in_another_spelling_is_not_called(place: Place, host: str) -> None:
    place.plan(1.0, endpoints={"v2": f"http://{host}"})  # the resolver of the system reads it as 169.254.169.254
    answer = place.ask("s1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "release_unreachable")


def test_names_that_would_end_a_header_end_none(place: Place) -> None:
    name = "v2\r\nset-cookie: a=1"
    place.plan(1.0, weights={name: 1.0}, endpoints={name: place.v2.url}, variants={name: "x\r\ny: 1"})
    answer = place.ask("s1")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert answer.headers["x-assay-release"] == "v2??set-cookie: a=1"


PIECES = ["a", "..", ".", "%2e", "%2F", "/", "\\", "%5c", "%00", "%25", "é", "%ff", "?", "#", ";"]


@given(st.lists(st.sampled_from(PIECES)))
def test_whatever_follows_a_session_is_a_path_below_it_or_refused(pieces: list[str]) -> None:
    raw = ("/apps/shop/v1/sessions/s/" + "".join(pieces)).encode()
    scope = {"method": "POST", "path": unquote(raw.decode()), "raw_path": raw, "headers": []}
    refused = 0
    try:
        found = _place_of(Request(scope, None))  # type: ignore[arg-type]
    except CallFailed as error:
        refused = error.status
    if refused:
        assert refused in (400, 404)
        return
    assert found.path.startswith("/v1/sessions/s/")
    url = URL("http://release:1" + found.path, encoded=True)
    assert (url.host, url.query_string, url.fragment) == ("release", "", "")
    for segment in url.raw_path.split("/")[1:]:
        assert unquote(segment) not in ("", ".", "..")
        assert not set(unquote(segment)) & set("/\\\0")


def test_a_power_user_chooses_a_release_and_nobody_else_does(place: Place) -> None:
    place.plan(0.0)
    power = {"authorization": "Bearer acme:power_user", "x-assay-choose-release": "v2"}
    answer = place.ask("s1", headers=power)
    assert (answer.status_code, answer.json()["release"], answer.headers["x-assay-release"]) == (200, "v2", "v2")
    assert "x-assay-choose-release" not in place.v2.asked[-1].headers
    assert place.release_of("s1") == "v1", "what was chosen is not remembered"
    marks = [one.get("assay.gateway.chosen") for one in place.gateway.calls(2)]
    assert marks == [True, None], "a session whose release was chosen can be told from traffic"
    refused = place.ask("s1", headers={"x-assay-choose-release": "v2"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    unknown = place.ask("s1", headers={**power, "x-assay-choose-release": "v9"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "release_not_found")
    place.plan(0.0, endpoints={"v3": place.v2.url})  # registered, and not in the plan
    assert place.ask("s1", headers={**power, "x-assay-choose-release": "v3"}).headers["x-assay-release"] == "v3"
    status = httpx.get(f"{place.gateway.url}/status", headers={"authorization": "Bearer acme:power_user"}).json()
    assert status["apps"] == ["shop"]
