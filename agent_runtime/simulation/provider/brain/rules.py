"""Answers that rest on documents, and handing over to a person: what every specialist may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from agent_runtime.simulation.provider.brain.talk import Talk, refusal_of
from agent_runtime.simulation.provider.brain.understanding import content_words, question_of
from agent_runtime.simulation.provider.brain.words import STOP

LEAST_SHARED: Final = 0.4  # of the query's words
MOST_NEEDED: Final = 3  # shared words that are enough of any query
MOST_QUOTED: Final = 600


def search(talk: Talk, tool: str, query: str, thought: str) -> list[Mapping[str, Any]]:
    """Gives the documents that fit `query`, best first: those that share enough of its words."""
    result = talk.look(tool, {"query": query}, thought)
    rows = result.get("documents", result.get("result"))
    asked = content_words(query, STOP)
    found: list[tuple[float, Mapping[str, Any]]] = []
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, Mapping) or not row.get("id", row.get("doc_id")):
            continue
        document = {name: str(row.get(name, "")) for name in ("id", "title", "text")}
        document["id"] = document["id"] or str(row.get("doc_id"))
        whole = f"{document['title']} {document['text']} {document['id'].replace('-', ' ')}"
        shared = len(asked & content_words(whole, STOP))
        title = content_words(document["title"], STOP)
        titled = len(asked & title)
        if shared >= MOST_NEEDED or shared >= max(1, LEAST_SHARED * len(asked)) or titled > len(title) / 2:
            found.append((shared + titled / 2, document))
    return [document for _, document in sorted(found, key=lambda each: -each[0])]


def quoted(document: Mapping[str, Any]) -> str:
    """Quotes a document with its citation."""
    return f"{str(document['text'])[:MOST_QUOTED].strip()} [{document['id']}]"


def policy(talk: Talk) -> None:
    """Answers a question about the rules from the policies alone."""
    answer_from(talk, "search_policy", question_of(talk.wish.last.text or talk.wish.said))


def answer_from(talk: Talk, tool: str, query: str) -> None:
    """Answers from the documents of one search, or says that it does not know."""
    if tool not in talk.tools:
        tool = "search_policy"
    found = search(talk, tool, query[:300], "I answer only from our documents, so I search them.")
    if not found:
        talk.say("I am sorry, I don't know: our documents do not say it. Shall I pass this to a person? (yes/no)")
    talk.say(talk.pick(quoted(found[0]), f"Our rules say: {quoted(found[0])}"))


def cannot(talk: Talk, text: str, query: str) -> NoReturn:
    """Tells why something is not done, with the policy that says so when there is one."""
    found = (
        search(talk, "search_policy", query[:300], "I look up the rule, so that the answer rests on it.")
        if "search_policy" in talk.tools
        else []
    )
    talk.say(f"{text} {quoted(found[0])}" if found else f"{text} I am sorry.")


def hand_over(talk: Talk, summary: str, reason: str, text: str) -> NoReturn:
    """Passes the case to a person and says so."""
    if "escalate" not in talk.tools and talk.did("escalate") is None:
        talk.say(f"{text} A person of our team has to look at this; please call us.")
    result = talk.do("escalate", {"summary": summary[:400], "reason": reason}, "This is for a person to decide.")
    number = f" Your case is {result['ticket_id']}." if result.get("ticket_id") else ""
    why = refusal_of(result)
    talk.say(
        f"{text} I could not reach a person either: {why}."
        if why
        else f"{text} I have passed this to a person of our team.{number}"
    )


def person(talk: Talk) -> None:
    """The user wants a person, or is beyond what rules can settle."""
    said = " ".join(talk.wish.said.split())[:300] or "The user asked for a person."
    angry = talk.wish.last.angry
    hand_over(
        talk,
        said,
        "angry customer" if angry else "the user asked for a person",
        "I am sorry for the trouble." if angry else "Of course.",
    )
