"""The API's HTTP: what cannot be read is answered by a problem, as everything else that fails is."""

from __future__ import annotations

from server.bounded_http import MAX_HEAD_BYTES, MAX_URL_BYTES, BoundedHttp, Refusal
from server.problems import problem

__all__ = ["MAX_HEAD_BYTES", "MAX_URL_BYTES", "BoundedProtocol"]


class BoundedProtocol(BoundedHttp):
    """One connection of the API."""

    def answer_to(self, refusal: Refusal, path: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """The refusal as a problem."""
        answer = problem(refusal.status, refusal.detail, code=refusal.code, instance=path)
        return list(answer.raw_headers), bytes(answer.body)
