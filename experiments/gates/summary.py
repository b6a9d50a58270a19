"""A decision as Markdown for a pull request and as JUnit XML for CI, from its JSON.

Names of releases, examples and strata are data that anybody may have sent: every mark of Markdown is escaped, HTML is
text, control characters are shown, and a comment pings nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape, quoteattr

from core.errors import InvalidInput
from experiments.gates.words import number

Told = Mapping[str, Any]
_MARKS: Final = re.compile(r"([!-/:-@\[-`{-~])")
_INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\ufffe\uffff\U000e0000-\U000e007f]"
)
_SIGNS: Final = {"pass": "\u2705", "fail": "\u274c", "inconclusive": "\u26a0\ufe0f"}
FINDINGS: Final = {
    "harmed": "worse",
    "held": "held",
    "unsettled": "open",
    "missing": "not enough evidence",
    "left_out": "left out",
}
MOST_ROWS: Final = 40
MARKER: Final = "<!-- assay-gate -->"


def markdown(told: Told, links: str | None = None) -> str:
    """The summary. `links`: address of the dashboard, for links to the sessions that got worse; None: without.

    Raises InvalidInput for an address that is none.
    """
    asked, decision = told["asked"], str(told["decision"])
    base = None if links is None else checked_address(links)
    lines = [
        MARKER,
        f"### {_SIGNS[decision]} Assay gate: {decision}",
        "",
        f"{said(asked['app'])}: candidate {said(asked['candidate'])} against baseline {said(asked['baseline'])}",
        "",
        *_bullets([one["text"] for one in told["reasons"] if one["blocks"]]),
        *_table(told["metrics"]),
        *_section("What would settle it", told["settle"]),
        *_section("What a pass does not say" if decision == "pass" else "Besides", _notes(told["reasons"])),
        *_regressions(told["worst"], base),
        *_foot(told),
    ]
    return "\n".join(lines) + "\n"


def junit(told: Told) -> str:
    """JUnit XML: a test case per metric and one for what is wrong with the runs; inconclusive ones are errors, so that
    no reader counts them as passed."""
    suite = f"assay gate {told['asked']['app']}"
    cases = [_case(suite, "evidence", [r["text"] for r in told["reasons"] if r["blocks"] and not r["metric"]], "error")]
    judged = {str(one["metric"]) for one in told["metrics"]}
    for one in told["metrics"]:
        texts = [r["text"] for r in told["reasons"] if r["blocks"] and r["metric"] == one["metric"]]
        kind = {"harmed": "failure", "left_out": "skipped"}.get(one["finding"], "error")
        if one["finding"] == "held" and not texts:
            texts = []
        elif not texts:
            texts = [FINDINGS[one["finding"]]]
        cases.append(_case(suite, str(one["metric"]), texts, kind))
    for one in told["reasons"]:
        if one["blocks"] and one["metric"] and one["metric"] not in judged:
            cases.append(_case(suite, str(one["metric"]), [one["text"]], "error"))
    counted = [sum(f"<{kind} " in case or f"<{kind}/>" in case for case in cases) for kind in _KINDS]
    counts = " ".join(f'{name}="{n}"' for name, n in zip(("failures", "errors", "skipped"), counted, strict=True))
    head = f'<testsuite name={quoteattr(shown(suite))} tests="{len(cases)}" {counts}>'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>"]) + "\n"


_KINDS: Final = ("failure", "error", "skipped")


def said(value: object, limit: int = 300) -> str:
    """Data as Markdown text that is nothing but itself, on one line."""
    text = _MARKS.sub(r"\\\1", shown(value, limit))
    # A mention, a reference or an emoji's name is found in the text that is shown: a word joiner parts it.
    return re.sub(r"([@#:])(?=[\w\\])", "\\1\u2060", text)


def shown(value: object, limit: int = 300) -> str:
    """Data on one line, with invisible characters as their code points."""
    text = str(value)
    text = text if len(text) <= limit else text[: limit - 1] + "\u2026"
    text = " ".join(re.split(r"[ \t\r\n]+", text))
    return _INVISIBLE.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def checked_address(address: str) -> str:
    """An http or https address without the slash at its end. Raises InvalidInput."""
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[^A-Za-z0-9.:/_~%\[\]-]", address) or len(address) > 500:
        raise InvalidInput("links begin with http:// or https:// and a host, without user, query or fragment", "links")
    return address.rstrip("/")


def _bullets(texts: Sequence[object]) -> list[str]:
    more = [f"- and {len(texts) - MOST_ROWS} more"] if len(texts) > MOST_ROWS else []
    found = [f"- {said(text, 600)}" for text in texts[:MOST_ROWS]] + more
    return [*found, ""] if found else []


def _section(title: str, texts: Sequence[object]) -> list[str]:
    return [f"**{title}**", "", *_bullets(texts)] if texts else []


def _notes(reasons: Sequence[Told]) -> list[object]:
    return [one["text"] for one in reasons if one["cause"] in ("no_gain", "lost_here")]


def _table(metrics: Sequence[Told]) -> list[str]:
    if not metrics:
        return []
    lines = [
        "| metric | role | baseline | candidate | difference | interval | margin | p of no harm | examples | says |",
        "|---|---|--:|--:|--:|---|--:|--:|--:|---|",
    ]
    for one in metrics:
        found = one["measured"] or dict.fromkeys(_MEASURED)
        figures = [number(found[name]) for name in ("baseline_mean", "candidate_mean", "difference")]
        between = "-" if found["low"] is None else f"{number(found['low'])} to {number(found['high'])}"
        cells = [said(one["metric"]), one["role"], *figures, between, said(one["margin_said"])]
        cells += [number(one["p_adjusted"]), str(found["n"] or 0), FINDINGS[one["finding"]]]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", "Differences above 0 are better for the candidate, whichever way the metric points.", ""]


_MEASURED: Final = ("n", "baseline_mean", "candidate_mean", "difference", "low", "high")


def _regressions(worst: Sequence[Told], base: str | None) -> list[str]:
    if not worst:
        return []
    lines = ["**Worst regressions**", "", "| example | metric | baseline | candidate | |", "|---|---|--:|--:|---|"]
    for one in worst:
        figures = [number(one["baseline_mean"]), number(one["candidate_mean"])]
        cells = [said(one["example_id"], 120), said(one["metric"]), *figures, _link(one, base)]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _link(one: Told, base: str | None) -> str:
    before, after = one["baseline_session"], one["candidate_session"]
    if base is None:
        return said(after or "", 120)
    if before and after:
        return f"[compare]({base}/trace_diff?a={_part(before)}&b={_part(after)})"
    return f"[session]({base}/session?session_id={_part(after)})" if after else ""


def _part(text: object) -> str:
    """Nothing is left that could end the address or the link."""
    return quote(str(text).encode("utf-8", "replace"), safe="")


def _foot(told: Told) -> list[str]:
    found = []
    for side in ("baseline", "candidate"):
        run = told[side]
        if run is not None:
            about = f"{said(run['dataset'], 100)} version {run['dataset_version']}"
            found.append(
                f"{side}: {said(run['run_id'], 60)}, {about}, {run['n_examples']} examples, {run['k']} trials each"
            )
    name = f"decision {said(told['gate_id'], 60)}, " if told.get("gate_id") else ""
    return [f"<sub>{name}alpha {told['alpha']:g}; {'; '.join(found) or 'no runs'}</sub>"]


def _case(suite: str, name: str, texts: Sequence[object], kind: str) -> str:
    head = f"  <testcase classname={quoteattr(shown(suite))} name={quoteattr(shown(name))}"
    if not texts:
        return head + "/>"
    whole = "\n".join(shown(text, 600) for text in texts)
    return f"{head}><{kind} message={quoteattr(shown(texts[0]))}>{escape(whole)}</{kind}></testcase>"
