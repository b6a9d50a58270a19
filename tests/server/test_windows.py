"""Time windows as the API takes them: every moment that a row can have, and a clear error for all else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from core.errors import InvalidInput
from core.records import Role
from core.windows import FIRST_NS, LAST_NS, parse_duration_s, window_of
from store.schema import QUARANTINE
from tests.server.shell import AIRLINE, Shell, running_shell
from tests.store.build import fill, row, span, trace

LISTS = ("/spans", "/spans/count", "/traces", "/turns", "/sessions", "/apps", "/scores", "/quarantine")
ALL = (*LISTS, "/rollups")  # which limits how many buckets a window may have
NOW_NS = 1_790_000_000_000_000_000
ODD = {31: FIRST_NS, 32: -1, 33: 0, 34: LAST_NS - 1, 35: LAST_NS}  # 2^63 and 2^64-1 on the wire are the first two


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("windows")) as running:
        lake = running.services.lake
        for number, start_ns in ODD.items():
            odd = row(
                tenant=AIRLINE, trace_id=number, span_id=number, session_id=f"s{number}", app="odd", start_ns=start_ns
            )
            fill(
                lake, [odd | {"date": "2026-09-21", "end_ns": start_ns, "duration_ns": None, "issues": "time_invalid"}]
            )
        put_aside = {
            "tenant": AIRLINE,
            "date": "2026-09-21",
            "seq": 1,
            "ingested_at": datetime(2026, 9, 21, tzinfo=UTC),
            "signal": "spans",
            "reason": "broken",
            "detail": "why",
            "payload_bytes": 3,
        }
        lake.append("quarantine", pa.Table.from_pylist([put_aside], schema=QUARANTINE))
        yield running


def ask(shell: Shell, path: str, **params: Any) -> Any:
    return shell.client.get(f"/api/v1{path}", params=params, headers=shell.headers(Role.ADMIN))


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("end", [LAST_NS, LAST_NS + 1])
def test_a_window_may_end_where_time_does(shell: Shell, path: str, end: int) -> None:
    answer = ask(shell, path, start="2026-09-01T00:00:00Z", end=str(end))
    assert answer.status_code == 200, answer.text
    if path == "/quarantine":
        assert [item["reason"] for item in answer.json()["items"]] == ["broken"]


@pytest.mark.parametrize("number", ODD)
def test_o44_a_span_at_any_time_is_in_a_list(shell: Shell, number: int) -> None:
    start_ns = ODD[number]
    window = {"start": str(start_ns), "end": str(start_ns + 1)}
    (found,) = ask(shell, "/spans", **window).json()["items"]
    assert (found["span_id"], found["start_ns"], found["issues"]) == (span(number), start_ns, ["time_invalid"])
    assert ask(shell, "/spans/count", **window).json() == {"count": 1}
    for path in ("/traces", "/turns"):
        assert [item["trace_id"] for item in ask(shell, path, **window).json()["items"]] == [trace(number)]
    assert [item["session_id"] for item in ask(shell, "/sessions", **window).json()["items"]] == [f"s{number}"]
    assert ask(shell, f"/traces/{trace(number)}").json()["n_spans"] == 1


@pytest.mark.parametrize("path", ["/spans", "/traces", "/turns", "/sessions"])
def test_o44_all_of_time_holds_them_all_page_by_page(shell: Shell, path: str) -> None:
    window = {"start": str(FIRST_NS), "end": str(LAST_NS + 1), "limit": 2}
    starts: list[int] = []
    page = ask(shell, path, **window).json()
    starts += [item["start_ns"] for item in page["items"]]
    while page["next_cursor"]:
        page = ask(shell, path, **window, cursor=page["next_cursor"]).json()
        starts += [item["start_ns"] for item in page["items"]]
    assert starts == sorted(ODD.values(), reverse=True)


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize(
    "since", ["", " ", "7", "d", "90 d", "7D", "1Y", "1M", "-1d", "0d", "1.5h", "٣d", "yesterday", "9999999d", "24h\0"]
)
def test_a_since_that_is_none_is_named(shell: Shell, path: str, since: str) -> None:
    answer = ask(shell, path, since=since)
    assert (answer.status_code, answer.json()["field"]) == (422, "since"), answer.text


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("since", ["1s", "90s", "15m", "24h", "90d", "3650d", "1500w", "999999w"])
def test_every_whole_number_with_a_unit_is_a_since(shell: Shell, path: str, since: str) -> None:
    assert ask(shell, path, since=since).status_code == 200


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "since"),
        ({"end": "1"}, "since"),
        ({"since": "1d", "start": "1"}, "since"),
        ({"start": "2026-09-21"}, "start"),
        ({"start": "2026-09-21T00:00:00"}, "start"),
        ({"start": "9999-01-01T00:00:00Z"}, "start"),
        ({"start": "1", "end": "1"}, "end"),
        ({"start": "1", "end": "9223372036854775809"}, "end"),
        ({"start": "-9223372036854775809"}, "start"),
        ({"start": "1", "end": "99999999999999999999"}, "end"),
        ({"start": "1", "end": ""}, "end"),
        ({"start": "NaN"}, "start"),
    ],
)
@pytest.mark.parametrize("path", ALL)
def test_a_window_that_is_none_is_named(shell: Shell, path: str, asked: dict[str, str], field: str) -> None:
    answer = ask(shell, path, **asked)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


def test_since_counts_back_from_now_or_from_the_end() -> None:
    day = 86_400 * 10**9
    assert window_of(now_ns=NOW_NS, since="90d").start_ns == NOW_NS - 90 * day
    assert window_of(now_ns=NOW_NS, since="90d").end_ns > NOW_NS
    assert window_of(now_ns=NOW_NS, since="1d", end=str(NOW_NS - day)).start_ns == NOW_NS - 2 * day
    assert window_of(now_ns=NOW_NS, since="999999w").start_ns == FIRST_NS
    assert parse_duration_s("2w") == 14 * 86_400
    assert parse_duration_s("2y") == 730 * 86_400
    with pytest.raises(InvalidInput, match="write for example 15m, 24h or 7d"):
        parse_duration_s("a fortnight")
