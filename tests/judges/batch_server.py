"""A server on loopback that speaks the batch APIs: OpenAI's files and batches, and Anthropic's message batches.

A batch is in progress for as many looks as a test wants, and then ends; `answer` gives what each request is told.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import listening

Answer = Callable[[str, str], "str | int | None"]  # custom id, prompt: the reply's text, an error's status, or no line


@dataclass(kw_only=True)
class BatchServer:
    """What it holds."""

    answer: Answer
    looks: int = 1
    refuses: bool = False
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)

    def respond(self, method: str, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
        """An answer to one request."""
        self.asked.append(f"{method} {path}")
        where = path.split("?")[0].removeprefix("/v1")
        if self.refuses and (method, where) in (("POST", "/batches"), ("POST", "/messages/batches")):
            return 400, b'{"error": {"message": "the queue is full", "type": "invalid_request_error", "code": null}}'
        if where == "/chat/completions":
            return self._live(json.loads(body))
        if method == "POST" and where == "/files":
            return 200, _json(self._file(_uploaded(kind, body)))
        if method == "DELETE":
            return 200, _json({"id": where.split("/")[2], "object": "file", "deleted": True})
        if method == "POST" and where == "/batches":
            return 200, _json(self._created(json.loads(body)["input_file_id"]))
        if match := re.fullmatch(r"/batches/([^/]+)(/cancel)?", where):
            return 200, _json(self._looked_at(match[1], cancelled=bool(match[2])))
        if match := re.fullmatch(r"/files/([^/]+)/content", where):
            return 200, self.files[match[1]]
        return self._anthropic(method, where, body)

    def _live(self, body: dict[str, Any]) -> tuple[int, bytes]:
        said = self.answer("live", json.dumps(body))
        if not isinstance(said, str):
            return 500, b"{}"
        message = {"role": "assistant", "content": said}
        usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"id": "c", "object": "chat.completion", "created": 1_700_000_000, "model": body["model"]}
        return 200, _json({**whole, "choices": [choice], "usage": usage})

    def _file(self, content: bytes) -> dict[str, Any]:
        name = f"file-{len(self.files) + 1}"
        self.files[name] = content
        return {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": 1_700_000_000,
            "filename": "batch.jsonl",
            "purpose": "batch",
            "status": "processed",
        }

    def _created(self, file_id: str) -> dict[str, Any]:
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": "/v1/responses",
            "input_file_id": file_id,
            "completion_window": "24h",
            "status": "validating",
            "created_at": 1_700_000_000,
            "looks": 0,
        }
        return self.batches[name]

    def _looked_at(self, name: str, *, cancelled: bool) -> dict[str, Any]:
        batch = self.batches[name]
        if cancelled:
            self.cancelled.append(name)
            batch["status"] = "cancelling"
            return batch
        batch["looks"] += 1
        batch["status"] = "in_progress"
        if batch["looks"] > self.looks:
            batch["status"] = "completed"
            batch["output_file_id"] = self._file(self._results(self.files[batch["input_file_id"]]))["id"]
        return batch

    def _results(self, given: bytes) -> bytes:
        lines = []
        for number, line in enumerate(given.splitlines()):
            asked = json.loads(line)
            body = asked["body"]
            self.prompts[asked["custom_id"]] = json.dumps(body)
            said = self.answer(asked["custom_id"], json.dumps(body))
            if said is None:
                continue
            whole = isinstance(said, str)
            content = _response(number, body["model"], said) if isinstance(said, str) else {"error": {"message": "no"}}
            response = {"status_code": 200 if whole else said, "request_id": f"req-{number}", "body": content}
            lines.append({"id": f"line-{number}", "custom_id": asked["custom_id"], "response": response, "error": None})
        return b"\n".join(map(_json, reversed(lines)))  # in no order, as the API says

    def _anthropic(self, method: str, where: str, body: bytes) -> tuple[int, bytes]:
        if method == "POST" and where == "/messages/batches":
            name = f"msgbatch_{len(self.batches) + 1}"
            self.batches[name] = {"looks": 0, "requests": json.loads(body)["requests"]}
            return 200, _json(self._message_batch(name, "in_progress"))
        match = re.fullmatch(r"/messages/batches/([^/]+)(/results|/cancel)?", where)
        assert match, where
        held = self.batches[match[1]]
        if match[2] == "/cancel":
            self.cancelled.append(match[1])
            return 200, _json(self._message_batch(match[1], "canceling"))
        if match[2] == "/results":
            return 200, b"\n".join(_json(self._message_result(one)) for one in held["requests"])
        held["looks"] += 1
        return 200, _json(self._message_batch(match[1], "ended" if held["looks"] > self.looks else "in_progress"))

    def _message_batch(self, name: str, status: str) -> dict[str, Any]:
        n = len(self.batches[name]["requests"])
        counts = {"processing": n, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts,
            "created_at": "2026-01-01T00:00:00Z",
            "expires_at": "2026-01-02T00:00:00Z",
            "ended_at": None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self.url}/v1/messages/batches/{name}/results" if status == "ended" else None,
        }

    def _message_result(self, asked: dict[str, Any]) -> dict[str, Any]:
        said = self.answer(asked["custom_id"], json.dumps(asked["params"]))
        if not isinstance(said, str):
            error = {"type": "error", "error": {"type": "api_error", "message": "no"}, "request_id": None}
            return {"custom_id": asked["custom_id"], "result": {"type": "errored", "error": error}}
        call = {"type": "tool_use", "id": "toolu_1", "name": "verdict", "input": json.loads(said)}
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": asked["params"]["model"],
            "content": [call],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 1000, "output_tokens": 100},
        }
        return {"custom_id": asked["custom_id"], "result": {"type": "succeeded", "message": message}}


def _response(number: int, model: str, text: str) -> dict[str, Any]:
    said = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": [said]}
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": model,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 100,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 1100,
        },
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _uploaded(kind: str, body: bytes) -> bytes:
    """The file of a multipart upload."""
    border = b"--" + kind.split("boundary=")[1].strip('"').encode()
    part = next(one for one in body.split(border) if b'name="file"' in one)
    return part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


@contextmanager
def batch_server(answer: Answer, *, looks: int = 1, refuses: bool = False) -> Iterator[BatchServer]:
    """Runs one."""
    state = BatchServer(answer=answer, looks=looks, refuses=refuses)
    lock = threading.Lock()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with lock:
                status, content = state.respond(self.command, self.path, self.headers.get("content-type", ""), body)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    with listening(Door) as state.url:
        yield state
