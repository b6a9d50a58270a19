"""What the shop does with accounts, devices, tickets and its documents. Refusals are BackendRefused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from agent_runtime.errors import BackendRefused
from agent_runtime.simulation.shop_orders import text_of
from agent_runtime.simulation.world import World

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PRIORITIES: Final = frozenset({"low", "normal", "high"})
_N_FOUND: Final = 3
_WORD: Final = re.compile(r"[a-z]{3,}")
_COMMON: Final = frozenset(
    ("the", "and", "for", "how", "what", "when", "where", "which", "does", "have", "you", "your", "our", "with")
)


def account(world: World, user_id: str) -> dict[str, Any]:
    """The user's row. Raises BackendRefused for nobody's id."""
    found = world.row("SELECT * FROM users WHERE user_id = ?", user_id)
    if found is None:
        raise BackendRefused("this customer is not known")
    return found


def get_account(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Name, e-mail, address and state of the account, and whether it can be closed."""
    found, on_way = account(world, user_id), _on_their_way(world, user_id)
    return {
        "name": found["name"],
        "email": found["email"],
        "address": found["address"],
        "status": found["status"],
        "allowed": {"close": not on_way},
        "why": {"close": f"orders are still on their way: {', '.join(on_way)}"} if on_way else {},
    }


def update_email(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Sets the e-mail address, which nobody else may have."""
    email = text_of(args, "email").lower()
    if not _EMAIL.fullmatch(email):
        raise BackendRefused("that is not an e-mail address")
    if world.row("SELECT 1 FROM users WHERE email = ? AND user_id <> ?", email, user_id):
        raise BackendRefused("this e-mail address cannot be used")
    world.change("UPDATE users SET email = ? WHERE user_id = ?", email, user_id)
    return {"email": email}


def update_address(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Sets the address of the account; orders under way keep theirs."""
    address = text_of(args, "address")
    world.change("UPDATE users SET address = ? WHERE user_id = ?", address, user_id)
    return {"address": address}


def reset_password(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Sends a link to the account's e-mail address."""
    world.change("UPDATE users SET n_password_resets = n_password_resets + 1 WHERE user_id = ?", user_id)
    return {"sent_to": account(world, user_id)["email"]}


def close_account(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Closes the account for good when nothing is on its way."""
    on_way = _on_their_way(world, user_id)
    if on_way:
        raise BackendRefused(f"orders are still on their way: {', '.join(on_way)}")
    world.change("UPDATE users SET status = 'closed' WHERE user_id = ?", user_id)
    return {"status": "closed"}


def run_diagnostic(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """What a symptom of an article means; a symptom nobody knows needs a ticket."""
    sku, symptom = text_of(args, "sku").upper(), text_of(args, "symptom").lower()
    product = world.row("SELECT * FROM products WHERE sku = ?", sku)
    if product is None:
        raise BackendRefused(f"there is no product {sku}")
    facts = {"sku": sku, "product": product["name"], "warranty_years": product["warranty_years"]}
    for known in world.rows("SELECT * FROM diagnoses WHERE category = ?", product["category"]):
        if any(word in symptom for word in known["words"].split("|")):
            found = {
                "finding": known["finding"],
                "advice": known["advice"],
                "needs_ticket": bool(known["needs_ticket"]),
            }
            return {**facts, **found}
    return {**facts, "finding": "unknown", "advice": "Our repair team has to look at it.", "needs_ticket": True}


def create_ticket(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Opens a ticket for the repair team."""
    priority = str(args.get("priority") or "normal")
    if priority not in _PRIORITIES:
        raise BackendRefused(f"priority is one of {', '.join(sorted(_PRIORITIES))}")
    return _ticket(world, user_id, "technical", priority, text_of(args, "summary"))


def escalate(world: World, user_id: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Hands the case to a person."""
    summary = f"{text_of(args, 'summary')} ({args.get('reason', '')})"
    return _ticket(world, user_id, "escalation", "high", summary)


def search(world: World, kind: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The valid documents that share most with the query, rare words first; the runtime has a retrieval of its own."""
    wanted, documents = _words(text_of(args, "query")), world.documents(kind=kind)
    words = [_words(f"{each.title} {each.text}") for each in documents]
    rarity = {word: 1 / max(1, sum(word in each for each in words)) for word in wanted}
    whole = sum(rarity.values()) or 1.0
    scored = [(sum(rarity[word] for word in wanted & has) / whole, d) for has, d in zip(words, documents, strict=True)]
    best = sorted((each for each in scored if each[0] > 0), key=lambda each: (-each[0], each[1].doc_id))[:_N_FOUND]
    found = [{"id": d.doc_id, "title": d.title, "text": d.text, "score": round(score, 3)} for score, d in best]
    return {"documents": found}


def _words(text: str) -> set[str]:
    """Words without a plural's s, cut to five letters, so that forms of one word meet; common ones left out."""
    return {word.removesuffix("s")[:5] for word in _WORD.findall(text.lower()) if word not in _COMMON}


def _on_their_way(world: World, user_id: str) -> list[str]:
    found = world.rows(
        "SELECT order_id FROM orders WHERE user_id = ? AND status IN ('processing', 'shipped') ORDER BY order_id",
        user_id,
    )
    return [row["order_id"] for row in found]


def _ticket(world: World, user_id: str, kind: str, priority: str, summary: str) -> dict[str, Any]:
    number = len(world.rows("SELECT 1 FROM tickets WHERE user_id = ?", user_id))
    digits = int.from_bytes(blake2b(f"{user_id}\0{number}".encode(), digest_size=6).digest(), "big") % 10**9
    ticket_id = f"TK-{digits:09d}"
    world.change("INSERT INTO tickets VALUES (?, ?, ?, ?, ?)", ticket_id, user_id, kind, priority, summary)
    return {"ticket_id": ticket_id, "kind": kind, "priority": priority}
