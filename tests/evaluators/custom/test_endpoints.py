"""Custom evaluators behind an HTTP endpoint: what is sent, and what becomes of every way to answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from evaluators.custom.load import Loaded, load_file
from evaluators.custom.process import Limits
from evaluators.custom.trying import example
from evaluators.records import Reason, Score, Scored, Unscored
from tests.loopback import listening

QUICK = Limits(wall_s=2.0)
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/good": (200, {}, b'{"value": 0.75, "explanation": "kind"}'),
    "/number": (200, {}, b"1"),
    "/null": (200, {}, b"null"),
    "/nan": (200, {}, b'{"value": NaN}'),
    "/garbage": (200, {}, b"<html>"),
    "/nested": (200, {}, b"[" * 100_000),
    "/text": (200, {}, b'"good"'),
    "/empty": (200, {}, b""),
    "/error": (500, {}, b'{"value": 1}'),
    "/away": (302, {"Location": "http://127.0.0.1:1/"}, b""),
    "/large": (200, {}, b'"' + b"x" * 2_000_000 + b'"'),
}


class _Door(BaseHTTPRequestHandler):
    asked: list[tuple[dict[str, str], dict[str, Any]]]
    ending: threading.Event

    def do_POST(self) -> None:
        """Answers as the path says."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((dict(self.headers), json.loads(body)))
        if self.path == "/slow":
            self.ending.wait(20)
            return
        if self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            while not self.ending.wait(0.2):
                self.wfile.write(b" ")
            return
        status, headers, said = ANSWERS[self.path]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(said))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def door() -> Iterator[tuple[str, type[_Door]]]:
    class made(_Door):  # noqa: N801
        asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        ending = threading.Event()

    with listening(made) as url:
        yield url, made
        made.ending.set()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., Loaded]]:
    opened: list[Loaded] = []

    def made(url: str, **more: Any) -> Loaded:
        declared = {"name": "tone", "version": "3", "dimension": "helpfulness", "summary": "how kind it is", "url": url}
        path = tmp_path / "own.json"
        path.write_text(json.dumps({"evaluators": [declared | more]}), encoding="utf-8")
        path.chmod(0o644)
        opened.append(load_file(path, QUICK))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


def _one(loaded: Loaded) -> Scored:
    assert loaded.problems == ()
    return loaded.evaluators[0].evaluate(example())


def test_it_is_asked_with_the_target_and_the_header_that_the_environment_holds(
    load: Callable[..., Loaded], door: tuple[str, type[_Door]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONE_AUTHORIZATION", "Bearer t0ne")
    loaded = load(f"{door[0]}/good", headers_env={"Authorization": "TONE_AUTHORIZATION"})
    assert _one(loaded) == Score(value=0.75, explanation="kind")
    headers, body = door[1].asked[0]
    assert headers["Authorization"] == "Bearer t0ne"
    assert body["evaluator"] == "tone"
    assert body["version"] == loaded.evaluators[0].spec.version
    assert body["target"]["trajectory"]["tool_calls"][0]["arguments"] == {"order_id": "W123"}
    assert "t0ne" not in json.dumps(body)


@pytest.mark.parametrize(
    ("path", "expected", "said"),
    [
        ("/number", None, ""),
        ("/null", Reason.NOT_APPLICABLE, ""),
        ("/nan", Reason.FAILED, "NaN"),
        ("/garbage", Reason.FAILED, "no JSON"),
        ("/nested", Reason.FAILED, "no JSON"),
        ("/text", Reason.FAILED, "a str"),
        ("/empty", Reason.FAILED, "no JSON"),
        ("/error", Reason.FAILED, "answered 500"),
        ("/away", Reason.FAILED, "redirects are not followed"),
        ("/large", Reason.FAILED, "more than 1048576 bytes"),
        ("/slow", Reason.TIMED_OUT, ""),
        ("/drip", Reason.TIMED_OUT, ""),
    ],
)
def test_every_answer_becomes_a_score_or_a_reason(
    load: Callable[..., Loaded], door: tuple[str, type[_Door]], path: str, expected: Reason | None, said: str
) -> None:
    found = _one(load(f"{door[0]}{path}", timeout_s=0.5 if expected is Reason.TIMED_OUT else 20))
    if expected is None:
        assert found == Score(value=1.0)
    else:
        assert isinstance(found, Unscored)
        assert found.reason is expected, found
        assert said in found.detail


def test_an_endpoint_that_is_down_costs_its_target_alone(load: Callable[..., Loaded]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        loaded = load(f"http://127.0.0.1:{free.getsockname()[1]}/")
        for _ in range(3):
            found = _one(loaded)
            assert isinstance(found, Unscored)
            assert found.reason is Reason.FAILED
            assert "ConnectionRefusedError" in found.detail


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": "ftp://x/"}, "'url' is http:// or https://"),
        ({"url": "http://user:word@x/"}, "'url' is http:// or https://"),
        ({"url": "http:///x"}, "'url' is http:// or https://"),
        ({"url": "http://x:99999/"}, "'url' is http:// or https://"),
        ({"timeout_s": 0}, "'timeout_s' is above 0"),
        ({"timeout_s": 1000}, "'timeout_s' is above 0"),
        ({"timeout_s": True}, "'timeout_s' is above 0"),
        ({"headers_env": {"Authorization": "NO_SUCH_VARIABLE"}}, "not set"),
        ({"headers_env": {"Bad\nName": "PATH"}}, "no header"),
        ({"headers_env": ["x"]}, "'headers_env' is an object"),
        ({"name": "Tone"}, "'name' is lower-case"),
    ],
)
def test_a_declaration_that_cannot_be_used_says_why(
    load: Callable[..., Loaded], more: dict[str, Any], said: str
) -> None:
    loaded = load(**({"url": "http://127.0.0.1/"} | more))
    assert loaded.evaluators == ()
    assert said in loaded.problems[0].what


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"evaluators": 1}', '{"evaluators": [1]}', "\x00", "[" * 100_000])
def test_a_file_that_is_no_table_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    assert '"evaluators"' in load_file(path).problems[0].what
