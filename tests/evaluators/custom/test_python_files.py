"""Custom evaluators in Python files: what they may do, and that no fault of one stops another target."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core.records import TargetKind
from evaluators.custom.load import Loaded, load_file, load_folder
from evaluators.custom.process import Limits
from evaluators.records import (
    Direction,
    Expected,
    Message,
    Reason,
    Score,
    Scored,
    Target,
    ToolCall,
    Trajectory,
    Unscored,
)
from tests.waiting import wait_until

HEAD = """
def declared(score, **more):
    return {"name": score.__name__, "version": "1", "dimension": "safety", "summary": "as told", "score": score, **more}
"""
QUICK = Limits(wall_s=2.0, cpu_s=30, memory_mb=400)
AMPLE = Limits(wall_s=30.0, cpu_s=30, memory_mb=400)  # nothing that answers takes so long, on any machine
Load = Callable[..., Loaded]


def _target(text: str = "Done, #W123 costs $12.", number: int = 0) -> Target:
    trajectory = Trajectory(
        session_id=f"s{number}",
        messages=(Message(role="user", text="Hi"), Message(role="assistant", text=text)),
        tool_calls=(ToolCall(name="find_order", arguments={"id": "#W123"}, result={"price": 12}),),
    )
    return Target(
        kind=TargetKind.SESSION, trajectory=trajectory, expected=Expected(answer=text), example_id=f"e{number}"
    )


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    opened: list[Loaded] = []

    def made(body: str, limits: Limits = AMPLE) -> Loaded:
        path = tmp_path / f"own_{len(opened)}.py"
        path.write_text(HEAD + body, encoding="utf-8")
        path.chmod(0o644)
        opened.append(load_file(path, limits))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


def _one(loaded: Loaded, target: Target | None = None) -> Scored:
    assert loaded.problems == ()
    return loaded.evaluators[0].evaluate(target or _target())


def test_a_function_scores_and_its_version_names_the_file(load: Load) -> None:
    body = """
def polite(target):
    said = target["trajectory"]["answer"]
    return {"value": 0.5, "passed": True, "label": "so", "explanation": said, "parts": {"n": len(said)}}

EVALUATORS = [declared(polite, unit="share", direction="lower", targets=["session"])]
"""
    loaded = load(body)
    spec = loaded.evaluators[0].spec
    assert (spec.name, spec.direction, spec.targets) == ("polite", Direction.LOWER, frozenset({TargetKind.SESSION}))
    assert spec.version.startswith("1+")
    assert load(body + "# more\n").evaluators[0].spec.version != spec.version
    found = _one(loaded)
    text = "Done, #W123 costs $12."
    assert found == Score(value=0.5, passed=True, label="so", explanation=text, parts={"n": len(text)})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("True", Score(value=1.0, passed=True)),
        ("0.25", Score(value=0.25)),
        ("None", Reason.NOT_APPLICABLE),
        ('{"unscored": "not_recorded", "detail": "no answer"}', Reason.NOT_RECORDED),
        ('{"unscored": "the judge is down"}', Reason.FAILED),  # never as if there were nothing to score
        ('float("nan")', Reason.FAILED),
        ('{"value": float("inf")}', Reason.FAILED),
        ('{"value": 1, "parts": {"x": float("nan")}}', Reason.FAILED),
        ("10 ** 400", Reason.FAILED),
        ("7", Reason.FAILED),  # of a share
        ('"good"', Reason.FAILED),
        ("[1]", Reason.FAILED),
        ('{"value": 1, "passed": "yes"}', Reason.FAILED),
        ("object()", Reason.FAILED),
        ('"x" * 3_000_000', Reason.FAILED),
        ("1 / 0", Reason.FAILED),
        ("exec('raise SystemExit(3)')", Reason.FAILED),
        ("__import__('os').abort()", Reason.FAILED),
        ("__import__('os').kill(__import__('os').getpid(), 9)", Reason.OUT_OF_MEMORY),
        ("bytearray(1 << 30)", Reason.OUT_OF_MEMORY),
    ],
)
def test_whatever_it_answers_the_next_target_is_scored(load: Load, answer: str, expected: Score | Reason) -> None:
    body = f"""
def own(target):
    return 1.0 if target["example_id"] == "e1" else {answer}

