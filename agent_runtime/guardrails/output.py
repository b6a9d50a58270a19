"""What a reply has to be: readable, without our machinery, citing only what was read, within the caps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from agent_runtime.records import Decision, Parameters
from agent_runtime.retrieval.grounding import CITATION, cited, sentences, states_policy, support
from agent_runtime.seams import Check, Stage, Verdict

_MOST_REPLY: Final = 6_000  # characters
_MOST_SAME: Final = 4  # times one sentence may stand in a reply
_ITS_WORDS: Final = 0.6  # of a sentence: then it came from the document
_MACHINERY: Final = re.compile(
    r"^\s*Agent: (?:supervisor|order|account|technical|escalation|planner|critic|summariser)\b|<\|im_\w+\|>|\[/?INST\]"
    r"|\bYou work for Larkspur, a shop\b|^\s*\{\s*\"(?:tool|name|function|arguments)\"\s*:",
    re.MULTILINE,
)
_THOUGHT: Final = re.compile(r"^\s*Thought:.*\n?", re.MULTILINE)
_DO_NOT_KNOW: Final = "I don't know: what I found does not answer this. Shall I bring in a person?"

_SENTENCE: Final = re.compile(r"[^.!?\n]*(?:[.!?](?=\d)[^.!?\n]*)*[.!?\n]?\s*")
_PROMISE: Final = re.compile(
    r"\b(?:I|we)(?:['’](?:ll|ve|m|re)|\s+(?:will|can|could|have|am|are|shall|may|would|just|gladly))?\b"
    r"|\byou(?:['’]ll|\s+will|\s+(?:can\s+)?get|\s+receive)\b|\b(?:is|was|has been|will be)\s+(?:refunded|credited"
    r"|applied|granted)\b",
    re.IGNORECASE,
)
_REFUND: Final = re.compile(
    r"\b(?:refund|reimburs|credit(?:ed)?\b|compensat|money back|pay(?:ing)? (?:you )?back)", re.I
)
_DISCOUNT: Final = re.compile(r"\b(?:discount|off\b|rebate|reduc)", re.I)
_NOT: Final = re.compile(
    r"\b(?:cannot|can['’]t|can not|could not|couldn['’]t|not|never|unable|above|more than|at most|up to|exceeds?"
    r"|beyond|refused)\b",
    re.I,
)
_USD: Final = re.compile(r"\$\s?(\d[\d,]*(?:\.\d+)?)|\b(\d[\d,]*(?:\.\d+)?)\s?(?:USD|dollars)\b", re.I)
_PERCENT: Final = re.compile(r"\b(\d+(?:\.\d+)?)\s?(?:%|percent|per cent)", re.I)


class Form:
    """`output.schema`: a reply is text of a sensible length, without our prompts, thoughts or endless repetition."""

    name = "schema"
    stage = Stage.OUTPUT

    def check(self, asked: Check) -> Verdict:
        """Blocks what nobody should read; takes a thought out."""
        wrong = malformed(asked.text)
        if wrong:
            return Verdict(decision=Decision.BLOCK, reason=wrong)
        plain = _THOUGHT.sub("", asked.text).strip()
        if plain == asked.text.strip():
            return Verdict()
        if not plain:
            return Verdict(decision=Decision.BLOCK, reason="only a thought")
        return Verdict(decision=Decision.REWRITE, reason="a thought in the reply", text=plain)


class GeneratedForm:
    """`generation.form`: what a model writes beside its calls, and their arguments, are of a sensible form too.

    A block fails the turn and undoes what it has begun: a model that has lost its thread must not act.
    """

    name = "form"
    stage = Stage.GENERATION

    def check(self, asked: Check) -> Verdict:
        """Blocks templates, our own instructions, endless text and endless repetition."""
        wrong = malformed(asked.text)
        return Verdict(decision=Decision.BLOCK, reason=wrong) if wrong else Verdict()


def malformed(text: str) -> str:
    """What is wrong with the form of a model's text, "" when nothing is."""
    if not text.strip():
        return "empty"
    if len(text) > _MOST_REPLY:
        return f"{len(text)} characters, more than {_MOST_REPLY}"
    if _MACHINERY.search(text):
        return "holds the agent's own instructions or calls"
    said = sentences(text)
    if any(said.count(sentence) > _MOST_SAME for sentence in set(said)):
        return "repeats itself"
    return ""


class Citations:
    """`output.citations`: cites only documents read in this session; flags a policy of a search told without source."""

    name = "citations"
    stage = Stage.OUTPUT

    def check(self, asked: Check) -> Verdict:
        """Rewrites a reply with an invented source to "I don't know"."""
        known = {document.doc_id for document in asked.documents}
        known.update(doc_id for m in asked.transcript if m.role == "assistant" for doc_id in cited(m.text))
        invented = [doc_id for doc_id in cited(asked.text) if doc_id not in known]
        if invented:
            reason = f"cites what was not read: {', '.join(invented)}"
            return Verdict(decision=Decision.REWRITE, reason=reason, text=_DO_NOT_KNOW)
        if not CITATION.search(asked.text) and any(_is_from(each, asked) for each in sentences(asked.text)):
            return Verdict(decision=Decision.FLAG, reason="states a policy and names no source")
        return Verdict()


def _is_from(sentence: str, asked: Check) -> bool:
    """Whether a sentence states a policy in the words of a document that was read."""
    return states_policy(sentence) and any(support(sentence, each) >= _ITS_WORDS for each in asked.documents)


class PromisedCaps:
    """`output.caps`: no reply promises a refund or a discount above the release's caps."""

    name = "caps"
    stage = Stage.OUTPUT

    def check(self, asked: Check) -> Verdict:
        """Replaces each sentence that promises too much by what may be given."""
        found = [(text, _above(text, asked.parameters)) for text in _SENTENCE.findall(asked.text) if text]
        reasons = [reason for _, reason in found if reason]
        if not reasons:
            return Verdict()
        instead = _instead(asked.parameters)
        kept: list[str] = []
        for text, reason in found:
            if not reason:
                kept.append(text)
            elif instead not in kept:
                kept.append(instead)
        return Verdict(decision=Decision.REWRITE, reason="; ".join(reasons), text="".join(kept).strip())


def _above(sentence: str, parameters: Parameters) -> str:
    """Which cap a sentence promises to exceed, "" when none."""
    if sentence.rstrip().endswith("?") or not _PROMISE.search(sentence) or _NOT.search(sentence):
        return ""
    amounts = [Decimal((one or other).replace(",", "")) for one, other in _USD.findall(sentence)]
    if _REFUND.search(sentence) and _most(amounts) > parameters.refund_cap_usd:
        return f"promises ${_most(amounts)}, cap ${parameters.refund_cap_usd}"
    percents = [Decimal(found) for found in _PERCENT.findall(sentence)]
    if (_DISCOUNT.search(sentence) or _REFUND.search(sentence)) and _most(percents) > parameters.discount_cap_percent:
        is_whole_refund = _REFUND.search(sentence) and not _DISCOUNT.search(sentence)
        return "" if is_whole_refund else f"promises {_most(percents)}%, cap {parameters.discount_cap_percent}%"
    return ""


def _most(values: Iterable[Decimal]) -> Decimal:
    return max(values, default=Decimal(0))


def _instead(parameters: Parameters) -> str:
    return (
        f"I can refund at most ${parameters.refund_cap_usd} and give a discount of at most "
        f"{parameters.discount_cap_percent} percent; anything above is for a person of our team to decide. "
    )
