"""The reference agent runtime: a customer-support agent that speaks OTLP and HTTP, and a simulated world around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_runtime.runtime import Parts, Runtime

__all__ = ["Parts", "Runtime"]


def __getattr__(name: str) -> Any:
    """Loads the façade when it is first asked for: the records alone load no model client."""
    if name in __all__:
        from agent_runtime import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module 'agent_runtime' has no attribute {name!r}")
