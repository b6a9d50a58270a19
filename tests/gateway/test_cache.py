"""The cache: what counts as the same call, what is kept, whose it is, and how much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NS_PER_S
from gateway.config import CacheConfig, SemanticConfig
from gateway.policies.cache import Cache
from gateway.policies.cached_answers import CachedAnswers, Kept, Shelves
from gateway.records import Answer, CacheOutcome, Call, Target
from tests.gateway.policy_calls import EMBED, MODEL, answer_of, call_of

QUESTION = {"messages": [{"role": "user", "content": "How do I cancel my order?"}], "temperature": 0}
EXACT = replace(MODEL, cache="exact")


class Turned:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Turned:
    """The time of a test."""
    return Turned()


@pytest.fixture
def cache(clock: Turned) -> Cache:
    """A cache of exact answers."""
    return Cache(CacheConfig(ttl_s=60), clock)


def ask(cache: Cache, call: Call, said: dict[str, Any] | None = None, error: str = "") -> dict[str, Any]:
    """One call's life as the door lives it; without `said` the answer must come from the cache."""
    found = cache.before(call)
    if found is None:
        assert said is not None, f"not in the cache: {call.cache}"
        choices = said.get("choices", [])
        call.response_id, call.response_model = said.get("id", ""), said.get("model", "")
        call.finish_reasons = [c["finish_reason"] for c in choices if c["finish_reason"]]
        call.output = [dict(c["message"]) for c in choices]
        call.usage.input_tokens, call.usage.output_tokens = 10, 5
        found = Answer(body=said)
        call.cost_usd = 0.01
    if not call.streamed:
        cache.after(call, found)
    call.status, call.error = (500, error) if error else (200, "")
    cache.done(call)
    return found.body


def test_the_same_call_is_answered_once(cache: Cache) -> None:
    first, second = call_of(QUESTION), call_of(QUESTION)
    ask(cache, first, answer_of("So."))
    body = ask(cache, second)
    assert (first.cache, second.cache) == (CacheOutcome.MISS, CacheOutcome.EXACT)
    assert body["choices"][0]["message"]["content"] == "So."
    assert body["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert second.state["saved_usd"] == 0.01
    assert (second.usage.input_tokens, second.usage.reported, second.cost_usd) == (0, True, None)


def test_an_answer_that_is_changed_on_its_way_out_is_kept_as_it_was(cache: Cache) -> None:
    body = ask(cache, call_of(QUESTION), answer_of("for <EMAIL_1>"))
    body["choices"][0]["message"]["content"] = "for ann@example.com"
    again = ask(cache, call_of(QUESTION))
    assert again["choices"][0]["message"]["content"] == "for <EMAIL_1>"
    again["choices"][0]["message"]["content"] = "changed"
    assert ask(cache, call_of(QUESTION))["choices"][0]["message"]["content"] == "for <EMAIL_1>"


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.1},
        {"seed": 1},
        {"max_tokens": 5},
        {"messages": [{"role": "user", "content": "How do I cancel my order"}]},
        {"messages": [{"role": "system", "content": "x"}, *QUESTION["messages"]]},  # type: ignore[misc]
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"n": 2},
    ],
)
def test_what_can_change_an_answer_makes_another_call(cache: Cache, other: dict[str, Any]) -> None:
    ask(cache, call_of(QUESTION), answer_of("So."))
    call = call_of({**QUESTION, **other})
    assert cache.before(call) is None
    assert call.cache is CacheOutcome.MISS


def test_who_asks_and_how_it_is_delivered_does_not_change_an_answer(cache: Cache) -> None:
    ask(cache, call_of({**QUESTION, "user": "ann", "metadata": {"a": "b"}}), answer_of("So."))
    ask(cache, call_of({"user": "bob", "stream": True, "stream_options": {"include_usage": True}, **QUESTION}))


def test_another_tenant_model_or_target_never_gets_the_answer(cache: Cache) -> None:
    ask(cache, call_of(QUESTION, tenant="acme"), answer_of("Acme's secret."))
    moved = replace(MODEL, targets=(Target(upstream="two", model="m-1"),))
    for call in (
        call_of(QUESTION, tenant="other"),
        call_of(QUESTION, model=replace(MODEL, name="support-2")),
        call_of(QUESTION, model=moved),
    ):
        assert cache.before(call) is None


def test_answers_grow_old(cache: Cache, clock: Turned) -> None:
    ask(cache, call_of(QUESTION), answer_of("So."))
    clock.now_ns += 60 * NS_PER_S - 1
    ask(cache, call_of(QUESTION))
    clock.now_ns += 1
    assert cache.before(call_of(QUESTION)) is None
    assert len(cache.answers) == 0


