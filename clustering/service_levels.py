"""What sessions have, level by level, as their spans say: releases, tools, models, documents, prompts, tenants."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.windows import Window
from store.engine import slot, table_of
from store.tenant import TenantStore

LEVELS: Final = {"session_id": pl.String, "attribute": pl.String, "level": pl.String, "at_ns": pl.Int64}
MOST_CHARS: Final = 200  # of a level's name
_COLUMNS: Final = {
    "release": "release",
    "variant": "variant",
    "environment": "environment",
    "model": "model_request",
    "tool": "tool_name",
    "prompt": "prompt_version",
    "service": "service_version",
}
_TENANTS: Final = ("tenant.id", "tenant_id", "customer.id", "organization.id", "org_id", "account.id")


def levels_of(store: TenantStore, app: str, window: Window) -> pl.DataFrame:
    """A row of LEVELS for each level that a session of the app has among its spans in `window`; `at_ns` is when it has
    it first. Documents are those that retrievers found."""
    found = store.frame(_levels(), window, values={"app": app})
    rows = found.select(list(LEVELS)).cast(LEVELS).with_columns(pl.col("level").str.slice(0, MOST_CHARS))  # type: ignore[arg-type]
    return pl.concat([rows.filter(pl.col("level") != ""), _documents(store, app, window)])


def places_of(store: TenantStore, app: str, window: Window) -> pl.DataFrame:
    """session_id, attribute (tool or span) and level (its name) of each span that failed in a session of the app."""
    found = store.frame(_failed(), window, values={"app": app})
    rows = found.select("session_id", "attribute", "level").filter(pl.col("level").is_not_null())
    return rows.with_columns(pl.col("level").str.slice(0, MOST_CHARS)).unique()


def _documents(store: TenantStore, app: str, window: Window) -> pl.DataFrame:
    found = store.frame(_retrieved(), window, values={"app": app})
    ids = (
        pl.col("documents")
        .str.extract_all(r'"(?:document\.)?id"\s*:\s*"[^"]{1,200}"')
        .list.eval(pl.element().str.extract(r':\s*"([^"]+)"'))
    )
    rows = found.select("session_id", "at_ns", level=ids, attribute=pl.lit("document")).explode("level")
    return rows.filter(pl.col("level").is_not_null()).select(list(LEVELS)).cast(LEVELS)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def _levels() -> ir.Table:
    spans = _of_app()
    parts = []
    for attribute, column in _COLUMNS.items():
        rows = spans.mutate(attribute=ibis.literal(attribute), level=spans[column].cast("string"))
        parts.append(_grouped(rows))
    held = [
        ibis.ifelse(spans.attributes.contains(key), spans.attributes.get(key), ibis.null("string")) for key in _TENANTS
    ]
    rows = spans.mutate(attribute=ibis.literal("tenant"), level=ibis.coalesce(*held))
    return ibis.union(*parts, _grouped(rows))


@lru_cache(maxsize=1)
def _failed() -> ir.Table:
    spans = _of_app()
    wrong = spans.filter((spans.status_code == 2) | spans.error_type.notnull())
    is_tool = wrong.kind == "TOOL"
    rows = wrong.mutate(
        attribute=ibis.ifelse(is_tool, "tool", "span"),
        level=ibis.ifelse(is_tool, ibis.coalesce(wrong.tool_name, wrong.name), wrong.name),
    )
    return rows.group_by("session_id", "attribute", "level").agg(tenant=rows.tenant.max())


@lru_cache(maxsize=1)
def _retrieved() -> ir.Table:
    spans = _of_app()
    rows = spans.filter(spans.kind == "RETRIEVER", spans.documents.notnull())
    return rows.select("tenant", "session_id", "documents", at_ns=rows.start_ns)


def _of_app() -> ir.Table:
    spans = table_of("spans")
    return spans.filter(spans.session_id.notnull(), spans.app == slot("app", "string"))


def _grouped(rows: ir.Table) -> ir.Table:
    known = rows.filter(rows.level.notnull())
    return known.group_by("session_id", "attribute", "level").agg(tenant=known.tenant.max(), at_ns=known.start_ns.min())
