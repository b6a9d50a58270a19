"""Batches over the real wire of both providers: submitted by one, read by another, each target with its verdict."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from core.errors import InvalidInput
from judges.batching import Batches, Submitted, has_batches
from judges.content import Content, of_pair, of_text
from judges.reach import Access, model_ref
from judges.records import JudgeSpec, Missing, Rubric, Verdict
from tests.judges.asked import PAIR, PASS_FAIL, spec_of
from tests.judges.batch_server import BatchServer, batch_server

CONTENTS = {f"s{n}": of_text(f"answer {n}", f"question {n}") for n in range(6)} | {"empty": of_text("")}
PASS = json.dumps({"explanation": "fine", "label": "pass", "confidence": 0.75})
FAIL = json.dumps({"explanation": "no", "label": "fail", "confidence": 0.5})


def _access(server: BatchServer) -> Access:
    keys = {"OPENAI_API_KEY": "sk-a", "ANTHROPIC_API_KEY": "sk-b"}
    return Access(environment={**keys, "OPENAI_BASE_URL": f"{server.url}/v1", "ANTHROPIC_BASE_URL": server.url})


def _judged(
    server: BatchServer, spec: JudgeSpec, rubric: Rubric, contents: Mapping[str, Content]
) -> tuple[Submitted, dict[str, Verdict]]:
    """Submits in one process, as it were, and reads in another, with nothing between them but JSON."""

    async def submit() -> Submitted:
        batches = Batches(_access(server))
        try:
            return await batches.submit(spec, rubric, contents)
        finally:
            await batches.close()

    async def read(held: Submitted) -> dict[str, Verdict]:
        batches = Batches(_access(server))
        try:
            with pytest.raises(InvalidInput, match="not ended yet"):
                await batches.verdicts(spec, rubric, contents, held)
            for _ in range(server.looks + 1):
                held = await batches.look(spec, held)
            return await batches.verdicts(spec, rubric, contents, held)
        finally:
            await batches.close()

    submitted = asyncio.run(submit())
    kept = json.loads(json.dumps({"salt": submitted.salt, "batches": submitted.batches}))
    again = Submitted(salt=kept["salt"], batches=tuple((place, batch) for place, batch in kept["batches"]))
    return submitted, asyncio.run(read(again))


@pytest.mark.parametrize("model", ["openai:gpt-4o-mini", "anthropic:claude-3-haiku-20240307"])
def test_every_target_gets_its_own_verdict(model: str) -> None:
    with batch_server(lambda _, prompt: PASS if re.search(r"answer [024]\b", prompt) else FAIL) as server:
        submitted, verdicts = _judged(server, spec_of(PASS_FAIL, model), PASS_FAIL, CONTENTS)
    assert len(submitted.batches) == 1
    assert {name: one.label for name, one in verdicts.items() if name != "empty"} == {
        f"s{n}": ("fail" if n % 2 else "pass") for n in range(6)
    }
    assert verdicts["empty"].missing is Missing.NO_CONTENT
    assert verdicts["s0"].confidence == 0.75
    assert verdicts["s0"].usage.n_calls == 1
    assert verdicts["s0"].usage.cost_usd is not None
    assert verdicts["s0"].usage.cost_usd > 0


def test_what_fails_is_lost_or_says_nothing_is_missing_and_the_rest_stands() -> None:
    def answer(_: str, prompt: str) -> str | int | None:
        n = int(re.findall(r"answer (\d)", prompt)[0])
        return (PASS, 500, None, "I would say it is fine.", "", FAIL)[n]

    with batch_server(answer) as server:
        _, verdicts = _judged(server, spec_of(), PASS_FAIL, CONTENTS)
    assert [verdicts[f"s{n}"].label or verdicts[f"s{n}"].missing for n in range(6)] == [
        "pass",
        Missing.MODEL_FAILED,
        Missing.MODEL_FAILED,
        Missing.PROSE,
        Missing.EMPTY,
        "fail",
    ]


def test_a_pair_goes_in_both_orders_each_in_a_fence_of_its_own() -> None:
    first = json.dumps({"explanation": "", "label": "A", "confidence": 1})
    with batch_server(lambda *_: first) as server:
        _, verdicts = _judged(server, spec_of(PAIR), PAIR, {"p": of_pair("one", "two")})
    assert verdicts["p"].missing is Missing.DISAGREED
    assert {one.shown for one in verdicts["p"].replies} == {"ab", "ba"}
    fences = {found[0] for text in server.prompts.values() if (found := re.findall(r"<<<([0-9a-f]{16})\\n", text))}
    assert len(fences) == 2


def test_a_panel_is_a_batch_of_each_member() -> None:
    with batch_server(lambda *_: PASS) as server:
        spec = spec_of(PASS_FAIL, "openai:gpt-4o-mini", "anthropic:claude-3-haiku-20240307")
        submitted, verdicts = _judged(server, spec, PASS_FAIL, CONTENTS)
    assert [place for place, _ in submitted.batches] == [0, 1]
    assert verdicts["s1"].label == "pass"
    assert len(verdicts["s1"].replies) == 2


def test_the_tokens_of_a_batch_cost_half() -> None:
    with batch_server(lambda *_: PASS) as server:
        _, verdicts = _judged(server, spec_of(), PASS_FAIL, CONTENTS)
    assert verdicts["s0"].usage.cost_usd == pytest.approx((0.15e-6 * 1000 + 0.6e-6 * 100) / 2)


def test_a_batch_that_is_not_taken_is_said_and_what_was_taken_is_cancelled() -> None:
    async def submit(server: BatchServer) -> None:
        batches = Batches(_access(server))
        try:
            await batches.submit(spec_of(), PASS_FAIL, CONTENTS)
        finally:
            await batches.close()

    with batch_server(lambda *_: PASS, refuses=True) as server:
        with pytest.raises(InvalidInput, match="the batch was not taken"):
            asyncio.run(submit(server))
        assert any(one.startswith("DELETE /v1/files/") for one in server.asked)


def test_models_without_batches_are_refused() -> None:
    assert not has_batches(model_ref("simulated:sim-judge"))
    assert not has_batches(model_ref("openai:local", url="http://127.0.0.1:1/v1"))

    async def submit() -> None:
        await Batches(Access(environment={})).submit(spec_of(PASS_FAIL, "simulated:sim-judge"), PASS_FAIL, CONTENTS)

    with pytest.raises(InvalidInput, match="no batch API"):
        asyncio.run(submit())


def test_nothing_to_judge_and_another_rubric_are_refused() -> None:
    async def submit(contents: Mapping[str, Content], rubric: Rubric) -> None:
        await Batches(Access(environment={"OPENAI_API_KEY": "k"})).submit(spec_of(), rubric, contents)

    with pytest.raises(InvalidInput, match="nothing to judge"):
        asyncio.run(submit({"empty": of_text("")}, PASS_FAIL))
    with pytest.raises(InvalidInput, match="another text of rubric"):
        asyncio.run(submit(CONTENTS, replace(PASS_FAIL, text="Is it polite?")))