@pytest.mark.parametrize(
    ("temperature", "model", "outcome"),
    [
        (0.3, "", CacheOutcome.MISS),
        (0.31, "", CacheOutcome.BYPASS),
        (None, "", CacheOutcome.BYPASS),  # the provider's default is 1
        (None, "exact", CacheOutcome.MISS),
        (1, "exact", CacheOutcome.BYPASS),
        ("0", "exact", CacheOutcome.BYPASS),
        (0, "off", CacheOutcome.OFF),
    ],
)
def test_chat_is_cached_where_it_is_meant_to_be_repeatable(
    cache: Cache, temperature: Any, model: str, outcome: CacheOutcome
) -> None:
    call = call_of({**QUESTION, "temperature": temperature}, model=replace(MODEL, cache=model))
    assert cache.before(call) is None
    assert call.cache is outcome


def test_a_caller_who_wants_a_fresh_answer_gets_one_and_it_is_not_kept(cache: Cache) -> None:
    ask(cache, call_of(QUESTION), answer_of("Old."))
    call = call_of(QUESTION)
    call.no_cache = True
    ask(cache, call, answer_of("New."))
    assert call.cache is CacheOutcome.BYPASS
    assert ask(cache, call_of(QUESTION))["choices"][0]["message"]["content"] == "Old."


@pytest.mark.parametrize("usage", [None, [1], "much"])
def test_an_answer_whose_usage_is_none_is_answered_again(cache: Cache, usage: object) -> None:
    ask(cache, call_of(QUESTION), {**answer_of("So."), "usage": usage})
    assert ask(cache, call_of(QUESTION))["choices"][0]["message"]["content"] == "So."


def test_an_answer_with_an_odd_end_is_not_kept(cache: Cache) -> None:
    said = answer_of("So.")
    said["choices"][0]["finish_reason"] = ["stop"]
    ask(cache, call_of(QUESTION), said)
    assert cache.before(call_of(QUESTION)) is None


def test_embeddings_are_always_cached(cache: Cache) -> None:
    body = {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 3}}
    ask(cache, call_of({"input": "x"}, model=EMBED), body)
    assert ask(cache, call_of({"input": "x"}, model=EMBED))["data"] == body["data"]


CALLED = {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}


def test_answers_that_call_tools_are_kept_only_where_the_model_says_exact(cache: Cache) -> None:
    said = answer_of(None, "tool_calls", **CALLED)
    ask(cache, call_of(QUESTION), said)
    assert cache.before(call_of(QUESTION)) is None
    ask(cache, call_of(QUESTION, model=EXACT), said)
    assert ask(cache, call_of(QUESTION, model=EXACT))["choices"][0]["message"]["tool_calls"] == CALLED["tool_calls"]


@pytest.mark.parametrize("finish", ["length", "content_filter", None])
@pytest.mark.parametrize("streamed", [False, True])
def test_what_did_not_end_by_itself_is_not_kept(cache: Cache, finish: str, streamed: bool) -> None:
    ask(cache, call_of(QUESTION, streamed=streamed), answer_of("So", finish))
    assert cache.before(call_of(QUESTION)) is None


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("what", ["error", "aborted", "refused", "json_invalid"])
def test_a_call_that_ended_badly_leaves_nothing(cache: Cache, streamed: bool, what: str) -> None:
    call = call_of(QUESTION, streamed=streamed)
    call.aborted, call.refused = what == "aborted", "content" if what == "refused" else ""
    call.flags = ["json_invalid"] if what == "json_invalid" else []
    ask(cache, call, answer_of("So."), error="upstream_failed" if what == "error" else "")
    assert cache.before(call_of(QUESTION)) is None


def test_streamed_and_whole_calls_share_their_answers(cache: Cache) -> None:
    ask(cache, call_of(QUESTION, streamed=True), answer_of("So."))
    body = ask(cache, call_of(QUESTION))
    assert body["choices"] == answer_of("So.")["choices"]
    assert body["id"] == "chatcmpl-1"
    ask(cache, call_of(QUESTION, streamed=True))


