"""What each cause does to an app's series, in sizes as an on-call person meets them."""

from __future__ import annotations

from tests.monitors.diagnosis.worlds import Story

WORSE = -0.07  # 87 % to 80 %

STORIES: dict[str, Story] = {
    "model_or_prompt_change": Story(
        adds={"resolution": WORSE, "escalation": 0.02, "score:helpfulness": -0.05}, within=WORSE
    ),
    "model_swapped": Story(
        adds={"resolution": WORSE},
        times={"output_tokens": 0.85, "p95_latency": 0.8, "ttft_p95": 0.6},
        mixes={"mix:response_model": {"model-a": 0.4, "model-b": 0.6}},
        within=WORSE,
    ),
    "wrong_facts": Story(adds={"score:trigram_support": -0.12, "resolution": WORSE}, within=WORSE),
    "stale_knowledge": Story(
        adds={"resolution": WORSE},
        mixes={"mix:document": {"returns": 0.15, "shipping": 0.3, "warranty": 0.45, "sizes": 0.1}},
        within=WORSE,
    ),
    "retrieval_broken": Story(
        adds={"retrieval_empty": 0.3, "score:trigram_support": -0.2, "resolution": -0.1}, within=-0.1
    ),
    "tool_outage": Story(
        adds={"tool_errors:refund_order": 0.3, "resolution": -0.05, "escalation": 0.03, "tool_calls": 0.3}, within=-0.05
    ),
    "loop": Story(
        adds={"score:loop_free": -0.08, "tool_calls": 1.2, "resolution": WORSE},
        times={"cost_per_session": 1.3, "p95_latency": 1.3, "input_tokens": 1.2},
        within=WORSE,
    ),
    "prompt_bloat": Story(times={"input_tokens": 2.0, "p95_latency": 1.25, "ttft_p95": 1.4, "cost_per_session": 1.6}),
    "context_lost": Story(
        adds={"resolution": WORSE, "turns": 0.4, "score:repeated_questions": 0.1},
        times={"input_tokens": 1.5, "cost_per_session": 1.5},
        within=WORSE,
    ),
    "verbose_answers": Story(times={"output_tokens": 1.7, "p95_latency": 1.3, "cost_per_session": 1.2}),
    "provider_slow": Story(times={"p95_latency": 1.5, "ttft_p95": 1.8}),
    "provider_errors": Story(
        adds={"model_errors": 0.08, "score:empty_answer": 0.05, "resolution": -0.05},
        times={"p95_latency": 1.2},
        within=-0.05,
    ),
    "judge_moved": Story(adds={"score:helpfulness": -0.1, "agreement:helpfulness": -0.15}),
    "traffic_mix": Story(
        adds={"resolution": WORSE, "turns": 0.2, "tool_calls": 0.3},
        mixes={"mix:intent": {"order": 0.25, "account": 0.3, "technical": 0.45}},
    ),
    "traffic_surge": Story(times={"traffic": 2.5}),
    "traffic_lost": Story(times={"traffic": 0.3}),
    "leak": Story(adds={"score:pii_leak": 0.04, "resolution": -0.03}, within=-0.03),
    "injection": Story(
        adds={"score:injection_success": 0.03, "score:injection_attempt": 0.04, "resolution": -0.02}, within=-0.02
    ),
    "rules_broken": Story(
        adds={"score:confirmation_before_irreversible": -0.06, "resolution": -0.05, "turns": -0.1}, within=-0.05
    ),
    "acts_without_asking": Story(
        adds={"resolution": WORSE, "turns": -0.25}, times={"cost_per_session": 0.9}, within=WORSE
    ),
    "empty_claims": Story(
        adds={"resolution": WORSE, "tool_calls": -0.5}, times={"cost_per_session": 0.93}, within=WORSE
    ),
}
