"""Experiments at the API and on the command line: versions, starts, ramps, layers, testers, and what is refused."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from typing import Any, Final

import pytest

from core.records import Role
from experiments.records import Definition
from experiments.registered import of_json
from experiments.splits import placed
from server.cli import experiments
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served

ARMS: Final = [
    {"variant": "control", "release": "v1", "weight": 50},
    {"variant": "treatment", "release": "v2", "weight": 50},
]
METRICS: Final = [{"name": "resolution", "role": "primary"}, {"name": "cost", "role": "guardrail"}]
WANTED: Final[dict[str, Any]] = {"name": "refund-prompt", "app": "desk", "arms": ARMS, "metrics": METRICS}


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    yield from with_releases(tmp_path_factory)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """For tests that change nothing."""
    yield from with_releases(tmp_path_factory)


def with_releases(folders: pytest.TempPathFactory) -> Iterator[Shell]:
    """An app with two releases."""
    with running_shell(folders.mktemp("experiments")) as running:
        for name in ("v1", "v2"):
            body = {"app": "desk", "name": name, "endpoint": f"http://127.0.0.1:1/{name}"}
            answer = running.client.post("/api/v1/releases", json=body, headers=running.headers())
            assert answer.status_code == 201, answer.text
        yield running


def post(shell: Shell, path: str = "", body: Any = None, role: Role = Role.POWER_USER) -> Any:
    return shell.client.post(f"/api/v1/experiments{path}", json=body or {}, headers=shell.headers(role))


def get(shell: Shell, path: str = "/experiments", tenant: Any = AIRLINE, **asked: Any) -> Any:
    return shell.client.get(f"/api/v1{path}", params=asked, headers=shell.headers(Role.VIEWER, tenant))


def registered(shell: Shell, **change: Any) -> dict[str, Any]:
    answer = post(shell, body={**WANTED, **change})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def refused(shell: Shell, **change: Any) -> tuple[str, str]:
    """The field and the words of a refusal."""
    answer = post(shell, body={**WANTED, **change})
    assert answer.status_code == 422, answer.text
    return answer.json()["field"], answer.json()["detail"]


def as_definition(told: dict[str, Any]) -> Definition:
    said = told["definition"]
    return of_json(said["name"], said["app"], said["version"], said)


def test_what_is_not_said_is_filled_in_and_told(shell: Shell) -> None:
    told = registered(shell)
    assert (told["version"], told["status"], told["is_new"], told["warnings"]) == (1, "draft", True, [])
    assert [one["share"] for one in told["arms"]] == [0.5, 0.5]
    cost = told["metrics"][1]
    assert (cost["better"], cost["margin"], cost["relative"]) == ("lower", 0.1, True)
    assert (told["design"], told["horizon"], told["coverage"]) == ("confidence_sequence", None, 0.0)
    assert told["definition"]["alpha"] == 0.05
    assert registered(shell, horizon={"units": 20_000, "days": 14})["design"] == "group_sequential"
    assert told["created_by"] == "power_user of airline"


def test_the_same_again_is_the_same_version(shell: Shell) -> None:
    first = registered(shell)
    again = registered(shell)
    assert (again["version"], again["is_new"], again["digest"]) == (1, False, first["digest"])


def test_a_change_after_the_start_is_a_new_version_and_says_so(shell: Shell) -> None:
    registered(shell, start=True)
    renamed = [ARMS[0], {**ARMS[1], "variant": "shorter"}]
    told = registered(shell, arms=renamed)
    assert (told["version"], told["status"], told["is_new"]) == (2, "draft", True)
    assert "version 1 is running with other content" in told["warnings"][0]
    assert "another salt" in told["warnings"][0]
    answer = post(shell, "/refund-prompt/start")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "stop it first" in answer.json()["detail"]
    assert post(shell, "/refund-prompt/stop", {"reason": "renamed"}).json()["version"] == 1
    assert post(shell, "/refund-prompt/start").json()["status"] == "running"
    versions = get(shell, "/experiments/refund-prompt").json()["versions"]
    assert [(one["version"], one["status"], one["reason"]) for one in versions] == [
        (2, "running", None),
        (1, "stopped", "renamed"),
    ]
    assert versions[1]["arms"][1]["variant"] == "treatment", "what was registered stays"


def test_a_list_shows_what_runs_before_what_is_drafted(shell: Shell) -> None:
    registered(shell, start=True)
    registered(shell, alpha=0.01)
    registered(shell, name="a-draft")
    items = get(shell).json()["items"]
    assert [(one["name"], one["version"], one["status"]) for one in items] == [
        ("refund-prompt", 1, "running"),
        ("a-draft", 1, "draft"),
    ]
    assert items[0]["primary"] == "resolution"
    assert (items[0]["word"], items[0]["n_units"]) == (None, None)
    assert get(shell, app="other").json()["items"] == []
    assert get(shell, tenant=SHOP).json()["items"] == []
    assert get(shell, "/experiments/refund-prompt", tenant=SHOP).status_code == 404


def test_a_ramp_lets_in_and_never_out(shell: Shell) -> None:
    definition = as_definition(registered(shell))
    post(shell, "/refund-prompt/start", {"coverage": 0.2})
    users = [f"u-{n}" for n in range(40)]

    def variants() -> dict[str, str]:
        found = {user: get(shell, "/assignments", app="desk", unit=user).json()["items"][0] for user in users}
        return {user: one["variant"] for user, one in found.items() if one["counts"]}

    before = variants()
    assert before == {user: one.variant for user in users if (one := placed(definition, 0.2, user)).variant is not None}
    assert post(shell, "/refund-prompt/ramp", {"coverage": 0.6}).json()["coverage"] == 0.6
    after = variants()
    assert before.items() <= after.items()
    assert len(after) > len(before)
    answer = post(shell, "/refund-prompt/ramp", {"coverage": 0.1})
    assert (answer.status_code, answer.json()["field"]) == (422, "coverage")
    assert "no unit is moved out" in answer.json()["detail"]


def test_a_layer_keeps_experiments_apart(shell: Shell) -> None:
    first = as_definition(registered(shell, slot_share=0.5, start=True))
    second = registered(shell, name="tone", slot_share=0.5)
    assert (first.slot, second["definition"]["slot"]) == ((0.0, 0.5), [0.5, 1.0])
    assert post(shell, "/tone/start").json()["status"] == "running"
    answer = post(shell, body={**WANTED, "name": "third", "slot_share": 0.2})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "no free slot of 0.2; all of it is taken: stop one" in answer.json()["detail"]
    whole = registered(shell, name="third")
    assert "as it is, it cannot start" in whole["warnings"][0]
    answer = post(shell, "/third/start")
    assert answer.status_code == 409
    assert "a unit would be in both" in answer.json()["detail"]
    for user in (f"u-{n}" for n in range(60)):
        found = get(shell, "/assignments", app="desk", unit=user).json()["items"]
        assert sorted(one["reason"] for one in found) == ["hash", "other_slot"]


def test_slots_do_not_keep_users_and_sessions_apart(shell: Shell) -> None:
    registered(shell, slot=[0, 0.5], start=True)
    registered(shell, name="by-session", unit="session", slot=[0.5, 1])
    answer = post(shell, "/by-session/start")
    assert answer.status_code == 409
    assert "slots keep units of one kind apart" in answer.json()["detail"]


def test_what_the_app_assigns_needs_no_release_and_has_layers_of_its_own(shell: Shell) -> None:
    arms = [{"variant": name, "weight": 0.5} for name in ("old", "new")]
    registered(shell, name="tone", assigned_by="app", arms=arms, layer="tone", start=True)
    registered(shell, start=True)
    found = get(shell, "/assignments", app="desk", unit="u-1").json()["items"]
    assert [one["experiment"] for one in found] == ["refund-prompt", "tone"]
    assert [one["release"] is None for one in found] == [False, True]


def test_an_override_of_no_arm_registers_nothing(shell: Shell) -> None:
    for dry_run in (True, False):
        body = {**WANTED, "overrides": {"ann@example.com": "blue"}, "dry_run": dry_run}
        told = shell.client.post("/api/v1/experiments", json=body, headers=shell.headers(Role.POWER_USER))
        assert (told.status_code, told.json()["field"]) == (422, "overrides")
    assert get(shell, "/experiments/refund-prompt").status_code == 404


def test_a_tester_gets_a_variant_and_no_id_is_kept(shell: Shell) -> None:
    registered(shell, start=True, overrides={"ann@example.com": "treatment"})
    path = "/api/v1/experiments/refund-prompt/overrides"
    body = {"overrides": {"bob@example.com": "control"}}
    told = shell.client.put(path, json=body, headers=shell.headers(Role.POWER_USER))
    assert told.json()["n_overrides"] == 2
    for user, variant in (("ann@example.com", "treatment"), ("bob@example.com", "control")):
        (one,) = get(shell, "/assignments", app="desk", unit=user).json()["items"]
        assert (one["variant"], one["reason"], one["counts"]) == (variant, "override", False)
    assert "example.com" not in get(shell, "/experiments/refund-prompt").text
    body = {"overrides": {"bob@example.com": "blue"}}
    told = shell.client.put(path, json=body, headers=shell.headers(Role.POWER_USER))
    assert (told.status_code, told.json()["field"]) == (422, "overrides")


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"name": "Refund Prompt"}, "name", "1 to 63 of a-z"),
        ({"arms": ARMS[:1]}, "arms", "2 to 20 arms"),
        ({"arms": [ARMS[0], {**ARMS[1], "weight": 40}]}, "arms", "sum to 90"),
        ({"arms": [ARMS[0], {**ARMS[1], "weight": 0}]}, "arms", "above 0"),
        ({"arms": [ARMS[0], {**ARMS[1], "variant": "control"}]}, "arms", "'control'"),
        ({"arms": [ARMS[0], {"variant": "new", "weight": 50}]}, "arms", "needs a release"),
        ({"metrics": METRICS[1:]}, "metrics", "one metric is the primary"),
        ({"metrics": [*METRICS, {"name": "safety", "role": "primary"}]}, "metrics", "this has 2"),
        ({"metrics": [*METRICS, METRICS[1]]}, "metrics", "'cost' stands twice"),
        ({"metrics": [{"name": "resolutoin", "role": "primary"}]}, "metrics", "resolution"),
        ({"metrics": [METRICS[0], {"name": "cost", "role": "guardrail", "margin": -1}]}, "metrics", "from 0 on"),
        ({"horizon": {"units": 1}}, "horizon", "at least 2"),
        ({"alpha": 0.9}, "alpha", "at most 0.2"),
        ({"holdout": 1.0}, "holdout", "below 1"),
        ({"slot": [0.5, 0.5]}, "slot", "the lower first"),
        ({"slot_share": 0.0}, "slot_share", "above 0"),
        ({"strata": ["topic", "topic"]}, "strata", "each once"),
        ({"layer": "tone"}, "layer", "a session meets one release"),
        ({"covariate_days": 400}, "covariate_days", "0 to 90"),
    ],
)
def test_what_cannot_be_an_experiment_is_refused_by_its_field(
    untouched: Shell, change: dict[str, Any], field: str, said: str
) -> None:
    assert refused(untouched, **change)[0] == field
    assert said in refused(untouched, **change)[1]
    assert get(untouched).json()["items"] == []


def test_releases_are_registered_before_the_start(shell: Shell) -> None:
    told = registered(shell, arms=[ARMS[0], {**ARMS[1], "release": "v9"}])
    assert "not registered for desk: v9" in told["warnings"][0]
    answer = post(shell, "/refund-prompt/start")
    assert (answer.status_code, answer.json()["field"]) == (422, "arms")


def test_who_may_do_what(shell: Shell) -> None:
    registered(shell)
    for path in ("", "/refund-prompt/start", "/refund-prompt/ramp", "/refund-prompt/stop"):
        assert post(shell, path, WANTED if not path else {}, role=Role.USER).status_code == 403
    assert get(shell).status_code == 200


def test_dry_runs_change_nothing(shell: Shell) -> None:
    assert registered(shell, dry_run=True, start=True)["version"] == 1
    assert get(shell).json()["items"] == []
    registered(shell)
    assert post(shell, "/refund-prompt/start", {"coverage": 0.3, "dry_run": True}).json()["status"] == "running"
    assert get(shell, "/experiments/refund-prompt").json()["status"] == "draft"


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_commands_of_a_whole_experiment(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with served(shell.services) as url:

        def said(*words: str, ends: ExitCode = ExitCode.OK) -> tuple[str, str]:
            assert main(["experiments", *words, "--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]) == ends
            told = capsys.readouterr()
            return told.out, told.err

        make = ("create", "refund-prompt", "--app", "desk", "--control", "v1", "--treatment", "v2", "--split", "50/50")
        metrics = ("--primary", "resolution", "--guardrail", "safety,cost,p95_latency", "--margin", "cost=5%")
        length = ("--horizon", "14d", "--users", "800/day", "--strata", "topic,tier", "--cuped-days", "7")
        assert "no experiments" in said("list")[1]
        dry = json.loads(said(*make, *metrics, *length, "--dry-run", "--json")[0])
        assert (dry["horizon"], dry["strata"]) == ({"units": 11_200, "days": 14}, ["topic", "tier"])
        assert {one["name"]: (one["role"], one["margin"], one["relative"]) for one in dry["metrics"]} == {
            "resolution": ("primary", None, False),
            "safety": ("guardrail", 0.02, False),
            "cost": ("guardrail", 0.05, True),
            "p95_latency": ("guardrail", 0.1, True),
        }
        assert dry["definition"]["covariate_days"] == 7
        mde = ("--mde", "0.03", "--baseline", "0.86", "--users", "800/day")
        planned = json.loads(said(*make, *metrics, *mde, "--dry-run", "--json")[0])["horizon"]
        asked = {"baseline": 0.86, "mde": 0.03, "users_per_day": 800}
        told = shell.client.post("/api/v1/experiments/plan", json=asked, headers=shell.headers(Role.VIEWER)).json()
        assert planned == {"units": told["units"], "days": told["days"]}
        out, err = said(*make, *metrics, *length, "--slot", "0.5", "--dry-run")
        for line in ("horizon 11,200 units in 14 days", "strata topic, tier", "slot 0 to 0.5"):
            assert line in out
        assert "a dry run: nothing is registered" in err
        assert "experiments start" not in err
        assert "no experiments" in said("list")[1]
        out, err = said(*make[:-2], *metrics, "--dry-run")
        assert out.count("50 %") == 2, "arms are equal where no split is said"
        out, err = said(*make, *metrics)
        assert ("5 %" in out, "assay experiments start refund-prompt" in err) == (True, True)
        assert "coverage 10 %" in said("start", "refund-prompt", "--coverage", "10%")[0]
        assert "stays 10 %, assay experiments ramp refund-prompt" in said("start", "refund-prompt")[1]
        assert "only grows" in said("ramp", "refund-prompt", "5%", ends=ExitCode.USAGE)[1]
        assert "coverage 100 %" in said("ramp", "refund-prompt", "1")[0]
        assert "control 50 %, treatment 50 %" in said("list", "--app", "desk")[0]
        assert "gets treatment" in said("override", "refund-prompt", "u-1", "treatment")[1]
        (one,) = json.loads(said("assign", "u-1", "--app", "desk", "--json")[0])["items"]
        assert (one["variant"], one["reason"]) == ("treatment", "override")
        assert "by hash again" in said("override", "refund-prompt", "u-1", "--remove")[1]
        assert "by hash" in said("assign", "u-1", "--app", "desk")[0]
        assert "no experiment over a session" in said("assign", "s-1", "--app", "desk", "--unit", "session")[1]
        assert "warning: version 1 is running" in said(*make, "--primary", "cost")[1]
        assert "stopped" in said("stop", "refund-prompt", "--reason", "shipped")[0]
        said("start", "no-such", ends=ExitCode.NOT_FOUND)


@pytest.mark.parametrize("action", list(experiments.ACTIONS))
def test_every_command_has_json_and_an_example_that_parses(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    experiments.add_arguments(parser)
    assert parser.parse_args([action, *shlex.split(experiments.EXAMPLES[action]), "--json"]).json
    assert main(["experiments", action, "--help"]) == ExitCode.OK
    shown = " ".join(capsys.readouterr().out.split())
    assert f"example: assay experiments {action} {experiments.EXAMPLES[action]}" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--split", "50/30/20"), "3 weights for 2 arms"),
        (("--split", "60/30"), "sum to 90"),
        (("--split", "half"), "is no split"),
        (("--horizon", "14d"), "needs --users"),
        (("--mde", "0.03"), "needs --baseline"),
        (("--mde", "0.03", "--horizon", "200"), "give one"),
        (("--horizon", "soon"), "is no horizon"),
        (("--margin", "cost=5%"), "none of the metrics"),
        (("--margin", "resolution=-1"), "is no margin"),
        (("--holdout", "120%"), "is no share"),
        (("--better", "resolution=up"), "higher or"),
    ],
)
def test_a_wrong_argument_says_what_to_write(
    untouched: Shell, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    make = (
        "create",
        "refund-prompt",
        "--app",
        "desk",
        "--control",
        "v1",
        "--treatment",
        "v2",
        "--primary",
        "resolution",
    )
    with served(untouched.services) as url:
        connected = ("--url", url, "--key", untouched.keys[AIRLINE, Role.ADMIN])
        assert main(["experiments", *make, *words, *connected]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
