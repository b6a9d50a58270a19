"""Fills columns that no single attribute holds: indexed families, and figures inside a JSON attribute.

`fill` runs in plain Python for the few spans the scanner flags (`dialects.FAMILIES`, `dialects.FLAG_KEYS`). Attribute
keys come from outside: an index is followed only when it is a plain decimal up to 9,999 and at most 1,024 distinct
ones per family; everything else stays among the attributes and is reported as the issue `index_bounded`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from collector import messages
from collector.dialects import (
    ANNOTATIONS,
    BEFORE_FAMILIES,
    COST,
    FAMILIES,
    MAX_INDEX,
    MAX_INDICES,
    TEXT,
    TOKENS,
    TTFT,
)
from core.clock import NS_PER_MS, to_ns
from core.records import TargetKind

_PREFIXES: Final = tuple(family.prefix for family in FAMILIES)
_ANY_PREFIX: Final = "|".join(re.escape(prefix) for prefix in _PREFIXES)
_MEMBER: Final = re.compile(rf"({_ANY_PREFIX})(0|[1-9][0-9]{{0,3}})(?:\.(.*))?\Z", re.DOTALL)
_DIGIT: Final = re.compile(rf"(?:{_ANY_PREFIX})[0-9]")
# Attribute that says what is named, attribute that holds the name, and the column for each thing.
_ENTITIES: Final = (
    (
        "traceloop.span.kind",
        "traceloop.entity.name",
        {"tool": "tool_name", "agent": "agent_name", "workflow": "workflow_name"},
    ),
    (
        "logfire.msg_template",
        "name",
        {
            "function: {name}": "tool_name",
            "agent run: {name!r}": "agent_name",
            "openai agents trace: {name}": "workflow_name",
        },
    ),
)
_MAX_JSON: Final = 1 << 16  # characters of a usage, cost or provider metadata attribute that are looked into

_LANGFUSE_KEYS: Final = frozenset(
    {
        "langfuse.observation.usage_details",
        "langfuse.observation.cost_details",
        "langfuse.observation.completion_start_time",
    }
)
_LANGFUSE_USAGE: Final[dict[str, tuple[str, ...]]] = {
    "output_tokens": ("output", "completion_tokens", "output_tokens"),
    "total_tokens": ("total", "total_tokens"),
    "cache_read_tokens": ("input_cached_tokens", "cache_read_input_tokens", "input_cache_read"),
    "cache_write_tokens": ("input_cache_creation", "cache_creation_input_tokens", "input_cache_write"),
    "reasoning_tokens": ("output_reasoning_tokens", "output_reasoning"),
    "audio_input_tokens": ("input_audio_tokens", "input_audio"),
    "audio_output_tokens": ("output_audio_tokens", "output_audio"),
}
_VERCEL_METADATA: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "cache_read_tokens": (
        ("openai", "cachedPromptTokens"),
        ("anthropic", "usage", "cache_read_input_tokens"),
        ("anthropic", "cacheReadInputTokens"),
        ("bedrock", "usage", "cacheReadInputTokens"),
        ("google", "usageMetadata", "cachedContentTokenCount"),
    ),
    "cache_write_tokens": (
        ("anthropic", "usage", "cache_creation_input_tokens"),
        ("anthropic", "cacheCreationInputTokens"),
        ("bedrock", "usage", "cacheWriteInputTokens"),
    ),
    "reasoning_tokens": (
        ("openai", "reasoningTokens"),
        ("google", "usageMetadata", "thoughtsTokenCount"),
    ),
}


def fill(attributes: Iterable[tuple[str, str]], *, start_ns: int = 0) -> dict[str, str]:
    """The columns of a flagged span that come from several attributes or from inside one, as text.

    `attributes` are (key, canonical text) in the order sent; of a key sent twice the last wins. What is answered
    replaces what the scanner took from a single attribute, but `status_message`, which only stands in for none;
    `annotations` says that there are some (`annotations_of` reads them). Token columns and `ttft_ms` are decimal text,
    `cost_reported_usd` is a decimal text, `input` and `output` are messages JSON, `documents` is a JSON list, and
    `issues` (if present) is a code to add to the span's own. Columns with nothing to say are absent.
    """
    texts: dict[str, str] = {}
    families: dict[str, dict[int, dict[str, str]]] = {}
    bounded = False
    for key, text in attributes:
        texts[key] = text
        if key.startswith(_PREFIXES):
            bounded |= not _collect(families, key, text)
    columns = _from_families(families, texts)
    columns |= _from_events(texts, columns)
    columns |= _from_pydantic(texts, columns)
    columns |= _from_prompt(texts, columns)
    columns |= _from_entity(texts)
    columns |= _from_langfuse(texts, start_ns)
    columns |= _from_vercel(texts)
    columns |= _linked_prompt(texts)
    columns |= _from_cost_parts(texts, columns)
    if texts.get("langfuse.observation.status_message"):
        columns["status_message"] = texts["langfuse.observation.status_message"]
    if ANNOTATIONS.keys() & families.keys():
        columns["annotations"] = "yes"
    if bounded:
        columns["issues"] = "index_bounded"
    return columns


def _collect(families: dict[str, dict[int, dict[str, str]]], key: str, text: str) -> bool:
    """Files one attribute under its family; False when its index may not be followed."""
    found = _MEMBER.match(key)
    if not found:
        return not _DIGIT.match(key)  # no digit: not of the family at all, for example gen_ai.prompt.name
    prefix, index, rest = found[1], int(found[2]), found[3] or ""
    members = families.setdefault(prefix, {})
    if index in members:
        members[index][rest] = text
    elif index > MAX_INDEX or len(members) >= MAX_INDICES:
        return False
    else:
        members[index] = {rest: text}
    return True


def annotations_of(attributes: Iterable[tuple[str, str]]) -> Iterator[tuple[TargetKind, dict[str, str]]]:
    """OpenInference's annotations among a span's attributes: what each is about, and its leaves (`name`, `score`,
    `label`, `explanation`, `annotator_kind`, `identifier`, `metadata`) as text."""
    families: dict[str, dict[int, dict[str, str]]] = {}
    for key, text in attributes:
        if key.startswith(tuple(ANNOTATIONS)):
            _collect(families, key, text)
    for prefix, target in ANNOTATIONS.items():
        for _, fields in sorted(families.get(prefix, {}).items()):
            yield target, {key.rsplit(".", 1)[-1]: text for key, text in fields.items()}


def _taken(column: str, texts: Mapping[str, str]) -> bool:
    """Whether a single attribute that outranks families fills `column`."""
    return any(texts.get(key) for key in TEXT[column] if key in BEFORE_FAMILIES)


def _absent(keys: Iterable[str], texts: Mapping[str, str]) -> bool:
    return not any(texts.get(key) for key in keys)


def _from_families(families: Mapping[str, dict[int, dict[str, str]]], texts: Mapping[str, str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for family in FAMILIES:
        members = families.get(family.prefix)
        if not members or not family.column or family.column in columns or _taken(family.column, texts):
            continue
        make = _document if family.column == "documents" else messages.message_of_fields
        made = [make(members[index]) for index in sorted(members)]
        # OpenInference gives LangGraph's roots a role without a content: the question is in input.value alone.
        if any(entry.get("parts", True) for entry in made):
            columns[family.column] = messages.encode(made)
    return columns


def _document(fields: Mapping[str, str]) -> dict[str, object]:
    leaf = {key.removeprefix("document."): text for key, text in fields.items()}
    document: dict[str, object] = {name: leaf[name] for name in ("id", "content") if name in leaf}
    if "score" in leaf:
        document["score"] = messages.number(leaf["score"])
    if "metadata" in leaf:
        document["metadata"] = messages.embedded(leaf["metadata"])
    return document


def _from_events(texts: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, str]:
    """Messages of Logfire's `events`, for the columns that neither a better attribute nor a family fills."""
    found = messages.messages_of_events(texts["events"]) if texts.get("events") else None
    if found is None:
        return {}
    sides = (("input", found[0]), ("output", found[1]))
    return {
        column: messages.encode(side)
        for column, side in sides
        if side and column not in columns and not _taken(column, texts)
    }


