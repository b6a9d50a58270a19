"""What rollouts do is told to other systems: signed, at least once, in order, to addresses that may be called."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from core.records import Principal, Role
from server.rollout_targets import GitHub, Target, Webhook, targets_of
from server.rollout_telling import RolloutTeller
from server.settings import BadSettings, Settings, load_settings
from server.signing import is_signed, signature_of
from server.urls import callee, checked_callee
from store.control.records import PlanSpec, ReleaseSpec
from tests.server.receivers import DROP, GitHubSpoken, Receiver, listening
from tests.server.shell import AIRLINE, Shell, running_shell
from tests.waiting import wait_until

KEY = "a key of sixteen characters or more"
ANN = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann")
DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("telling")) as running:
        control = running.services.control
        for release in ("v1", "v2"):
            control.register_release(AIRLINE, ReleaseSpec(app="shop", name=release), by=ANN)
        control.set_plan(AIRLINE, PlanSpec(app="shop", baseline="v1", weights={"v1": 1.0}), by=ANN)
        yield running


def deploy_and_abort(shell: Shell) -> str:
    """Two events: a rollout that waits for an approval is begun, and aborted. Its id."""
    wanted = {"app": "shop", "candidate": "v2", "steps": [{"weight": 0.5}], "endpoint_elsewhere": True}
    headers = shell.headers(Role.ADMIN)
    made = shell.client.post("/api/v1/rollouts", headers=headers, json=wanted | {"requires": {"approval": True}})
    assert made.status_code == 201, made.text
    done = shell.client.post("/api/v1/rollouts/shop/abort", headers=headers, json={"reason": "not today"})
    assert done.status_code == 200, done.text
    return str(made.json()["id"])


def left_out(shell: Shell, rollout: str) -> list[dict[str, Any]]:
    """What the audit log says of a rollout's events that were not told."""
    found = shell.client.get("/api/v1/audit", headers=shell.headers(Role.ADMIN)).json()["items"]
    return [one for one in found if (one["action"], one["resource"]) == ("rollout.not_told", f"rollout/shop/{rollout}")]


class Told:
    """A teller of one target, whose waits pass when the test says so. Rollouts before `rollout` are told already."""

    def __init__(self, shell: Shell, target: Target, rollout: str, later_ns: int = 0) -> None:
        self.now = 0.0
        control = shell.services.control
        for one in control.untold(target.name, 0):
            if one.rollout_id != rollout:
                control.note_told(one, target.name, one.n_events)
        services = replace(shell.services, clock=lambda: time.time_ns() + later_ns)
        self.teller = RolloutTeller(services, [target], lambda: self.now)

    def after(self, seconds: float = 0.0) -> int:
        self.now += seconds
        return self.teller.round()


@contextmanager
def hooked() -> Iterator[tuple[Receiver, Webhook]]:
    receiver = Receiver()
    with listening(receiver):
        yield receiver, Webhook.of(f"{receiver.url}/hook?a=b", KEY, private=True)


def test_every_event_is_told_in_order_and_signed(shell: Shell) -> None:
    rollout = deploy_and_abort(shell)
    with hooked() as (receiver, hook):
        told = Told(shell, hook, rollout)
        assert told.after() == 2
        assert (told.after(), Told(shell, hook, rollout).after()) == (0, 0)  # a restart tells nothing again
    bodies = [json.loads(one.body) for one in receiver.came]
    assert [(one["id"], one["kind"]) for one in bodies] == [(f"{rollout}:1", "deploy"), (f"{rollout}:2", "abort")]
    assert bodies[1]["text"] == "not today"
    assert (bodies[1]["tenant"], bodies[1]["candidate"], bodies[1]["status"]) == ("airline", "v2", "aborted")
    for one in receiver.came:
        timestamp, signature = one.headers["x-assay-timestamp"], one.headers["x-assay-signature"]
        assert one.path == "/hook?a=b"
        assert one.headers["x-assay-delivery"] == json.loads(one.body)["id"]
        assert is_signed(KEY, timestamp, signature, one.body, now_s=time.time())
        assert not is_signed(KEY, timestamp, signature, one.body + b" ", now_s=time.time())
        assert not is_signed(KEY + "x", timestamp, signature, one.body, now_s=time.time())
        assert not is_signed(KEY, timestamp, signature, one.body, now_s=time.time() + 301)  # a replay