def test_a_stream_with_logprobs_is_not_kept(cache: Cache) -> None:
    asked = {**QUESTION, "logprobs": True}
    ask(cache, call_of(asked, streamed=True), answer_of("So."))
    assert cache.before(call_of(asked)) is None


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_the_longest_unused_goes_first_and_the_bytes_stay_within_the_bound() -> None:
    answers = CachedAnswers(100_000, 10**18)
    kept = Kept(body=b"x" * 9_600, kept_ns=0, cost_usd=None, simulated=False)  # 10,000 with what belongs to it
    for n in range(10):
        assert answers.put("a", b"%d" % n, kept)
    assert answers.get("a", b"0", 0)
    assert answers.put("a", b"new", kept)
    assert answers.get("a", b"0", 0)
    assert answers.get("a", b"1", 0) is None
    assert answers.n_bytes == 100_000
    assert not answers.put("a", b"large", replace(kept, body=b"x" * 50_000))


def test_a_busy_tenant_pushes_out_only_its_own_answers() -> None:
    shelves: Shelves[int] = Shelves(1000)
    for n in range(3):
        shelves.put("quiet", b"%d" % n, n, 100)
    for n in range(500):
        shelves.put("busy", b"%d" % n, n, 100)
    assert [shelves.get("quiet", b"%d" % n) for n in range(3)] == [0, 1, 2]
    assert shelves.get("busy", b"499") == 499


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(1, 60), st.booleans())))
def test_shelves_count_what_they_hold(steps: list[tuple[str, int, int, bool]]) -> None:
    shelves: Shelves[int] = Shelves(400)
    for tenant, key, size, put in steps:
        if put:
            assert shelves.put(tenant, bytes([key]), size, size) is (size <= 50)
        else:
            shelves.drop(tenant, bytes([key]))
        held = [shelves.get(t, bytes([k])) for t in "ab" for k in range(10)]
        assert shelves.n_bytes == sum(size for size in held if size) <= 400
        assert len(shelves) == sum(size is not None for size in held)


@pytest.mark.parametrize("semantic", [None, SemanticConfig()])
def test_another_upstream_of_the_same_name_does_not_answer_with_what_the_first_said(
    clock: Turned, semantic: SemanticConfig | None
) -> None:
    config = CacheConfig(semantic=semantic)
    here, there = ({MODEL.targets[0].upstream: f"openai http://{host}/v1 "} for host in ("one", "two"))
    first = Cache(config, clock, behind=here)
    ask(first, call_of(QUESTION), answer_of("One."))
    second = Cache(config, clock, answers=first.answers, similar=first.similar, behind=there)
    assert second.before(call_of(QUESTION)) is None
    back = Cache(config, clock, answers=first.answers, similar=first.similar, behind=here)
    ask(back, call_of(QUESTION))


# --- similar questions ----------------------------------------------------------------------------------------------


@pytest.fixture
def similar(clock: Turned) -> Cache:
    """A cache of similar questions."""
    return Cache(CacheConfig(ttl_s=60, semantic=SemanticConfig()), clock)


def _asked(text: str, *before: dict[str, Any], tenant: str = "acme", **body: Any) -> Call:
    messages = [*before, {"role": "user", "content": text}]
    return call_of({"messages": messages, "temperature": 0, **body}, tenant=tenant)


def test_the_same_question_in_other_words_is_answered_from_the_cache(similar: Cache) -> None:
    ask(similar, _asked("How do I cancel my order?"), answer_of("So."))
    call = _asked("Hi, how can I cancel an order please")
    assert ask(similar, call)["choices"][0]["message"]["content"] == "So."
    assert call.cache is CacheOutcome.SEMANTIC
    assert 0.9 <= call.state["similarity"] <= 1
    assert call.flags == [f"similar:{call.state['similarity']:.2f}"]
    assert call.state["saved_usd"] == 0.01


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("How do I cancel my order?", "How do I change my order?"),
        ("cancel order 1234 now", "cancel order 1235 now"),
        ("send mail to <EMAIL_1> and <EMAIL_2>", "send mail to <EMAIL_2> and <EMAIL_1>"),
        ("can I return shoes", "can't I return shoes"),
        ("can I return the shoes", "can I not return the shoes"),
        ("convert dollars to euros", "convert euros to dollars"),
        ("flights from Paris to London", "flights from London to Paris"),
        ("what does the word 'cat' mean", "what does the word 'dog' mean"),
        ("how do I close my account", "when do I close my account"),
        ("what is my home address", "what is your home address"),
        ("can I refund a customer", "should I refund a customer"),
        ("is a bear bigger than a dog", "is a dog bigger than a bear"),
        # Pairs that vectors of words, averaged, take for the same: read in benchmarks/gateway/semantic.py --read.
        ("do i need a travel visa to visit china", "do i need a travel visa to visit russia"),
        ("Can I get a card? I live in the US.", "I live in the UK. Can I get a card?"),
        ("set a seven minute timer", "set a five minute timer"),
        ("roll a six sided die for me", "can you roll a four sided die"),
        ("has flight dl123 left", "is flight dl123 on time"),
        ("How much can I top up on my card?", "How do I top up on my card?"),
        ("yes", "no"),
        # The same words, and who does what to whom is another matter.
        ("Did Anna hit Bob?", "Did Bob hit Anna?"),
        ("How much is 5 kg in pounds", "How much is 5 pounds in kg"),
        ("does a bear eat a lion", "does a lion eat a bear"),
        ("my card was charged twice, refund the order", "my order was charged twice, refund the card"),
    ],
)
def test_questions_that_differ_in_what_matters_are_not_similar(similar: Cache, first: str, second: str) -> None:
    ask(similar, _asked(first), answer_of("So."))
    assert similar.before(_asked(second)) is None


