"""Clusters and their runs as the routes tell them (server/routes/cluster_shapes.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from clustering.known_share import known_of, warnings
from clustering.service_reading import AppNow, ClusterNow, Count
from core.windows import Window
from server.routes.keys import rfc3339
from store.control.cluster_records import (
    AlertRecord,
    ClusterAppRecord,
    ClusterEvent,
    ClusterRecord,
    ClusterRunRecord,
    FindingRecord,
    Scope,
    WatchRecord,
)
from store.control.run_records import RunStatus

MIB: Final = 1 << 20
FAILURE_RATE: Final = "failure rate"  # as clustering/profile.py calls it, which loads scipy
IN_THIS_RUN: Final = "in this run, "


def run_told(one: ClusterRunRecord, now_ns: int) -> dict[str, Any]:
    """ClusterRun. One whose process ended, and that no other has taken yet, waits for its turn again."""
    left = one.status is RunStatus.RUNNING and one.lease_until_ns is not None and one.lease_until_ns < now_ns
    return {
        "id": one.run_id,
        **{name: getattr(one, name) for name in ("app", "failure", "n_sessions", "n_clusters", "n_noise")},
        **{name: getattr(one, name) for name in ("noise_share", "embedder", "params_hash", "asked_by", "error")},
        **{name: one.used.get(name) for name in ("n_known", "n_failed")},
        "scope": one.scope.value,
        "status": RunStatus.WAITING.value if left else one.status.value,
        "stage": one.stages[-1].name if one.stages and not one.status.ended else None,
        "stages": [vars(stage) for stage in one.stages],
        "window": window_told(one.window),
        "params": dict(one.params),
        "used": dict(one.used),
        "asked_at": rfc3339(one.asked_at_ns),
        "started_at": rfc3339(one.started_at_ns),
        "ended_at": rfc3339(one.ended_at_ns),
        "n_tries": one.n_tries,
        "peak_mib": None if one.peak_bytes is None else round(one.peak_bytes / MIB, 1),
        "says": run_says(one),
    }


def window_told(window: Window) -> dict[str, str | None]:
    """Between."""
    return {"start": rfc3339(window.start_ns), "end": rfc3339(window.end_ns)}


def run_says(one: ClusterRunRecord) -> list[str]:
    """What a person should know of a run."""
    said = []
    if one.status is RunStatus.RUNNING and one.n_tries > 1:
        said.append(f"its process ended before it was done; this is try {one.n_tries}")
    if one.status is not RunStatus.DONE:
        return said
    used = one.used
    if used.get("why") == "few":
        said.append(
            f"{one.n_sessions or 0} sessions are too few to tell clusters from chance: {used.get('min_cluster_size')} "
            "alike are the smallest cluster, and twice as many sessions the fewest; take a longer window"
        )
    if used.get("why") == "same":
        said.append("all sessions say the same: they are one cluster")
    if one.scope is Scope.WINDOW and one.n_sessions and not one.n_clusters and used.get("why") is None:
        said.append("no session is like enough others: all of them are noise")
    if used.get("giant") == "kept":
        said.append("one cluster holds most sessions, and does not fall apart into smaller ones")
    if used.get("giant") == "split":
        said.append("one cluster held most sessions, and was split into the smaller ones within it")
    if (taken := used.get("n_components")) is not None and taken < one.params.get("n_components", taken):
        said.append(f"{one.params['n_components']} components are more than so few sessions have: {taken} were taken")
    if used.get("n_known") is not None:
        said += [f"{IN_THIS_RUN}{text}" for text in warnings(used["n_known"], one.n_sessions or 0, one.failure)]
    return said


def now_told(one: ClusterNow) -> dict[str, Any]:
    """Cluster."""
    record, count = one.record, one.count
    said = record.said
    names = ("title", "title_by", "sentence", "terms", "stable", "stability", "topic", "score", "cost_usd", "releases")
    return {
        "id": record.cluster_id,
        "app": record.app,
        **{name: said.get(name) for name in names},
        "state": record.state,
        "alive": bool(record.standing["alive"]),
        "counted_at": rfc3339(one.at_ns),
        "run_id": record.run_id,
        "run_at": rfc3339(one.run_ns),
        "n_sessions": count.n,
        "n_failed": count.n_failed,
        "n_known": count.n_known,
        "n_users": count.n_users,
        **_rates(one),
        "share": one.share,
        "first_seen": rfc3339(record.first_seen_ns),
        "last_seen": rfc3339(max(record.last_seen_ns, count.last_ns or 0)),
        "trend": [vars(day) for day in one.trend],
        "emerging": None if one.finding is None else _emerging(one.finding),
        "watched": one.watched,
    }


def _rates(one: ClusterNow) -> dict[str, Any]:
    """Its failure rate and the rest's, with how much is known of either."""
    count, rest = one.count, one.rest
    low, high = count.bounds()
    comparable = low is not None and rest.rate is not None and not (count.scarce or rest.scarce)
    return {
        "failure_rate": count.rate,
        "failure_low": low,
        "failure_high": high,
        "failure_scarce": count.scarce,
        "rest_rate": rest.rate,
        "rest_n_sessions": rest.n,
        "rest_n_known": rest.n_known,
        "rest_scarce": rest.scarce,
        "fails_more": (low or 0.0) > (rest.rate or 0.0) if comparable else None,
        "excess": None if count.rate is None or rest.rate is None else one.excess,
        "growth": one.growth,
    }


