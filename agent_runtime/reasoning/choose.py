"""Which strategy a turn is reasoned with: a pure function of the supervisor's route and the message."""

from __future__ import annotations

from agent_runtime.context import Route
from agent_runtime.records import Intent, Parameters, Strategy
from agent_runtime.tools.confirm import says_yes


def choose(route: Route, text: str, parameters: Parameters) -> Strategy:
    """A release may fix it. Else: weigh approaches when unclear or high-stakes, plan a refund, react otherwise.

    A plain yes goes on with what was asked: there is nothing left to weigh or to plan.
    """
    if parameters.strategy is not None:
        return parameters.strategy
    if says_yes(text):
        return Strategy.REACT
    if route.ambiguous or route.risk == "high":
        return Strategy.TREE
    if route.intent is Intent.REFUND:
        return Strategy.PLAN
    return Strategy.REACT
