"""Examples as other tools write them, in our shape. docs/datasets.md has the table of what becomes what.

What is our own shape is read strictly: a field that nobody knows is an error. In a foreign one, fields that have no
place here are kept as metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from core.errors import InvalidInput
from evaluators.datasets.expected import Json, call_json, call_of
from evaluators.datasets.records import MOST_ID, Example, example_of

_OURS: Final = frozenset({"example_id", "input", "expected", "split", "metadata", "source"})
_IDS: Final = ("example_id", "id", "_id")
_ASKED: Final = ("question", "query", "prompt", "input", "inputs", "text", "content", "message", "messages")
_ANSWERED: Final = (
    *("expected_output", "expectedOutput", "reference_output", "reference_outputs", "reference", "expected"),
    *(
        "outputs",
        "output",
        "answer",
        "ground_truth",
        "response",
        "completion",
        "text",
        "content",
        "message",
        "messages",
    ),
)
_TEXT_IN_OBJECT: Final = 100_000


def example_from(said: object) -> Example:
    """An example of any shape that is known. Raises InvalidInput."""
    if not isinstance(said, dict):
        raise InvalidInput("an example is a JSON object")
    if "evaluation_criteria" in said and "user_scenario" in said:
        return _made(said, *_tau2(said))
    if "messages" in said and "input" not in said:
        return _made(said, *_messages(said))
    if _is_ours(said):
        return example_of(said)
    asked = next((name for name in ("input", "inputs", "question", "query", "prompt") if name in said), None)
    if asked is None:
        example_of(said)  # says which field is not known
        raise InvalidInput('an example has "input", "question", "messages" or a task of tau2', field="input")
    return _made(said, *_asked_and_answered(said, asked))


def _is_ours(said: Json) -> bool:
    if "input" not in said:
        return False
    given = said["input"]
    plain = isinstance(given, str | list) and not _are_messages(given)
    ours = plain or (isinstance(given, dict) and set(given) == {"turns"})
    foreign = any(name in said for name in _ANSWERED if name != "expected") or isinstance(said.get("expected"), str)
    return ours and not foreign


def _made(said: Json, taken: set[str], ours: Json) -> Example:
    """The example of `ours`, with an id, split and source where they are said, and all that was not taken as
    metadata."""
    given = said.get("metadata")
    metadata: Json = dict(given) if isinstance(given, dict) else {}
    taken = taken | {"split", "source", *(["metadata"] if isinstance(given, dict) else [])}
    name = next((key for key in _IDS if said.get(key) is not None), None)
    if name is not None:
        given_id = str(said[name])
        fits = len(given_id) <= MOST_ID
        short = given_id if fits else "ex_" + hashlib.sha256(given_id.encode("utf-8", "surrogatepass")).hexdigest()[:20]
        ours, taken = ours | {"example_id": short}, taken | ({name} if fits else set())
    metadata |= ours.pop("metadata", {})
    metadata |= {key: value for key, value in said.items() if key not in taken and value not in (None, "", [], {})}
    place = {key: said[key] for key in ("split", "source") if isinstance(said.get(key), str | dict)}
    source = place.pop("source", None)
    if isinstance(source, dict) and set(source) <= {"trace_id", "session_id", "user_id"}:
        place["source"] = source
    elif source is not None:
        metadata["source"] = source
    return example_of({**ours, **place, "metadata": metadata})


def _asked_and_answered(said: Json, asked: str) -> tuple[set[str], Json]:
    """{"question", "answer"}, {"input", "output"}, {"inputs", "outputs"} and their like."""
    ours: Json = {"input": _turns(said[asked])}
    taken = {asked}
    expected: Json = {}
    answered = next((name for name in _ANSWERED if said.get(name) is not None and name not in taken), None)
    if answered == "expected" and isinstance(said["expected"], dict):
        ours, taken = ours | {"expected": said["expected"]}, taken | {"expected"}
        return taken, ours
    if answered is not None:
        expected["answer"] = _text(said[answered], _ANSWERED)
        taken.add(answered)
    answers = said.get("answers")
    if isinstance(answers, list) and all(isinstance(one, str) for one in answers):
        expected["answers"] = answers
        taken.add("answers")
    if isinstance(said.get("context"), str):
        expected["source"] = said["context"]
        taken.add("context")
    return taken, ours | {"expected": expected}


def _messages(said: Json) -> tuple[set[str], Json]:
    """OpenAI's {"messages": [...]}: what the user says are the turns, what the assistant says last is the answer."""
    given = said["messages"]
    if not _are_messages(given):
        raise InvalidInput('messages is a list of {"role", "content"}', field="messages")
    turns = [_text(one.get("content"), _ASKED) for one in given if one.get("role") == "user"]
    answers = [
        _text(one.get("content"), _ANSWERED) for one in given if one.get("role") == "assistant" and one.get("content")
    ]
    systems = [_text(one.get("content"), _ASKED) for one in given if one.get("role") in ("system", "developer")]
    calls = [_call(call) for one in given for call in one.get("tool_calls") or () if one.get("role") == "assistant"]
    expected: Json = ({"answer": answers[-1]} if answers else {}) | ({"tool_calls": calls} if calls else {})
    metadata = {"system": "\n\n".join(systems)} if systems else {}
    return {"messages"}, {"input": {"turns": turns}, "expected": expected, "metadata": metadata}