def test_what_did_not_arrive_is_sent_again_later_and_later(shell: Shell) -> None:
    rollout = deploy_and_abort(shell)
    with hooked() as (receiver, hook):
        receiver.answers = [500, DROP, 302, 404]
        told = Told(shell, hook, rollout)
        assert [told.after(s) for s in (0, 0.9, 0.1, 1.9, 0.1, 4, 8)] == [0, 0, 0, 0, 0, 0, 2]
    assert [json.loads(one.body)["kind"] for one in receiver.came] == ["deploy"] * 5 + ["abort"]
    assert {one.path for one in receiver.came} == {"/hook?a=b"}  # no redirect was followed


def test_after_a_day_an_event_is_left_out_and_the_audit_log_says_so(shell: Shell) -> None:
    rollout = deploy_and_abort(shell)
    hook = Webhook.of("http://127.0.0.1:9/", KEY, private=True)
    assert Told(shell, hook, rollout).after() == 0
    assert Told(shell, hook, rollout, later_ns=DAY_NS + 60 * 10**9).after() == 2
    left = left_out(shell, rollout)
    assert sorted(one["after"]["event"] for one in left) == [1, 2]
    assert left[0]["after"]["why"].startswith("after a day")


def test_two_processes_do_not_tell_one_event_at_once(shell: Shell) -> None:
    rollout = deploy_and_abort(shell)
    control = shell.services.control
    record = control.rollout(AIRLINE, rollout)
    first = control.take_untold(record, "t", "elsewhere/1/1")
    assert first is not None
    assert first.number == 1
    assert control.take_untold(record, "t", "here/2/2") is None
    assert control.take_untold(record, "t", "here/2/2", gone=lambda _: True) == first
    control.note_told(record, "t", 1)
    following = control.take_untold(record, "t", "elsewhere/1/1")
    assert following is not None
    assert following.number == 2


def test_the_thread_tells_by_itself(shell: Shell) -> None:
    with hooked() as (receiver, hook):
        teller = RolloutTeller(shell.services, [hook])
        teller.start()
        rollout = deploy_and_abort(shell)
        wanted = {f"{rollout}:1", f"{rollout}:2"}
        wait_until(lambda: wanted <= {one.headers["x-assay-delivery"] for one in receiver.came}, 30, "both events")
        teller.close()


@contextmanager
def github(**given: Any) -> Iterator[tuple[GitHubSpoken, GitHub]]:
    spoken = GitHubSpoken(
        repository="acme/shop", refs=given.pop("refs", frozenset({"v2"})), token=given.pop("token", "t"), **given
    )  # fmt: skip
    with listening(spoken):
        yield spoken, GitHub.of("shop=acme/shop@live", spoken.url, "t")


def test_a_rollout_is_a_deployment_of_github(shell: Shell) -> None:
    rollout = deploy_and_abort(shell)
    with github() as (spoken, target):
        assert Told(shell, target, rollout).after() == 2
    (made,) = spoken.deployments
    assert (made["ref"], made["environment"], made["auto_merge"]) == ("v2", "live", False)
    assert [(one["state"], one["description"]) for one in spoken.statuses[1]] == [
        ("queued", "v2 over v1: 50 % → 100 %"),
        ("inactive", "not today"),
    ]


def test_a_deployment_that_is_there_is_used_and_a_lost_answer_doubles_nothing(shell: Shell) -> None:
    rollout = deploy_and_abort(shell)
    with github(drops=1) as (spoken, target):
        spoken.deployments.append({"id": 1, "ref": "v2", "environment": "live"})
        told = Told(shell, target, rollout)
        assert (told.after(), told.after(1)) == (0, 2)
    assert len(spoken.deployments) == 1
    assert [one["state"] for one in spoken.statuses[1]] == ["queued", "inactive"]


