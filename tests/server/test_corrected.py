"""Corrected metrics at the API and on the command line: the raw mean only beside the corrected one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest

from core.clock import NS_PER_S
from core.records import EvaluatorKind, Principal, Role, TargetKind
from judges.records import JudgeSpec, ModelRef, Rubric, ScaleKind
from judges.stored import rubric_record, spec_json
from server.cli.main import main
from server.cli.outcome import ExitCode
from store.scores import NewScore, append_scores
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served

ROUTE: Final = "/api/v1/metrics/corrected"
DAYS, A_DAY, SHARE = 9, 60, 0.3
RUBRIC: Final = Rubric(
    name="resolution",
    version=1,
    kind=ScaleKind.PASS_FAIL,
    labels=("fail", "pass"),
    passing=frozenset({"pass"}),
    text="Was it resolved?",
    anchors={"pass": "it was", "fail": "it was not"},
)
SPEC: Final = JudgeSpec(
    name="resolver",
    rubric="resolution",
    rubric_version=1,
    rubric_digest=RUBRIC.digest,
    models=(ModelRef(provider="simulated", model="sim-judge"),),
)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("corrected")) as running:
        by = Principal(tenant=AIRLINE, role=Role.POWER_USER, name="ann")
        running.services.control.add_rubric(rubric_record(AIRLINE, RUBRIC), by=by)
        running.services.control.put_judge(AIRLINE, SPEC.name, SPEC.version, spec_json(SPEC), by=by)
        _fill(running)
        yield running


def _fill(running: Shell) -> None:
    """Sessions of which people would pass 80%, and a judge that passes fewer; app desk has labels, app bare none."""
    rng, now = np.random.default_rng(1), running.services.clock()
    scores = []
    for i in range(DAYS * A_DAY):
        at_ns = now - (DAYS - i // A_DAY) * 86_400 * NS_PER_S
        truth = bool(rng.random() < 0.8)
        verdict = truth if rng.random() < (0.85 if truth else 0.9) else not truth
        scores.append(_score("resolver", EvaluatorKind.JUDGE, f"desk-{i}", verdict, at_ns, app="desk", probability=0.5))
        if rng.random() < SHARE:
            scores.append(_score("resolution", EvaluatorKind.HUMAN, f"desk-{i}", truth, at_ns, probability=SHARE))
    scores += [_score("resolver", EvaluatorKind.JUDGE, f"e{i}", True, now, app="bare") for i in range(20)]
    begins = {EvaluatorKind.JUDGE: "judge", EvaluatorKind.HUMAN: "label"}
    ids = [f"{begins[one.evaluator_kind]}_{one.session_id}" for one in scores]
    append_scores(running.services.store.tenant(AIRLINE), scores, ids=ids, author="test", now_ns=now)


def _score(evaluator: str, kind: EvaluatorKind, session: str, passes: bool, at_ns: int, **metadata: Any) -> NewScore:
    return NewScore(
        evaluator=evaluator,
        evaluator_version=SPEC.version if kind is EvaluatorKind.JUDGE else "1",
        evaluator_kind=kind,
        target=TargetKind.SESSION,
        session_id=session,
        value=float(passes),
        label="pass" if passes else "fail",
        at_ns=at_ns,
        metadata=metadata,
    )


def asked(shell: Shell, expect: int = 200, tenant: Any = AIRLINE, **given: Any) -> dict[str, Any]:
    params = {"name": "resolution", "app": "desk", "since": "30d", **given}
    answer = shell.client.get(ROUTE, params=params, headers=shell.headers(Role.VIEWER, tenant))
    assert answer.status_code == expect, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_corrected_rate_covers_the_truth_and_the_raw_one_stands_beside_it(shell: Shell) -> None:
    told = asked(shell)
    rate = told["corrected"]
    assert (told["judge"], told["rubric"], told["certificate"]["state"]) == ("resolver", "resolution", "undetermined")
    assert (rate["method"], rate["n_judged"]) == ("ppi", DAYS * A_DAY)
    assert rate["interval"]["low"] < 0.8 < rate["interval"]["high"]
    assert rate["raw"] < 0.75
    assert rate["human"]["high"] - rate["human"]["low"] > rate["interval"]["high"] - rate["interval"]["low"]
    assert rate["effective_n"] > rate["n_labels"]
    assert len(told["days"]) >= DAYS - 2
    assert all(one["low"] <= one["value"] <= one["high"] for one in told["days"])
    assert told["drift"]["state"] == "nothing"
    assert len(told["drift"]["product"]["by_day"]) == len(told["drift"]["days"])
    assert asked(shell, name="resolver")["corrected"] == rate


def test_without_labels_no_figure_of_the_judge_is_told(shell: Shell) -> None:
    told = asked(shell, app="bare", method="ppi")
    assert (told["corrected"], told["days"], told["drift"]) == (None, [], None)
    assert told["refused"]["reason"] == "too_few"
    assert '"raw"' not in json.dumps(told)
    elsewhere = asked(shell, app="bare")["corrected"]  # by the labels of the other app
    assert elsewhere["method"] == "rogan_gladen"
    assert 0.7 < elsewhere["sensitivity"] < 1


def test_what_cannot_be_asked_is_refused(shell: Shell) -> None:
    assert asked(shell, 404, name="nobody")["code"] == "not_found"
    assert asked(shell, 404, SHOP)["code"] == "not_found"
    assert asked(shell, 404, version="0" * 12)["code"] == "not_found"
    for wrong in ({"method": "guess"}, {"level": 1.0}, {"baseline": 2}, {"arl_days": 0}, {"nonsense": 1}, {"app": ""}):
        assert asked(shell, 422, **wrong)["code"] == "invalid_input"


def test_on_the_command_line_both_forms_say_the_same(
    shell: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_API_KEY", shell.keys[AIRLINE, Role.VIEWER])
    with served(shell.services) as url:
        monkeypatch.setenv("ASSAY_URL", url)

        def said(*words: str) -> tuple[int, str, str]:
            code = main(["metrics", *words])
            return code, *capsys.readouterr()

        code, out, _ = said("resolution", "--app", "desk", "--corrected")
        assert code == ExitCode.OK
        assert "judge: undetermined: it was never calibrated" in out
        assert "corrected: " in out
        assert out.index("corrected: ") < out.index("raw, the judge alone: ")
        assert "drift: nothing" in out
        assert said("corrected", "resolution", "--app", "desk") == (code, out, "")
        code, out, _ = said("resolver", "--app", "desk", "--corrected", "--json")
        assert json.loads(out)["corrected"]["method"] == "ppi"
        code, out, _ = said("resolver", "--app", "bare", "--corrected", "--method", "ppi")
        assert code == ExitCode.INCONCLUSIVE
        assert "no rate: too_few: 0 labels" in out
        assert "raw, the judge" not in out
        for words, why in (
            (("resolution", "--app", "desk"), "shown corrected only"),
            (("corrected", "--app", "desk"), "name the judge"),
            (("pass-k", "x", "--app", "desk"), "takes no name"),
            (("pass-k", "--app", "desk", "--method", "ppi"), "--method: of --corrected only"),
            (("resolution", "--app", "desk", "--corrected", "--k", "3"), "--k: of pass-k only"),
            (("resolution", "x", "--app", "desk", "--corrected"), "one name at a time"),
        ):
            code, _, told = said(*words)
            assert (code, why in told) == (ExitCode.USAGE, True), told
