"""Duplicates, contamination, splits, and the filter by which sessions are chosen."""

from __future__ import annotations

import random
from typing import Any

import pytest

from core.errors import InvalidInput
from evaluators.datasets.contamination import Prompt, across_splits, given_away
from evaluators.datasets.filtering import parse_filter
from evaluators.datasets.likeness import alike, same
from evaluators.datasets.records import Example
from evaluators.datasets.splitting import parse_split, split
from evaluators.records import Expected

LONG = "I ordered a blue lamp on Monday and it has not arrived yet, where is my parcel and can I get a refund for it"


def test_the_same_text_is_found_whatever_its_case_and_punctuation() -> None:
    texts = ["Where is my order?", "where is MY order", "Where's the order?", "\uff37here is my order", "", "?!", "?!"]
    assert [(pair.first, pair.second) for pair in same(texts)] == [(0, 1), (0, 3), (5, 6)]


def test_near_duplicates_are_found_and_others_are_not() -> None:
    chance = random.Random(4)
    words = [f"w{n}ord" for n in range(400)]
    others = [" ".join(chance.sample(words, 20)) for _ in range(300)]
    found = alike([*others, LONG, LONG.replace("blue", "green")], 0.7)
    assert [(pair.first, pair.second) for pair in found] == [(300, 301)]
    assert 0.7 <= found[0].similarity < 1
    assert alike(["x", "y", "", "ab"], 0.7) == []
    assert alike([LONG, LONG.upper()])[0].similarity == 1.0


def test_like_pairs_are_missed_in_fewer_than_one_of_a_hundred() -> None:
    chance = random.Random(7)
    texts = []
    for _ in range(300):
        words = [f"{chance.randrange(10**6)}" for _ in range(40)]
        texts += [" ".join(words), " ".join([*words[:39], "other"])]
    pairs = {pair.second for pair in alike(texts, 0.8)}
    assert len(pairs) >= 297
    assert all(place % 2 for place in pairs)


def example(name: str, text: str, split: str = "test", answer: str | None = None) -> Example:
    return Example(example_id=name, turns=(text,), split=split, expected=Expected(answer=answer))


def test_words_of_a_prompt_give_an_example_away() -> None:
    prompts = [
        Prompt(place="a.txt", text="You are a bot. Be kind."),
        Prompt(place="b.txt", text=f"Example. User: {LONG.upper()}!! Agent: The refund of 40 dollars is on its way."),
    ]
    examples = [
        example("whole", LONG),
        example("half", "hello there dear agent of the shop " + LONG[:70]),
        example("answer", "what now", answer="the refund of 40 dollars is on its way"),
        example("short answer", "what then", answer="be kind"),
        example("clean", "I want to return a pair of shoes that are too small for me, how do I do it please"),
    ]
    found = given_away(examples, prompts)
    assert [(one.example_id, one.part, one.place) for one in found] == [
        ("answer", "answer", "b.txt"),
        ("whole", "input", "b.txt"),
        ("half", "input", "b.txt"),
    ]
    assert found[1].share == 1.0
    assert 0.3 < found[2].share < 0.9
    assert found[2].words.startswith("i ordered a blue lamp on monday and it")
    assert given_away(examples, []) == []


def test_the_same_example_in_two_splits_is_found() -> None:
    examples = [
        example("1", LONG, "train"),
        example("2", LONG),
        example("3", LONG.replace("blue", "green")),
        example("4", "x"),
    ]
    found = across_splits(examples, 0.7)
    assert [(one.first_id, one.second_id) for one in found] == [("1", "2"), ("1", "3")]
    assert across_splits([example("1", LONG), example("2", LONG)]) == []


def test_splits_by_hash_are_stable_and_of_the_size_that_was_asked() -> None:
    examples = [example(str(n), "x") for n in range(5000)]
    found = split(examples, {"test": 0.2, "dev": 0.1})
    counts = {name: sum(one.split == name for one in found) for name in ("test", "dev", "train")}
    assert abs(counts["test"] - 1000) < 100
    assert abs(counts["dev"] - 500) < 80
    assert counts["train"] == 5000 - counts["test"] - counts["dev"]
    assert split(examples[4000:], {"test": 0.2, "dev": 0.1}) == found[4000:]
    assert parse_split("test=0.2") == ("test", 0.2)
    for wrong in ("test", "test=0", "test=1.1", "test=nan", "=0.2", "test=x"):
        with pytest.raises(InvalidInput):
            parse_split(wrong)
    with pytest.raises(InvalidInput, match="more than 1"):
        split(examples, {"a": 0.6, "b": 0.6})


ROW: dict[str, Any] = {
    "session_id": "s",
    "app": "shop",
    "outcome": 0.0,
    "outcome_label": None,
    "n_turns": 4,
    "cost_usd": None,
    "first_user_text": "Where is my Refund?",
    "score:judge": 0.25,
    "label:judge": "bad",
}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ('outcome == "failed"', True),
        ('outcome != "failed"', False),
        ('outcome == "passed"', False),
        ("outcome == 0", True),
        ("outcome <= 0 and n_turns > 3", True),
        ("3 < n_turns <= 4", True),
        ('app in ["shop", "desk"]', True),
        ('app not in ("desk",)', True),
        ("cost_usd < 1", False),
        ("cost_usd == null", True),
        ("cost_usd != null", False),
        ("outcome != null", True),
        ("not cost_usd > 1", True),
        ('contains(first_user_text, "refund")', True),
        ('contains(last_user_text, "refund")', False),
        ('score("judge") < 0.5 and label("judge") == "bad"', True),
        ('score("other") < 0.5', False),
        ('app == "shop" or (app == "desk" and n_turns == 1)', True),
        ("n_turns > -1", True),
    ],
)
def test_a_filter_chooses_sessions(text: str, passes: bool) -> None:
    assert parse_filter(text).passes(ROW) is passes


def test_outcomes_by_label_and_those_that_are_not_known() -> None:
    failed = parse_filter('outcome == "failed"')
    assert failed.passes({"outcome": None, "outcome_label": "failed"})
    assert not failed.passes({"outcome": None, "outcome_label": None})
    assert not parse_filter('outcome == "passed"').passes({"outcome": None, "outcome_label": None})
    assert parse_filter('outcome == "escalated"').passes({"outcome": 1.0, "outcome_label": "Escalated"})
    assert parse_filter('score("a") > 1 or label("b") == "x"').evaluators == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("outcome = 1", "cannot be read"),
        ("outcom == 1", "there is no field 'outcom'; there are session_id"),
        ('n_turns == "x"', "n_turns is a number, and is compared with 'x'"),
        ("app == 1", "app is a text"),
        ("app", "a condition compares something"),
        ('__import__("os").system("x") == 0', "values are fields"),
        ('().__class__ == "x"', "values are fields"),
        ('app in "shop"', '"in" needs a list'),
        ("9**9**9 == 1", "values are fields"),
        ('f"{app}" == "x"', "values are fields"),
        ("(lambda: 1)() == 1", "values are fields"),
        ("[x for x in app] == 1", "values are fields"),
        ("app == 'x'; app", "cannot be read"),
        ("app == " + "(" * 300 + '"x"' + ")" * 300, "the filter is wrong"),
        ("x" * 2001, "at most 2,000 characters"),
        ("app == '\0'", "cannot be read"),
    ],
)
def test_anything_else_is_refused_and_never_run(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parse_filter(text)