@pytest.mark.parametrize(
    ("given", "says"), [({"refs": frozenset()}, "No ref found for: v2"), ({"token": "x"}, "Bad credentials")]
)
def test_what_github_will_never_take_is_left_out_at_once(shell: Shell, given: dict[str, Any], says: str) -> None:
    rollout = deploy_and_abort(shell)
    with github(**given) as (_, target):
        assert Told(shell, target, rollout).after() == 2
    left = left_out(shell, rollout)
    assert len(left) == 2
    assert says in left[0]["after"]["why"]


def test_other_apps_are_not_told_to_a_repository(shell: Shell) -> None:
    rollout = deploy_and_abort(shell)
    assert Told(shell, GitHub.of("desk=acme/shop", "http://127.0.0.1:9", "t"), rollout).after() == 0


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("https://127.0.0.1/", False),
        ("https://localhost/", False),
        ("https://10.1.2.3/", False),
        ("https://[::1]/", False),
        ("https://[::ffff:10.0.0.1]/", False),
        ("https://[64:ff9b::a00:1]/", False),
        ("https://100.64.0.1/", False),
        ("http://169.254.169.254/latest/meta-data", True),
        ("http://[fd00:ec2::254]/", True),
        ("http://[::ffff:169.254.169.254]/", True),
        ("http://0.0.0.0/", True),
        ("http://224.0.0.1/", True),
        ("https://no-such-name.invalid/", True),
    ],
)
def test_addresses_that_may_not_be_called(address: str, private: bool) -> None:
    with pytest.raises(ValueError, match=r"not called|not found"):
        callee(address, private=private)


@pytest.mark.parametrize(
    "address",
    [
        "http://hooks.example.com/",
        "ftp://x/",
        "https://u:p@x.example/",
        "https:///x",
        "https://x/#y",
        "x",
        "https://x y/",
    ],
)
def test_addresses_of_another_form_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="called"):
        checked_callee(address, private=False)


def test_a_name_that_leads_to_one_address_within_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*_: object, **__: object) -> list[Any]:
        return [(2, 1, 6, "", (ip, 443)) for ip in ("93.184.216.34", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    with pytest.raises(ValueError, match=r"leads to 127\.0\.0\.1"):
        callee("https://rebound.example/x", private=False)


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("93.184.216.34", 443))])
    found = callee("https://hooks.example.com/x?y=1", private=False)
    assert (found.url, found.host) == ("https://93.184.216.34:443/x?y=1", "hooks.example.com")


def test_a_signature_is_as_documented() -> None:
    """As `printf '1700000000.{}' | openssl dgst -sha256 -hmac k` says."""
    wanted = "v1=c6ef4734033cee2367414a0939385eca0397754aa7a59716da7463a9298b5146"
    assert signature_of("k", "1700000000", b"{}") == wanted
    assert is_signed("k", "1700000000", wanted, b"{}", now_s=1.7e9 + 300)
    assert not is_signed("k", "soon", wanted, b"{}", now_s=1.7e9)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rollout_webhooks": "https://x.example/"}, "rollout_webhook_key"),
        ({"rollout_webhooks": "https://x.example/", "rollout_webhook_key": "short"}, "16 characters"),
        ({"rollout_webhooks": "http://x.example/", "rollout_webhook_key": KEY}, "only https"),
        ({"github_deployments": "shop"}, "OWNER/REPOSITORY"),
        ({"github_deployments": "shop=a/b"}, "ASSAY_GITHUB_TOKEN"),
        ({"github_api_url": "http://github.example.com"}, "https://"),
    ],
)
def test_settings_that_cannot_be_used_are_told(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSettings, match=says):
        load_settings(**given)


def test_the_settings_name_targets() -> None:
    settings = Settings(
        rollout_webhooks=("https://a.example/", "https://b.example/", "https://a.example/"),
        rollout_webhook_key=SecretStr(KEY),
        github_deployments=("shop=acme/shop", "shop=acme/shop@staging"),
        github_token=SecretStr("t"),
    )
    found = targets_of(settings)
    assert len({one.name for one in found}) == len(found) == 4
    assert all(len(one.name) <= 64 and "example" not in one.name for one in found)
