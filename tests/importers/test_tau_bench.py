"""tau-bench trajectories: the published pass^k, every call a span, and times that say they are synthetic."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import comb
from pathlib import Path

import orjson
import pytest

from server.importers import tau_bench
from server.importers.genai import Conversation
from server.importers.reading import BadLine
from tests.importers.recorded import TAU_BENCH, good, needs_recordings, values


@pytest.fixture(scope="module")
def trajectories() -> list[Conversation]:
    return [good(one) for one in tau_bench.conversations(TAU_BENCH, app=None, release=None)]


@needs_recordings
def test_pass_hat_k_is_the_published_one(trajectories: list[Conversation]) -> None:
    passes: dict[object, int] = defaultdict(int)
    for one in trajectories:
        passes[one.outcome.metadata["task_id"]] += one.outcome.label == "pass"
    for k, published in ((1, 0.3000), (2, 0.1722), (3, 0.1417), (4, 0.1333)):
        mean = sum(comb(count, k) / comb(4, k) for count in passes.values()) / len(passes)
        assert round(mean, 4) == published


@needs_recordings
def test_every_message_of_the_agent_and_every_tool_call_is_a_span(trajectories: list[Conversation]) -> None:
    names = Counter(span.name.split()[0] for one in trajectories for span in one.spans)
    assert names == {"chat": 888 + 810, "execute_tool": 810, "invoke_agent": 513 + 397}
    assert len({one.session_id for one in trajectories}) == 120


@needs_recordings
def test_times_are_synthetic_on_every_span_and_tokens_stay_unknown(trajectories: list[Conversation]) -> None:
    for one in trajectories:
        assert one.time_is_synthetic
        for span in one.spans:
            found = values(span)
            assert found["assay.time_synthetic"] is True
            assert not {"gen_ai.usage.input_tokens", "gen_ai.usage.cost"} & found.keys()
            assert span.start_time_unix_nano <= span.end_time_unix_nano
    again = list(tau_bench.conversations(TAU_BENCH, app=None, release=None))
    assert [good(one).spans for one in again] == [one.spans for one in trajectories]


@needs_recordings
def test_the_user_is_named(trajectories: list[Conversation]) -> None:
    assert values(trajectories[0].spans[0])["user.id"] == "mia_li_3668"


def test_bad_lines_are_named(tmp_path: Path) -> None:
    fine = {"task_id": 1, "reward": 1.0, "traj": [{"role": "user", "content": "hi"}], "_meta": {"domain": "airline"}}
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n".join([orjson.dumps(fine), b"nope", orjson.dumps({"reward": 1})]))
    found = list(tau_bench.conversations(path, app=None, release=None))
    assert [type(one) for one in found] == [Conversation, BadLine, BadLine]
    assert str(found[1]).startswith(f"{path}:2: not JSON")
    assert str(found[2]).startswith(f"{path}:3: not a tau-bench trajectory: task_id")