EVALUATORS = [declared(own)]
"""
    loaded = load(body)
    found = _one(loaded)
    if isinstance(expected, Score):
        assert found == expected
    else:
        assert isinstance(found, Unscored)
        assert found.reason is expected, found
    assert _one(loaded, _target(number=1)) == Score(value=1.0)


def test_a_raised_error_is_told_with_its_line(load: Load) -> None:
    found = _one(load("\ndef own(target):\n    return target['nothing']\n\nEVALUATORS = [declared(own)]\n"))
    assert isinstance(found, Unscored)
    assert found.detail == "KeyError: 'nothing' (line 6 of own_0.py)"


@pytest.mark.parametrize(
    "hang", ["__import__('time').sleep(60)", "[None for _ in iter(int, 1)]", "__import__('threading').Event().wait()"]
)
def test_one_that_hangs_is_ended_and_started_again(load: Load, hang: str) -> None:
    body = f"""
def own(target):
    return 1.0 if target["example_id"] == "e1" else {hang}

EVALUATORS = [declared(own)]
"""
    loaded = load(body, QUICK)
    found = _one(loaded)
    assert isinstance(found, Unscored)
    assert found.reason in (Reason.TIMED_OUT, Reason.OUT_OF_MEMORY)  # the loop also fills its memory
    assert _one(loaded, _target(number=1)) == Score(value=1.0)


def test_cpu_time_is_limited_apart_from_wall_time(load: Load) -> None:
    body = "\ndef own(target):\n    while True:\n        pass\n\nEVALUATORS = [declared(own)]\n"
    found = _one(load(body, Limits(wall_s=60, cpu_s=1)))
    assert found == Unscored(reason=Reason.TIMED_OUT, detail="it took more than 1 s of CPU time")


def test_what_it_prints_disturbs_nothing(load: Load) -> None:
    body = """
import os, sys
print("loading")
def own(target):
    print("noise" * 100_000)
    print('{"n": 1, "answer": 0.0}', file=sys.stderr)
    os.write(1, b'{"n": 1, "answer": 0.0}\\n' * 1000)
    sys.stdout.close()
    return 1.0

EVALUATORS = [declared(own)]
"""
    loaded = load(body)
    assert _one(loaded) == Score(value=1.0)


def test_one_that_writes_to_its_own_socket_is_out_of_turn(load: Load) -> None:
    body = """
import os, sys
def own(target):
    if target["example_id"] == "e0":
        os.write(int(sys.argv[1]), b'{"n": 99, "answer": 1.0}\\n')
    return 0.5

EVALUATORS = [declared(own)]
"""
    loaded = load(body)
    found = _one(loaded)
    assert isinstance(found, Unscored)
    assert found.reason is Reason.FAILED
    assert _one(loaded, _target(number=1)) == Score(value=0.5)


@pytest.mark.parametrize(
    "way", ["os.fork()", "subprocess.run(['true'])", "os.system('true')", "[os.fork() for _ in range(99)]"]
)
def test_it_starts_no_processes(load: Load, way: str) -> None:
    found = _one(
        load(f"\nimport os, subprocess\ndef own(target):\n    {way}\n    return 1.0\nEVALUATORS = [declared(own)]\n")
    )
    assert isinstance(found, Unscored)
    assert found.reason is Reason.FAILED
    assert "may not start processes" in found.detail


def test_processes_that_it_started_all_the_same_end_with_it(load: Load) -> None:
    body = """
import ctypes, time
def own(target):
    libc = ctypes.CDLL(None)
    pids = [libc.fork() for _ in range(2)]
    time.sleep(60)

EVALUATORS = [declared(own)]
"""
    loaded = load(body, QUICK)
    found = _one(loaded)
    assert isinstance(found, Unscored)
    assert found.reason is Reason.TIMED_OUT
    wait_until(
        lambda: not [one for one in psutil.Process().children(recursive=True) if "child.py" in _command(one)],
        60,
        "its end",
    )


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_it_inherits_no_secrets(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_BOOTSTRAP_KEY", "secret")
    body = """
import os
def own(target):
    return {"value": 1.0, "explanation": ",".join(sorted(os.environ))}

