"""Terms of clusters: the published formulas, twelve languages, any text, and nobody who could be told by them."""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustering.function_words import FUNCTION_WORDS
from clustering.terms import (
    LEAST_USERS,
    class_counts,
    class_tf_idf,
    contrast,
    diverse,
    likeness,
    log_odds,
    prior_of,
    terms_of,
    vocabulary,
)
from clustering.words import terms_in, words

NAMES = ("anna", "bruno", "carla", "dora", "emil", "frida")
# What users say of one subject in twelve languages, and a word that must tell it.
LANGUAGES = {
    "English": ("refund", "I want a refund for my order", "where is the refund that you promised me"),
    "German": ("rückerstattung", "Ich möchte eine Rückerstattung für meine Bestellung", "wo ist die Rückerstattung"),
    "French": ("remboursement", "Je veux le remboursement de l'argent", "où est le remboursement que vous avez promis"),
    "Spanish": ("reembolso", "Quiero el reembolso de mi pedido", "¿dónde está el reembolso que me han prometido?"),
    "Portuguese": ("devolução", "Quero a devolução do meu dinheiro", "onde está a devolução que você prometeu"),
    "Italian": ("rimborso", "Voglio il rimborso del mio ordine", "dov'è il rimborso che mi avete promesso"),
    "Polish": ("zwrot", "Chcę zwrot za moje zamówienie", "gdzie jest zwrot który obiecaliście"),
    "Russian": ("возврат", "Я хочу возврат за мой заказ", "где мой возврат который вы обещали"),
    "Turkish": ("iade", "Siparişim için İADE istiyorum", "bana söz verdiğiniz iade nerede"),
    "Arabic": ("استرداد", "أريد استرداد المال من الطلب", "أين استرداد المبلغ الذي وعدتم به"),
    "Hindi": ("रिफंड", "मुझे मेरे ऑर्डर का रिफंड चाहिए", "मेरा रिफंड कहाँ है"),
    "Chinese": ("退款", "我想要退款", "我的退款在哪里"),
}


def told(texts: Sequence[str], labels: Sequence[int], users: Sequence[str | None] | None = None) -> list[list[str]]:
    """The terms of each cluster."""
    found = vocabulary(texts, users or [None] * len(texts))
    given_labels = np.array(labels, dtype=np.int32)
    counts = class_counts(found, given_labels, int(given_labels.max()) + 1)
    by_cluster = contrast(found.terms, counts, np.bincount(given_labels, minlength=len(counts)).tolist())
    return [[one.text for one in terms_of(by_cluster, at, ())] for at in range(len(counts))]


def test_class_tf_idf_is_the_published_formula() -> None:
    """By hand: A = (6 + 5) / 2, W = tf · log(1 + A / f)."""
    weights = class_tf_idf(np.array([[4.0, 0.0, 2.0], [0.0, 3.0, 2.0]]))
    assert weights[0] == pytest.approx([4 * math.log(1 + 5.5 / 4), 0.0, 2 * math.log(1 + 5.5 / 4)])
    assert weights[1] == pytest.approx([0.0, 3 * math.log(1 + 5.5 / 3), 2 * math.log(1 + 5.5 / 4)])


def test_log_odds_are_the_published_formula() -> None:
    """By hand, y = (3, 1), x = (1, 3), a = (1, 1): log(4/2) - log(2/4) over the root of 1/4 + 1/2."""
    ratio, z = log_odds(np.array([3.0, 1.0]), np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    assert ratio == pytest.approx([2 * math.log(2), -2 * math.log(2)])
    assert z == pytest.approx([2 * math.log(2) / math.sqrt(0.75), -2 * math.log(2) / math.sqrt(0.75)])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=12))
