"""Whether an answer stands on the documents it cites.

A sentence states a policy when it has a figure or a rule word ("you can", "cannot", "only", "free" ...). Its support
is the largest share of its words that one cited document has, and nothing when it has a figure that this document has
not. The answer's score is that of its weakest such sentence; one without any, and that admits not to know or only
asks or thanks, claims nothing and is grounded. What this cannot see: a sentence of the document's own words that turns
their meaning round.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agent_runtime.records import Document
from agent_runtime.retrieval.words import figures, terms
from agent_runtime.seams import Grounding

CITATION: Final = re.compile(r"\[([A-Za-z][\w.]*(?:-[\w.]+)+)\]")  # [policy-returns]
_ID: Final = re.compile(r"\b(?:LK|RT|TK|GEAR)-\w+(?:/\d+)?")
_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+|\n+|\s+(?=\[[A-Za-z][\w.]*-)")
_RULE: Final = re.compile(
    r"\d|\b(?:cannot|can't|must|may not|never|only|always|free|within|unless|allowed|permitted|covered|covers|valid"
    r"|eligible|guarantee[ds]?|final|costs?|takes?|lasts?|expires?|entitled|required|non-?refundable)\b"
    r"|\b(?:you|customers?|items?|orders?|cards?|we|everybody) (?:can|may|must|do not|don't|need)\b"
    r"|\b(?:items?|orders?|cards?|returns?|refunds?|customers?) (?:are|is|reach|reaches)\b"
    r"|\bwe (?:give|offer|ship|match|keep|accept|refund|pay|replace|never)\b",
    re.IGNORECASE,
)
_ADMITS: Final = re.compile(
    r"\b(?:i (?:do not|don['’]t) know|(?:not|un)(?: able|able| sure)|could not find|cannot find|can['’]t find"
    r"|no (?:information|answer|document))\b|\bdo(?:es)? not (?:say|answer)\b",
    re.IGNORECASE,
)
_COURTESY: Final = re.compile(
    r"^\W*(?:thank|thanks|sorry|i am sorry|i'm sorry|hello|hi\b|dear|you are welcome|you're welcome|of course"
    r"|let me know|please let|happy to|i hope|have a|our rules say|here is|i have looked|it is always a pleasure)\b",
    re.IGNORECASE,
)
# Words with which a sentence introduces what it states; no document has to have them.
_FRAME: Final = frozenset(terms("our rules policies policy say says according larkspur yes note know sure"))


def cited(answer: str) -> tuple[str, ...]:
    """The document ids that an answer cites, in order, each once."""
    return tuple(dict.fromkeys(CITATION.findall(answer)))


def sentences(answer: str) -> list[str]:
    """The sentences of an answer without their citations, and without ids as LK-12345: no rule is about one order."""
    parts = (_ID.sub("", CITATION.sub("", part)).strip() for part in _SENTENCE.split(answer))
    return [part for part in parts if terms(part)]


def states_policy(sentence: str) -> bool:
    """Whether a sentence claims a rule or a figure, rather than asking, thanking or not knowing."""
    if sentence.endswith("?") or (_ADMITS.search(sentence) and not re.search(r"\d", sentence)):
        return False
    return bool(_RULE.search(sentence)) and not (_COURTESY.search(sentence) and not re.search(r"\d", sentence))


def support(sentence: str, document: Document) -> float:
    """Which share 0..1 of a sentence's words a document has; 0 if a figure of it is not there."""
    words = set(terms(sentence)) - _FRAME
    whole = f"{document.title} {document.text}"
    if not figures(sentence) <= figures(whole):
        return 0.0
    return len(words & set(terms(whole))) / len(words) if words else 1.0


def ground(answer: str, documents: Sequence[Document], threshold: float) -> Grounding:
    """Measures how much of `answer` its cited documents support; `grounded` is score >= threshold.

    A citation of a document that was not read is never grounded, whatever the words.
    """
    ids = cited(answer)
    by_id = {document.doc_id: document for document in documents}
    unknown = tuple(doc_id for doc_id in ids if doc_id not in by_id)
    sources = [by_id[doc_id] for doc_id in ids if doc_id in by_id]
    said = sentences(answer)
    claims = [sentence for sentence in said if states_policy(sentence)]
    if not claims and any(map(_claims_otherwise, said)) and not any(map(_ADMITS.search, said)):
        claims = [sentence for sentence in said if _claims_otherwise(sentence)]
    score = min((max((support(claim, source) for source in sources), default=0.0) for claim in claims), default=1.0)
    return Grounding(score=score, cited=ids, unknown=unknown, grounded=score >= threshold and not unknown)


def _claims_otherwise(sentence: str) -> bool:
    return not (sentence.endswith("?") or _COURTESY.search(sentence))