def _from_pydantic(texts: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, str]:
    """This turn's messages: an agent run that was given a history repeats all of it before them."""
    first = _whole(texts.get("pydantic_ai.new_message_index"))
    if not first or "input" in columns or _taken("input", texts):
        return {}
    everything = messages.parsed(texts.get("pydantic_ai.all_messages", ""))
    if not isinstance(everything, list) or first >= len(everything):
        return {}
    return {"input": messages.encode(everything[first:])}


def _from_prompt(texts: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, str]:
    """Vercel's prompt as messages; what it holds beside or instead of messages stays as sent, in the attribute."""
    text = next((texts[key] for key in ("ai.prompt.messages", "ai.prompt") if texts.get(key)), None)
    if text is None or "input" in columns or _taken("input", texts):
        return {}
    found = messages.messages_of_prompt(text)
    return {} if found is None else {"input": messages.encode(found)}


def _from_entity(texts: Mapping[str, str]) -> dict[str, str]:
    """The name of the tool, agent or workflow that two attributes give together; a plain attribute comes first."""
    columns: dict[str, str] = {}
    for said_by, named_by, column_of in _ENTITIES:
        column = column_of.get(texts.get(said_by, "").lower())
        name = texts.get(named_by)
        if column and name and _absent(TEXT[column], texts):
            columns.setdefault(column, name)
    return columns


