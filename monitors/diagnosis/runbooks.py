"""What to do first, by pattern. docs/runbooks.md shows the same, and a test holds it to this table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from monitors.diagnosis.patterns import BY_NAME, PATTERNS
from monitors.diagnosis.records import Pattern

PAGE: Final = "docs/runbooks.md"

FIRST: Final[Mapping[str, tuple[str, ...]]] = {
    "model_or_prompt_change": (
        "Open the ten examples and read what went wrong; look whether they share a tool, an intent or a release.",
        "See which release, prompt version and parameters served them, and what was deployed last; roll it "
        "back if the drop begins with it.",
        "Nothing was deployed: run the golden dataset against the release of last week; if it fails too, the "
        "provider changed the model. Pin a dated model version and tell the provider.",
    ),
    "model_swapped": (
        "See which model names came and went, and whether the share belongs to one release, endpoint or region.",
        "Look whether the gateway fell over to another model or an alias was moved; pin the dated version.",
        "Run the golden dataset against the new model before it is kept.",
    ),
    "wrong_facts": (
        "Open the examples: is the figure or source invented, or is it missing from the answer?",
        "Compare the prompt's part about sources with the version before; roll it back if it changed.",
        "Let a person take over topics where an invented figure costs money until it is back.",
    ),
    "stale_knowledge": (
        "See which documents came and went and when the index was last built.",
        "Compare the versions that are found with those that are valid; build the index again or swap back to "
        "the one before.",
        "Correct customers who were told the wrong rule: list the sessions that quoted those documents.",
    ),
    "retrieval_broken": (
        "Search by hand for a question that is known to have an answer, in the app's own index.",
        "Look at the last build of the index, the embedding model's version and the tenant filter.",
        "Swap back to the index before.",
    ),
    "tool_outage": (
        "See which tool, and whether it times out or refuses: the examples show its answers.",
        "Ask the owner of the system behind it; look at its own status.",
        "Is it a tool that pays or changes something? Make sure that a retry is not done twice (idempotency "
        "keys), and look for doubles since the onset.",
        "Switch the tool off or lead its requests to a person until it answers.",
    ),
    "loop": (
        "Set or lower the limit of calls per turn and the budget per session at the gateway: it stops the spending.",
        "Open the examples: which call is repeated, with which answer? Often a tool's result that the model "
        "cannot use.",
        "Roll back the release or tool schema that came before the onset.",
    ),
    "prompt_bloat": (
        "Compare the input of a model call with one from before the onset: instructions, history, documents "
        "or tool schemas?",
        "Roll back the prompt or the number of retrieved passages; bound the history.",
        "See whether the prompt cache still hits: a changed beginning of the prompt makes every call pay in full.",
    ),
    "context_lost": (
        "Look at the length of the prompts in the examples against the model's context window.",
        "Turn summaries of the history on, or cut tool results; bound what is retrieved.",
        "Roll back what made the prompt longer.",
    ),
    "verbose_answers": (
        "Compare an answer with one from before the onset: padding, lists, repeated policy?",
        "Roll back the prompt or model version; set the length that is wanted and a limit of output tokens.",
        "Check judges for a liking of long answers before you trust a better score.",
    ),
    "provider_slow": (
        "Look at the gateway's upstreams: which endpoint is slow, and at the provider's status page.",
        "Lead traffic to another endpoint or region (failover, hedging); lower the time limits.",
        "Nothing of ours to roll back: tell users where it is slow.",
    ),
    "provider_errors": (
        "See the errors' status: 429 is a limit, 401 a key, 5xx the provider.",
        "Lead traffic to another endpoint; lower what is not urgent (judges, batch runs) at the gateway.",
        "Raise the limit or renew the key.",
    ),
    "judge_moved": (
        "Do not roll anything back: stop gates that rest on this judge.",
        "See which model answered the judge's calls and whether its rubric was edited.",
        "Calibrate it again on labels by people; correct the figures since the onset.",
    ),
    "traffic_mix": (
        "See which kind of request came more often, from which tenant or channel, and ask there (campaign, "
        "outage, bot?).",
        "Nothing of the agent to roll back. Watch the strata, and give this kind its own monitor if it stays.",
        "If it stays: add examples of it to the golden dataset.",
    ),
    "traffic_surge": (
        "See where it comes from: tenant, channel, one user.",
        "Check rate limits and budgets at the gateway, and what a session costs.",
        "A single user or key: limit it.",
    ),
    "traffic_lost": (
        "Talk to the agent yourself. If it answers, look for lost traces: collector, exporter, keys.",
        "If it does not, look at the app's front door, sign-in and the gateway.",
        "Figures of this time rest on few sessions: do not gate on them.",
    ),
    "leak": (
        "Roll back or switch off the release now; ask questions afterwards.",
        "Open the examples: whose data, from which source (another customer's record, a prompt's example)?",
        "Keep the sessions as evidence, and tell whoever is responsible for data protection: there are deadlines.",
    ),
    "injection": (
        "Switch off the tool that was misused, or let a person confirm it.",
        "List the sessions with an attempt since the onset and undo what was done.",
        "Roll back the release if the guardrail was weakened; add the attack to the adversarial dataset.",
    ),
    "rules_broken": (
        "See which rule: cap, consent or tool. Put the cap back in the tool itself, not only in the prompt.",
        "Compare the release's parameters with the version before; roll back.",
        "List the actions since the onset, and undo them with the owner of that system.",
    ),
    "acts_without_asking": (
        "Open the examples: was something irreversible done before the user agreed?",
        "Ask for confirmation in the tool or the runtime, so that no prompt can leave it out.",
        "Roll back the release whose parameters or prompt dropped it.",
    ),
    "empty_claims": (
        "Open the examples and compare what was said with which tools were called.",
        "See whether the tool is still offered to the model (schema, allow list, a renamed tool).",
        "List the promises since the onset, and do what was promised.",
    ),
}


def runbook_of(pattern: str) -> str:
    """Where a pattern's steps stand."""
    slug = re.sub(r"[^\w\- ]", "", BY_NAME[pattern].title.lower()).replace(" ", "-")
    return f"{PAGE}#{slug}"


def as_markdown(patterns: tuple[Pattern, ...] = PATTERNS) -> str:
    """The sections of docs/runbooks.md."""
    return "\n".join(_section(one) for one in patterns)


def _section(one: Pattern) -> str:
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(FIRST[one.name], start=1))
    return f"## {one.title}\n\n`{one.name}`. {one.cause}\n\n{steps}\n"
