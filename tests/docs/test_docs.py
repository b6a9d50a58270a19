"""The documentation is under test: what it says exists, and what exists is said."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from core.errors import AssayError
from core.records import PiiEntity, PiiMode, Role
from server.cli.main import COMMANDS
from server.cli.outcome import ExitCode
from server.routes.table import ROUTERS
from server.settings import Settings
from store.schema import TABLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
        *sorted((ROOT / "examples").glob("*.md")),
    ]
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_resolves(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{_name(page)}: {link} leads nowhere"
        assert to.is_relative_to(ROOT), f"{_name(page)}: {link} leads out of the repository"
        if anchor and to.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", to.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_slug(h) for h in headings}, f"{_name(page)}: no heading for {link}"


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        links = _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links if "://" not in link]
    assert set((ROOT / "docs").rglob("*.md")) <= seen | {ROOT / "docs" / "README.md"}


# --- commands -------------------------------------------------------------------------------------------------------


def _commands() -> list[tuple[str, str]]:
    """(page, command line) of every `assay ...` line in a fenced block."""
    found = []
    for page in PAGES:
        for block in _FENCE.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                match = re.match(r"\s*(?:\.venv/bin/)?(assay .+)", line)
                if match:
                    found.append((_name(page), match[1]))
    return found


class _Refused(Exception):
    pass


def _parse(words: list[str]) -> argparse.Namespace:
    module = importlib.import_module(COMMANDS[words[0]][0])
    parser = argparse.ArgumentParser(prog=f"assay {words[0]}", allow_abbrev=False)
    module.add_arguments(parser)
    try:
        return parser.parse_args(words[1:])
    except SystemExit as ended:
        raise _Refused(f"assay {shlex.join(words)}: the parser ends with {ended.code}") from None


@pytest.mark.parametrize(("page", "line"), _commands())
def test_every_documented_command_parses(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if words and words[0].startswith("-"):
        return
    assert words[0] in COMMANDS, f"{page}: there is no command {words[0]}"
    _parse(words)


def test_there_are_documented_commands() -> None:
    documented = {shlex.split(line, comments=True)[1] for _, line in _commands()}
    assert documented >= set(COMMANDS), f"no example of: {sorted(set(COMMANDS) - documented)}"


def test_every_command_is_in_the_table_of_commands() -> None:
    listed = re.findall(r"^\| `assay (\S+?)` \| (.+?) \|$", _read("docs/cli.md"), re.MULTILINE)
    assert [name for name, _ in listed] == list(COMMANDS)


def test_every_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", _read("docs/cli.md"), re.MULTILINE)
    assert {(int(code), name) for code, name in rows} == {(int(code), code.name.lower()) for code in ExitCode}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", _read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)\b", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets, f"{_name(page)}: {sorted(named - targets)} is no target of the Makefile"


# --- the API --------------------------------------------------------------------------------------------------------


def _served() -> set[str]:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return {
        f"{method} {re.sub(r':[a-z]+}', '}', r.path)}" for r in routes for method in (r.methods or set()) - {"HEAD"}
    }


def test_the_documented_routes_are_the_served_ones() -> None:
    documented = set(re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) /\S+)`", _read("docs/api.md"), re.MULTILINE))
    assert documented == _served()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_route_that_a_page_names_is_served(page: Path) -> None:
    named = re.findall(r"`((?:GET|POST|PUT|DELETE) /(?:api|healthz)[^`?\s]*)", page.read_text(encoding="utf-8"))
    assert set(named) <= _served()


def test_the_role_of_every_route_is_documented() -> None:
    from server.policy import policies_of

    text = _read("docs/api.md")
    for router in ROUTERS:
        for route in router.routes:
            if not isinstance(route, APIRoute):
                continue
            roles = [policy.role for policy in policies_of(route.dependant)]
            strictest = max(roles, key=lambda role: role.rank if role else -2)
            shown = strictest.value if strictest else "open"
            path = re.sub(r":[a-z]+}", "}", route.path)
            for method in (route.methods or set()) - {"HEAD"}:
                assert f"| `{method} {path}` | {shown} |" in text, f"{method} {path} is for {shown}"


def _errors(kind: type[AssayError]) -> set[str]:
    """Codes of an error and those below it; what the gateway's doors answer stands in docs/gateway.md."""
    if kind.__module__ == "gateway.errors":
        return set()
    return {kind.code} | {code for sub in kind.__subclasses__() for code in _errors(sub)}


