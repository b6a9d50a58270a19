"""A decision as Markdown and JUnit: names from traces are text there, whatever they spell."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from core.errors import InvalidInput
from experiments.gates.records import GateDecision, as_json
from experiments.gates.summary import checked_address, junit, markdown, said
from tests.experiments.gates.evidence import CANDIDATE, POLICY, changed, decided, run

HOSTILE = (
    "<script>alert(1)</script> ![x](http://evil/x.png) [a](javascript:b) `c` | d | @everyone #1 :tada: \x1b[2J \u202e"
    "\n::error::x\n/close\n| --- |\n\x00 http://evil.example www.evil.example $x$ ~~s~~ ___ &lt;b&gt; "
)


def told(**other: Any) -> dict[str, Any]:
    return {**as_json(decided(**other)), "gate_id": "gate_1"}


def test_it_says_the_decision_the_figures_and_the_worst() -> None:
    text = markdown(told(candidate=run("v2", better=-0.4)), "https://assay.example/")
    assert text.startswith("<!-- assay-gate -->\n### ")
    assert "Assay gate: fail" in text
    assert re.search(r"^\| correctness \| primary \| 0\.\d+ \| 0\.\d+ \| -0\.\d+ \|", text, re.MULTILINE)
    assert text.count("https://assay.example/trace_diff?a=run_v1.ex_") == 10
    assert "**What would settle it**" not in text
    passed = markdown(told())
    assert "**What a pass does not say**" in passed
    assert "http" not in passed
    tight = POLICY.replace("role: guardrail, margin: 0.05", "role: guardrail, margin: 0.0001")
    assert "**What would settle it**" in markdown(told(policy=tight))


def test_what_a_name_spells_is_never_obeyed() -> None:
    rows = CANDIDATE.rows.with_columns(stratum=CANDIDATE.rows["stratum"].replace({"refund": HOSTILE}))
    hostile = told(candidate=changed(run("v2", better=-0.4), run_id=HOSTILE, dataset=HOSTILE))
    hostile["worst"] = [{**one, "example_id": HOSTILE, "candidate_session": HOSTILE} for one in hostile["worst"]]
    for text in (markdown(hostile, "http://127.0.0.1:8501"), markdown(told(candidate=changed(CANDIDATE, rows=rows)))):
        body = text.replace("<!-- assay-gate -->", "").replace("<sub>", "").replace("</sub>", "")
        links = re.findall(r"(?<!\\)\]\(([^)]*)\)", body)
        assert all(link.startswith("http://127.0.0.1:8501/") for link in links)
        body = re.sub(r"(?<!\\)\]\([^)]*\)", "]", body)
        assert not re.search(r"(?<!\\)[<`]", body)  # no HTML, no code
        assert not re.search(r"(?<!\\)!\[", body)
        assert "](javascript" not in body
        assert not re.search(r"@\w|#\d|:\w+:|https?://evil|www\.evil", body.replace("%", ""))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", body)
        assert not re.search(r"^(::|/close|\| ---)", body, re.MULTILINE)
    for line in markdown(hostile).splitlines():
        if line.startswith("| ") and "ex" in line:
            assert len(re.findall(r"(?<!\\)\|", line)) in (6, 11), line


@pytest.mark.parametrize(
    "text", ["a|b", "**b**", "<b>", "[x](y)", "a\nb", "\x07", "1. x", "# x", "> q", "- x", "&amp;"]
)
def test_escaping_leaves_no_bare_mark(text: str) -> None:
    assert not re.search(r"(?<!\\)[|*<\[\]#>&`_!-]", said(text).replace("\u2060", ""))
    assert "\n" not in said(text)


@pytest.mark.parametrize(
    "address",
    ["", "x", "ftp://a", "javascript:x", "http://", "http://a:0", "http://u@a", "http://a/?q=1", "http://a/#f", "http://a/)",
     "http://a b", "http://a\n", "https://a/" + "x" * 600],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput):
        checked_address(address)


@pytest.mark.parametrize(
    ("other", "decision", "counts"),
    [
        ({}, GateDecision.PASS, (4, 0, 0)),
        ({"candidate": run("v2", better=-0.4)}, GateDecision.FAIL, (4, 1, 0)),
        ({"candidate": changed(CANDIDATE, status="running")}, GateDecision.INCONCLUSIVE, (4, 0, 1)),
        ({"candidate": None}, GateDecision.INCONCLUSIVE, (1, 0, 1)),
        ({"candidate": changed(CANDIDATE, evaluators={"grounding": "2"})}, GateDecision.INCONCLUSIVE, (4, 0, 1)),
    ],
)  # fmt: skip
def test_junit_counts_nothing_as_passed_that_did_not(
    other: dict[str, Any], decision: GateDecision, counts: tuple[int, int, int]
) -> None:
    found = told(**other)
    assert found["decision"] == decision.value
    suite = ElementTree.fromstring(junit(found))
    assert tuple(int(suite.get(name) or 0) for name in ("tests", "failures", "errors")) == counts
    cases = suite.findall("testcase")
    assert len(cases) == counts[0]
    assert len(suite.findall("testcase/failure")) == counts[1]
    assert len(suite.findall("testcase/error")) == counts[2]


def test_junit_is_xml_whatever_names_spell() -> None:
    found = told(candidate=changed(run("v2", better=-0.4), run_id=HOSTILE, app=HOSTILE))
    found["asked"] = {**found["asked"], "app": HOSTILE}
    suite = ElementTree.fromstring(junit(found))
    assert suite.get("name", "").startswith("assay gate <script>")
