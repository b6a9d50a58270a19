"""The policy chain: what every model call passes on its way in, and in reverse on its way out.

A policy is synchronous, does no I/O and takes its time from the call. It may change `call.body`, answer in the model's
place (the cache), or refuse by raising `Refused`. A policy that breaks refuses the call: nothing passes unchecked.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any, Protocol

from gateway.errors import CallFailed, Refused
from gateway.records import Answer, Call

_LOG = logging.getLogger("assay.gateway")


class StreamFilter(Protocol):
    """Changes a streamed answer while it passes. Chunks are OpenAI's `chat.completion.chunk` objects."""

    def feed(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """The chunks to pass on for this one: none while something is held back, or several."""

    def end(self) -> list[dict[str, Any]]:
        """What was held back, when the stream ends, however it ends."""


class Policy(Protocol):
    """One policy. `name` is what spans and the page call it."""

    name: str

    def before(self, call: Call) -> Answer | None:
        """Looks at the call before the upstream does. An Answer ends the way in. Raises Refused."""

    def after(self, call: Call, answer: Answer) -> None:
        """Looks at a whole answer, and may change it. Not called for streams. Raises Refused."""

    def stream(self, call: Call) -> StreamFilter | None:
        """What a streamed answer passes; None when this policy has nothing to do with it."""

    def done(self, call: Call) -> None:
        """The call is over, however it ended. Called exactly once if `before` was called, also when that raised."""


class Chain:
    """The policies in the order of the way in."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)

    def before(self, call: Call) -> Answer | None:
        """Runs the way in. Raises Refused."""
        begun: list[Policy] = []
        call.state["begun"] = begun
        for policy in self._policies:
            begun.append(policy)
            answer: Answer | None = self._timed(call, policy, policy.before, call)
            if answer is not None:
                return answer
        return None

    def after(self, call: Call, answer: Answer) -> None:
        """Runs the way out of a whole answer: the policies that saw the call, the last first. Raises Refused."""
        for policy in reversed(call.state["begun"]):
            self._timed(call, policy, policy.after, call, answer)

    def streams(self, call: Call) -> list[tuple[str, StreamFilter]]:
        """The filters of a streamed answer with their policies' names, in the order in which chunks pass them."""
        found = [
            (policy.name, self._timed(call, policy, policy.stream, call)) for policy in reversed(call.state["begun"])
        ]
        return [(name, each) for name, each in found if each is not None]

    def done(self, call: Call) -> None:
        """Tells every policy that saw the call that it is over."""
        for policy in reversed(call.state.pop("begun", [])):
            try:
                self._timed(call, policy, policy.done, call)
            except CallFailed:
                _LOG.exception("the policy %s failed at the end of call %s", policy.name, call.id)

    @staticmethod
    def _timed(call: Call, policy: Policy, step: Any, *given: Any) -> Any:
        began = perf_counter_ns()
        try:
            return step(*given)
        except CallFailed:
            raise
        except Exception as error:
            _LOG.exception("the policy %s broke on call %s", policy.name, call.id)
            said = f"the gateway's policy {policy.name} broke, so the call was refused; the log of the gateway says why"
            raise Refused(said, status=500, kind="server_error", code=f"{policy.name}_broke") from error
        finally:
            spent = (perf_counter_ns() - began) / 1e6
            call.policy_ms[policy.name] = call.policy_ms.get(policy.name, 0.0) + spent
