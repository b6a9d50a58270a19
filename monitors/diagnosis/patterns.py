"""Causes and what they do to the signs: a plain table. To add one: an entry here, and its steps in runbooks.py.

Every pattern has a synthetic fixture in tests/monitors/diagnosis. How the table is read: monitors/diagnosis/scoring.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from monitors.diagnosis.records import Expect, Pattern

UP, DOWN, FLAT, RISES = Expect.UP, Expect.DOWN, Expect.FLAT, Expect.RISES
FALLS, FREE, ANY = Expect.FALLS, Expect.FREE, Expect.ANY

# What a worse answer may bring with it, whatever the cause.
_WORSE: Final = {"strata": FALLS, "judged": FALLS, "escalation": RISES, "repeated": RISES}
# What sessions may look like where the agent does otherwise than before.
_SHAPE: Final = {"typical_turns": FREE, "typical_calls": FREE}

PATTERNS: Final = (
    Pattern(
        name="model_or_prompt_change",
        title="The model or the prompt changed",
        cause="Answers are worse while speed, tools, traffic and judges are as before: the agent behaves otherwise.",
        key={"quality": DOWN},
        expects={
            **_WORSE,
            "strata": DOWN,
            **dict.fromkeys(("latency", "ttft", "tool_errors", "judge_gap", "mix", "documents", "model"), FLAT),
        },
    ),
    Pattern(
        name="model_swapped",
        title="Another model answers",
        cause="Responses name another model than before.",
        key={"model": UP},
        expects={
            **_WORSE,
            "quality": FALLS,
            **dict.fromkeys(("latency", "ttft", "input_tokens", "output_tokens", "cost", "cost_total"), FREE),
        },
    ),
    Pattern(
        name="wrong_facts",
        title="Answers no longer rest on their sources",
        cause="Grounding fell while searches find as much as before: the agent invents, or leaves its sources out.",
        key={"grounding": DOWN},
        expects={
            **_WORSE,
            "quality": FALLS,
            "empty": FLAT,
            "documents": FLAT,
            "tool_calls": FREE,
            "turns": FREE,
            **dict.fromkeys(("output_tokens", "input_tokens", "cost"), FREE),
        },
    ),
    Pattern(
        name="stale_knowledge",
        title="The documents behind the answers changed",
        cause="Other documents or versions are found for the same questions, and answers are worse.",
        key={"documents": UP, "mix": FLAT},
        expects={**_SHAPE, **_WORSE, "quality": FALLS, "grounding": FREE, "empty": RISES, "escalation": FREE},
    ),
    Pattern(
        name="retrieval_broken",
        title="Searches find nothing",
        cause="More searches come back empty: an index, an embedding model or a filter is broken.",
        key={"empty": UP},
        expects={
            **_SHAPE,
            **_WORSE,
            "quality": FALLS,
            "grounding": FALLS,
            **dict.fromkeys(("documents", "input_tokens", "output_tokens", "turns", "tool_calls", "cost"), FREE),
            **dict.fromkeys(("latency", "tool_errors"), RISES),
        },
    ),
    Pattern(
        name="tool_outage",
        title="A tool fails",
        cause="One tool's calls fail more often than before; what depends on it fails with it.",
        key={"tool_errors": UP},
        expects={
            **_SHAPE,
            **_WORSE,
            "quality": FALLS,
            **dict.fromkeys(("latency", "tool_calls", "turns", "loops", "input_tokens", "output_tokens"), FREE),
            **dict.fromkeys(("cost", "cost_total", "no_answer"), RISES),
        },
    ),
    Pattern(
        name="loop",
        title="The agent runs in circles",
        cause="Cost rises without traffic: the same calls are made again and again.",
        key={"cost": UP, "traffic": FLAT, "loops": UP},
        expects={
            **dict.fromkeys(("typical_turns", "typical_calls"), RISES),
            "tool_calls": UP,
            "mix": FLAT,
            "documents": FREE,
            **_WORSE,
            "quality": FALLS,
            **dict.fromkeys(("cost_total", "latency"), RISES),
            **dict.fromkeys(("input_tokens", "output_tokens", "turns", "tool_errors", "no_answer", "ttft"), FREE),
            "grounding": FREE,
        },
    ),
    Pattern(
        name="prompt_bloat",
        title="The prompt grew",
        cause="More input tokens per turn and slower, dearer answers: more is put into the prompt than before.",
        key={"input_tokens": UP, "latency": UP},
        expects={
            "quality": FALLS,
            "strata": FALLS,
            "ttft": RISES,
            "cost": UP,
            "cost_total": RISES,
            "judged": FALLS,
            "output_tokens": FREE,
        },
    ),
    Pattern(
        name="context_lost",
        title="Conversations no longer fit",
        cause="Input tokens and turns rise and answers are worse: the agent forgets what was said and asks again.",
        key={"quality": DOWN, "input_tokens": UP},
        expects={
            "mix": FLAT,
            "typical_turns": RISES,
            "typical_calls": FREE,
            **_WORSE,
            "strata": DOWN,
            **dict.fromkeys(("turns", "cost"), UP),
            "cost_total": RISES,
            **dict.fromkeys(("tool_calls", "output_tokens"), FREE),
            **dict.fromkeys(("latency", "ttft"), RISES),
        },
    ),
    Pattern(
        name="verbose_answers",
        title="Answers grew longer",
        cause="More output tokens per turn at the same quality: slower and dearer for nothing.",
        key={"output_tokens": UP},
        expects={
            **dict.fromkeys(("quality", "strata"), FLAT),
            **dict.fromkeys(("latency", "cost", "cost_total", "judged"), RISES),
            "grounding": FREE,
            **dict.fromkeys(("input_tokens", "repeated"), RISES),
            **dict.fromkeys(("tool_calls", "turns", "loops"), FLAT),
        },
    ),
    Pattern(
        name="provider_slow",
        title="The model's provider is slow",
        cause="Answers take longer while tokens, tools and traffic are as before.",
        key={"latency": UP},
        expects={
            "ttft": RISES,
            **dict.fromkeys(("input_tokens", "output_tokens", "tool_errors", "loops", "model", "tool_calls"), FLAT),
            **dict.fromkeys(("quality", "judged"), FALLS),
            "model_errors": RISES,
            "escalation": RISES,
        },
    ),
    Pattern(
        name="provider_errors",
        title="Model calls fail",
        cause="More model calls fail: limits, outages or a refused key.",
        key={"model_errors": UP},
        expects={
            **_WORSE,
            "quality": FALLS,
            "no_answer": RISES,
            **dict.fromkeys(("latency", "ttft", "turns", "tool_calls", "output_tokens", "input_tokens", "cost"), FREE),
            "cost_total": FREE,
            "model": FREE,
        },
    ),
    Pattern(
        name="judge_moved",
        title="The judge moved, not the product",
        cause="Judged quality changed and judge and people disagree more, while outcomes are as before.",
        key={"judge_gap": UP},
        expects={
            **dict.fromkeys(("quality", "strata"), FLAT),
            "judged": FREE,
            **dict.fromkeys(("grounding", "escalation", "turns", "latency"), FLAT),
        },
    ),
    Pattern(
        name="traffic_mix",
        title="Other traffic came",
        cause="The mix of traffic shifted while each kind of request is resolved as before.",
        key={"mix": UP, "strata": FLAT},
        expects={
            "quality": ANY,
            **dict.fromkeys(
                (
                    "latency",
                    "input_tokens",
                    "output_tokens",
                    "cost",
                    "cost_total",
                    "turns",
                    "tool_calls",
                    "traffic",
                    "typical_turns",
                    "typical_calls",
                ),
                ANY,
            ),
            **dict.fromkeys(("documents", "escalation", "judged", "grounding", "loops", "repeated"), ANY),
            **dict.fromkeys(("attempts", "injection", "tool_errors", "empty", "rules", "ttft"), ANY),
        },
    ),
    Pattern(
        name="traffic_surge",
        title="More traffic",
        cause="Traffic and total cost rise; what a session costs and how it ends is as before.",
        key={"traffic": UP},
        expects={
            "cost_total": UP,
            **dict.fromkeys(("cost", "quality", "strata", "loops"), FLAT),
            **dict.fromkeys(("mix", "latency", "ttft", "model_errors"), RISES),
        },
    ),
    Pattern(
        name="traffic_lost",
        title="Traffic is missing",
        cause="Fewer sessions arrive than at this hour: users cannot reach the agent, or traces are lost.",
        key={"traffic": DOWN},
        expects={"cost_total": DOWN, **dict.fromkeys(("cost", "quality", "strata"), FLAT), "mix": RISES},
    ),
    Pattern(
        name="leak",
        title="Replies leak what they must not",
        cause="Personal data, secrets or instructions are said to users.",
        key={"leaks": UP},
        expects={
            **_WORSE,
            "quality": FALLS,
            "safety": RISES,
            **dict.fromkeys(("grounding", "output_tokens", "injection", "attempts"), FREE),
        },
    ),
    Pattern(
        name="injection",
        title="Attackers' instructions are obeyed",
        cause="Texts of users or documents make the agent do what it must not.",
        key={"injection": UP},
        expects={
            **_WORSE,
            "quality": FALLS,
            **dict.fromkeys(("attempts", "rules", "safety"), RISES),
            "tool_calls": FREE,
            "leaks": FREE,
        },
    ),
    Pattern(
        name="rules_broken",
        title="The agent breaks its rules",
        cause="Actions go beyond caps, without consent, or with tools that are not allowed.",
        key={"rules": UP},
        expects={
            **_WORSE,
            "quality": FALLS,
            "safety": RISES,
            **dict.fromkeys(("turns", "tool_calls", "input_tokens", "output_tokens", "cost", "injection"), FREE),
        },
    ),
    Pattern(
        name="acts_without_asking",
        title="The agent acts without asking first",
        cause="Sessions became shorter and end worse, while as much is done: a question was left out.",
        key={"quality": DOWN, "typical_turns": DOWN, "typical_calls": FLAT},
        expects={
            **_WORSE,
            "strata": DOWN,
            # What is undone again, asked again or refused makes some sessions longer.
            **dict.fromkeys(("turns", "tool_calls", "output_tokens", "input_tokens", "cost", "documents"), FREE),
        },
    ),
    Pattern(
        name="empty_claims",
        title="The agent says that it is done, and did nothing",
        cause="Fewer tool calls in as many turns, and sessions end worse: actions are claimed and not done.",
        key={"quality": DOWN, "typical_calls": DOWN},
        expects={
            **_WORSE,
            "strata": DOWN,
            "tool_calls": FALLS,
            "output_tokens": FREE,
        },
    ),
)
BY_NAME: Final[Mapping[str, Pattern]] = {one.name: one for one in PATTERNS}