def test_log_odds_of_the_other_side_are_the_negative(both: list[tuple[int, int]]) -> None:
    counts = np.array(both, dtype=np.float64).T
    prior = prior_of(counts)
    assert np.all(prior > 0)
    here, there = counts[0], counts[1]
    for one, other in zip(log_odds(here, there, prior), log_odds(there, here, prior), strict=True):
        assert one == pytest.approx(-other, abs=1e-9)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_cluster_of_any_language_among_others_is_told_by_its_subject(language: str) -> None:
    texts = [said[1 + n % 2] for said in LANGUAGES.values() for n in range(10)]
    labels = [n // 10 for n in range(len(texts))]
    place = list(LANGUAGES).index(language)
    found = told(texts, labels)[place]
    assert any(LANGUAGES[language][0] in one for one in found[:3]), found
    assert not [one for one in found if one in FUNCTION_WORDS]


def test_the_word_that_everybody_says_tells_no_cluster() -> None:
    """No list holds it: it falls out because the other clusters say it as often."""
    subjects = ("parcel", "invoice", "password")
    texts = [f"blorp {subject} blorp {n % 3}" for subject in subjects for n in range(20)]
    found = told(texts, [n // 20 for n in range(60)])
    assert [one[0] for one in found] == list(subjects)
    assert not [one for terms in found for one in terms if one == "blorp"]


def test_siblings_are_told_by_what_they_do_not_share() -> None:
    texts = ["card payment declined"] * 20 + ["card payment twice"] * 20 + ["weather tomorrow"] * 40
    found = vocabulary(texts, [None] * len(texts))
    counts = class_counts(found, np.repeat([0, 1, 2], [20, 20, 40]).astype(np.int32), 3)
    first = [one.text for one in terms_of(contrast(found.terms, counts, [20, 20, 40]), 0, (1,))]
    assert "declined" in " ".join(first)
    assert "card" not in first
    assert "twice" not in " ".join(first)


def test_of_terms_alike_one_is_enough() -> None:
    terms = ("refund", "refunds", "refunded", "bank", "refund order")
    chosen = diverse(terms, np.array([1.0, 0.98, 0.96, 0.8, 0.9]), 2)
    assert [terms[at] for at in chosen] == ["refund", "bank"]
    assert likeness("top up", "top") == 1.0
    assert likeness("refund", "weather") == 0.0


def test_a_pair_stands_for_its_words() -> None:
    found = told(["bank transfer failed"] * 5 + ["weather tomorrow please"] * 5, [0] * 5 + [1] * 5)[0]
    assert "bank transfer" in found
    assert "bank" not in found


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.lists(st.sampled_from(NAMES))), min_size=1, max_size=40)
)
def test_no_term_was_said_by_fewer_than_three_users(said: list[tuple[int, int, list[str]]]) -> None:
    texts = [" ".join(spoken) for _, _, spoken in said]
    users = [f"user-{user}" for user, _, _ in said]
    for terms in told(texts, [label for _, label, _ in said], users):
        for term in terms:
            assert len({user for user, text in zip(users, texts, strict=True) if term in terms_in(text)}) >= LEAST_USERS


def test_one_user_gives_no_term_however_much_was_said() -> None:
    texts = ["Dear Mr Quillfeather, my parcel is lost"] * 1_000
    assert told(texts, [0] * 1_000, ["user-1"] * 1_000) == [[]]
    assert vocabulary(texts, ["user-1"] * 1_000).rare >= {"quillfeather", "parcel"}


def test_one_text_a_thousand_times_without_users_is_told_by_its_words() -> None:
    found = told(["My parcel is lost"] * 1_000 + ["Weather tomorrow"] * 50, [0] * 1_000 + [1] * 50)
    assert "parcel" in " ".join(found[0])


def test_what_is_no_language_gives_no_term() -> None:
    noise = base64.b64encode(random.Random(1).randbytes(750_000)).decode()  # 1 MB
    long = [word for word in words(noise) if len(word) > 30]
    assert not long
    assert words("order 123456789 of 4111 1111 1111 1111 at 2026-11-22") == ["order", "of", "at"]
    assert words("it answered 503 and 429, not 200") == ["it", "answered", "503", "and", "429", "not"]
    assert words("") == words("   \n\t ") == words("\x00\ud800") == words("🙂🙂") == []


def test_empty_texts_are_no_error() -> None:
    assert told(["", "", ""], [0, 0, 0]) == [[]]
    assert told(["", "", "", "a refund please", "a refund please", "refund"], [0, 0, 0, 1, 1, 1])[0] == []


def test_the_order_of_sessions_changes_nothing() -> None:
    texts = [line for said in LANGUAGES.values() for line in said[1:] for _ in range(4)]
    labels = [n // 8 for n in range(len(texts))]
    order = random.Random(3).sample(range(len(texts)), len(texts))
    assert told(texts, labels) == told([texts[at] for at in order], [labels[at] for at in order])


def test_elided_and_split_words_are_whole() -> None:
    assert words("L'argent n'est pas arrivé aujourd'hui") == ["argent", "est", "pas", "arrivé", "aujourd'hui"]
    assert words("the customer’s card") == ["the", "customer", "card"]
    assert terms_in("We top up, it is not working") == {"top", "top up", "not working", "working"}
    assert words("注文のキャンセルができません") == ["注文", "キャンセル"]
    assert "get_order" in words("get_order get_order failed")


def test_a_term_tells_its_weight() -> None:
    found = vocabulary(["refund"] * 3 + ["parcel"] * 3, [None] * 6)
    counts = class_counts(found, np.array([0, 0, 0, 1, 1, 1], dtype=np.int32), 2)
    (only,) = terms_of(contrast(found.terms, counts, [3, 3]), 0, ())
    assert only.text == "refund"
    assert only.weight == pytest.approx(3 * math.log(2))
