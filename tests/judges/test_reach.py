"""Which models may be asked, with which key, and whose family they are of."""

from __future__ import annotations

import asyncio

import pytest

from core.errors import InvalidInput
from judges.models import make_model
from judges.pacing import Limits
from judges.pricing import price_usd
from judges.reach import Access, check_family, families, model_ref, same_family
from judges.records import JudgeSpec, Missing, OwnFamily, Reply
from judges.transport import capped_client
from judges.voting import combined
from tests.judges.asked import ISSUES, PASS_FAIL, spec_of

FAMILY_OF = {
    "gpt-5-mini": "gpt",
    "openai/gpt-4o": "gpt",
    "o3-mini": "gpt",
    "ft:gpt-4o-mini:acme::x": "gpt",
    "chatgpt-4o-latest": "gpt",
    "claude-sonnet-4-5": "claude",
    "us.anthropic.claude-3-5-sonnet-20241022-v2:0": "claude",
    "gemini-2.5-pro": "gemini",
    "meta-llama/Llama-3.1-8B-Instruct": "llama",
    "codellama:13b": "llama",
    "mistral-large-latest": "mistral",
    "open-mixtral-8x22b": "mistral",
    "Qwen/Qwen2.5-72B": "qwen",
    "deepseek-chat": "deepseek",
    "grok-3": "grok",
    "amazon.nova-lite-v1:0": "nova",
    "microsoft/phi-4": "phi",
    "sim-judge": "sim",
}


@pytest.mark.parametrize("model", FAMILY_OF)
def test_a_name_tells_its_family(model: str) -> None:
    assert families(model) == {FAMILY_OF[model]}


def test_a_name_that_tells_nothing_is_a_family_of_its_own() -> None:
    assert families("acme-judge") == {"acme-judge"}
    assert families("turbo1") == {"turbo1"}
    assert same_family("acme-judge", ["gpt-4o", "ACME-judge", ""]) == ("ACME-judge",)
    assert families("deepseek-r1-distill-llama-70b") == {"deepseek", "llama"}


def test_a_judge_of_the_products_family_is_warned_about_or_refused() -> None:
    warned = spec_of(PASS_FAIL, "openai:gpt-5-mini", "anthropic:claude-sonnet-4-5")
    assert check_family(warned, ["gemini-2.5-pro"]) == []
    assert check_family(warned, ["gpt-4o", "gpt-4o", "o3"]) == [
        "openai:gpt-5-mini grades models of its own family (gpt-4o, o3), which it may prefer"
    ]
    refused = spec_of(PASS_FAIL, "openai:gpt-5-mini", own_family=OwnFamily.REFUSE)
    assert refused.version == spec_of(PASS_FAIL, "openai:gpt-5-mini").version
    with pytest.raises(InvalidInput, match="of its own family"):
        check_family(refused, ["gpt-4o"])