def _tau2(said: Json) -> tuple[set[str], Json]:
    """A task of tau2-bench: the gold actions of the agent are expected; the rest tells a simulated user what to do."""
    instructions = (said["user_scenario"] or {}).get("instructions")
    about: Json = instructions if isinstance(instructions, dict) else {"task_instructions": str(instructions)}
    criteria: Json = said["evaluation_criteria"] or {}
    actions = [one for one in criteria.get("actions") or () if isinstance(one, dict)]
    of_agent = [one for one in actions if one.get("requestor", "assistant") == "assistant"]
    expected: Json = {"tool_calls": [call_json(_action(one)) for one in of_agent]}
    if told := [str(one) for one in criteria.get("communicate_info") or ()]:
        expected["contains"] = told
    user_actions = [
        {"name": one.get("name"), "arguments": one.get("arguments")} for one in actions if one not in of_agent
    ]
    metadata = {
        "domain": about.get("domain"),
        "scenario": {key: value for key, value in about.items() if key != "domain" and value},
        "persona": (said["user_scenario"] or {}).get("persona"),
        "user_actions": user_actions,
        **{key: criteria.get(key) for key in ("nl_assertions", "env_assertions", "reward_basis")},
    }
    asked = str(about.get("reason_for_call") or about.get("task_instructions") or "")
    kept = {key: value for key, value in metadata.items() if value}
    taken = {"user_scenario", "evaluation_criteria"}
    return taken, {"input": {"turns": [asked]}, "expected": expected, "metadata": kept}


def _action(one: Json) -> Any:
    known = {"name": one.get("name"), "arguments": one.get("arguments") or {}}
    return call_of(known, "evaluation_criteria.actions")


def _call(call: object) -> Json:
    """A tool call of a message, OpenAI's with its arguments as JSON text, or a plain one."""
    said: Json = call if isinstance(call, dict) else {}
    inner = said.get("function")
    function: Json = inner if isinstance(inner, dict) else said
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise InvalidInput("the arguments of a tool call are no JSON", field="messages") from None
    return {"name": function.get("name"), "arguments": arguments}


def _turns(said: object) -> Json:
    """What was asked, as turns: a text, messages, or an object that holds one of them."""
    if isinstance(said, dict) and set(said) == {"turns"}:
        return said
    if isinstance(said, dict):
        inner = next((said[name] for name in _ASKED if said.get(name) is not None), said)
        if inner is not said:
            return _turns(inner)
    if _are_messages(said):
        assert isinstance(said, list)
        users = [_text(one.get("content"), _ASKED) for one in said if one.get("role") in ("user", "human")]
        return {"turns": users}
    if isinstance(said, list) and all(isinstance(one, str) for one in said):
        return {"turns": said}
    return {"turns": [_text(said, _ASKED)]}


def _text(said: object, names: tuple[str, ...]) -> str:
    """The text in a value: itself, that of one of the fields, of its parts, of the last message, or its JSON."""
    if isinstance(said, str):
        return said
    if said is None:
        return ""
    if isinstance(said, Mapping):
        inner = next((said[name] for name in names if said.get(name) is not None), None)
        if inner is not None:
            return _text(inner, names)
    if _are_messages(said):
        assert isinstance(said, list)
        return _text(said[-1].get("content"), names)
    if (
        isinstance(said, list)
        and said
        and all(isinstance(one, dict) and isinstance(one.get("text"), str) for one in said)
    ):
        return "\n".join(one["text"] for one in said)
    text = json.dumps(said, ensure_ascii=False)
    if len(text) > _TEXT_IN_OBJECT:
        raise InvalidInput(
            f"a value that is no text has {len(text):,} characters; at most {_TEXT_IN_OBJECT:,}", "input"
        )
    return text


def _are_messages(said: object) -> bool:
    return isinstance(said, list) and bool(said) and all(isinstance(one, dict) and "role" in one for one in said)
