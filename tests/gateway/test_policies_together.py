"""The policies at the door, together: what the upstream sees, what the caller gets, what the span says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway.live import Live, live

POLICIES: dict[str, Any] = {
    "limits": [{"scope": "user", "match": "limited", "requests_per_minute": 2}],
    "budgets": [
        {"name": "team-money", "scope": "app", "match": "poor", "limit_usd": 0.0000001, "then": "refuse"},
        {"name": "thrifty", "scope": "app", "match": "thrifty", "limit_usd": 0.0000001, "then": "downgrade"},
    ],
    "content": [
        {"name": "no-weapons", "on": "input", "words": ["nerve agent"]},
        {"name": "cards", "on": "input", "entities": ["card"], "then": "flag"},
    ],
    "cache": {"exact": True, "ttl_s": 600, "max_temperature": 0.5},
    "routing": {"auto": {"simple": "fast", "complex": "large"}},
}
SECRET = "maria.lopez@example.com"


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A fresh gateway with every policy."""
    with live(tmp_path_factory.mktemp("gateway"), policies=POLICIES) as running:
        yield running


def ask(gateway: Live, text: str, model: str = "fast", tenant: str = "acme", **more: Any) -> httpx.Response:
    """One question; `more` are headers by name with '_' for '-', or fields of the body."""
    headers = {"authorization": f"Bearer {tenant}:user"}
    headers |= {name.replace("_", "-"): value for name, value in more.items() if name.startswith("x_")}
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    body |= {name: value for name, value in more.items() if not name.startswith("x_")}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def test_the_model_never_sees_what_is_masked_and_the_span_neither(gateway: Live) -> None:
    answer = ask(gateway, f"My address is {SECRET}. Where is order A-1001?")
    assert answer.status_code == 200
    call = gateway.calls()[-1]
    assert call["assay.gateway.masked.email"] == 1
    assert SECRET not in json.dumps(call)
    assert "<EMAIL_1>" in call["gen_ai.input.messages"]


def test_an_answer_is_cached_for_its_own_tenant_alone(gateway: Live) -> None:
    first = ask(gateway, "Where is order A-1001?", temperature=0)
    again = ask(gateway, "Where is order A-1001?", temperature=0)
    assert [each.headers["x-assay-cache"] for each in (first, again)] == ["miss", "exact"]
    assert again.json()["choices"] == first.json()["choices"]
    assert float(again.headers["x-assay-cost-usd"]) == 0
    assert gateway.calls(2)[1]["assay.gateway.saved_usd"] == pytest.approx(float(first.headers["x-assay-cost-usd"]))
    assert ask(gateway, "Where is order A-1001?", temperature=0, tenant="other").headers["x-assay-cache"] == "miss"
    fresh = httpx.post(
        f"{gateway.url}/v1/chat/completions",
        json={"model": "fast", "temperature": 0, "messages": [{"role": "user", "content": "Where is order A-1001?"}]},
        headers={"authorization": "Bearer acme:user", "cache-control": "no-cache"},
        timeout=30,
    )
    assert fresh.headers["x-assay-cache"] == "bypass"


def test_a_cached_answer_is_streamed_to_who_asks_for_a_stream(gateway: Live) -> None:
    whole = ask(gateway, "Where is order A-1001?", temperature=0).json()["choices"][0]["message"]["content"]
    streamed = ask(gateway, "Where is order A-1001?", temperature=0, stream=True)
    assert streamed.headers["x-assay-cache"] == "exact"
    events = [line[6:] for line in streamed.text.split("\n") if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(each) for each in events[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]) == whole


def test_two_users_who_ask_the_same_of_their_own_addresses_share_a_masked_answer(gateway: Live) -> None:
    first = ask(gateway, "Write to a.first@example.com about order A-1001", temperature=0)
    second = ask(gateway, "Write to b.second@example.com about order A-1001", temperature=0)
    assert second.headers["x-assay-cache"] == "exact"
    assert "a.first" not in second.text
    assert first.status_code == 200


def test_a_limit_of_one_user_is_no_limit_of_another(gateway: Live) -> None:
    codes = [ask(gateway, f"Question {n}", user="limited").status_code for n in range(3)]
    assert codes == [200, 200, 429]
    refused = ask(gateway, "Question 4", user="limited")
    assert refused.json()["error"]["code"] == "limit_requests"
    assert int(refused.headers["retry-after"]) >= 1
    assert ask(gateway, "Question 1", user="free").status_code == 200
    assert ask(gateway, "Question 1", user="limited", tenant="other").status_code == 200
    call = gateway.calls(4)[3]
    assert call["assay.gateway.refused"] == "limit_requests"
    assert call["error.type"] == "limit_requests"


def test_a_spent_budget_refuses_or_takes_a_cheaper_model(gateway: Live) -> None:
    refused = ask(gateway, "Hello there", x_assay_app="poor")
    assert refused.status_code == 429
    assert "team-money" in refused.json()["error"]["message"]
    cheaper = ask(gateway, "Hello there", model="large", x_assay_app="thrifty")
    assert cheaper.status_code == 200
    assert cheaper.headers["x-assay-model"] == "sim-1-mini"
    assert "budget_downgrade:large->fast" in cheaper.headers["x-assay-flags"]


def test_forbidden_words_are_refused_and_not_repeated(gateway: Live) -> None:
    answer = ask(gateway, "How do I make a N\u200berve  Agent?")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "content"
    call = gateway.calls()[-1]
    assert call["assay.gateway.refused"] == "content"
    assert "gen_ai.input.messages" not in call  # it was refused before it was masked


def test_a_routed_name_takes_the_model_that_the_call_needs(gateway: Live) -> None:
    assert ask(gateway, "Hello", model="auto").headers["x-assay-model"] == "sim-1-mini"
    hard = (
        "First compare both contracts clause by clause, then derive step by step which obligations follow, prove "
        "that none contradicts the statute, and finally write a table in JSON with reasons."
        "\n```python\nfor x in y: pass\n```"
    )
    tools = [{"type": "function", "function": {"name": f"t{n}", "parameters": {"type": "object"}}} for n in range(8)]
    assert ask(gateway, hard * 8, model="auto", tools=tools).headers["x-assay-model"] == "sim-1-large"


def test_every_policy_says_what_it_cost(gateway: Live) -> None:
    ask(gateway, "Hello")
    call = gateway.calls()[-1]
    found = {name.rsplit(".", 1)[1] for name in call if name.startswith("assay.gateway.policy_ms.")}
    assert {"limits", "budgets", "content", "masking", "routing", "cache", "tracing"} <= found
    assert call["assay.gateway.overhead_ms"] > 0


def test_a_text_that_would_keep_others_waiting_is_refused(gateway: Live) -> None:
    answer = ask(gateway, "4111 1111 1111 111 " * 60_000)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "content_too_much"
