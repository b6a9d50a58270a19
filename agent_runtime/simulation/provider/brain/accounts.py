"""The account agent: showing and changing an account, a new password, closing it."""

from __future__ import annotations

from typing import Final

from agent_runtime.simulation.proposal import ProposedCall
from agent_runtime.simulation.provider.brain import rules
from agent_runtime.simulation.provider.brain.orders import agree, done_or_why
from agent_runtime.simulation.provider.brain.talk import Talk, refusal_of
from agent_runtime.simulation.provider.brain.words import Act


def show(talk: Talk) -> None:
    """Tells what the account holds."""
    found = talk.look("get_account", {}, "The user asks about the account.")
    why = refusal_of(found)
    if why is not None:
        talk.say(f"I could not read your account: {why}.")
    facts = [f"{name} {found[name]}" for name in ("name", "email", "address", "status") if found.get(name)]
    talk.say(f"Your account: {', '.join(facts)}.")


def email(talk: Talk) -> None:
    """Changes the e-mail address."""
    wanted = talk.wish.email
    if wanted is None:
        talk.say("What is the new e-mail for your account?")
    result = talk.do("update_email", {"email": wanted}, "The user gave a new e-mail address for the account.")
    done_or_why(
        talk, result, f"Your e-mail address is changed to {result.get('email', wanted)}.", "account e-mail change"
    )


def address(talk: Talk) -> None:
    """Changes the address of the account; orders under way keep theirs."""
    wanted = talk.wish.address
    if wanted is None:
        talk.say("What is your new address? Please give me street with number and town.")
    result = talk.do("update_address", {"address": wanted}, "The user gave a new address for the account.")
    done_or_why(talk, result, f"Your address is changed to {result.get('address', wanted)}.", "account address change")


def password(talk: Talk) -> None:
    """Sends a link for a new password."""
    result = talk.do("reset_password", {}, "A reset link goes to the account's own e-mail, so it is safe to send.")
    sent_to = f" to {result['sent_to']}" if result.get("sent_to") else ""
    done_or_why(talk, result, f"I have sent a link to reset your password{sent_to}.", "password reset")


def close(talk: Talk) -> None:
    """Closes the account after a yes, unless an order is on its way."""
    if talk.did("close_account") is None and not talk.wish.agreed:
        found = talk.look("get_account", {}, "Before closing I look whether anything stands against it.")
        why = found.get("why")
        if isinstance(why, dict) and why.get("close"):
            rules.cannot(
                talk, f"I cannot close your account now: {why['close']}.", "closing an account order on its way"
            )
    call = ProposedCall(tool="close_account", args={"reason": talk.wish.reason or "the customer asked"})
    agree(
        talk, call, "Closing an account is final: points and saved addresses are lost.", "Shall I close your account?"
    )
    result = talk.do(call.tool, call.args, "The user said yes to closing the account.")
    done_or_why(talk, result, "Your account is closed.", "closing an account")


POLICIES: Final = {
    Act.ACCOUNT: show,
    Act.EMAIL: email,
    Act.ADDRESS: address,
    Act.PASSWORD: password,
    Act.CLOSE: close,
}
