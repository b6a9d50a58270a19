"""Telemetry that got lost: sessions which the gateway sent to a release and of which no span of the agent came.

The gateway's own span `session APP` begins the trace of each turn and says where it went; the agent's spans go on in
that trace. A release that breaks, or breaks its exporter, would else look better than it is.
"""

from __future__ import annotations

from functools import lru_cache

import ibis
import ibis.expr.types as ir
import polars as pl

from core.clock import NS_PER_S
from store import experiment_arms
from store.engine import slot, table_of
from store.experiment_moments import UnitsAsked, UnitsShape, bound_units
from store.experiment_units import GATEWAY_SCOPE, traffic
from store.tenant import TenantStore

LATE_S = 300  # so long may spans of an agent take to come


def sent_and_lost(store: TenantStore, asked: UnitsAsked) -> pl.DataFrame:
    """One row per arm to which the gateway sent sessions that began in the experiment's time, up to LATE_S seconds
    ago: arm, n_sent, n_lost. No row where no gateway was asked. Reads the spans. Two queries."""
    bound, shape = bound_units(store, asked)
    values = bound.values | {"door": f"session {asked.app}", "settled_ns": asked.now_ns - LATE_S * NS_PER_S}
    windows = {"spans": bound.windows["spans"]}
    found = store.frame(_sent(shape), windows, asked.as_of_ns, values=values, given=bound.given)
    return found.drop("tenant").sort("arm")


@lru_cache(maxsize=16)
def _sent(shape: UnitsShape) -> ir.Table:
    rows = traffic(shape.facts, _sessions())
    named = rows.user_id if shape.by_user else rows.session_id
    rows = rows.filter(named.notnull()).mutate(unit=named)
    rows = experiment_arms.without_testers(shape.arms, rows)
    rows = rows.filter(
        ~rows.tester,
        experiment_arms.enrolled(shape.arms, rows),
        rows.start_ns >= slot("started_ns", "int64"),
        rows.start_ns < slot("stopped_ns", "int64"),
        rows.start_ns <= slot("settled_ns", "int64"),
    )
    rows = rows.mutate(arm=experiment_arms.observed(shape.arms, rows))
    rows = rows.filter(rows.arm.notnull())
    lost = ibis.ifelse(rows.n_seen == 0, 1, 0).cast("int64")
    return rows.group_by("arm").agg(tenant=rows.tenant.max(), n_sent=rows.count(), n_lost=lost.sum())


def _sessions() -> ir.Table:
    """Sessions that the gateway's spans name: when they began, where the first turn went, in how many turns the agent
    left a span."""
    spans = table_of("spans")
    ours = (spans.scope_name == GATEWAY_SCOPE).fill_null(False)
    door = ours & (spans.name == slot("door", "string"))
    said = {name: spans[name].max(where=door) for name in ("session_id", "user_id", "release", "variant")}
    turns = spans.group_by("trace_id").agg(
        tenant=spans.tenant.max(),
        start_ns=spans.start_ns.min(where=door),
        seen=(~ours).cast("int64").max(),
        **said,
    )
    turns = turns.filter(turns.session_id.notnull())
    key = ibis.struct({"at": turns.start_ns, "id": turns.trace_id})
    arm = ibis.struct({"release": turns.release, "variant": turns.variant})
    found = turns.group_by("session_id").agg(
        tenant=turns.tenant.max(),
        user_id=turns.user_id.min(),
        start_ns=turns.start_ns.min(),
        n_seen=turns.seen.sum(),
        arm=arm.argmin(key, where=turns.release.notnull() | turns.variant.notnull()),
    )
    return found.mutate(release=found.arm["release"], variant=found.arm["variant"]).drop("arm")
