"""The simulated model's mind: one pure function from what a model is given to what it would answer."""

from __future__ import annotations

import hashlib
from typing import Final

from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.provider.brain import accounts, orders, payments, rules, technical
from agent_runtime.simulation.provider.brain.conversation import Wish, wish_of
from agent_runtime.simulation.provider.brain.structured import structured, summary
from agent_runtime.simulation.provider.brain.talk import Next, Talk, done_in
from agent_runtime.simulation.provider.brain.words import Act

_POLICIES: Final = {
    **orders.POLICIES,
    **payments.POLICIES,
    **accounts.POLICIES,
    **technical.POLICIES,
    Act.PERSON: rules.person,
}
_SUPPORT: Final = frozenset({"order", "account", "technical", "escalation"})


def propose(situation: Situation, seed: int) -> Proposal:
    """Answers. Equal arguments give equal proposals; any messages whatever give one."""
    wish = wish_of(situation.messages)
    answer = structured(situation, wish)
    if answer is not None:
        return answer
    if situation.agent == "summariser":
        return Proposal(text=summary(situation))
    if situation.agent not in _SUPPORT and not situation.tools:
        return Proposal(text=_bare(situation))
    try:
        _answer(_talk(situation, wish, seed))
    except Next as next_:
        return next_.proposal
    return Proposal(text="I am sorry, I did not understand that. Could you say it in other words?")


def _talk(situation: Situation, wish: Wish, seed: int) -> Talk:
    n_turns = len(situation.user_texts())
    return Talk(
        agent=situation.agent,
        wish=wish,
        tools=situation.tools,
        done=done_in(situation.of_turn()),
        salt=hashlib.blake2b(f"{seed}\0{situation.session_id}\0{n_turns}".encode(), digest_size=8).hexdigest(),
        situation=situation,
    )


def _answer(talk: Talk) -> None:
    wish = talk.wish
    if wish.act is Act.INJECTION:
        talk.say("I can't do that. I only help you with your own orders, account and gear, by our rules.")
    if wish.declined:
        talk.say(talk.pick("All right, I leave everything as it is.", "Fine, nothing is changed."))
    if talk.agent == "escalation" and wish.act in (None, Act.PERSON):
        rules.person(talk)
    policy = _POLICIES.get(wish.act) if wish.act is not None else None
    if policy is not None:
        policy(talk)
    match wish.act:
        case Act.GREET:
            talk.say(talk.pick("Hello! What can I do for you today?", "Hi! How can I help you?"))
        case Act.THANKS:
            talk.say(talk.pick("You are welcome.", "Glad to help."))
        case Act.BYE:
            talk.say("Goodbye, and enjoy the outdoors.")
        case _:
            if wish.last.angry:
                rules.person(talk)
            talk.say("I help with orders, refunds, your account, gear and our policies. What would you like to do?")


def _bare(situation: Situation) -> str:
    said = situation.user_texts()
    return f"This is a simulated model that answers by rules. You said: {said[-1][:200]}" if said else "(simulated)"
