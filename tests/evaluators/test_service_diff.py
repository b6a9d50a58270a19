"""Two real trials of one task, the one that passed beside the one that failed, and their alignment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import InvalidInput, NotFound
from evaluators.service_diff import MOST_TEXT, read_diff
from server.cli.trace_diff import print_diff
from server.importers import tau_bench
from store.tenant import TenantStore
from tests.evaluators.reading.stored import of_conversations, store_of
from tests.importers.recorded import TAU_BENCH, good, needs_recordings

PASSED, FAILED = "tau-bench-airline-gpt-4o-task2-trial2", "tau-bench-airline-gpt-4o-task2-trial0"
pytestmark = needs_recordings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TenantStore:
    found = (good(one) for one in tau_bench.conversations(TAU_BENCH, app=None, release=None))
    wanted = [one for one in found if one.session_id in (PASSED, FAILED)]
    assert {one.session_id: one.outcome.label for one in wanted} == {PASSED: "pass", FAILED: "fail"}
    return store_of(tmp_path_factory.mktemp("diff"), *of_conversations(wanted))


def calls(diff: dict[str, Any], match: str, side: str) -> list[str]:
    """The tool calls of a side in the rows that match so, with their first argument."""
    steps = [row[side] for row in diff["rows"] if row["match"] == match and row[side]["kind"] == "tool"]
    return [f"{step['name']} {next(iter(step['arguments'].values()))}" for step in steps]


def test_the_failed_trial_left_out_the_reservations_that_the_passed_one_looked_up_and_changed(
    store: TenantStore,
) -> None:
    diff = read_diff(store, PASSED, FAILED)
    assert {name: diff[name] for name in diff if name.startswith("n_")} == {
        "n_equal": 17,
        "n_changed": 7,
        "n_only_a": 17,
        "n_only_b": 2,
    }
    assert (diff["first_difference"], diff["first_divergence"]) == (0, 7)
    parting = diff["rows"][7]
    assert parting["match"] == "only_a"
    assert parting["a"]["text"].startswith("I have retrieved your reservation IDs.")
    missing = ("X7BYG1", "EQ1G6C", "BOH180")
    looked_up = [f"get_reservation_details {one}" for one in missing]
    changed = [f"update_reservation_flights {one}" for one in missing]
    assert calls(diff, "only_a", "a") == looked_up + changed
    assert calls(diff, "only_b", "b") == []
    assert calls(diff, "changed", "b") == ["calculate 6594 + 3925"]
    [calculated] = [row for row in diff["rows"] if row["match"] == "changed" and row["a"]["kind"] == "tool"]
    told = [(one["path"], str(one["a"]), str(one["b"])) for one in calculated["differences"]]
    assert told == [
        ("arguments.expression", "6594 + 3925 + 5418 + 2452 + 5164", "6594 + 3925"),
        ("result", "23553.0", "10519.0"),
    ]
    assert diff["a"]["n_tool_calls"] == len(calls(diff, "equal", "a")) + 7
    assert diff["left_off"] == {"a": 0, "b": 0}


def test_a_session_is_equal_to_itself_and_a_trace_stands_for_a_turn(store: TenantStore) -> None:
    same = read_diff(store, PASSED, PASSED)
    assert {row["match"] for row in same["rows"]} == {"equal"}
    assert same["first_divergence"] is None
    turn = same["a"]["trace_ids"][0]
    one = read_diff(store, turn, PASSED)
    assert (one["a"]["kind"], one["b"]["kind"]) == ("trace", "session")
    assert (one["n_changed"], one["n_only_a"]) == (0, 0)
    assert one["n_only_b"] == same["a"]["n_steps"] - one["a"]["n_steps"]


def test_what_is_not_there_is_named_and_long_texts_are_cut(store: TenantStore) -> None:
    with pytest.raises(NotFound, match="no trace or session b='nobody'"):
        read_diff(store, PASSED, "nobody")
    with pytest.raises(NotFound, match="a='0123"):
        read_diff(store, "0123456789abcdef" * 2, PASSED)
    with pytest.raises(InvalidInput, match="a is a trace's"):
        read_diff(store, "", PASSED)
    texts = [
        json.dumps(row[side]["result"]) for row in read_diff(store, PASSED, FAILED)["rows"] for side in "a" if row[side]
    ]
    assert max(map(len, texts)) < MOST_TEXT + 60


def test_the_terminal_shows_both_sides_the_divergence_and_folds_the_rest(
    store: TenantStore, capsys: pytest.CaptureFixture[str]
) -> None:
    diff = read_diff(store, PASSED, FAILED)
    print_diff(diff, whole=False)
    lines = capsys.readouterr().out.splitlines()
    [at] = [n for n, line in enumerate(lines) if "first divergence" in line]
    assert lines[at + 1].startswith("  < assistant: I have retrieved your reservation IDs.")
    assert any("⋮ 4 equal steps" in line for line in lines)
    assert any("arguments.expression: 6594 + 3925 + 5418 + 2452 + 5164 → 6594 + 3925" in line for line in lines)
    assert lines[-1] == "17 steps equal, 7 changed, 17 only in A, 2 only in B"
    print_diff(diff, whole=True)
    assert "⋮" not in capsys.readouterr().out