def _object(text: str | None) -> dict[str, Any]:
    """The JSON object of `text` with every number as its text, or {} where there is none."""
    if not text or len(text) > _MAX_JSON or text[0] != "{" or messages.parsed(text) is None:
        return {}
    value = json.loads(text, parse_int=str, parse_float=str)
    return value if isinstance(value, dict) else {}


def _from_langfuse(texts: Mapping[str, str], start_ns: int) -> dict[str, str]:
    if not _LANGFUSE_KEYS & texts.keys():
        return {}
    columns: dict[str, str] = {}
    usage = _object(texts.get("langfuse.observation.usage_details"))
    for column, names in _LANGFUSE_USAGE.items():
        value = next((usage[name] for name in names if isinstance(usage.get(name), str)), None)
        if value is not None and _absent(TOKENS[column], texts):
            columns[column] = value
    if usage and _absent(TOKENS["input_tokens"], texts):
        columns |= _langfuse_input(usage, columns)
    if _absent(COST, texts):
        columns |= _langfuse_cost(_object(texts.get("langfuse.observation.cost_details")))
    first_at = texts.get("langfuse.observation.completion_start_time")
    if first_at and start_ns > 0 and _absent((key for key, _ in TTFT), texts):
        columns |= _langfuse_ttft(first_at, start_ns)
    return columns


def _langfuse_input(usage: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str]:
    """Langfuse's buckets are disjoint: `input` excludes the cached ones, unless the total says that it does not."""
    base = next((usage[name] for name in ("input", "prompt_tokens", "input_tokens") if name in usage), None)
    plain = _whole(base)
    if plain is None:
        return {"input_tokens": base} if isinstance(base, str) else {}
    output, total = _whole(columns.get("output_tokens", "0")), _whole(columns.get("total_tokens"))
    if output is not None and total == plain + output:
        return {"input_tokens": str(plain)}
    parts = ("cache_read_tokens", "cache_write_tokens", "audio_input_tokens")
    return {"input_tokens": str(plain + sum(_whole(columns.get(part, "0")) or 0 for part in parts))}


