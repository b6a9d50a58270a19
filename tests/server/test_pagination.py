"""Cursors at the API: pages without gaps, and cursors that are not ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.clock import NS_PER_S
from core.records import Role
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.store.build import T0, agent_trace, fill, row, span

WINDOW: dict[str, Any] = {"start": str(T0 - 3600 * NS_PER_S), "end": str(T0 + 3600 * NS_PER_S)}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("pages")) as running:
        rows = [one for n in range(1, 12) for one in agent_trace(n, at_s=n // 2, tenant=AIRLINE, session_id=f"s{n}")]
        rows += [row(tenant=AIRLINE, trace_id=500, span_id=n, seq=n, at_s=60 + n // 9) for n in range(1000, 1047)]
        fill(running.services.lake, rows, batches=4)
        fill(running.services.lake, agent_trace(1, tenant=SHOP))
        yield running


def ask(shell: Shell, path: str, whose: Any = AIRLINE, **params: Any) -> Any:
    return shell.client.get(f"/api/v1{path}", params=params, headers=shell.headers(Role.VIEWER, whose))


@pytest.mark.parametrize(
    ("path", "key", "n"), [("/traces", "trace_id", 12), ("/spans", "span_id", 91), ("/sessions", "session_id", 11)]
)
def test_following_the_cursor_shows_each_row_once(shell: Shell, path: str, key: str, n: int) -> None:
    whole = [item[key] for item in ask(shell, path, limit=1000, **WINDOW).json()["items"]]
    assert len(whole) == len(set(whole)) == n
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = ask(shell, path, limit=4, **WINDOW, **({"cursor": cursor} if cursor else {})).json()
        seen += [item[key] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole


def test_the_spans_of_a_trace_are_paged_in_order_of_start(shell: Shell) -> None:
    seen: list[str] = []
    cursor: str | None = None
    path = f"/traces/{500:032x}"
    while True:
        page = ask(shell, path, limit=10, **({"cursor": cursor} if cursor else {})).json()
        assert page["n_spans"] == 47
        seen += [one["span_id"] for one in page["spans"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [span(n) for n in range(1000, 1047)]


def test_a_cursor_keeps_the_window_it_began_with(shell: Shell) -> None:
    first = ask(shell, "/traces", since="52w", limit=2).json()
    again = ask(shell, "/traces", since="52w", limit=2, cursor=first["next_cursor"])
    assert again.status_code == 200


def test_a_cursor_that_is_not_of_this_list_is_400_and_shows_nothing(shell: Shell) -> None:
    cursor = ask(shell, "/traces", limit=2, **WINDOW).json()["next_cursor"]
    wrong = [
        ask(shell, "/traces", limit=2, cursor=cursor[:-2] + "zz", **WINDOW),
        ask(shell, "/traces", limit=2, cursor="garbage", **WINDOW),
        ask(shell, "/traces", limit=2, cursor="", **WINDOW),
        ask(shell, "/traces", limit=2, cursor=cursor, app="airline", **WINDOW),
        ask(shell, "/spans", limit=2, cursor=cursor, **WINDOW),
        ask(shell, "/traces", whose=SHOP, limit=2, cursor=cursor, **WINDOW),
    ]
    for answer in wrong:
        assert answer.status_code == 400
        assert answer.json()["field"] == "cursor"
        assert "items" not in answer.json()


def test_another_page_size_may_continue(shell: Shell) -> None:
    cursor = ask(shell, "/traces", limit=2, **WINDOW).json()["next_cursor"]
    assert len(ask(shell, "/traces", limit=3, cursor=cursor, **WINDOW).json()["items"]) == 3
