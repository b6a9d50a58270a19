"""A server with judges of every state over stored sessions, labels, scores, and the dashboard in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from core.records import EvaluatorKind, Role, TargetKind
from judges.records import JudgeSpec
from judges.stored import rubric_record, spec_json
from server.cli.main import main
from store.scores import NewScore, append_scores
from tests.dashboard.alone import running_dashboard
from tests.dashboard.test_gates_page import ATTACK
from tests.judges.answering import model_server
from tests.judges.stored import RUBRIC, judge_of
from tests.server import test_calibrations
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served

TAU2 = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tau2_judges" / "judge_verdicts.jsonl.gz"
CERTIFIED, UNLABELLED, HOSTILE = "helpfulness", "fresh", "attacked"
TAU2_JUDGES = ("customer_outcome_v1", "policy_chain_of_thought_v1", "policy_conversation_v1", "quick_triage_v1")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The dashboard's address with a key of role power_user, and one of a tenant that has nothing, for viewers."""

    shell: Shell
    api: str
    key: str
    url: str
    bare_url: str
    calibrations: dict[str, dict[str, Any]]
    has_tau2: bool


@contextmanager
def judged_dashboard(folder: Path) -> Iterator[Judged]:
    """Builds it, and tears it down."""
    patch = pytest.MonkeyPatch()
    patch.setattr("server.judge_traces.PAUSES_S", ())  # no collector runs here
    patch.setenv("ASSAY_JUDGE_KEY_TEST", "k")
    settings: dict[str, Any] = {"trusted_hosts": ("*",), "collector_url": "http://127.0.0.1:9"}
    try:
        with (
            model_server(test_calibrations.reads) as model,
            running_shell(folder, **settings) as shell,
            served(shell.services) as api,
        ):
            test_calibrations.keep(shell, test_calibrations.judge(model, CERTIFIED), right=0.97)
            _unlabelled(shell)
            _hostile(shell)
            _rules(shell)
            has_tau2 = _imported(shell, api)
            names = [CERTIFIED, HOSTILE, *(TAU2_JUDGES if has_tau2 else ())]
            calibrations = {name: _calibrated(shell, name) for name in names}
            keys = shell.keys
            with (
                running_dashboard(api, keys[AIRLINE, Role.POWER_USER], folder / "dashboard.log") as url,
                running_dashboard(api, keys[SHOP, Role.VIEWER], folder / "bare.log") as bare_url,
            ):
                yield Judged(
                    shell=shell, api=api, key=keys[AIRLINE, Role.POWER_USER], url=url, bare_url=bare_url,
                    calibrations=calibrations, has_tau2=has_tau2,
                )  # fmt: skip
    finally:
        patch.undo()


def _calibrated(shell: Shell, name: str) -> dict[str, Any]:
    answer = shell.client.post(
        f"/api/v1/judges/{name}/calibrations", json={}, headers=shell.headers(Role.POWER_USER)
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def _imported(shell: Shell, api: str) -> bool:
    """Whether the stored verdicts of tau2's judges are there to be imported; then they are."""
    if not TAU2.is_file():
        return False
    key = shell.keys[AIRLINE, Role.POWER_USER]
    with redirect_stdout(StringIO()):
        assert main(["import", "verdicts", str(TAU2), "--app", "tau2", "--url", api, "--key", key]) == 0
    return True


def _judge(shell: Shell, name: str) -> JudgeSpec:
    """A judge that nobody asks here."""
    spec = judge_of(name=name)
    by = test_calibrations.BY
    shell.services.control.add_rubric(rubric_record(AIRLINE, RUBRIC), by=by)
    shell.services.control.put_judge(AIRLINE, name, spec.version, spec_json(spec), by=by)
    return spec


def _verdict(spec: JudgeSpec, session: str, label: str, app: str, **more: Any) -> NewScore:
    return NewScore(
        evaluator=spec.name, evaluator_version=spec.version, evaluator_kind=EvaluatorKind.JUDGE, label=label,
        target=TargetKind.SESSION, session_id=session, value=RUBRIC.value_of(label),
        metadata={"app": app, "probability": 1.0, **more.pop("metadata", {})}, **more,
    )  # fmt: skip


def _unlabelled(shell: Shell) -> None:
    """Verdicts over an app of which nobody labelled a session."""
    spec = _judge(shell, UNLABELLED)
    scores = [_verdict(spec, f"lonely{k}", "pass" if k % 10 else "fail", "lonely") for k in range(40)]
    _append(shell, scores, [f"judge_lonely{k}" for k in range(40)])


def _hostile(shell: Shell) -> None:
    """Everything that comes from elsewhere is an attack on the page."""
    spec = _judge(shell, HOSTILE)
    scores, ids = [], []
    for k in range(40):
        label = "pass" if k % 2 else "fail"
        about = {"segment": f"{ATTACK} {k % 2}", "release": ATTACK}
        scores += [
            _verdict(spec, f"{ATTACK} {k}", "pass", ATTACK, explanation=ATTACK, metadata=about),
            NewScore(
                evaluator=RUBRIC.name, evaluator_version=str(RUBRIC.version), evaluator_kind=EvaluatorKind.HUMAN,
                target=TargetKind.SESSION, session_id=f"{ATTACK} {k}", label=label, value=RUBRIC.value_of(label),
                explanation=ATTACK, metadata={"probability": 1.0, "queue": ATTACK},
            ),
            NewScore(
                evaluator=ATTACK, evaluator_kind=EvaluatorKind.RULE, target=TargetKind.SESSION, label=f"{ATTACK} {k}",
                session_id=f"{ATTACK} {k}", explanation=ATTACK,
            ),
        ]  # fmt: skip
        ids += [f"judge_hostile{k}", f"label_hostile{k}", f"rule_hostile{k}"]
    _append(shell, scores, ids)


def _rules(shell: Shell) -> None:
    """A rule with a value of 0 or 1 and one with any, on the sessions that are judged."""
    scores, ids = [], []
    for k in range(120):
        same: dict[str, Any] = {
            "evaluator_kind": EvaluatorKind.RULE, "target": TargetKind.SESSION, "session_id": f"s{k}",
            "metadata": {"app": "desk"},
        }  # fmt: skip
        scores += [
            NewScore(evaluator="answered", value=float(k % 3 > 0), **same),
            NewScore(evaluator="brevity", value=(k * 37 % 101) / 100, **same),
        ]
        ids += [f"rule_answered{k}", f"rule_brevity{k}"]
    scores.append(
        NewScore(
            evaluator="brevity", evaluator_kind=EvaluatorKind.RULE, target=TargetKind.SESSION, session_id="s999",
            unscored="the agent said nothing", metadata={"app": "desk"},
        )
    )  # fmt: skip
    _append(shell, scores, [*ids, "rule_brevity999"])


def _append(shell: Shell, scores: list[NewScore], ids: list[str]) -> None:
    services = shell.services
    append_scores(services.store.tenant(AIRLINE), scores, ids=ids, author="test", now_ns=services.clock())
