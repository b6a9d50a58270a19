"""Jobs of judges through a provider's batches: asked at once, waited for, taken up after a kill, half the price."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.judging import JudgeRunner
from tests.judges.batch_server import Answer, BatchServer, batch_server
from tests.judges.judged import WINDOW, Court, court
from tests.waiting import wait_until

MODEL = "openai:gpt-4o-mini"
LIVE_USD = 0.15e-6 * 1000 + 0.6e-6 * 100


def _said(label: str) -> str:
    return json.dumps({"explanation": "as read", "label": label, "confidence": 0.8})


def _third(custom_id: str, prompt: str) -> str:
    return _said("pass" if re.search(r"answer 3\b", prompt) else "fail")


@contextmanager
def _batched(
    folder: Path, patch: pytest.MonkeyPatch, answer: Answer = _third, looks: int = 1, *, works: bool = True
) -> Iterator[tuple[Court, BatchServer]]:
    """A court whose judge's provider has batches."""
    patch.setattr("judges.batch_work.LOOK_S", 0.1)
    with batch_server(answer, looks=looks) as provider:
        patch.setenv("OPENAI_BASE_URL", f"{provider.url}/v1")
        patch.setenv("OPENAI_API_KEY", "sk-test")
        with court(folder, works=works) as it:
            it.judge(models=[MODEL], url=None)
            yield it, provider


def _calls(provider: BatchServer, what: str) -> int:
    return sum(one.endswith(what) for one in provider.asked)


def test_a_batched_job_asks_once_and_costs_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _batched(tmp_path, monkeypatch) as (it, provider):
        told = it.ask("POST", "judges/resolution/forecast", json={"app": "airline", **WINDOW})
        half = it.ask("POST", "judges/resolution/forecast", json={"app": "airline", **WINDOW, "batch": True})
        assert half["usd"] == pytest.approx(told["usd"] / 2)
        assert half["n_calls"] == told["n_calls"]
        job = it.judged(batch=True)
        assert (job["status"], job["n_done"], job["n_paid"], job["n_calls"]) == ("done", 12, 12, 12)
        assert job["cost_usd"] == pytest.approx(12 * LIVE_USD / 2)
        assert {one["session_id"] for one in it.scores() if one["value"] == 1.0} == {"s3"}
        assert (_calls(provider, "POST /v1/batches"), _calls(provider, "/chat/completions")) == (1, 0)
        assert len(it.sink.named("chat gpt-4o-mini")) == 12
        assert it.judged(batch=True)["n_cached"] == 12
        assert _calls(provider, "POST /v1/batches") == 1


def test_what_a_batch_did_not_answer_is_asked_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(custom_id: str, prompt: str) -> str | int | None:
        if custom_id == "live":
            return _said("pass")
        lost = re.search(r"answer ([45])\b", prompt)
        return _said("fail") if lost is None else 500 if lost[1] == "4" else None

    with _batched(tmp_path, monkeypatch, answer) as (it, provider):
        job = it.judged(batch=True)
        assert (job["status"], job["n_done"], job["n_missing"]) == ("done", 12, 0)
        assert {one["session_id"] for one in it.scores() if one["value"] == 1.0} == {"s4", "s5"}
        assert _calls(provider, "/chat/completions") == 2
        assert job["cost_usd"] == pytest.approx(10 * LIVE_USD / 2 + 2 * LIVE_USD)


def test_who_takes_the_job_up_waits_for_the_same_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _batched(tmp_path, monkeypatch, looks=10**9, works=False) as (it, provider):
        first = JudgeRunner(it.shell.services)
        first.start()
        job = it.run(batch=True)
        wait_until(lambda: _calls(provider, "GET /v1/batches/batch_1") > 1, 60, "the first looks")
        first.close()
        provider.looks = 0
        second = JudgeRunner(it.shell.services)
        second.start()
        job = it.ended(job)
        second.close()
        assert (job["status"], job["n_paid"]) == ("done", 12)
        assert _calls(provider, "POST /v1/batches") == 1


def test_a_job_that_is_cancelled_cancels_its_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _batched(tmp_path, monkeypatch, looks=10**9) as (it, provider):
        job = it.run(batch=True)
        wait_until(lambda: _calls(provider, "GET /v1/batches/batch_1") > 0, 60, "the first look")
        it.ask("POST", f"judges/resolution/runs/{job['job_id']}/cancel")
        wait_until(lambda: provider.cancelled, 60, "the batch to be cancelled")
        assert it.ended(job)["status"] == "cancelled"
        assert it.scores() == []


def test_only_what_fits_the_budget_is_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _batched(tmp_path, monkeypatch) as (it, provider):
        told = it.ask("POST", "judges/resolution/forecast", json={"app": "airline", **WINDOW, "batch": True})
        job = it.judged(batch=True, budget_usd=told["usd_most"] / 2)
        assert 4 <= len(provider.prompts) <= 7
        assert job["cost_usd"] <= told["usd_most"] / 2


def test_a_job_without_batches_is_refused_before_it_begins(tmp_path: Path) -> None:
    with court(tmp_path, works=False) as it:
        it.judge()
        refused = it.run(status=422, batch=True)
        assert "no batch API" in json.dumps(refused)
        assert "batch" in refused.values()
