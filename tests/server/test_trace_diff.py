"""GET /api/v1/traces/diff: shape, isolation, what is refused, and that nothing of a trace reaches a terminal raw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.records import Role
from server.cli.trace_diff import print_diff
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.store.build import agent_trace, fill, trace

ESCAPES = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("diff")) as running:
        rows = [row for n in (1, 2) for row in agent_trace(n, at_s=n * 10, tenant=AIRLINE, session_id=f"s/{n}")]
        fill(running.services.lake, rows)
        fill(running.services.lake, agent_trace(77, tenant=SHOP, session_id="theirs"))
        yield running


def get(shell: Shell, expect: int = 200, **params: Any) -> dict[str, Any]:
    answer = shell.client.get("/api/v1/traces/diff", params=params, headers=shell.headers(Role.VIEWER))
    assert answer.status_code == expect, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_two_traces_and_two_sessions_are_aligned(shell: Shell) -> None:
    by_trace, by_session = get(shell, a=trace(1), b=trace(2)), get(shell, a="s/1", b="s/2")
    assert by_trace["rows"] == by_session["rows"]
    assert (by_trace["a"]["kind"], by_session["a"]["kind"]) == ("trace", "session")
    assert by_trace["a"]["session_id"] == "s/1"
    kinds = [(row["a"] or row["b"])["kind"] for row in by_trace["rows"]]
    assert kinds.count("tool") == by_trace["a"]["n_tool_calls"]
    assert kinds.count("model") == by_trace["a"]["n_model_calls"]
    assert (by_trace["a"]["input_tokens"], by_trace["a"]["cost_usd"]) == (200, 0.002)
    asked = by_trace["rows"][0]
    assert asked["differences"] == [{"path": "text", "a": "question 1", "b": "question 2"}]


def test_what_is_not_ones_own_or_nowhere_is_not_found(shell: Shell) -> None:
    for other in ("theirs", trace(77), "nowhere"):
        assert get(shell, 404, a=trace(1), b=other)["code"] == "not_found"


@pytest.mark.parametrize(
    "params", [{"a": "x"}, {"a": "x", "b": ""}, {"a": "x", "b": "y", "c": "z"}, {"a": "x\0", "b": "y"}]
)
def test_what_cannot_be_asked_is_refused(shell: Shell, params: dict[str, str]) -> None:
    assert get(shell, 422, **params)["code"] == "invalid_input"


def test_a_hostile_trace_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    step = {"kind": "tool", "name": ESCAPES, "text": "", "arguments": {ESCAPES: ESCAPES}, "error": ESCAPES}
    side = {"id": ESCAPES, "kind": "trace", "app": ESCAPES, "release": ESCAPES, "duration_ms": None}
    side |= {"input_tokens": None, "output_tokens": None, "cost_usd": None}
    row = {"match": "changed", "a": step, "b": step, "differences": [{"path": ESCAPES, "a": ESCAPES, "b": None}]}
    counts = dict.fromkeys(("n_equal", "n_changed", "n_only_a", "n_only_b"), 0)
    print_diff(
        {"a": side, "b": side, "rows": [row], "first_divergence": 0, "left_off": {"a": 3, "b": 0}, **counts}, whole=True
    )
    printed = capsys.readouterr().out
    assert "owned" in printed
    assert "3 steps of A" in printed
    assert not set(printed) & set("\x1b\x07\u202e")
