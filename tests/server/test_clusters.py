"""Clusters at the API and in the terminal: a run in a child of the server, what it found, what is done with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from core.ids import TenantId
from core.records import Principal, Role
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.clustering_child import place_of
from server.clustering_rounds import last_night
from store.control.run_records import RunSource, RunSpec
from tests.server.clustered import APP, PARAMS, THINGS, arrive, begun, done, told
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served

API = "/api/v1/clusters"
EVAL = "run_1"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """24 sessions of three kinds, and 8 that an evaluation run asked for."""
    key = SecretStr("a key of sixteen characters")
    with running_shell(tmp_path_factory.mktemp("clusters"), rollout_webhook_key=key) as running:
        for kind in ("refund", "wash", "late"):
            arrive(running, kind)
        spec = RunSpec(
            app=APP, release="r1", dataset="golden", dataset_version=1, content_hash="0" * 64, evaluators=(), k=1,
            source=RunSource.RELEASE, params={},
        )  # fmt: skip
        by = Principal(tenant=AIRLINE, role=Role.POWER_USER, name="ann")
        running.services.control.start_run(AIRLINE, EVAL, spec, [], by=by)
        arrive(running, "wash", first=200, run=EVAL)
        yield running


@pytest.fixture(scope="module")
def run(shell: Shell) -> dict[str, Any]:
    """A run over them."""
    return done(shell)


def get(shell: Shell, path: str, tenant: TenantId = AIRLINE, **asked: Any) -> Any:
    return shell.client.get(f"{API}{path}", params=asked, headers=shell.headers(Role.VIEWER, tenant))


def by_kind(shell: Shell) -> dict[str, dict[str, Any]]:
    """The clusters by the kind of the sessions that are in them."""
    found = {}
    for one in get(shell, "").json()["items"]:
        names = {each["session_id"].rpartition("-")[0] for each in get(shell, f"/{one['id']}/sessions").json()["items"]}
        assert len(names) == 1, f"{one['id']} holds {names}"
        found[names.pop()] = one
    return found


def test_before_a_run_the_list_says_what_to_do(shell: Shell) -> None:
    empty = get(shell, "", tenant=SHOP).json()
    assert (empty["items"], empty["run"], empty["n_waiting"]) == ([], None, 0)
    assert "assay clusters run" in empty["says"][0]
    feed = get(shell, "/emerging", tenant=SHOP).json()
    assert (feed["items"], feed["looked_at"]) == ([], None)
    assert get(shell, "/map", tenant=SHOP).json()["points"]["session_id"] == []


def test_a_dry_run_says_what_it_would_take_and_begins_nothing(shell: Shell) -> None:
    n_before = len(get(shell, "/runs").json()["items"])
    body = {"app": APP, "since": "1d", "params": PARAMS, "dry_run": True}
    tried = shell.client.post(f"{API}/runs", json=body, headers=shell.headers(Role.POWER_USER)).json()
    assert (tried["n_sessions"], tried["embedder"], tried["method"]) == (24, "tfidf", "umap_hdbscan")
    long_ago = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    asked = {name: value for name, value in body.items() if name != "since"} | long_ago
    nothing = shell.client.post(f"{API}/runs", json=asked, headers=shell.headers(Role.POWER_USER))
    assert (nothing.json()["n_sessions"], nothing.json()["method"]) == (0, None)
    assert len(get(shell, "/runs").json()["items"]) == n_before


def test_a_run_goes_through_its_stages_in_a_child(shell: Shell, run: dict[str, Any]) -> None:
    assert (run["status"], run["error"]) == ("done", None)
    assert (run["n_sessions"], run["n_clusters"], run["n_noise"]) == (24, 3, 0)
    names = [stage["name"] for stage in run["stages"]]
    told_in_order = ("read", "embed", "map", "names", "profile", "write")
    assert [name for name in names if name in told_in_order] == list(told_in_order)
    assert run["embedder"].startswith("tfidf-svd/")
    assert run["params"]["embedder"] == "tfidf"
    assert run["peak_mib"] > 50
    assert run["asked_by"] == f"power_user of {AIRLINE}"


def test_the_kinds_are_the_clusters_and_what_fails_comes_first(shell: Shell, run: dict[str, Any]) -> None:
    listed = get(shell, "", sort="failures").json()
    assert {kind: one["n_sessions"] for kind, one in by_kind(shell).items()} == {"refund": 8, "wash": 8, "late": 8}
    first = listed["items"][0]
    assert (first["failure_rate"], first["rest_rate"], first["n_users"]) == (1.0, 0.0, 8)
    assert first["failure_low"] > 0.6
    assert (first["state"], first["alive"], first["title_by"]) == ("born", True, "terms")
    assert {"late", "parcel"} & set(" ".join(term["term"] for term in first["terms"]).split())
    assert sum(day["n"] for day in first["trend"]) == 8
    assert len(first["trend"]) == 28
    assert [one["id"] for one in get(shell, "", state="born,growing").json()["items"]]
    assert get(shell, "", state="died").json()["items"] == []
    assert listed["n_by_state"] == {"born": 3}
    assert (first["excess"], first["growth"]) == (8.0, 8)
    assert get(shell, "", state="dead").status_code == 422


def test_one_cluster_tells_exemplars_figures_places_and_lineage(shell: Shell, run: dict[str, Any]) -> None:
    late = by_kind(shell)["late"]
    one = get(shell, f"/{late['id']}").json()
    assert one["exemplars"]
    assert all("parcel" in each["first_input"] and each["failed"] is True for each in one["exemplars"])
    (rate,) = [figure for figure in one["figures"] if figure["name"] == "failure rate"]
    assert (rate["value"], rate["rest"], rate["unit"]) == (1.0, 0.0, "share")
    assert [(place["kind"], place["name"], place["share"]) for place in one["wrong_at"]] == [
        ("tool", "track_parcel", 1.0)
    ]
    assert [(event["kind"], event["n_sessions"], event["run_id"]) for event in one["lineage"]] == [
        ("born", 8, run["id"])
    ]
    assert get(shell, f"/{late['id']}", tenant=SHOP).status_code == 404
    assert get(shell, "/C-9999").status_code == 404


def test_sessions_of_a_cluster_come_by_pages_each_once(shell: Shell, run: dict[str, Any]) -> None:
    late, seen, cursor = by_kind(shell)["late"]["id"], [], None
    while True:
        page = get(shell, f"/{late}/sessions", limit=3, **({} if cursor is None else {"cursor": cursor})).json()
        seen += [one["session_id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(f"late-{number}" for number in range(8))
    assert get(shell, f"/{late}/sessions", tenant=SHOP).status_code == 404


def test_every_session_has_its_place_on_the_map(shell: Shell, run: dict[str, Any]) -> None:
    found = get(shell, "/map", run=run["id"]).json()
    points = found["points"]
    assert {len(column) for column in points.values()} == {24}
    assert len(set(points["session_id"])) == found["n"] == found["n_shown"] == 24
    assert "not distances in meaning" in found["says"][0]
    few = get(shell, "/map", most=5).json()
    assert (few["n_shown"], few["n"]) == (5, 24)
    assert get(shell, "/map", run="clusters_none").status_code == 404


def test_nothing_is_new_without_a_before(shell: Shell, run: dict[str, Any]) -> None:
    feed = get(shell, "/emerging").json()
    assert (feed["items"], feed["alerts"]) == ([], [])
    assert feed["looked_at"] is not None
    assert feed["says"]
    (look,) = feed["looks"]
    assert (look["app"], look["n_tested"], look["looked_at"]) == (APP, 0, feed["looked_at"])


def test_a_new_session_joins_its_cluster_and_a_strange_one_waits(shell: Shell, run: dict[str, Any]) -> None:
    from clustering.service_assign import Assigner

    before = {kind: one["n_sessions"] for kind, one in by_kind(shell).items()}
    arrive(shell, "refund", ("kettle",), ago_s=60, first=100)
    arrive(shell, "Quel temps fera-t-il demain sur la lune", ("x",), ago_s=60, first=100)
    services = shell.services
    assigner = Assigner(services.control, services.clock, "a test")
    arrive(shell, "refund", ("anorak",), ago_s=60, first=300, run=EVAL)
    place = place_of(services.settings, AIRLINE, APP)
    done_now = assigner.work(services.store.tenant(AIRLINE), place, APP)
    assert done_now.n == 2
    assert assigner.work(services.store.tenant(AIRLINE), place, APP).n == 0  # each once
    listed = get(shell, "").json()
    assert by_kind(shell)["refund"]["n_sessions"] == before["refund"] + 1
    assert (listed["n_waiting"], listed["n_sessions"]) == (1, 26)
    assert listed["lag_ms"] == round(done_now.lag_ms, 1) > 50_000  # they ended a minute ago
    now = get(shell, "/map").json()
    assert (now["n"], now["says"][1][:40]) == (24, "2 sessions that came since are not on th")
    assert len(get(shell, "/map", run=run["id"]).json()["says"]) == 1


def test_a_cluster_becomes_a_dataset(shell: Shell, run: dict[str, Any]) -> None:
    wash = by_kind(shell)["wash"]["id"]

    def freeze(**more: Any) -> Any:
        body = {"dataset": "washing", **more}
        return shell.client.post(f"{API}/{wash}/freeze", json=body, headers=shell.headers(Role.USER))

    tried = freeze(dry_run=True).json()
    assert (tried["n_examples"], tried["n_added"], tried["n_left_out"], tried["dry_run"]) == (8, 8, 0, True)
    dataset = "/api/v1/datasets/washing"
    assert shell.client.get(dataset, headers=shell.headers(Role.VIEWER)).status_code == 404
    made = freeze().json()
    assert (made["version"], made["n_added"]) == (1, 8)
    items = shell.client.get(f"{dataset}/examples", headers=shell.headers(Role.VIEWER)).json()["items"]
    assert {one["input"]["turns"][0] for one in items} == {f"How do I wash the {thing} at home" for thing in THINGS}
    again = freeze().json()
    assert (again["version"], again["n_added"], again["n_same"]) == (1, 0, 8)


def test_a_watch_is_made_by_who_may_and_repeats_no_address(shell: Shell, run: dict[str, Any]) -> None:
    late = by_kind(shell)["late"]["id"]
    path = f"{API}/{late}/watch"
    assert shell.client.put(path, json={}, headers=shell.headers(Role.VIEWER)).status_code == 403
    assert shell.client.put(path, json={}, headers=shell.headers(Role.ADMIN, SHOP)).status_code == 404
    inside = shell.client.put(path, json={"url": "https://127.0.0.1/x"}, headers=shell.headers(Role.USER))
    assert (inside.status_code, inside.json()["field"]) == (422, "url")
    made = shell.client.put(path, json={"min_ratio": 2}, headers=shell.headers(Role.USER)).json()
    assert (made["min_ratio"], made["host"]) == (2.0, None)
    assert made["rate"] == pytest.approx(8 / get(shell, "").json()["n_sessions"])
    assert get(shell, f"/{late}").json()["watched"] is True
    assert [one["cluster"]["id"] for one in get(shell, "/watches").json()["items"]] == [late]
    assert get(shell, "/watches", tenant=SHOP).json()["items"] == []
    assert shell.client.delete(path, headers=shell.headers(Role.USER)).status_code == 200
    assert shell.client.delete(path, headers=shell.headers(Role.USER)).status_code == 404


def test_a_run_that_waits_is_alone_and_is_cancelled_where_it_is(shell: Shell, run: dict[str, Any]) -> None:
    waits = begun(shell)
    headers = shell.headers(Role.POWER_USER)
    again = shell.client.post(f"{API}/runs", json={"app": APP}, headers=headers)
    assert (again.status_code, waits["id"] in again.json()["detail"]) == (409, True)
    assert (
        shell.client.post(f"{API}/runs/{waits['id']}/cancel", json={}, headers=headers).json()["status"] == "cancelled"
    )
    assert told(shell, waits["id"])["error"] == f"cancelled by power_user of {AIRLINE}"
    assert get(shell, "").json()["run"]["id"] == waits["id"]
    assert len(get(shell, "").json()["items"]) == 3  # those of the run before


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"colour": 1}, "params"),
        ({"embedder": "bert"}, "params.embedder"),
        ({"min_cluster_size": 1}, "params.min_cluster_size"),
        ({"seed": 1.5}, "params.seed"),
        ({"weights": {"intent": 0, "actions": 0, "outcome": 0}}, "params.weights"),
        ({"weights": {"intent": -1}}, "params.weights.intent"),
        ({"reassign": "yes"}, "params.reassign"),
    ],
)
def test_a_wrong_parameter_is_named(shell: Shell, params: dict[str, Any], field: str) -> None:
    body = {"app": APP, "params": params, "dry_run": True}
    refused = shell.client.post(f"{API}/runs", json=body, headers=shell.headers(Role.POWER_USER))
    assert (refused.status_code, refused.json()["field"]) == (422, field)


def test_the_commands_of_a_user(shell: Shell, run: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    late = by_kind(shell)["late"]["id"]
    with served(shell.services) as url:

        def assay(*words: str) -> str:
            server = ["--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]
            assert main(["clusters", *words, *server]) == ExitCode.OK
            return capsys.readouterr().out

        listed = assay("list", "--state", "born,growing", "--sort", "failures")
        assert listed.split()[:3] == ["id", "state", "beyond"]
        assert (late in listed.splitlines()[1], "+8.0" in listed.splitlines()[1]) == (True, True)
        assert "first those with most of: failures beyond those of as many sessions at the rest's rate" in listed
        shown = assay("show", late)
        assert all(word in shown for word in ("failing 100.0%", "track_parcel", "born", "user: My parcel", ": r1 (8)"))
        assert assay("sessions", late, "--limit", "3").count("late-") == 3
        assert "as version 1" in assay("freeze", late, "--dataset", "late-parcels", "--dry-run")
        assert "watched since" not in shown
        assert late in assay("watch", late, "--min-ratio", "2")
        assert late in assay("watch")
        watched = " ".join(assay("show", late).split())
        assert "by admin of" in watched
        assert "An alert once it is surely over 2 times that" in watched
        assert "told at the page Emerging, the addresses of the server's settings: never yet" in watched
        assert "watched no more" in assay("unwatch", late)
        assert run["id"] in assay("runs")
        assert "compared with the rest" in assay("runs", run["id"])
        assert json.loads(assay("map", "--json"))["n_shown"] >= 24
        feed = assay("emerging")
        assert f"{APP}: looked at" in feed
        assert "nothing could be tested" in feed  # nothing from before is there: that is not that nothing emerged
        assert "nothing is new or growing" not in feed


def test_a_child_that_is_told_to_stop_leaves_the_run_to_the_next(shell: Shell, run: dict[str, Any]) -> None:
    from server.clustering_child import work_on

    waits = begun(shell)
    control = shell.services.control
    assert control.take_cluster_run("one", ()) is not None
    stop = threading.Event()
    stop.set()
    assert work_on(shell.services, AIRLINE, waits["id"], stop) == 0
    assert told(shell, waits["id"])["status"] == "running"
    taken = control.take_cluster_run("two", (), lambda owner: owner == "one")
    assert taken is not None
    assert taken.run_id == waits["id"]
    assert "try 2" in told(shell, waits["id"])["says"][0]
    control.cancel_cluster_run(AIRLINE, waits["id"], by=Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann"))


def test_the_night_is_the_last_time_that_it_was_that_hour() -> None:
    at = 1_790_000_000 * 10**9  # 2026-09-21T14:13:20Z
    assert last_night(at, 3).isoformat() == "2026-09-21T03:00:00+00:00"
    assert last_night(at, 15).isoformat() == "2026-09-20T15:00:00+00:00"
