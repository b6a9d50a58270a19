"""Talking to the agent in the terminal, and approving its risky actions."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from rich.console import Console
from rich.markup import escape

from agent_runtime.compose import Running, open_runtime
from agent_runtime.records import TurnInput, TurnResult, TurnStatus
from agent_runtime.settings import Settings
from agent_runtime.terminal import TypedLines

Read = Callable[[str], Awaitable[str]]
_TRY: Final = 'Try "Please refund my Summit Lite watch", then "yes": a refund above ${above} asks you as the staff.'


async def chat(settings: Settings, console: Console, read: Read | None = None, user_id: str | None = None) -> bool:
    """Talks until an empty line or the end of input; whether the last turn went well.

    `read` shows a prompt and gives the person's line (tests give their own). Raises InvalidInput, CorruptState.
    """
    ask = read or TypedLines(lambda prompt: console.print(prompt, end="")).next
    well = True
    async with open_runtime(settings) as running:
        who = user_id or running.demo_user
        model = "the simulated model" if running.simulated else settings.model
        console.print(f"You are customer {who} of Larkspur, talking to {model}. An empty line ends it.", style="dim")
        if user_id is None:
            above = running.runtime.release.parameters.approval_above_usd
            console.print(_TRY.format(above=above), style="dim")
        session = f"chat-{uuid.uuid4().hex[:12]}"
        while text := (await ask("[bold]you>[/bold] ")).strip():
            given = TurnInput(
                session_id=session, user_id=who, text=text, message_id=uuid.uuid4().hex, tenant=settings.tenant
            )
            result = await running.runtime.turn(given)
            _show(console, result)
            well = result.status is not TurnStatus.FAILED
            await _approve(running, console, ask, result)
    return well


async def _approve(running: Running, console: Console, ask: Read, result: TurnResult) -> None:
    for waiting in result.approvals:
        args = ", ".join(f"{name}={value}" for name, value in waiting.args.items())
        console.print(f"[yellow]{waiting.tool}[/yellow] {_shown(args)}: {_shown(waiting.why)}")
        answer = await ask(escape("approve as the shop's staff? [y/N] "))
        approved = answer.strip().lower() in {"y", "yes"}
        _show(console, await running.runtime.approve(waiting.approval_id, approved, "terminal"))


def _show(console: Console, result: TurnResult) -> None:
    for outcome in result.tools:
        verdict = outcome.result.get("refused") or outcome.result.get("error") or "done"
        console.print(f"  {outcome.tool}: {_shown(str(verdict))}", style="dim")
    agent = result.agent.value if result.agent else "support"
    console.print(f"[bold green]{agent}>[/bold green] {_shown(result.reply)}")


def _shown(text: str) -> str:
    """Of a model or a tool, as it is: no markup, and no character that moves the cursor, colours or hides others."""
    return escape("".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text))
