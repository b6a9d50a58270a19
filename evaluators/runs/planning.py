"""A run's plan: which trials there are, and the ids by which each call and each score is known again. Pure.

Ids are functions of run, example and trial, so that a process that goes on with a run finds what the one before it did.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from core.errors import InvalidInput
from evaluators.datasets.records import Example
from store.control.run_records import TrialRecord

MOST_TRIALS: Final = 50_000
MOST_K: Final = 100
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


@dataclass(frozen=True, kw_only=True)
class Params:
    """How a run is carried out. Raises InvalidInput naming the field.

    `per_minute` None: no limit on calls. `attempts` counts all tries of one call. `timeout_s` is of one trial with all
    its turns. `trace_wait_s`: how long the trace of a call may take to arrive. `max_cost_usd` None: no budget.
    """

    concurrency: int = 4
    per_minute: float | None = None
    timeout_s: float = 300.0
    attempts: int = 4
    trace_wait_s: float = 30.0
    max_cost_usd: float | None = None
    split: str | None = None
    limit: int | None = None  # of the examples, the first so many
    via: str = ""  # gateway or endpoint, for a release
    address: str = ""  # of that
    stop_against: str | None = None  # a run: this one ends when harm is proved beside it
    stop_metrics: tuple[str, ...] = ()  # in any of these; none: in all that can be watched
    stop_alpha: float = 0.05  # over all looks and metrics

    def __post_init__(self) -> None:
        _within("concurrency", self.concurrency, 1, 64)
        _within("per_minute", self.per_minute, 0.01, 1e6)
        _within("timeout_s", self.timeout_s, 1, 86_400)
        _within("attempts", self.attempts, 1, 20)
        _within("trace_wait_s", self.trace_wait_s, 0, 3600)
        _within("max_cost_usd", self.max_cost_usd, 0, 1e9)
        _within("limit", self.limit, 1, MOST_TRIALS)
        _within("stop_alpha", self.stop_alpha, 1e-6, 0.5)

    def json(self) -> dict[str, Any]:
        """As the run keeps it."""
        return asdict(self)


def params_of(said: Mapping[str, Any]) -> Params:
    """What a run keeps, as Params."""
    known = Params.__dataclass_fields__
    found = {name: value for name, value in said.items() if name in known}
    return Params(**found | {"stop_metrics": tuple(said.get("stop_metrics", ()))})


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One call that a trial makes: what is said, and the ids that are the same each time it is sent."""

    session_id: str
    index: int
    text: str
    user_id: str
    message_id: str
    traceparent: str
    baggage: Mapping[str, str] = field(default_factory=dict)


def chosen(examples: Sequence[Example], params: Params) -> tuple[Example, ...]:
    """The examples of the split, up to the limit. Raises InvalidInput when there is none."""
    found = [one for one in examples if params.split in (None, one.split)]
    if not found:
        known = ", ".join(sorted({one.split for one in examples})) or "none: it has no example"
        said = f"the dataset has no example of split {params.split!r}; its splits: {known}"
        raise InvalidInput(said if params.split else "the dataset has no example", field="split")
    return tuple(found[: params.limit])


def planned(run_id: str, examples: Sequence[Example], k: int) -> list[TrialRecord]:
    """`k` trials of each example, every example once before any comes again. Raises InvalidInput for too many."""
    check_size(len(examples), k)
    return [
        TrialRecord(
            run_id=run_id,
            example_id=one.example_id,
            trial=trial,
            position=trial * len(examples) + n,
            session_id=session_of(run_id, one.example_id, trial),
            stratum=stratum_of(one),
            user_id=one.source.user_id,
        )
        for trial in range(k)
        for n, one in enumerate(examples)
    ]


def check_size(n_examples: int, k: int) -> None:
    """Raises InvalidInput for a `k` that is none, or more trials than a run may have."""
    if not 1 <= k <= MOST_K:
        raise InvalidInput(f"trials is a number from 1 to {MOST_K}, not {k}", field="trials")
    if n_examples * k > MOST_TRIALS:
        raise InvalidInput(
            f"{n_examples:,} examples with {k} trials each are {n_examples * k:,} trials; at most {MOST_TRIALS:,}",
            field="trials",
        )


def stratum_of(example: Example) -> str | None:
    """The part of the dataset that the example is of: its metadata's stratum or domain."""
    found = example.metadata.get("stratum", example.metadata.get("domain"))
    return str(found)[:200] if isinstance(found, str | int) and str(found) else None


def session_of(run_id: str, example_id: str, trial: int) -> str:
    """The session of a trial: RUN.EXAMPLE.TRIAL; an id of an example that is no plain word stands there hashed."""
    plain = example_id if _PLAIN.fullmatch(example_id) else f"x{_hash(example_id)[:24]}"
    return f"{run_id}.{plain}.{trial}"


def trace_of(session_id: str, turn: int) -> str:
    """The trace id of a turn: 32 hexadecimal digits."""
    return _hash(session_id if turn == 0 else f"{session_id}\0{turn}")[:32]


def turn_of(run_id: str, trial: TrialRecord, example: Example, index: int) -> Turn:
    """The call of a trial's turn."""
    session = trial.session_id
    user = example.metadata.get("user_id")
    said = {
        "assay.run_id": run_id,
        "assay.example_id": example.example_id,
        "assay.trial": str(trial.trial),
        "session.id": session,
    }
    return Turn(
        session_id=session,
        index=index,
        text=example.turns[index],
        # A user of its own for each trial, so that nothing is remembered from one to the next; never the person whose
        # trace the example was taken from, unless the dataset's author names them.
        user_id=str(user) if isinstance(user, str | int) and str(user) else f"eval-{_hash(session)[:16]}",
        message_id=f"{_hash(session)[:20]}-{index}",
        traceparent=f"00-{trace_of(session, index)}-{_hash(f'span {session} {index}')[:16]}-01",
        baggage=said,
    )


def score_id(run_id: str, example_id: str, trial: int, evaluator: str) -> str:
    """The id of a score; `evaluator` is name@version. The same score written again has the same id."""
    return "score_" + _hash("\0".join((run_id, example_id, str(trial), evaluator)))[:24]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:  # NaN neither
        raise InvalidInput(f"{name} is a number from {low:g} to {high:g}, not {value}", field=name)