@pytest.mark.parametrize("threshold", [0.95, 0.8, 0.5])
def test_words_in_another_order_are_another_question_at_any_threshold(clock: Turned, threshold: float) -> None:
    cache = Cache(CacheConfig(semantic=SemanticConfig(threshold=threshold)), clock)
    ask(cache, _asked("Did Anna hit Bob?"), answer_of("Yes."))
    for text in ("Did Bob hit Anna?", "Did Bob really hit poor Anna?"):
        assert cache.before(_asked(text)) is None
    ask(cache, _asked("Please tell me, did Anna hit Bob?"))


def test_only_the_last_user_message_may_differ(similar: Cache) -> None:
    first, second = "How do I cancel my order?", "how can I cancel the order"
    told = {"role": "system", "content": "You sell shoes."}
    ask(similar, _asked(first, told), answer_of("So."))
    for call in (
        _asked(second),
        _asked(second, {"role": "system", "content": "You sell books."}),
        _asked(second, told, tenant="other"),
        _asked(second, told, seed=3),
        _asked(second, told, tools=[]),
    ):
        assert similar.before(call) is None
    ask(similar, _asked(second, told))


def test_a_question_with_a_picture_is_compared_with_the_same_picture_only(similar: Cache) -> None:
    def shown(text: str, url: str) -> Call:
        parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
        return call_of({"messages": [{"role": "user", "content": parts}], "temperature": 0})

    ask(similar, shown("what colour are these shoes", "https://a/1"), answer_of("Red."))
    assert similar.before(shown("what colour do these shoes have", "https://a/2")) is None
    ask(similar, shown("what colour do these shoes have", "https://a/1"))


def test_similar_answers_grow_old_too(similar: Cache, clock: Turned) -> None:
    ask(similar, _asked("How do I cancel my order?"), answer_of("So."))
    clock.now_ns += 60 * NS_PER_S
    assert similar.before(_asked("how can I cancel an order")) is None


def test_a_model_may_have_exact_answers_only(clock: Turned) -> None:
    cache = Cache(CacheConfig(semantic=SemanticConfig()), clock)
    for text, found in (("How do I cancel my order?", False), ("how can I cancel an order", False)):
        call = call_of({"messages": [{"role": "user", "content": text}]}, model=EXACT)
        assert (cache.before(call) is not None) is found
        call.status, call.output, call.finish_reasons = 200, [{"content": "So."}], ["stop"]
        cache.after(call, Answer(body=answer_of("So.")))
        cache.done(call)


def test_questions_stay_within_their_bytes(clock: Turned) -> None:
    cache = Cache(CacheConfig(max_mb=1, semantic=SemanticConfig()), clock)
    for n in range(1500):
        ask(
            cache,
            _asked(f"tell me about article word{n} please", {"role": "system", "content": str(n % 40)}),
            answer_of("So."),
        )
    assert 0 < cache.similar.n_bytes <= 256 << 10
    assert 0 < cache.answers.n_bytes <= 768 << 10


def test_a_bucket_that_is_full_forgets_its_oldest_question(clock: Turned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.policies.semantic.MOST_QUESTIONS", 4)
    similar = Cache(CacheConfig(semantic=SemanticConfig()), clock)
    colours = ["red", "green", "blue", "black", "white", "yellow"]
    for colour in colours:
        ask(similar, _asked(f"do you have {colour} shoes"), answer_of(colour))
    found = [similar.before(_asked(f"have you any {colour} shoes please")) for colour in colours]
    assert [bool(each) for each in found] == [False, False, True, True, True, True]
    assert [each.body["choices"][0]["message"]["content"] for each in found if each] == colours[2:]
