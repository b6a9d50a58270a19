"""Experiments at the session door: who is enrolled, what is stamped, who stays where, and what ends with a stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from experiments.records import Arm, Definition, UnitKind
from experiments.splits import hash_of, placed
from gateway.enrolment import Running
from gateway.session_door import Plan
from tests.experiments.definitions import definition
from tests.gateway.live import USER, Live, live
from tests.gateway.releases import Release, running

KEY: Final = "the secret of testers"
ONE: Final = definition()
USERS: Final = [f"u-{n}" for n in range(24)]
EXPERIMENT: Final = "refund-prompt:1"


class Place:
    """A gateway before two releases, v1 the baseline."""

    def __init__(self, gateway: Live, v1: Release, v2: Release) -> None:
        self.gateway, self.releases = gateway, {"v1": v1, "v2": v2}

    def run(self, *wanted: Definition, coverage: float = 1.0, testers: dict[str, str] | None = None) -> None:
        """From now on these are running, and no others."""
        overrides = {hash_of(KEY, unit): variant for unit, variant in (testers or {}).items()}
        self.gateway.running["acme", "shop"] = [
            Running(definition=one, coverage=coverage, overrides=overrides, override_key=KEY) for one in wanted
        ]

    def plan(self, weight: float) -> None:
        """From now on v2 has this weight of the plan."""
        weights = {"v1": 1 - weight, "v2": weight}
        self.gateway.plans["acme", "shop"] = Plan(baseline="v1", weights=weights, salt="s", variants={"v1": "as-is"})

    def ask(self, session: str, user: str = "", **more: str) -> httpx.Response:
        """A turn of a session."""
        headers = {"authorization": f"Bearer {USER}", **({"x-assay-user": user} if user else {}), **more}
        url = f"{self.gateway.url}/apps/shop/v1/sessions/{session}/turns"
        answer = httpx.post(url, json={"text": "hello"}, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer

    def met(self, session: str, user: str = "", **more: str) -> tuple[str, str, str]:
        """Release, variant and experiment of a turn, as the release was told them."""
        release = self.releases[str(self.ask(session, user, **more).headers["x-assay-release"])]
        told = release.asked[-1].baggage
        assert told["assay.release"] == release.name
        return release.name, told["assay.variant"], told.get("assay.experiment", "").replace("%3A", ":")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as opened:
        v1, v2 = (opened.enter_context(running(name)) for name in ("v1", "v2"))
        yield Place(opened.enter_context(served(tmp_path, v1, v2)), v1, v2)


def served(folder: Path, v1: Release, v2: Release) -> Any:
    """A gateway before two releases."""
    shop = {"baseline": "v1", "releases": {"v1": v1.url, "v2": v2.url}, "fallback_to_baseline": True}
    return live(folder, sessions={"shop": shop})


def arm(unit: str, one: Definition = ONE, coverage: float = 1.0) -> tuple[str, str, str] | None:
    """What the hash says."""
    found = placed(one, coverage, unit)
    return None if found.variant is None else (str(found.release), found.variant, one.salt)


def test_a_user_meets_the_arm_of_the_hash_in_every_session(place: Place) -> None:
    place.run(ONE)
    for user in USERS:
        assert place.met(f"one-{user}", user) == place.met(f"two-{user}", user) == arm(user)
    assert len({arm(user) for user in USERS}) == 2
    spans = [each for each in place.gateway.calls(2 * len(USERS)) if each["name"] == "session shop"]
    assert {each["assay.experiment"] for each in spans} == {EXPERIMENT}
    assert {(each["user.id"], each["assay.variant"]) for each in spans} == {
        (u, placed(ONE, 1.0, u).variant) for u in USERS
    }


def test_the_plan_answers_who_is_not_enrolled(place: Place) -> None:
    place.plan(1.0)
    place.run(replace(ONE, holdout=0.5))
    for user in USERS:
        expected = arm(user, replace(ONE, holdout=0.5)) or ("v2", "treatment", "")
        assert place.met(f"of-{user}", user) == expected
    assert place.met("nobody's") == ("v2", "treatment", ""), "without a user there is no unit"
    place.plan(0.0)
    assert place.met("nobody's-either") == ("v1", "as-is", ""), "the variant that the release is registered with"


def test_sessions_can_be_the_units(place: Place) -> None:
    one = replace(ONE, unit=UnitKind.SESSION)
    place.run(one)
    for n in range(16):
        assert place.met(f"s-{n}", "always-the-same") == arm(f"s-{n}", one)


def test_who_began_before_the_start_stays_and_is_not_in_it(place: Place) -> None:
    before = {user: place.met(f"old-{user}", user) for user in USERS}
    assert set(before.values()) == {("v1", "control", "")}
    place.run(ONE)
    for user in USERS:
        assert place.met(f"old-{user}", user) == before[user], "a session under way is not moved"
        assert place.met(f"new-{user}", user) == arm(user)


def test_a_ramp_lets_new_sessions_in_and_moves_nobody_out(place: Place) -> None:
    place.run(ONE, coverage=0.3)
    first = {user: place.met(f"one-{user}", user) for user in USERS}
    inside = {user for user in USERS if arm(user, coverage=0.3)}
    assert {user for user, (_, _, experiment) in first.items() if experiment} == inside
    assert inside
    place.run(ONE, coverage=1.0)
    for user in USERS:
        assert place.met(f"one-{user}", user) == first[user]
        assert place.met(f"two-{user}", user) == arm(user)


def test_what_is_remembered_never_overrides_the_arm(place: Place) -> None:
    """The plan gives v2 to everybody and is remembered; the user's next session has the arm all the same."""
    place.plan(1.0)
    user = next(each for each in USERS if placed(ONE, 1.0, each).variant == "control")
    assert place.met("first", user)[0] == "v2"
    place.run(ONE)
    assert place.met("first", user)[0] == "v2"
    assert place.met("second", user) == ("v1", "control", EXPERIMENT)
    assert place.met("second") == ("v1", "control", EXPERIMENT), "a turn that does not say again whose it is"