def test_every_error_code_is_documented() -> None:
    importers = ("server.importers.reading", "server.importers.delivery")
    for module in ("clustering.embedders.protocol", "collector.http_request", "gateway.config_file", *importers):
        importlib.import_module(module)  # where the errors below AssayError are that nothing above has loaded
    documented = set(re.findall(r"^\| `(\w+)` \| (?:\d{3}|-|as sent) \|", _read("docs/api.md"), re.MULTILINE))
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "server").rglob("*.py"))
    literal = set(re.findall(r'\bcode="(\w+)"', source)) | set(
        re.findall(r'", "(\w+)"\),\n', _read("server/problems.py"))
    )
    ours = {code for code in _errors(AssayError) if not code.startswith("test")}
    assert documented >= ours | literal
    assert documented <= ours | literal | {"http_error"}


def test_every_role_is_documented() -> None:
    assert {role.value for role in Role} <= set(re.findall(r"^\| `(\w+)` \|", _read("docs/security.md"), re.MULTILINE))


# --- settings, lake, personal information ---------------------------------------------------------------------------


def test_every_setting_is_documented() -> None:
    text = _read("docs/operations.md")
    section = text[text.index("## Settings") : text.index("## Doctor")]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(Settings.model_fields)


def test_every_lake_column_is_documented_in_order() -> None:
    text = _read("docs/lake.md")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == list(TABLES)
    for table, columns in TABLES.items():
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", sections[table], re.MULTILINE)
        assert [name for name, _, _ in rows] == columns.names, f"docs/lake.md is behind store/schema.py for {table}"


def test_what_is_said_about_personal_information_is_what_was_measured() -> None:
    text = _read("docs/security.md")
    measured = json.loads(_read("benchmarks/results/redaction.json"))["accuracy"]
    table = text[text.index("<!-- pii-table -->") : text.index("<!-- /pii-table -->")]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) % \| ([\d.]+) % \|$", table, re.MULTILINE)
    assert [kind for kind, *_ in rows] == list(measured)
    for kind, labelled, leaked, false, recall, precision in rows:
        found = measured[kind]
        assert int(labelled) == found["labelled"]
        assert int(leaked) == found["labelled"] - found["caught"]
        assert int(false) == found["false"]
        assert float(recall) == round(100 * found["recall"], 1)
        assert float(precision) == round(100 * found["precision"], 1)
    kinds = set(re.findall(r"^\| `(\w+)` \|", text[: text.index("<!-- pii-table -->")], re.MULTILINE))
    assert kinds >= {entity.value for entity in PiiEntity}
    assert all(f"`{mode.value}`" in text for mode in PiiMode)


def test_what_is_said_about_masking_is_what_was_measured() -> None:
    text, measured = _read("docs/gateway-masking.md"), json.loads(_read("benchmarks/results/gateway_masking.json"))
    table = text[text.index("<!-- masking-table -->") : text.index("<!-- /masking-table -->")]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) % \| ([\d.]+) % \|$", table, re.MULTILINE)
    assert [kind for kind, *_ in rows] == list(measured["accuracy"])
    for kind, *counts, recall, precision in rows:
        found = measured["accuracy"][kind]
        assert [int(count) for count in counts] == [found["labelled"], found["sent"], found["false"]]
        assert (float(recall), float(precision)) == (100 * found["recall"], 100 * found["precision"])
    assert f"a prompt of 1,500 characters, never seen | {measured['us']['clean_unseen']:.0f} |" in text


# --- conformance ----------------------------------------------------------------------------------------------------


def test_the_conformance_table_has_every_item_once_and_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| (O-\d\d) \| (.+?) \| (.+?) \|$", _read("docs/otlp-conformance.md"), re.MULTILINE)
    assert [item for item, _, _ in rows] == [f"O-{n:02d}" for n in range(1, 60)]
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    existing = set(re.findall(r"def (test_\w+)", source))
    for item, _, tests in rows:
        named = re.findall(r"`(test_\w+)`", tests)
        assert set(named) <= existing, f"{item}: {sorted(set(named) - existing)} is no test"
        assert named or "not tested yet" in tests, f"{item} names no test and does not say so"


def test_every_conformance_test_is_in_the_table() -> None:
    text = _read("docs/otlp-conformance.md")
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"def (test_o\d\d_\w+)", path.read_text(encoding="utf-8")):
            assert f"`{name}`" in text, f"{_name(path)}: {name} is not in the table; run docs/conformance.py"


def test_the_pages_render() -> None:
    import runpy

    build = runpy.run_path(str(ROOT / "docs" / "build.py"))
    every = build["pages"]()
    assert set((ROOT / "docs").rglob("*.md")) <= set(every)
    assert all(build["title"](page) != page.stem for page in every)
