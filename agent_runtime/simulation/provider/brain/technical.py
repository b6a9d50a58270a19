"""The technical agent: faults of devices, help articles, tickets and questions about the rules."""

from __future__ import annotations

from typing import Final

from agent_runtime.simulation.provider.brain import rules, words
from agent_runtime.simulation.provider.brain.talk import Talk, refusal_of
from agent_runtime.simulation.provider.brain.understanding import question_of, sentences
from agent_runtime.simulation.provider.brain.words import Act

_DANGER: Final = ("gas", "safe", "fire", "burn", "smoke")


def diagnose(talk: Talk) -> None:
    """Runs the diagnostic of a device, tells what to do, and opens a ticket where it says so."""
    sku = talk.wish.sku
    if sku is None:
        talk.say("I am sorry to hear that. Which product is it? Please give me its number, it begins with GEAR.")
    if not words.SYMPTOM.search(talk.wish.said):
        talk.say(f"I am sorry to hear that. What exactly happens with {sku}?")
    symptom = symptom_in(talk.wish.said)
    found = talk.look("run_diagnostic", {"sku": sku, "symptom": symptom}, f"I test {sku} for this symptom.")
    why = refusal_of(found)
    if why is not None:
        talk.say(f"I could not test {sku}: {why}. Which product number is right?")
    product = found.get("product", sku)
    told = f"For the {product} ({sku}): {found.get('finding', 'unknown')}. {found.get('advice', '')}".strip()
    if not found.get("needs_ticket"):
        talk.say(f"{told} If that does not help, tell me and I open a ticket.")
    priority = "high" if any(word in told.lower() for word in _DANGER) else "normal"
    open_ticket(talk, f"{product} ({sku}): {symptom}", priority, told)


def symptom_in(said: str) -> str:
    """Gives the sentences that tell of a fault, all that was said when none does."""
    told = sentences(said)
    return " ".join([part for part in told if words.SYMPTOM.search(part)] or told)[:300] or "unknown"


def open_ticket(talk: Talk, summary: str, priority: str, told: str) -> None:
    """Opens a ticket for the repair team and says its number."""
    result = talk.do("create_ticket", {"summary": summary[:400], "priority": priority}, "This needs the repair team.")
    why = refusal_of(result)
    number = f" {result['ticket_id']}" if result.get("ticket_id") else ""
    text = f"I could not open a ticket: {why}." if why else f"I have opened ticket{number} for our repair team."
    talk.say(f"{told} {text}".strip())


def ticket(talk: Talk) -> None:
    """The user wants a ticket: what the device has is looked up when it is known."""
    if talk.wish.sku is not None and words.SYMPTOM.search(talk.wish.said):
        symptom = symptom_in(talk.wish.said)
        found = talk.look("run_diagnostic", {"sku": talk.wish.sku, "symptom": symptom}, "A ticket needs a diagnosis.")
        told = f"{found['finding']}. " if isinstance(found.get("finding"), str) else ""
        open_ticket(talk, f"{talk.wish.sku}: {told}{symptom}", "normal", "")
    said = [text for text in (talk.situation.user_texts() if talk.situation else ()) if len(text) > 12]
    open_ticket(talk, " / ".join(said[-4:]) or "The customer asks for a ticket.", "normal", "")


def help_(talk: Talk) -> None:
    """Answers a how-to from the help articles."""
    rules.answer_from(talk, "search_help", question_of(talk.wish.last.text or talk.wish.said))


POLICIES: Final = {
    Act.DIAGNOSE: diagnose,
    Act.TICKET: ticket,
    Act.HELP: help_,
    Act.POLICY: rules.policy,
}