def test_exclusive_slots_never_share_a_user(place: Place) -> None:
    first = replace(ONE, slot=(0.0, 0.5))
    second = replace(ONE, name="tone", slot=(0.5, 1.0))
    place.run(first, second)
    found = {user: place.met(f"s-{user}", user)[2] for user in USERS}
    assert found == {user: EXPERIMENT if arm(user, first) else "tone:1" for user in USERS}
    assert set(found.values()) == {EXPERIMENT, "tone:1"}


def test_a_testers_variant_wins_at_once_whatever_else_is_said(place: Place) -> None:
    held = replace(ONE, holdout=0.999)
    place.run(held)
    assert place.met("s1", "ann") == ("v1", "control", "")
    place.run(held, testers={"ann": "treatment"})
    assert place.met("s1", "ann") == ("v2", "treatment", EXPERIMENT)
    place.run(held)
    assert place.met("s1", "ann") == ("v1", "control", ""), "a session of a tester is not kept where it was"


def test_a_stop_gives_everybody_back_to_the_plan(place: Place) -> None:
    place.run(ONE)
    user = next(each for each in USERS if placed(ONE, 1.0, each).variant == "treatment")
    assert place.met("s1", user)[0] == "v2"
    place.run()
    assert place.met("s1", user) == ("v1", "control", "")
    place.run(replace(ONE, version=2))
    assert place.met("s1", user)[2] == "", "it began before this version did"


def test_an_a_a_test_and_more_arms_have_variants_of_their_own(place: Place) -> None:
    arms = tuple(Arm(variant=name, release="v1" if name != "c" else "v2", weight=1.0) for name in "abc")
    one = replace(ONE, arms=arms)
    place.run(one)
    found = {user: place.met(f"s-{user}", user) for user in USERS}
    assert found == {user: arm(user, one) for user in USERS}
    assert {variant for _, variant, _ in found.values()} == set("abc")


def test_a_chosen_release_and_the_callers_own_stamp_are_no_exposure(place: Place) -> None:
    place.run(replace(ONE, holdout=0.999))
    assert place.met("s1", "ann", baggage=f"assay.experiment={EXPERIMENT}") == ("v1", "control", "")
    place.run(ONE)
    user = next(each for each in USERS if placed(ONE, 1.0, each).variant == "control")
    power = {"authorization": "Bearer acme:power_user", "x-assay-choose-release": "v2"}
    assert place.met("s2", user, **power) == ("v2", "treatment", "")


def test_a_restart_keeps_who_was_in_which_arm(tmp_path: Path) -> None:
    with running("v1") as v1, running("v2") as v2:
        with served(tmp_path, v1, v2) as gateway:
            place = Place(gateway, v1, v2)
            old = place.met("old", "u-1")
            place.run(ONE)
            new = place.met("new", "u-1")
        with served(tmp_path, v1, v2) as gateway:
            place = Place(gateway, v1, v2)
            place.run(ONE)
            assert (place.met("old", "u-1"), place.met("new", "u-1")) == (old, new)
            assert place.met("new") == new
