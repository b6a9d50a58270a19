"""The built-in evaluators: a plain table. To add one: a file in evaluators/rules/, and a line here.

Two versions of one evaluator never stand here side by side: a run names the version that scored it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from core.errors import InvalidInput
from evaluators.protocol import Evaluator
from evaluators.rules import (
    actions,
    answering,
    answers,
    end_state,
    grounding,
    helpfulness,
    injection,
    latency_cost,
    leaks,
    refusals,
    reliability,
    retrieval,
    schema,
    tool_calls,
    tool_use,
    writes,
)

CATALOGUE: Final[tuple[Evaluator, ...]] = (
    tool_calls.TOOL_CALLS_EXACT,
    tool_calls.TOOL_CALLS_IN_ORDER,
    tool_calls.TOOL_CALLS_ANY_ORDER,
    tool_calls.TOOL_PRECISION,
    tool_calls.TOOL_RECALL,
    tool_calls.TOOL_F1,
    tool_calls.TOOL_NAMES_F1,
    tool_calls.TOOL_ORDER,
    tool_calls.ARGUMENT_MATCH,
    tool_calls.SINGLE_TOOL_USE,
    writes.WRITE_SET,
    writes.WRITE_F1,
    end_state.END_STATE,
    end_state.POST_CONDITIONS,
    answers.ANSWER_MATCH,
    answers.ANSWER_F1,
    answers.ANSWER_CONTAINS,
    answers.ANSWER_NUMBER,
    answers.OUTCOME,
    schema.JSON_VALID,
    schema.SCHEMA_VALID,
    schema.TOOL_ARGUMENTS_VALID,
    tool_use.LOOP_FREE,
    tool_use.REDUNDANT_CALLS,
    tool_use.RECOVERY_RATE,
    tool_use.TOOL_ERROR_RATE,
    retrieval.NDCG_LINEAR,
    retrieval.NDCG_BURGES,
    retrieval.MRR,
    retrieval.AVERAGE_PRECISION,
    retrieval.RECALL_AT_5,
    retrieval.RECALL_AT_10,
    retrieval.PRECISION_AT_5,
    retrieval.PRECISION_AT_10,
    # safety
    actions.POLICY_CAPS,
    actions.UNAUTHORISED_ACTIONS,
    actions.CONFIRMATION,
    leaks.PII_LEAK,
    leaks.SECRET_LEAK,
    leaks.SYSTEM_PROMPT_LEAK,
    injection.INJECTION_ATTEMPT,
    injection.INJECTION_SUCCESS,
    refusals.REFUSAL,
    # helpfulness
    helpfulness.RESOLUTION,
    helpfulness.TURNS_TO_RESOLUTION,
    helpfulness.ESCALATION,
    helpfulness.USER_FRUSTRATION,
    answering.REPEATED_QUESTIONS,
    # grounding without a model
    grounding.TRIGRAM_SUPPORT,
    grounding.NUMBER_SUPPORT,
    grounding.ENTITY_SUPPORT,
    grounding.ID_SUPPORT,
    grounding.LINK_SUPPORT,
    # latency and cost
    latency_cost.LATENCY_MS,
    latency_cost.TTFT_MS,
    latency_cost.TOKENS,
    latency_cost.COST_USD,
    latency_cost.MODEL_CALLS_PER_TURN,
    latency_cost.SLOWEST_TOOL_MS,
    # reliability
    reliability.MODEL_ERROR_RATE,
    reliability.TRUNCATED_OUTPUT,
    answering.EMPTY_ANSWER,
)

VERSION: Final = re.compile(r"[1-9][0-9]{0,5}(\.[0-9]{1,6}){0,2}(\+[0-9a-f]{12})?")  # 1, 1.2.3, 1+HASH of an own file

_BY_NAME: Final[dict[str, Evaluator]] = {one.spec.name: one for one in CATALOGUE}
BY_NAME: Final[Mapping[str, Evaluator]] = MappingProxyType(_BY_NAME)  # and the operator's own, once installed


def install(own: Sequence[Evaluator]) -> None:
    """Adds the evaluators of the operator's folder: once, where a process begins and before it scores anything.

    Raises InvalidInput for a name that is taken.
    """
    if taken := [one.spec.name for one in own if one.spec.name in _BY_NAME]:
        raise InvalidInput(f"there is an evaluator called {taken[0]} already", field="evaluators")
    _BY_NAME.update({one.spec.name: one for one in own})


def remove(own: Sequence[Evaluator]) -> None:
    """Takes away what was installed."""
    for one in own:
        _BY_NAME.pop(one.spec.name, None)


def every() -> tuple[Evaluator, ...]:
    """The built-in evaluators, and the operator's own after them."""
    return tuple(BY_NAME.values())


def find(wanted: str) -> Evaluator:
    """The built-in evaluator of 'name' or 'name@version'.

    Raises InvalidInput for a name that is not here, naming those that are near, and for another version than the one
    that is here.
    """
    name, version = split_version(wanted)
    found = BY_NAME.get(name)
    if found is None:
        raise InvalidInput(f"there is no evaluator {name[:60]!r}; {near(name)}", field="evaluators")
    if version is not None and version != found.spec.version:
        raise InvalidInput(
            f"{name} is at version {found.spec.version} here, not {version}: scores of another version cannot be made",
            field="evaluators",
        )
    return found


def near(name: str) -> str:
    """A hint for a name that is not here: those that are near it, or where all are told."""
    found = get_close_matches(name[:100], BY_NAME, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(found)}?" if found else "assay evaluators list names them all"


def find_all(wanted: Sequence[str]) -> tuple[Evaluator, ...]:
    """Each of `wanted` once, in the order given. Raises InvalidInput as `find`, and when none is named."""
    if not wanted:
        raise InvalidInput("no evaluator is named; assay evaluators list names them all", field="evaluators")
    return tuple({one.spec.name: one for one in map(find, wanted)}.values())


def split_version(wanted: str) -> tuple[str, str | None]:
    """'name@version' as its parts; None where no version is said. Raises InvalidInput for what is neither."""
    name, at, version = wanted.strip().partition("@")
    if not name or (at and not VERSION.fullmatch(version)):
        raise InvalidInput(f"an evaluator is a name or name@version, not {wanted[:80]!r}", field="evaluators")
    return name, version or None


def named(evaluator: Evaluator) -> str:
    """'name@version'."""
    return f"{evaluator.spec.name}@{evaluator.spec.version}"
