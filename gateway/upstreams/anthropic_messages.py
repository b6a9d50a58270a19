"""OpenAI's messages as Anthropic's: system texts apart, tool results within the user's turn, images as blocks."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from gateway.errors import BadCall
from gateway.upstreams.failures import text_in

_DATA_URL: Final = re.compile(r"data:([\w.+/-]+);base64,", re.ASCII)
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

Block = dict[str, Any]


def messages_of(given: list[dict[str, Any]], flags: list[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """System texts, and turns. Raises BadCall for parts that Anthropic does not know.

    Consecutive messages of one side become one turn: the results of several tools have to stand in one.
    """
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for n, message in enumerate(given):
        where, content = f"messages[{n}]", message.get("content")
        match message.get("role"):
            case "system" | "developer":
                system += filter(None, [block["text"] for block in _blocks(content, where) if block["type"] == "text"])
            case "user":
                _add(turns, "user", _blocks(content, where))
            case "assistant":
                _add(turns, "assistant", _blocks(content, where) + _calls(message, where, flags))
            case "tool":
                _add(turns, "user", [_result(message, where)])
            case role:
                raise BadCall(f"Anthropic knows no messages of the role {role!r:.40}", param=f"{where}.role")
    return system, turns


def _add(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _blocks(content: object, where: str) -> list[Block]:
    """Empty texts are left out: Anthropic refuses them."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise BadCall("content is neither text nor a list of parts", param=f"{where}.content")
    found = [_block(part, f"{where}.content[{n}]") for n, part in enumerate(content)]
    return [block for block in found if block.get("text") != ""]


def _block(part: object, where: str) -> Block:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and kind in ("text", "refusal"):
        return {"type": "text", "text": text_in(part.get(kind))}
    if isinstance(part, dict) and kind == "image_url":
        image = part.get("image_url")
        return _image(text_in(image.get("url")) if isinstance(image, dict) else text_in(image), where)
    if isinstance(part, dict) and kind == "file":
        file = part.get("file")
        return _document(text_in(file.get("file_data")) if isinstance(file, dict) else "", where)
    raise BadCall(f"Anthropic is sent texts, images and PDF files, not parts of type {kind!r:.40}", param=where)


def _image(url: str, where: str) -> Block:
    if url.startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, encoded = _from_data_url(url)
    if kind not in _IMAGES:
        raise BadCall("an image is an https URL or a data URL of JPEG, PNG, GIF or WebP in base64", param=where)
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": encoded}}


def _document(url: str, where: str) -> Block:
    kind, encoded = _from_data_url(url)
    if kind != "application/pdf":
        raise BadCall("a file is a data URL of a PDF in base64 (file.file_data)", param=where)
    return {"type": "document", "source": {"type": "base64", "media_type": kind, "data": encoded}}


def _from_data_url(url: str) -> tuple[str, str]:
    found = _DATA_URL.match(url)
    return (found[1].lower(), url[found.end() :]) if found else ("", "")


def _calls(message: dict[str, Any], where: str, flags: list[str]) -> list[Block]:
    found: list[Block] = []
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadCall("tool_calls is a list", param=f"{where}.tool_calls")
    for n, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not text_in(function.get("name")) or not text_in(call.get("id")):
            raise BadCall("a tool call has an id and a function with a name", param=f"{where}.tool_calls[{n}]")
        given = _arguments(function.get("arguments"))
        if given is None:
            if "tool_arguments_invalid" not in flags:
                flags.append("tool_arguments_invalid")
            given = {"invalid_arguments": text_in(function.get("arguments"))}
        found.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": given})
    return found


def _arguments(given: object) -> dict[str, Any] | None:
    """A call's arguments; None when they are no JSON object, as a model may well write them."""
    if isinstance(given, dict):
        return given
    try:
        found = orjson.loads(text_in(given) or "{}")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _result(message: dict[str, Any], where: str) -> Block:
    call_id = text_in(message.get("tool_call_id"))
    if not call_id:
        raise BadCall("a tool's message names the call that it answers", param=f"{where}.tool_call_id")
    found: Block = {"type": "tool_result", "tool_use_id": call_id}
    content = message.get("content")
    if isinstance(content, str):
        return {**found, "content": content}
    blocks = _blocks(content, where)
    return {**found, "content": blocks} if blocks else found
