"""Frames as Arrow streams: the same rows as JSON, under a larger limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from core.clock import NS_PER_S
from core.records import Role
from tests.server.shell import AIRLINE, Shell, running_shell
from tests.store.build import T0, agent_trace, fill

WINDOW: dict[str, Any] = {"start": str(T0 - 3600 * NS_PER_S), "end": str(T0 + 3600 * NS_PER_S)}
ARROW = "application/vnd.apache.arrow.stream"
LISTS = ["/spans", "/traces", "/turns", "/sessions", "/rollups", "/apps", "/facets?field=app", "/search?q=question"]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("arrow")) as running:
        rows = [one for n in range(1, 9) for one in agent_trace(n, at_s=n, tenant=AIRLINE, session_id="s")]
        fill(running.services.lake, rows, batches=2)
        yield running


def ask(shell: Shell, path: str, *, arrow: bool, **params: Any) -> Any:
    headers = shell.headers(Role.VIEWER) | ({"Accept": ARROW} if arrow else {})
    return shell.client.get(f"/api/v1{path}", params=params, headers=headers)


@pytest.mark.parametrize("path", LISTS)
def test_the_stream_has_the_rows_of_the_list(shell: Shell, path: str) -> None:
    name, _, more = path.partition("?")
    params = WINDOW | dict([more.split("=")] if more else [])
    answer = ask(shell, name, arrow=True, **params)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == ARROW
    rows = pa.ipc.open_stream(answer.content).read_all().to_pylist()
    assert rows == ask(shell, name, arrow=False, **params).json()["items"]
    assert rows


def test_the_limit_is_larger_for_arrow(shell: Shell) -> None:
    assert ask(shell, "/spans", arrow=True, limit=100_000, **WINDOW).status_code == 200
    assert ask(shell, "/spans", arrow=False, limit=100_000, **WINDOW).status_code == 422
    assert ask(shell, "/spans", arrow=True, limit=100_001, **WINDOW).status_code == 422


def test_an_empty_answer_is_a_stream_with_a_schema(shell: Shell) -> None:
    answer = ask(shell, "/traces", arrow=True, app="nosuch", **WINDOW)
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.num_rows == 0
    assert "trace_id" in table.column_names


def test_errors_stay_problem_json(shell: Shell) -> None:
    answer = ask(shell, "/traces", arrow=True)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