EVALUATORS = [declared(own)]
"""
    found = _one(load(body))
    assert isinstance(found, Score)
    given = set(found.explanation.split(","))
    assert given <= {
        "PATH",
        "LANG",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "LC_CTYPE",
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "import nothing_of_the_kind",
            "ModuleNotFoundError: No module named 'nothing_of_the_kind' (line 4 of own_0.py)",
        ),
        ("def own(:", "SyntaxError: invalid syntax (line 4)"),
        ("x = 1", "TypeError: EVALUATORS is missing or no list of dicts"),
        ("EVALUATORS = [1]", "TypeError: EVALUATORS is missing or no list of dicts"),
        ("EVALUATORS = []", "EVALUATORS is empty"),
        ("EVALUATORS = [{'name': 'own', 'score': 1}]", "'score' of 'own' is no function"),
        ("raise SystemExit(1)", "SystemExit"),
        ("import os; os._exit(4)", "its process ended while it was loaded (code 4)"),
        ("x = bytearray(1 << 40)", "more memory than is allowed"),
        ("EVALUATORS = [declared(lambda t: 1)]", "'name' is lower-case letters"),
        ("def own(t): ...\nEVALUATORS = [declared(own), declared(own)]", "own is declared twice"),
        ("def own(t): ...\nEVALUATORS = [declared(own) | {'version': 'new'}]", "'version' is as 1 or 1.2.3"),
        ("def own(t): ...\nEVALUATORS = [declared(own) | {'dimension': 'luck'}]", "'luck' is not a valid Dimension"),
        ("def own(t): ...\nEVALUATORS = [declared(own, unit='apples')]", "'unit' is one of"),
        ("def own(t): ...\nEVALUATORS = [declared(own, targets='session')]", "'targets' is a list of texts"),
        ("def own(t): ...\nEVALUATORS = [declared(own, colour='red')]", "'colour' is no field"),
        ("def own(t): ...\nEVALUATORS = [declared(own) | {'summary': ''}]", "'summary' says in a sentence"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(load: Load, body: str, said: str) -> None:
    loaded = load(body)
    assert loaded.evaluators == ()
    assert said in loaded.problems[0].what


def test_a_folder_gives_what_can_be_used_and_the_rest_as_problems(tmp_path: Path) -> None:
    good = HEAD + "def good(t): return 1.0\nEVALUATORS = [declared(good)]\n"
    files = {
        "a.py": good,
        "b.py": good,
        "c.py": "import nothing_here",
        "d.py": good.replace("good", "refusal"),
        "e.txt": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o644)
    (tmp_path / "open.py").write_text(good.replace("good", "other"), encoding="utf-8")
    (tmp_path / "open.py").chmod(0o666)
    loaded = load_folder(tmp_path, taken=("refusal",), limits=AMPLE)
    try:
        assert list(loaded.by_name) == ["good"]
        assert [one.file for one in loaded.problems] == ["b.py", "c.py", "d.py", "open.py"]
        assert "anybody may change" in loaded.problems[3].what
    finally:
        loaded.close()
    assert load_folder(tmp_path / "nowhere") == Loaded()


def test_a_changed_file_scores_nothing_until_it_is_read_again(load: Load, tmp_path: Path) -> None:
    loaded = load("\ndef own(t): return 1.0\nEVALUATORS = [declared(own)]\n")
    loaded.close()
    with (tmp_path / "own_0.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    found = _one(loaded)
    assert isinstance(found, Unscored)
    assert "changed since" in found.detail


def test_a_thousand_targets_with_a_crash_in_each_hundred(load: Load) -> None:
    body = """
import os
def own(target):
    if target["example_id"].endswith("00"):
        os._exit(1)
    return 1.0

EVALUATORS = [declared(own)]
"""
    loaded = load(body)
    found = [loaded.evaluators[0].evaluate(_target(number=100 + n)) for n in range(1000)]
    assert sum(isinstance(one, Score) for one in found) == 990
    assert {one.detail for one in found if isinstance(one, Unscored)} == {"its process ended with code 1"}


def test_a_target_that_is_too_large_is_not_sent(load: Load) -> None:
    small = Limits(wall_s=1, most_target_bytes=10_000)
    found = _one(load("\ndef own(t): return 1.0\nEVALUATORS = [declared(own)]\n", small), _target("x" * 20_000))
    assert isinstance(found, Unscored)
    assert found.reason is Reason.TOO_LARGE


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(HEAD + "import time\ndef own(t): time.sleep(60)\nEVALUATORS = [declared(own)]\n", encoding="utf-8")
    path.chmod(0o644)
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        loaded = load_file(path)
        children = psutil.Process().children()
        os.write(write, str(children[0].pid if loaded.evaluators else 0).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(parent, 0)
    child = int(os.read(read, 20))
    os.close(read)
    assert child > 0
    wait_until(
        lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 10, "its end"
    )