def _langfuse_cost(cost: Mapping[str, Any]) -> dict[str, str]:
    if isinstance(cost.get("total"), str):
        return {"cost_reported_usd": cost["total"]}
    return _sum_of([value for value in cost.values() if isinstance(value, str)])


def _sum_of(parts: list[str]) -> dict[str, str]:
    try:
        amounts = [Decimal(part) for part in parts]
    except InvalidOperation:
        return {}
    if not amounts or not all(amount.is_finite() and amount.adjusted() < 9 for amount in amounts):
        return {}
    return {"cost_reported_usd": f"{sum(amounts):f}"}


def _langfuse_ttft(first_at: str, start_ns: int) -> dict[str, str]:
    try:
        moment = datetime.fromisoformat(first_at.strip('"'))
        waited_ns = to_ns(moment) - start_ns if moment.tzinfo else -1
    except (ValueError, OverflowError):
        return {}
    return {"ttft_ms": repr(waited_ns / NS_PER_MS)} if waited_ns >= 0 else {}


def _linked_prompt(texts: Mapping[str, str]) -> dict[str, str]:
    """Name and version of a Langfuse prompt that a Vercel program linked, unless plain attributes give them."""
    key = "ai.telemetry.metadata.langfusePrompt"
    prompt = _object(texts.get(key))
    named = {"prompt_name": prompt.get("name"), "prompt_version": prompt.get("version")}
    return {
        column: value
        for column, value in named.items()
        if isinstance(value, str) and value and _absent((other for other in TEXT[column] if other != key), texts)
    }


def _from_cost_parts(texts: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """OpenInference's cost of prompt and completion, where nobody gives the total."""
    parts = [texts[key] for key in ("llm.cost.prompt", "llm.cost.completion") if texts.get(key)]
    if not parts or "cost_reported_usd" in found or not _absent(COST, texts):
        return {}
    return _sum_of(parts)


def _from_vercel(texts: Mapping[str, str]) -> dict[str, str]:
    if "ai.response.providerMetadata" not in texts:
        return {}
    metadata = _object(texts.get("ai.response.providerMetadata"))
    columns: dict[str, str] = {}
    for column, paths in _VERCEL_METADATA.items():
        value = next((found for path in paths if isinstance(found := _at(metadata, path), str)), None)
        if value is not None and _absent(TOKENS[column], texts):
            columns[column] = value
    if "cache_write_tokens" not in columns and _absent(TOKENS["cache_write_tokens"], texts):
        columns |= _vercel_cache_creation(metadata)
    return columns | _vercel_anthropic(metadata, texts, columns)


def _vercel_cache_creation(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Anthropic's cache writes by how long they live, where their sum is not given."""
    by_life = _at(metadata, ("anthropic", "usage", "cache_creation"))
    lives = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    counts = [_whole(by_life.get(life)) for life in lives] if isinstance(by_life, dict) else []
    known = [count for count in counts if count is not None]
    return {"cache_write_tokens": str(sum(known))} if known else {}


def _vercel_anthropic(
    metadata: Mapping[str, Any], texts: Mapping[str, str], found: Mapping[str, str]
) -> dict[str, str]:
    """Before version 6 the SDK passed on Anthropic's count, which excludes the cache: then both figures agree."""
    raw = _whole(_at(metadata, ("anthropic", "usage", "input_tokens")))
    reported = next((texts[key] for key in TOKENS["input_tokens"] if texts.get(key)), None)
    if raw is None or raw != _whole(reported):
        return {}
    parts = [_column(column, texts, found) for column in ("cache_read_tokens", "cache_write_tokens")]
    return {"input_tokens": str(raw + sum(parts))} if sum(parts) else {}


def _column(column: str, texts: Mapping[str, str], found: Mapping[str, str]) -> int:
    direct = next((texts[key] for key in TOKENS[column] if texts.get(key)), None)
    return _whole(found.get(column, direct)) or 0


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _whole(text: object) -> int | None:
    """A count from its decimal text (at most 16 digits), else None."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 16 else None
