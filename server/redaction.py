"""Scores that people and programs write through the API are redacted like everything else that reaches the lake."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from core.ids import TenantId
from server.wiring import Services
from store.scores import NewScore

if TYPE_CHECKING:
    from collector.redact import Redactor


def redacted(services: Services, tenant: TenantId, scores: Sequence[NewScore]) -> list[NewScore]:
    """The scores under the tenant's choice; a session id becomes what the spans' session id became."""
    redactor = redactor_of(services, tenant)
    return [_redacted(redactor, score) for score in scores]


def redactor_of(services: Services, tenant: TenantId) -> Redactor:
    """What does to texts and ids what the collector does to those that arrive, under the tenant's choice of now."""
    # Loaded at the first score: the compiled kernels cost memory that a server without written scores need not spend.
    from collector.redact import Redactor
    from collector.seal import MasterKey

    master = MasterKey.open(services.settings.secrets_dir / "master.key")
    return Redactor(services.control.tenant(tenant).pii, master.derived(f"pii/{tenant}"))


def _redacted(redactor: Redactor, score: NewScore) -> NewScore:
    def text(value: str | None) -> str | None:
        return None if value is None else redactor.text(value)

    return replace(
        score,
        evaluator=redactor.text(score.evaluator),
        evaluator_version=redactor.sparing_ips.text(score.evaluator_version),
        session_id=None if score.session_id is None else redactor.identifier(score.session_id),
        label=text(score.label),
        explanation=text(score.explanation),
        unscored=text(score.unscored),
        metadata=json.loads(redactor.text(json.dumps(score.metadata, ensure_ascii=False))),
    )
