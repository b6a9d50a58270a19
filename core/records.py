"""The closed vocabularies and small records that rooms hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from core.ids import TenantId


class Role(StrEnum):
    """What a principal may do; each role includes those before it."""

    INGEST = "ingest"
    VIEWER = "viewer"
    USER = "user"
    POWER_USER = "power_user"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """0 for viewer up to 3 for admin; -1 for ingest, which reads nothing."""
        return {"ingest": -1, "viewer": 0, "user": 1, "power_user": 2, "admin": 3}[self.value]

    def allows(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        if self is Role.INGEST:
            return needed is Role.INGEST
        return self.rank >= needed.rank


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who is calling. A principal belongs to exactly one tenant."""

    tenant: TenantId
    role: Role
    name: str
    key_id: str | None = None


class SpanKind(StrEnum):
    """What a span stands for, whatever dialect it was written in."""

    LLM = "LLM"
    EMBEDDING = "EMBEDDING"
    RERANKER = "RERANKER"
    RETRIEVER = "RETRIEVER"
    TOOL = "TOOL"
    AGENT = "AGENT"
    WORKFLOW = "WORKFLOW"
    CHAIN = "CHAIN"
    PLAN = "PLAN"
    MEMORY = "MEMORY"
    GUARDRAIL = "GUARDRAIL"
    EVALUATOR = "EVALUATOR"
    PROMPT = "PROMPT"
    SPAN = "SPAN"


MODEL_KINDS = frozenset({SpanKind.LLM, SpanKind.EMBEDDING, SpanKind.RERANKER})


class EvaluatorKind(StrEnum):
    """Who gave a score."""

    RULE = "rule"
    JUDGE = "judge"
    HUMAN = "human"
    OUTCOME = "outcome"
    EVENT = "event"


class TargetKind(StrEnum):
    """What a score is about."""

    SPAN = "span"
    TURN = "turn"
    SESSION = "session"
    EXAMPLE = "example"


class PiiMode(StrEnum):
    """What happens to a piece of personal information before it reaches the lake."""

    REDACT = "redact"
    HASH = "hash"
    KEEP = "keep"


class PiiEntity(StrEnum):
    """The structured kinds of personal information that are recognised."""

    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    SSN = "ssn"
    IBAN = "iban"
    IP = "ip"
    SECRET = "secret"  # noqa: S105


@dataclass(frozen=True, kw_only=True)
class PiiPolicy:
    """A tenant's choice: one mode for everything, and exceptions by entity."""

    default: PiiMode = PiiMode.REDACT
    by_entity: dict[PiiEntity, PiiMode] = field(default_factory=dict)

    def mode(self, entity: PiiEntity) -> PiiMode:
        """The mode that applies to `entity`."""
        return self.by_entity.get(entity, self.default)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of the items of one signal that were received; counts add."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    rejected: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            received=self.received + other.received,
            stored=self.stored + other.stored,
            duplicate=self.duplicate + other.duplicate,
            quarantined=self.quarantined + other.quarantined,
            rejected=self.rejected + other.rejected,
        )

    @property
    def balanced(self) -> bool:
        """Whether every received item is accounted for exactly once."""
        return self.received == self.stored + self.duplicate + self.quarantined + self.rejected
