"""The guardrails of the shop, in the order they are asked. Adding one is a class and a line here.

A guardrail that raises blocks (stages.guarded): a message, an answer or an action that nobody could check does not
pass. `action.confirmation` (tools/confirm.py) is added by the runtime itself.
"""

from __future__ import annotations

from typing import Final

from agent_runtime.guardrails.action import ActionCaps
from agent_runtime.guardrails.injection import ActionInjection, Injection
from agent_runtime.guardrails.output import Citations, Form, GeneratedForm, PromisedCaps
from agent_runtime.guardrails.pii import Leak, Pii
from agent_runtime.guardrails.scope import Scope
from agent_runtime.seams import Guardrail

GUARDRAILS: Final[tuple[Guardrail, ...]] = (
    Injection(),
    Pii(),
    Scope(),
    GeneratedForm(),
    Form(),
    Citations(),
    PromisedCaps(),
    Leak(),
    ActionCaps(),
    ActionInjection(),
)
