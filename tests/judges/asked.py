"""Judges, rubrics and content that the tests of asking share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from core.records import TargetKind
from judges.asking import Asker
from judges.content import Content, of_text
from judges.pacing import Limits
from judges.reach import Access, model_ref
from judges.records import JudgeSpec, Rubric, ScaleKind, Verdict
from tests.judges.answering import ModelServer

PASS_FAIL = Rubric(
    name="resolution",
    version=1,
    kind=ScaleKind.PASS_FAIL,
    labels=("fail", "pass"),
    passing=frozenset({"pass"}),
    text="Does the agent do what the user asked for?",
    anchors={"pass": "it is done", "fail": "it is not"},
    aliases={"satisfied": "pass", "not satisfied": "fail"},
)
ORDINAL = Rubric(
    name="helpfulness",
    version=1,
    kind=ScaleKind.ORDINAL,
    labels=("1", "2", "3", "4", "5"),
    passing=frozenset({"4", "5"}),
    text="How helpful is it?",
)
PAIR = Rubric(
    name="preference",
    version=1,
    kind=ScaleKind.PAIRWISE,
    labels=("A", "B", "tie"),
    passing=frozenset({"A"}),
    text="Which answer is better?",
)
ISSUES = Rubric(
    name="issues",
    version=1,
    kind=ScaleKind.MULTI_LABEL,
    labels=("none", "wrong fact", "rude"),
    passing=frozenset({"none"}),
    text="Which issues does it have?",
    target=TargetKind.TURN,
)
CONTENT = of_text("The refund of order LK-1 is made.", "Please refund order LK-1.")


def spec_of(rubric: Rubric = PASS_FAIL, *models: str, url: str | None = None, **more: Any) -> JudgeSpec:
    """A judge of a rubric. With `url` its models are on that OpenAI-compatible server."""
    refs = tuple(model_ref(one, url=url) for one in models or ("openai:gpt-4o-mini",))
    return JudgeSpec(
        name="tested",
        rubric=rubric.name,
        rubric_version=rubric.version,
        rubric_digest=rubric.digest,
        models=refs,
        **more,
    )


def access(server: ModelServer, **more: str) -> Access:
    """Both providers are this server."""
    environment: Mapping[str, str] = {
        "OPENAI_API_KEY": "sk-openai-12345678",
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "ANTHROPIC_API_KEY": "sk-ant-12345678",
        "ANTHROPIC_BASE_URL": server.url,
        **more,
    }
    return Access(environment=environment, simulated_url=f"{server.url}/v1")


def ask(
    server: ModelServer,
    rubric: Rubric = PASS_FAIL,
    content: Content = CONTENT,
    spec: JudgeSpec | None = None,
    limits: Limits | None = None,
    **more: Any,
) -> Verdict:
    """One verdict by a judge that was made for it. Pauses between tries take no time."""

    async def run() -> Verdict:
        more.setdefault("sleep", no_wait)
        async with Asker(access(server), limits or Limits(timeout_s=5), **more) as asker:
            return await asker.ask(spec or spec_of(rubric), rubric, content)

    return asyncio.run(run())


async def no_wait(seconds: float) -> None:
    """Lets others run."""
    await asyncio.sleep(0)
