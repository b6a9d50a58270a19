"""Outcomes of imported conversations -> scores on their sessions, through the API, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import orjson

from core.clock import NS_PER_S, to_datetime
from server.importers.genai import Conversation

VERSION: Final = "1"
_PER_REQUEST: Final = 200
_PAGE: Final = 1000


class Api(Protocol):
    """What is needed of the API: JSON in, JSON out; failures raise AssayError."""

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The parsed answer of GET `path`."""

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Any:
        """The parsed answer of POST `path` with a JSON body."""


def record_outcomes(api: Api, conversations: Sequence[Conversation]) -> tuple[int, int]:
    """Writes the outcomes that are not there yet; gives (written, there before).

    An outcome is there when its session has a score of the same evaluator, version, value, label and reason. A
    request that is repeated after a lost answer carries the same Idempotency-Key, so it counts once, too.
    """
    known = _known(api, conversations)
    missing = [one for one in conversations if _identity(one) not in known]
    for at in range(0, len(missing), _PER_REQUEST):
        body = {"items": [_score(one) for one in missing[at : at + _PER_REQUEST]]}
        key = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
        api.post("/api/v1/scores", body, {"Idempotency-Key": f"import-{key[:40]}"})
    return len(missing), len(conversations) - len(missing)


def _known(api: Api, conversations: Sequence[Conversation]) -> set[tuple[object, ...]]:
    found: set[tuple[object, ...]] = set()
    for evaluator in sorted({one.outcome.evaluator for one in conversations}):
        times = [one.outcome.at_ns for one in conversations if one.outcome.evaluator == evaluator]
        params: dict[str, Any] = {
            "evaluator": evaluator,
            "start": _rfc3339(min(times) - NS_PER_S),
            "end": _rfc3339(max(times) + NS_PER_S),
            "limit": _PAGE,
        }
        while True:
            page = api.get("/api/v1/scores", params)
            names = ("session_id", "evaluator", "evaluator_version", "value", "label", "unscored")
            found |= {tuple(row.get(name) for name in names) for row in page["items"]}
            if not page.get("next_cursor"):
                break
            params["cursor"] = page["next_cursor"]
    return found


def _identity(one: Conversation) -> tuple[object, ...]:
    outcome = one.outcome
    return one.session_id, outcome.evaluator, VERSION, outcome.value, outcome.label, outcome.unscored


def _score(one: Conversation) -> dict[str, object]:
    outcome = one.outcome
    said: dict[str, object] = (
        {"unscored": outcome.unscored} if outcome.unscored else {"value": outcome.value, "label": outcome.label}
    )
    return {
        "evaluator": outcome.evaluator,
        "evaluator_version": VERSION,
        "evaluator_kind": "outcome",
        "target": "session",
        "session_id": one.session_id,
        **said,
        "at": _rfc3339(outcome.at_ns),
        "explanation": outcome.explanation,
        "metadata": {key: value for key, value in outcome.metadata.items() if value is not None},
    }


def _rfc3339(ns: int) -> str:
    return to_datetime(ns).isoformat(timespec="microseconds").replace("+00:00", "Z")
