"""What `assay gateway status` and `assay gateway try` print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.text import Text

from server.cli.rendering import cell, console, money, print_table, tokens

_STATES = {"closed": "green", "half_open": "yellow", "open": "bold red"}


def print_status(found: Mapping[str, Any]) -> None:
    """Tables of upstreams, models and budgets, then lines about spans, keys and the file."""
    if upstreams := found.get("upstreams"):
        columns = ("upstream", "wire", "state", "in flight", "ok", "errors", "p50 ms", "last error")
        print_table(columns, map(_upstream, upstreams), right=("in flight", "ok", "errors", "p50 ms"))
    if models := found.get("models"):
        rows = ([cell(m["name"]), cell(m["kind"]), cell(", ".join(m["targets"]), 300)] for m in models)
        print_table(("model", "kind", "targets, in order"), rows)
    else:
        console().print("no models: write them into the gateway's file, see docs/gateway-config.md")
    if budgets := found.get("budgets"):
        names = [name for name in budgets[0] if not isinstance(budgets[0][name], dict | list)]
        print_table(names, ([cell(_short(name, each.get(name))) for name in names] for each in budgets))
    if plans := found.get("plans"):
        rows = ([cell(p["app"]), cell(p["version"]), cell(_weights(p["weights"]))] for p in plans)
        print_table(("app", "plan", "weights"), rows)
    _print_lines(_lines(found))


def _upstream(each: Mapping[str, Any]) -> list[Text | str]:
    state = str(each.get("state"))
    rest = each.get("opens_again_in_s") or 0
    said = f"{state}, {rest:.0f} s more" if rest else state
    p50 = each.get("p50_ms")
    figures = [str(each.get(name, 0)) for name in ("in_flight", "n_ok", "n_errors")]
    shown = "-" if p50 is None else f"{p50:.1f}"
    return [
        cell(each.get("upstream")),
        cell(each.get("wire")),
        cell(said, style=_STATES.get(state, "")),
        *figures,
        shown,
        cell(each.get("last_error")),
    ]


def _lines(found: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    spans, config, directory = (found.get(name) or {} for name in ("spans", "config", "directory"))
    lost = f", {spans.get('dropped', 0)} dropped" if spans.get("dropped") else ""
    yield "spans", f"{spans.get('sent', 0)} sent, {spans.get('queued', 0)} waiting{lost}"
    for tenant, why in (spans.get("waiting") or {}).items():
        yield "", f"{tenant} waits: {why}"
    yield "keys", f"read {directory.get('read_at', '-')}" + _but(directory.get("trouble"))
    yield "file", f"{config.get('in_use', config.get('digest', '-'))} since {config.get('since', '-')}"
    for problem in config.get("problems") or filter(None, [config.get("problem")]):
        yield "problem", str(problem)


def _but(trouble: object) -> str:
    return f", not since: {trouble}" if trouble else ""


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items())


def _short(name: str, value: object) -> str:
    """Numbers as plain decimals to the nano-dollar; money with its sign and cents at least."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "-" if value is None else str(value)
    whole, _, rest = f"{value:.9f}".partition(".")
    rest = rest.rstrip("0")
    if name.endswith("_usd"):
        return f"${whole}.{rest:0<2}"
    return f"{whole}.{rest}" if rest else whole


def print_call(figures: Mapping[str, Any]) -> None:
    """Which upstream, which policies and how long, what it cost."""
    _print_lines(_call_lines(figures))


def _call_lines(figures: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    attempts = figures.get("attempts") or []
    for number, each in enumerate(attempts, 1):
        simulated = " (simulated)" if figures.get("simulated") and not each["error"] else ""
        said = f"{each['upstream']}/{each['model']}: {each['error'] or each['status']}{simulated}"
        yield "upstream" if number == 1 else "", said
    if figures.get("refused"):
        yield "refused by", str(figures["refused"])
    yield "cache", str(figures.get("cache"))
    masked = ", ".join(f"{entity} {n}" for entity, n in (figures.get("masked") or {}).items())
    yield "masked", masked or "nothing"
    if figures.get("flags"):
        yield "flags", ", ".join(map(str, figures["flags"]))
    yield "tokens", tokens(figures.get("input_tokens"), figures.get("output_tokens"))
    yield "cost", money(figures.get("cost_usd"))
    policies = ", ".join(f"{name} {ms:.3f}" for name, ms in (figures.get("policy_ms") or {}).items())
    yield "policies", f"{policies} (ms)"
    whole, waited = figures.get("overhead_ms") or 0.0, figures.get("upstream_ms") or 0.0
    yield "time", f"gateway {whole:.3f} ms, upstream {waited:.1f} ms"
    yield "call", str(figures.get("call_id"))


def _print_lines(lines: Iterable[tuple[str, str]]) -> None:
    out = console()
    for name, value in lines:
        out.print(Text(f"{name:<11}", style="dim") + cell(value, 1000), soft_wrap=True)
