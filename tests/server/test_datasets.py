"""Datasets at the API and on the command line: made of sessions and files, paged, compared, checked, deleted."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S
from core.records import Role
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.store.build import fill, row

PROMPT = "Be kind. Example: I ordered a blue lamp on Monday and it has not arrived, where is it?"
ASKED = "I ordered a blue lamp on Monday and it has not arrived, where is it?"
Said = Callable[..., tuple[str, str]]


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("datasets")) as running:
        yield running


@pytest.fixture
def sessions(shell: Shell) -> Shell:
    """Four sessions of two turns, those with an even number failed; of two users."""
    now = int(time.time()) - 600
    rows = []
    for n in range(4):
        common = {"tenant": AIRLINE, "app": "shop", "session_id": f"s{n}", "user_id": f"user-{n % 2}"}
        for turn in range(2):
            trace = 10 * n + turn + 1
            at = {"trace_id": trace, "start_ns": (now + 10 * n + turn) * NS_PER_S}
            said = {
                "input": ASKED if n == 0 and turn == 0 else f"turn {turn} of {n}",
                "output": f"answer {turn} of {n}",
            }
            rows.append(row(**common, **at, **said, span_id=trace, name="agent", kind="AGENT"))
            told = {"attributes": {"gen_ai.system_instructions": json.dumps([{"type": "text", "content": PROMPT}])}}
            rows.append(row(**common, **at, **told, span_id=100 + trace, parent=trace, name="chat", kind="LLM"))
    fill(shell.services.lake, rows)
    for n in range(4):
        body = {"evaluator": "task_success", "evaluator_kind": "outcome", "target": "session", "value": n % 2}
        answer = shell.client.post(
            "/api/v1/scores", json={"items": [body | {"session_id": f"s{n}"}]}, headers=shell.headers()
        )
        assert answer.status_code < 300, answer.text
    return shell


@pytest.fixture
def said(shell: Shell, capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    with served(shell.services) as url:

        def run(*words: str, ends: ExitCode = ExitCode.OK, role: Role = Role.ADMIN) -> tuple[str, str]:
            code = main(["datasets", *words, "--url", url, "--key", shell.keys[AIRLINE, role]])
            told = capsys.readouterr()
            assert code == ends, (told.out, told.err)
            return told.out, told.err

        yield run


def post(shell: Shell, path: str, body: Any, role: Role = Role.USER) -> Any:
    return shell.client.post(f"/api/v1/datasets{path}", json=body, headers=shell.headers(role))


def get(shell: Shell, path: str = "", tenant: Any = AIRLINE, **params: Any) -> Any:
    return shell.client.get(f"/api/v1/datasets{path}", params=params, headers=shell.headers(Role.VIEWER, tenant))


def some(*numbers: int) -> list[dict[str, Any]]:
    return [{"example_id": f"e{n}", "input": f"question number {n}"} for n in numbers]


def test_the_two_commands_of_the_issue(sessions: Shell, said: Said, tmp_path: Path) -> None:
    out, err = said("create", "support-golden", "--from-traces", "--app", "shop", "--filter", 'outcome == "failed"')
    assert "support-golden: 2 added" in out
    assert "version 1 is the newest" in err
    items = get(sessions, "/support-golden/examples").json()["items"]
    assert [one["source"]["session_id"] for one in items] == ["s2", "s0"]
    assert items[1]["input"] == {"turns": [ASKED, "turn 1 of 0"]}
    assert (items[0]["source"]["user_id"], items[0]["expected"], items[0]["metadata"]["app"]) == ("user-0", {}, "shop")
    said("create", "support-golden", "--from-traces", "--app", "shop", ends=ExitCode.FAILED)
    file = tmp_path / "more.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in some(1, 2)))
    assert "more: 2 added" in said("import", str(file))[0]
    assert "nothing changed" in said("import", str(file))[1]
    out, _ = said("list")
    assert "support-golden" in out
    assert "more" in out


def test_sessions_are_added_once_and_with_their_answer(sessions: Shell, said: Said) -> None:
    said("create", "golden")
    said("add", "golden", "--session", "s1", "--trace", f"{31:032x}", "--with-answer")
    again = json.loads(said("add", "golden", "--session", "s1", "--with-answer", "--json")[0])
    assert (again["n_added"], again["n_same"], again["version"]) == (0, 1, 1)
    first, second = get(sessions, "/golden/examples").json()["items"]
    assert (first["expected"]["answer"], first["input"]["turns"]) == ("answer 1 of 1", ["turn 0 of 1", "turn 1 of 1"])
    assert (second["input"]["turns"], second["source"]["trace_id"]) == (["turn 0 of 3"], f"{31:032x}")
    none = post(sessions, "/golden/examples", {"sessions": ["unknown"]})
    assert (none.status_code, "no examples" in none.json()["detail"]) == (422, True)
    none = post(sessions, "/golden/examples", {"where": {"app": "nobody", "since": "7d", "filter": "n_turns > 0"}})
    why = "no session of app 'nobody' within 7d in which a user said something passes the filter"
    assert why in none.json()["detail"]
    for wrong in ('outcom == "x"', "n_turns ==", "__import__('os')"):
        answer = post(sessions, "/golden/examples", {"where": {"app": "shop", "filter": wrong}})
        assert (answer.status_code, answer.json()["field"]) == (422, "filter")


def test_pages_stay_with_the_version_they_began_with(shell: Shell) -> None:
    post(shell, "/golden/examples", {"examples": some(*range(5)), "create": True})
    first = get(shell, "/golden/examples", limit=2).json()
    post(shell, "/golden/examples", {"examples": some(9)})
    assert (first["version"], [one["example_id"] for one in first["items"]]) == (1, ["e0", "e1"])
    second = get(shell, "/golden/examples", limit=2, cursor=first["next_cursor"]).json()
    third = get(shell, "/golden/examples", limit=2, cursor=second["next_cursor"]).json()
    assert ([one["example_id"] for one in third["items"]], third["next_cursor"], third["version"]) == (["e4"], None, 1)
    chosen = get(shell, "/golden/examples", q="NUMBER 3").json()["items"]
    assert [one["example_id"] for one in chosen] == ["e3"]
    assert get(shell, "/golden/examples", split="none").json()["items"] == []
    assert get(shell, "/golden/examples/e9").json()["version"] == 2
    assert get(shell, "/golden/examples/e9", version=1).status_code == 404
    assert get(shell, "/golden/examples", version=7).status_code == 404
    assert get(shell, "/golden/examples", cursor="x.y").status_code == 400


def test_a_dataset_belongs_to_its_tenant_and_viewers_only_read(shell: Shell) -> None:
    post(shell, "/golden/examples", {"examples": some(1), "create": True})
    assert get(shell, tenant=SHOP).json()["items"] == []
    for path in ("/golden", "/golden/examples", "/golden/export", "/golden/diff"):
        assert get(shell, path, SHOP).status_code == 404
    assert post(shell, "/golden/examples", {"examples": some(2)}, Role.VIEWER).status_code == 403
    headers = shell.headers(Role.USER)
    assert shell.client.delete("/api/v1/datasets/golden", headers=headers).status_code == 403


def test_versions_compared_and_taken_back(shell: Shell, said: Said) -> None:
    post(shell, "/golden/examples", {"examples": some(1, 2), "create": True, "note": "first"})
    assert post(shell, "/golden/examples", {"examples": some(3), "if_version": 0}).status_code == 409
    said("remove", "golden", "--id", "e1", "--note", "wrong")
    changed = [{"example_id": "e2", "input": "question number 2", "expected": {"answer": "x"}}]
    clash = post(shell, "/golden/examples", {"examples": changed})
    assert (clash.status_code, "'e2'" in clash.json()["detail"]) == (409, True)
    post(shell, "/golden/examples", {"examples": changed, "replace": True})
    told = json.loads(said("diff", "golden", "--before", "1", "--json")[0])
    assert told == {"added": [], "removed": ["e1"], "changed": ["e2"], "n_same": 0}
    out, _ = said("show", "golden")
    assert "first" in out
    assert "answer" in out
    assert [one["version"] for one in get(shell, "/golden").json()["versions"]] == [3, 2, 1]
    assert "- e1" in said("diff", "golden", "--after", "2")[0]


def test_a_file_comes_out_as_it_went_in(shell: Shell, said: Said, tmp_path: Path) -> None:
    hostile = [{"example_id": "=cmd|' /C calc'!A0", "input": "<img src=x onerror=alert(1)>", "split": "dev"}, *some(1)]
    post(shell, "/golden/examples", {"examples": hostile, "create": True})
    for format_ in ("jsonl", "csv", "parquet"):
        file = tmp_path / f"{format_}-copy.{format_}"
        said("export", "golden", "--out", str(file))
        said("import", str(file))
        copies = get(shell, f"/{format_}-copy/examples").json()
        assert copies["content_hash"] == get(shell, "/golden").json()["newest"]["content_hash"]
    csv = (tmp_path / "csv-copy.csv").read_text()
    assert "\n'=cmd" in csv
    whole = get(shell, "/golden/export", format="csv")
    assert whole.headers["content-disposition"] == 'attachment; filename="dataset-v1.csv"'
    assert whole.headers["assay-dataset-version"] == "1"


def test_a_bad_line_ends_an_import_and_nothing_is_kept(shell: Shell, said: Said, tmp_path: Path) -> None:
    lines = [json.dumps(one) for one in some(*range(100))]
    lines[56] = '{"example_id": "x", "input": NaN}'
    file = tmp_path / "golden.jsonl"
    file.write_text("\n".join(lines))
    _, err = said("import", str(file), ends=ExitCode.USAGE)
    assert "line 57: NaN is no JSON" in err
    assert "nothing was imported" in err
    answer = shell.client.post(
        "/api/v1/datasets/golden/import?create=true", content=file.read_bytes(), headers=shell.headers()
    )
    assert (answer.status_code, "line 57" in answer.json()["detail"]) == (422, True)
    assert get(shell).json()["items"] == []
    out, err = said("import", str(file), "--skip-bad", "--split", "test=0.3")
    assert "99 added" in out
    assert "line 57: NaN" in err
    assert set(get(shell, "/golden").json()["newest"]["splits"]) == {"test", "train"}
    params = {"skip_bad": "true"}
    headers = shell.headers()
    again = shell.client.post(
        "/api/v1/datasets/golden/import", params=params, content=file.read_bytes(), headers=headers
    )
    assert (again.status_code, "of the ids stand for other examples" in again.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("empty.jsonl", b"", "the file is empty"),
        ("binary.jsonl", bytes(range(256)), "line 1: it has a NUL byte"),
        ("wide.csv", b"input\na,b\n", "line 2: it has 2 cells"),
        ("utf16.csv", "input\na".encode("utf-16"), "the file is UTF-16"),
        ("none.parquet", b"PAR1nothing", "not Parquet"),
        ("picture.png", b"\x89PNG", "does not say a format"),
    ],
)
def test_a_file_that_is_none_is_one_line_on_the_terminal(
    said: Said, tmp_path: Path, name: str, content: bytes, line: str
) -> None:
    (tmp_path / name).write_bytes(content)
    _, err = said("import", str(tmp_path / name), ends=ExitCode.USAGE)
    assert line in err
    assert len(err.splitlines()) <= 3
    assert "Traceback" not in err
    assert "no file" in said("import", str(tmp_path / "missing.jsonl"), ends=ExitCode.NOT_FOUND)[1]


def test_a_file_over_the_limit_of_a_request_goes_in_pieces(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.cli import datasets_import

    monkeypatch.setattr(datasets_import, "PIECE_BYTES", 20_000)
    folder = tmp_path_factory.mktemp("pieces")
    file = folder / "large.jsonl"
    file.write_text("".join(json.dumps({"input": f"{n} " + "x" * 500}) + "\n" for n in range(300)))
    with running_shell(folder, max_api_body_bytes=40_000) as shell, served(shell.services) as url:
        assert (
            main(["datasets", "import", str(file), "--json", "--url", url, "--key", shell.keys[AIRLINE, Role.USER]])
            == 0
        )
        told = json.loads(capsys.readouterr().out)
        assert (told["n_added"], told["version"], told["n_skipped"]) == (300, 1, 0)
        assert get(shell, "/large").json()["newest"]["n_examples"] == 300
        refused = shell.client.post(
            "/api/v1/datasets/x/import?create=true", content=file.read_bytes(), headers=shell.headers()
        )
        assert refused.status_code == 413


def test_an_example_that_stands_in_a_prompt_is_found(sessions: Shell, said: Said, tmp_path: Path) -> None:
    said("create", "golden", "--from-traces", "--app", "shop")
    out, _ = said("check", "golden", "--app", "shop", ends=ExitCode.FAILED)
    assert "given away: " in out
    assert "system instructions of 8 calls" in out
    prompts = tmp_path / "few-shot.txt"
    prompts.write_text(PROMPT)
    told = json.loads(said("check", "golden", "--prompts", str(prompts), "--json", ends=ExitCode.FAILED)[0])
    (found,) = told["given_away"]
    assert (found["place"], found["share"], found["part"]) == (str(prompts), 1.0, "input")
    prompts.write_text("something else altogether")
    file = tmp_path / "clean.jsonl"
    file.write_text('{"input": "how much is the fish"}\n{"input": "the sky over the harbour is grey today"}')
    said("import", str(file))
    assert "nothing found" in said("check", "clean", "--prompts", str(prompts))[0]


def test_deleting_is_said_first(shell: Shell, said: Said) -> None:
    post(shell, "/golden/examples", {"examples": some(1, 2), "create": True})
    out, err = said("delete", "golden")
    assert "would delete golden: 1 version, 2 examples" in out
    assert "add --yes" in err
    assert get(shell, "/golden").status_code == 200
    said("delete", "golden", "--yes")
    assert get(shell, "/golden").status_code == 404
    said("delete", "golden", "--yes", ends=ExitCode.NOT_FOUND)


@pytest.mark.parametrize("name", ["", "a" * 10_000, "a\x00b", "a\nb", "..", "a\\b"])
def test_a_wrong_name_is_refused(shell: Shell, name: str) -> None:
    assert post(shell, "", {"name": name}).status_code == 422
    assert get(shell).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"examples": [{"input": "x", "expct": 1}], "create": True}, 422),
        ({"examples": [], "create": True}, 422),
        ({"examples": "x", "create": True}, 422),
        ({"examples": some(1)}, 404),
        ({"pieces": ["0" * 64], "create": True}, 404),
        ({"pieces": ["../x"], "create": True}, 422),
        ({"examples": some(1), "create": True, "splits": ["test=2"]}, 422),
        ({"examples": some(1), "create": True, "threshold": 0}, 422),
        ({"examples": [*some(1), *some(1)], "create": True}, 422),
        ({"examples": [{"example_id": "x", "input": "\ud800"}], "create": True}, 422),
    ],
)
def test_wrong_examples_are_refused_whole(shell: Shell, body: dict[str, Any], status: int) -> None:
    headers = {**shell.headers(), "Content-Type": "application/json"}
    answer = shell.client.post("/api/v1/datasets/golden/examples", content=json.dumps(body), headers=headers)
    assert answer.status_code == status, answer.text
    assert all(one["newest"] is None for one in get(shell).json()["items"])


def test_hostile_text_is_kept_and_printed_without_its_escapes(shell: Shell, said: Said) -> None:
    name = "<img onerror=x> \U0001f600"
    text = "\x1b]0;owned\x07 hello"
    post(shell, f"/{name}/examples", {"examples": [{"example_id": "a", "input": text}], "create": True})
    out, _ = said("show", name)
    assert "\x1b]" not in out
    assert "hello" in out
    assert get(shell, f"/{name}/examples/a").json()["example"]["input"]["turns"] == [text]
    assert io.StringIO(out).readline().startswith("<img onerror=x>")
