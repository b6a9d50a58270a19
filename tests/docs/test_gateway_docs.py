"""The gateway's pages are under test: every field of its file, its schema, and its examples."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.config import GatewayConfig, schema
from gateway.config_file import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gateway-config.md").read_text(encoding="utf-8")
SCHEMA = ROOT / "docs" / "gateway.schema.json"


def sections(model: type[BaseModel], path: str = "The whole file") -> Iterator[tuple[str, list[str]]]:
    """The heading and the fields of every section, from the top."""
    yield path, list(model.model_fields)
    below = "" if path == "The whole file" else f"{path}."
    for name, one in model.model_fields.items():
        for kind, mark in kinds(one.annotation):
            yield from sections(kind, f"{below}{name}{mark}")


def kinds(annotation: Any, mark: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """Sections within a type, with how they are listed there."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, mark
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    more = {dict: ".NAME", tuple: "[]"}.get(origin, mark)
    for each in inside:
        yield from kinds(each, more)


def test_every_field_of_the_gateways_file_is_documented_in_its_section() -> None:
    documented = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    expected = dict(sections(GatewayConfig))
    rows = {name: re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) for name, text in documented.items()}
    assert {name: fields for name, fields in rows.items() if fields} == expected


def test_the_committed_schema_is_that_of_the_models() -> None:
    """`assay gateway check --schema > docs/gateway.schema.json` writes it."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json.loads(json.dumps(schema()))


def _examples() -> list[tuple[str, str]]:
    found = []
    for page in sorted((ROOT / "docs").glob("gateway*.md")):
        for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)):
            found.append((f"{page.name}:{number}", block))
    return found


@pytest.mark.parametrize(("name", "text"), _examples(), ids=lambda each: each if len(each) < 50 else "")
def test_every_example_that_names_what_it_uses_is_a_good_file(name: str, text: str, tmp_path: Path) -> None:
    """An excerpt that names models of elsewhere is only looked at for its keys."""
    path = tmp_path / "gateway.yaml"
    path.write_text(text.replace("${file:/run/secrets/second}", "${env:KEY}"), encoding="utf-8")
    environ = dict.fromkeys(set(re.findall(r"\$\{env:(\w+)\}", text)) | {"KEY"}, "value")
    try:
        assert load_config(path, environ).config.version == 1
    except Exception as error:
        unknown = [line for line in getattr(error, "problems", [str(error)]) if "there is no" not in line]
        assert not unknown, f"{name}: {unknown}"


def _gateway_source() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "gateway").rglob("*.py")))


def _gateway_pages() -> str:
    return "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("gateway*.md")))


def test_every_error_code_of_the_gateway_is_documented() -> None:
    codes = set(re.findall(r'\bcode ?= ?"(\w+)"', _gateway_source()))
    inner = {"call_failed", "refused", "upstream_failed"}  # roots of errors that are answered under other codes
    pages = _gateway_pages()
    assert not [code for code in sorted(codes - inner - {"bad_gateway_config"}) if f"`{code}`" not in pages]


def test_every_header_of_the_gateway_is_documented() -> None:
    headers = set(re.findall(r'"(x-assay-[a-z-]+)"', _gateway_source()))
    assert headers
    assert not [name for name in sorted(headers) if not re.search(rf"`{name}[`:]", _gateway_pages())]


def test_every_route_of_the_gateway_is_documented() -> None:
    from gateway.app import _KINDS, _MODELS

    page = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    for path in (*_KINDS, *_MODELS, "/status", "/healthz"):
        assert f"{path}`" in page, path


def _table(name: str) -> str:
    page = (ROOT / "docs" / "gateway-policies.md").read_text(encoding="utf-8")
    return page[page.index(f"<!-- {name} -->") : page.index(f"<!-- /{name} -->")]


def _said(share: dict[str, Any]) -> str:
    return f"{share['hit_rate']:.1%}, {share['precision']:.1%}"


def test_what_is_said_about_the_semantic_cache_is_what_was_measured() -> None:
    measured = json.loads((ROOT / "benchmarks" / "results" / "gateway_semantic.json").read_text(encoding="utf-8"))
    curves = [{p["threshold"]: p for p in measured[name]["curves"]["lexical"]} for name in ("banking77", "clinc150")]
    rows = re.findall(r"^\| \**([\d.]+)\** \| (.+) \| (.+) \|$", _table("semantic-table"), re.MULTILINE)
    assert len(rows) == 5
    for threshold, *said in rows:
        assert said == [_said(curve[float(threshold)]) for curve in curves]
    rows = re.findall(r"^\| `([\w.]+)`(.*?) \| (.+) \| (.+) \|$", _table("held-out-table"), re.MULTILINE)
    assert len(rows) == 7
    for comparison, served, *halves in rows:
        for title, said in zip(("second", "first"), halves, strict=True):
            how = "lexical as served" if served else "thresholds for 99% on the others"
            found = measured["held_out"][f"{title} halves{':' if served else ','} {how}"]
            found = found if served else found[comparison]
            assert said == "; ".join(_said(found[name]) for name in ("banking77", "clinc150"))