@pytest.mark.parametrize(
    ("text", "url", "key_env", "said"),
    [
        ("gpt-4o", None, None, "names no model"),
        ("azure:gpt-4o", None, None, "names no model"),
        ("openai:", None, None, "is no name of a model"),
        ("openai:a b", None, None, "is no name of a model"),
        ("openai:m", "ftp://host/v1", None, "no base URL"),
        ("openai:m", "http://", None, "no base URL"),
        ("openai:m", "http://host:99999/v1", None, "no base URL"),
        ("openai:m", "http://host /v1", None, "no base URL"),
        ("openai:m", "https://me:secret@host/v1", None, "more than an address"),
        ("openai:m", "https://host/v1?key=1", None, "more than an address"),
        ("anthropic:m", "https://host/v1", None, "OpenAI-compatible"),
        ("openai:m", None, "OPENAI_API_KEY", "begins with ASSAY_JUDGE_KEY_"),
        ("openai:m", None, "ASSAY_JUDGE_KEY_", "begins with ASSAY_JUDGE_KEY_"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(text: str, url: str | None, key_env: str | None, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        model_ref(text, url, key_env)
    assert "secret" not in str(raised.value)


def test_each_provider_gets_its_own_key_and_a_url_only_the_one_that_is_named() -> None:
    keys = {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "ASSAY_JUDGE_KEY_LAB": "c", "DATABASE_PASSWORD": "d"}
    access = Access(environment=keys)
    assert access.key(model_ref("openai:m")) == "a"
    assert access.key(model_ref("anthropic:m")) == "b"
    assert access.key(model_ref("openai:m", "http://lab/v1")) == "none"
    assert access.key(model_ref("openai:m", "http://lab/v1", "ASSAY_JUDGE_KEY_LAB")) == "c"
    with pytest.raises(InvalidInput, match="ASSAY_JUDGE_KEY_OTHER; set it"):
        access.key(model_ref("openai:m", "http://lab/v1", "ASSAY_JUDGE_KEY_OTHER"))


@pytest.mark.parametrize("text", ["openai:m", "anthropic:m", "simulated:sim-judge"])
def test_what_cannot_be_reached_is_said_before_anything_is_asked(text: str) -> None:
    async def make() -> None:
        async with capped_client(1, 1) as http:
            make_model(model_ref(text), Access(environment={}), http, 1)

    with pytest.raises(InvalidInput, match=r"needs a key|no simulated provider"):
        asyncio.run(make())


def test_limits_that_make_no_sense_are_refused() -> None:
    for wrong in ({"concurrency": 0}, {"concurrency": 1_000}, {"requests_per_minute": 0}, {"n_tries": 0}):
        with pytest.raises(InvalidInput):
            Limits(**wrong)


def test_prices_before_the_run() -> None:
    assert price_usd(model_ref("openai:gpt-4o-mini"), 1_000_000, 0) == pytest.approx(0.15)
    assert price_usd(model_ref("simulated:sim-judge"), 1_000_000, 1_000_000) == pytest.approx(2.0)
    assert price_usd(model_ref("openai:of-nobody"), 1, 1) is None


def test_a_version_changes_with_what_could_change_a_verdict() -> None:
    one = spec_of()
    others: list[JudgeSpec] = [
        spec_of(ISSUES),
        spec_of(PASS_FAIL, "openai:gpt-4o"),
        spec_of(repeats=2),
        spec_of(temperature=1.0),
        spec_of(both_orders=False),
        spec_of(url="http://lab/v1"),
    ]
    assert len({one.version, *(other.version for other in others)}) == 1 + len(others)


def _reply(model: str, *labels: str, missing: Missing | None = None, repeat: int = 0) -> Reply:
    return Reply(model=model, labels=labels, missing=missing, repeat=repeat)


def test_several_labels_are_voted_on_one_by_one() -> None:
    said = [_reply("a", "wrong fact", "rude"), _reply("b", "wrong fact"), _reply("c", "none")]
    assert combined(ISSUES, said).labels == ("wrong fact",)
    assert combined(ISSUES, [_reply("a", "rude"), _reply("b", "none")]).missing is Missing.DISAGREED


def test_repeats_of_a_model_decide_its_one_vote() -> None:
    said = [_reply("a", "pass", repeat=n) for n in range(3)] + [_reply("b", "fail", repeat=n) for n in range(3)]
    said += [_reply("c", "fail"), _reply("c", "pass", repeat=1), _reply("c", "pass", repeat=2)]
    verdict = combined(PASS_FAIL, said)
    assert verdict.label == "pass"
    assert verdict.confidence == pytest.approx(5 / 9)


def test_no_repeat_with_a_verdict_is_no_verdict() -> None:
    said = [
        _reply("a", missing=Missing.EMPTY),
        _reply("a", missing=Missing.EMPTY, repeat=1),
        _reply("a", "pass", repeat=2),
    ]
    assert combined(PASS_FAIL, said).missing is Missing.EMPTY


@pytest.mark.parametrize(
    ("text", "url", "sent"),
    [
        ("openai:m", "https://models.acme.example/v1", True),
        ("openai:m", "http://MODELS.acme.example/other", True),
        ("openai:m", "http://10.0.0.7:8000/v1", True),
        ("openai:m", "http://10.0.0.7:8001/v1", False),
        ("openai:m", "https://models.acme.example.evil.example/v1", False),
        ("openai:m", "https://evil.example/models.acme.example", False),
        ("openai:m", None, False),
        ("anthropic:m", None, False),
    ],
)
def test_a_key_goes_to_the_hosts_that_the_operator_named(text: str, url: str | None, sent: bool) -> None:
    given = {"ASSAY_JUDGE_KEY_ACME": "key-of-acme", "ASSAY_JUDGE_HOSTS_ACME": "models.acme.example, 10.0.0.7:8000"}
    ref = model_ref(text, url, "ASSAY_JUDGE_KEY_ACME")
    if sent:
        assert Access(environment=given).key(ref) == "key-of-acme"
        return
    with pytest.raises(InvalidInput, match="may be sent to"):
        Access(environment=given).key(ref)
