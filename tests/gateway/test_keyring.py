"""An upstream's keys: in turn, and resting."""

from __future__ import annotations

from gateway.upstreams.keyring import EVERY_MODEL, Keyring


def taken(keys: Keyring, n_times: int, model: str = "m", now: float = 0) -> list[str | None]:
    """The keys that are taken one after another."""
    found = [keys.take(model, now) for _ in range(n_times)]
    return [key and key[1] for key in found]


def test_keys_are_used_in_turn() -> None:
    assert taken(Keyring(["a", "b", "c"]), 5) == ["a", "b", "c", "a", "b"]


def test_an_upstream_without_keys_is_asked_without_one() -> None:
    assert Keyring([]).take("m", 0) == (1, "")


def test_a_key_that_was_told_to_wait_rests_for_that_model_only() -> None:
    keys = Keyring(["a", "b"])
    keys.rest(1, "m", until=5)
    assert taken(keys, 2) == ["b", "b"]
    assert taken(keys, 2, model="other") == ["a", "b"]
    assert taken(keys, 2, now=5) == ["a", "b"]
    assert keys.n_resting(4) == 1
    assert keys.n_resting(5) == 0


def test_a_key_that_was_refused_rests_for_every_model() -> None:
    keys = Keyring(["a", "b"])
    keys.rest(2, EVERY_MODEL, until=60)
    assert taken(keys, 2, model="x") == ["a", "a"]
    assert not keys.all_refused(0)
    keys.rest(1, EVERY_MODEL, until=60)
    assert taken(keys, 1, model="y") == [None]
    assert keys.all_refused(59)
    assert not keys.all_refused(60)


def test_it_says_how_long_until_a_key_is_there() -> None:
    keys = Keyring(["a", "b"])
    assert keys.wait_s("m", 0) == 0
    keys.rest(1, "m", until=7)
    keys.rest(2, "m", until=3)
    assert keys.wait_s("m", 1) == 2
    assert keys.wait_s("other", 1) == 0


def test_a_rest_is_never_made_shorter() -> None:
    keys = Keyring(["a"])
    keys.rest(1, "m", until=9)
    keys.rest(1, "m", until=2)
    assert keys.wait_s("m", 0) == 9