def figures_told(one: ClusterNow) -> list[dict[str, Any]]:
    """Figures, those of the last run with its time; the failure rate is counted now, as above the figures."""
    run_at = rfc3339(one.run_ns)
    kept = [{**each, "as_of": run_at, "live": False} for each in one.record.said.get("figures", [])]
    return [_failing_now(one) if each["name"] == FAILURE_RATE else each for each in kept]


def _failing_now(one: ClusterNow) -> dict[str, Any]:
    count, rest = one.count, one.rest
    (low, high), (rest_low, rest_high) = count.bounds(), rest.bounds()
    note = f"{known_of(count.n_known, count.n)} here, of {rest.n_known:,} of {rest.n:,} of the rest"
    return {
        "name": FAILURE_RATE, "unit": "share", "as_of": rfc3339(one.at_ns), "live": True, "note": note,
        "value": count.rate, "low": low, "high": high,
        "rest": rest.rate, "rest_low": rest_low, "rest_high": rest_high,
    }  # fmt: skip


def noise_told(found: AppNow) -> dict[str, Any]:
    """Noise."""
    history = [
        {"run_id": one.run_id, "at": rfc3339(one.ended_at_ns), "share": one.noise_share}
        for one in found.history
        if one.noise_share is not None
    ]
    share = found.noise.n / found.whole.n if found.whole.n else None
    return {"n": found.noise.n, "share": share, "history": history}


def lag_told(line: ClusterAppRecord | None) -> dict[str, Any]:
    """How long new sessions waited for their place; nothing before the first of them."""
    told = {} if line is None else line.told
    return {"lag_ms": told.get("lag_ms"), "lag_at": rfc3339(told.get("lag_at_ns"))}


def event_told(one: ClusterEvent) -> dict[str, Any]:
    """LineageEvent."""
    counts = {name: getattr(one, name) for name in ("n_sessions", "n_failed", "n_known")}
    return {
        "at": rfc3339(one.at_ns), "run_id": one.run_id, "kind": one.kind, **counts, "others": list(one.others),
        "text": one.text,
    }  # fmt: skip


def of_cluster(record: ClusterRecord) -> dict[str, str]:
    """OfCluster."""
    return {"id": record.cluster_id, "title": record.title, "state": record.state, "app": record.app}


def finding_told(one: FindingRecord, record: ClusterRecord, alert: AlertRecord | None) -> dict[str, Any]:
    """Finding."""
    body = one.body
    figures = ("p_value", "q_value", "rate_ratio", "low", "high", "n", "expected", "n_users", "text")
    return {
        "cluster": of_cluster(record),
        "kind": one.kind,
        "at": rfc3339(one.at_ns),
        "day": one.day,
        **{name: body.get(name) for name in figures},
        "first_seen": rfc3339(body.get("first_seen_ns")),
        "changed": [_change(each) for each in body.get("changed", [])],
        "alert": None if alert is None else alert.state.value,
    }


def alert_told(one: AlertRecord, record: ClusterRecord | None = None) -> dict[str, Any]:
    """A watched cluster that grew."""
    told = {"at": rfc3339(one.at_ns), "day": one.day, "state": one.state.value, **dict(one.body)}
    told["told"] = dict(one.told)
    return told if record is None else {"cluster": of_cluster(record), **told}


def watch_told(one: WatchRecord, record: ClusterRecord, alerts: Sequence[AlertRecord]) -> dict[str, Any]:
    """Watch."""
    return {
        "cluster": of_cluster(record),
        "min_ratio": one.min_ratio,
        "host": None if one.url is None else urlsplit(one.url).hostname,
        "made_by": one.made_by,
        "made_at": rfc3339(one.made_at_ns),
        "rate": one.body.get("rate"),
        "alerts": [alert_told(each) for each in alerts],
    }


def look_told(one: ClusterAppRecord) -> dict[str, Any]:
    """AppLook."""
    names = ("n_tested", "fdr", "dispersion", "overall_ratio", "n_sessions", "n_known")
    told = {name: one.told.get(name) for name in names}
    return {"app": one.app, "looked_at": rfc3339(one.told.get("looked_at_ns")), **told}


def counts_told(count: Count) -> dict[str, int]:
    """How many sessions, and what is known of them."""
    return {"n": count.n, "n_failed": count.n_failed, "n_known": count.n_known}


def _emerging(one: FindingRecord) -> dict[str, Any]:
    return {"kind": one.kind, **{name: one.body.get(name) for name in ("q_value", "rate_ratio", "low", "high")}}


def _change(one: Mapping[str, Any]) -> dict[str, Any]:
    names = ("kind", "name", "share_before", "share_after", "text")
    return {**{name: one.get(name) for name in names}, "at": rfc3339(one.get("at_ns"))}
