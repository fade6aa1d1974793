from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.errors import ConfigError
from attnpo.verification import ExactVerifier, FunctionVerifier, MathVerifier, build_verifier
from attnpo.verification.math_verifier import _boxed, _compare_integers
from attnpo.verification.pool import WorkerPool

JUDGES = """
import os, signal, sys, time
import numpy

def same(response, solution): return response.endswith(solution)
def numpy_bool(response, solution): return numpy.bool_(response.endswith(solution))
def loops(response, solution):
    while "loop" in response: pass
    return True
def sleeps(response, solution):
    if "sleep" in response: time.sleep(600)
    return True
def holds_the_interpreter(response, solution):
    if "bomb" in response: int("7" * 1000) ** 10_000_000
    return True
def crashes(response, solution):
    if "crash" in response: os.kill(os.getpid(), signal.SIGKILL)
    return True
def exhausts(response, solution):
    if "deep" in response: return exhausts(response, solution)
    return True
def raises(response, solution): raise KeyError("answer")
def no_bool(response, solution): return 0.5
def prints(response, solution):
    print("noise on standard output")
    return True
def has_torch(response, solution): return "torch" in sys.modules
def spawns(response, solution):
    import subprocess
    child = subprocess.Popen(["sleep", "600"])
    open(solution, "w").write(f"{os.getpid()} {child.pid}")
    time.sleep(600)
def ends_with_parent(response, solution):
    if not response.endswith("idle"):
        child = __import__("subprocess").Popen(["sleep", "600"])
        open(solution, "w").write(f"{os.getpid()} {child.pid}\\n")
    if response.endswith("sleep"): time.sleep(600)
    if response.endswith("stuck"): int("7" * 1000) ** 10_000_000  # never lets go of the interpreter
    return True
def whole(response, solution): return response == "<think>a</think>b" and solution == "c"
not_a_function = 3
"""


STATED = {
    "voting_judges": "def stated_answer(text): return text.rpartition('So ')[2] if 'So ' in text else None",
    "voting_judges_raise": "def stated_answer(response): return 1 / 0",
    "voting_judges_number": "def stated_answer(response): return 7",
    "voting_judges_two": "def stated_answer(response, solution): return response",
}


@pytest.fixture(scope="module", autouse=True)
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("judges")
    (folder / "own_judges.py").write_text(JUDGES)
    (folder / "broken_judges.py").write_text("import no_such_package")
    for name, stated in STATED.items():
        (folder / f"{name}.py").write_text(f"def same(response, solution): return True\n{stated}\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def math() -> Iterator[MathVerifier]:
    with MathVerifier(timeout=30) as verifier:
        yield verifier


def own(name: str, timeout: float = 30.0, workers: int = 1) -> FunctionVerifier:
    return FunctionVerifier(f"own_judges:{name}", timeout, workers)


def verify(verifier, *pairs: tuple[str, str]) -> list[bool]:
    return verifier.verify(["<think>x</think>" + answer for answer, _ in pairs], [solution for _, solution in pairs])


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    if sys.platform == "linux":
        return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"
    return subprocess.run(["kill", "-0", str(pid)], check=False, capture_output=True).returncode == 0


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# --- what is correct -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "solution", "expected"),
    [
        (r"So \boxed{\frac{1}{2}}.", "0.5", True),
        (r"\boxed{x = 5}", "5", True),
        (r"\boxed{(1, 2)}", r"\left( 1, 2 \right)", True),
        (r"\boxed{(2, 1)}", r"\left( 1, 2 \right)", False),
        (r"\boxed{1} and \boxed{2}", "2, 1", True),
        (r"\boxed{\text{B}}", "B", True),
        (r"\boxed{\text{A}}", "B", False),
        (r"\boxed{27}", "27.0", True),
        (r"\boxed{1,234}", "1234", True),
        (r"\boxed{\sqrt{8}}", r"$2\sqrt{2}$", True),
        ("The answer is $5$.", "5", True),
        ("The answer is 6.", "5", False),
        (r"5 is wrong, \boxed{6}", "5", False),
        ("", "5", False),
        (r"\boxed{}", "5", False),
        (r"\boxed{18}", "He pays 2 * 9 = $18.\n#### 18", True),
        (r"\boxed{\sqrt{2}}", r"Long way. Thus $\boxed{\sqrt{2}}$.", True),
    ],
)
def test_math(math, answer, solution, expected) -> None:
    assert verify(math, (answer, solution)) == [expected]


def test_answers_are_what_a_majority_vote_counts(math) -> None:
    answers = [
        r"\boxed{\frac12}",
        r"\boxed{0.5}",
        "The answer is $5$.",
        r"\boxed{-0}",
        r"\boxed{0}",
        r"\boxed{?!}",
        "no",
    ]
    responses = ["</think>" + answer for answer in answers] + [r"<think>\boxed{7}", r"</think>\boxed{}"]
    assert math.answers(responses) == ["1/2", "1/2", "5", "0", "0", "?!", None, None, None]
    exact = ["</think>a  b", r"</think>so \boxed{a b}", "</think> ", "<think>a b", "a  b"]
    assert ExactVerifier().answers(exact) == ["a b", "a b", None, None, "a b"]
    with own("same") as verifier:
        assert verifier.answers(exact) == ["a b", "a b", None, None, "a b"]
        assert verifier.pool._workers[0]._process is None


@pytest.mark.parametrize("name", ["math", "exact"])
def test_only_the_final_answer_counts(name) -> None:
    with build_verifier(name, timeout=30) as verifier:
        responses = [
            r"\boxed{5}</think>\boxed{6}",
            r"<think>\boxed{5}",
            r"</think>\boxed{5}",
            r"a</think>\boxed{6}</think>\boxed{5}",
            r"It is \boxed{5}.",
        ]
        assert verifier.verify(responses, ["5"] * 5) == [False, False, True, True, True]


def test_exact() -> None:
    pairs = [("  a \n b ", "a b"), (r"so \boxed{a  b}", "a b"), ("a b", r"\boxed{a b}"), ("A b", "a b"), ("5.0", "5")]
    assert verify(ExactVerifier(), *pairs) == [True, True, True, False, False]


def test_responses_and_solutions_must_pair_up(math) -> None:
    for verifier in (math, ExactVerifier()):
        with pytest.raises(ValueError, match="shorter"):
            verifier.verify(["</think>5", "</think>5"], ["5"])


def test_empty_batch_starts_nothing() -> None:
    with MathVerifier() as verifier:
        assert verifier.verify([], []) == []
        assert verifier.pool._workers[0]._process is None


integers = st.integers(-(10**12), 10**12) | st.integers(-3, 3)


@given(pairs=st.lists(st.tuples(integers, integers | st.none()), min_size=1, max_size=30))
@settings(max_examples=25, deadline=None)
def test_integers_decided_at_once_agree_with_math_verify(math, pairs) -> None:
    texts = [(_boxed(str(a)), _boxed(str(a if b is None else b))) for a, b in [*pairs, (0, 0)]]
    texts.append((_boxed("-0"), _boxed("0")))
    at_once = [_compare_integers(*pair) for pair in texts]
    assert [verdict for verdict in at_once if verdict is not None] == [
        verdict for verdict, fast in zip(math.pool.judge(texts), at_once, strict=True) if fast is not None
    ]


def test_only_plain_integers_are_decided_at_once() -> None:
    for text in ("05", "1.0", "1,000", "٥", "1" * 13, "+1", "1 ", ""):
        assert _compare_integers(r"\boxed{5}", rf"\boxed{{x{text}}}") is None
    assert _compare_integers("5", r"\boxed{5}") is None
    assert _compare_integers(r"\boxed{5}", r"\boxed{5}") is True


# --- a user's function -----------------------------------------------------------------------------------------------


def test_own_function_gets_whole_texts() -> None:
    with own("whole") as verifier:
        assert verifier.verify(["<think>a</think>b", "a", "b</think>"], ["c"] * 3) == [True, False, False]


def test_own_function_may_say_what_a_vote_counts() -> None:
    responses = ["<think>So 4</think>So  7 ", "So 7", "A 7", "<think>So 7", "So 7"]
    with build_verifier("voting_judges:same", timeout=30) as verifier:
        assert verifier.answers(responses) == ["7", "7", None, None, "7"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("voting_judges_raise", r"raised ZeroDivisionError: division by zero \(voting_judges_raise.py, line"),
        ("voting_judges_number", r"stated_answer returned 7 \(int\), must return text or None"),
        ("voting_judges_two", r"'voting_judges_two:stated_answer': is called with \(response\), but takes"),
    ],
)
def test_a_stated_answer_that_fails_is_named(name, message) -> None:
    with pytest.raises(ConfigError, match=message), build_verifier(f"{name}:same", timeout=30) as verifier:
        verifier.answers(["So 7"])


def test_own_function_may_return_numpy_bools_and_print() -> None:
    with own("numpy_bool") as verifier:
        assert verify(verifier, ("ab", "b"), ("ab", "c")) == [True, False]
    with own("prints") as verifier:
        assert verify(verifier, ("a", "b"), ("c", "d")) == [True, True]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("own_judges:missing", "has no function 'missing'"),
        ("own_judges:not_a_function", "has no function"),
        ("no_such_module:f", "'no_such_module' cannot be imported"),
        ("broken_judges:f", "No module named 'no_such_package'"),
        ("own_judges:", "expected module:function"),
        (":same", "expected module:function"),
        ("maths", "choose math, exact, choice, code or module:function"),
        ("__main__:f", "not importable by a worker"),
    ],
)
def test_a_wrong_name_is_one_clear_line(spec, message) -> None:
    with pytest.raises(ConfigError) as caught:
        build_verifier(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("timeout", "workers"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0)])
def test_limits_must_be_positive(timeout, workers) -> None:
    for name in ("math", "own_judges:same"):
        with pytest.raises(
            ConfigError,
            match=r"timeout: .* is not allowed; use a number above 0|workers: 0 is not allowed; use an integer",
        ):
            build_verifier(name, timeout, workers)


@pytest.mark.parametrize(
    ("name", "message"),
    [("raises", "raised KeyError: 'answer' (own_judges.py, line"), ("no_bool", "returned 0.5 (float)")],
)
def test_a_failing_function_is_not_a_wrong_answer(name, message) -> None:
    with own(name) as verifier, pytest.raises(ConfigError) as caught:
        verify(verifier, ("a", "b"))
    assert message in str(caught.value)
    assert f"own_judges:{name}" in str(caught.value)


def test_a_function_of_the_current_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "judge_in_folder.py").write_text("def yes(response, solution): return True")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with build_verifier("judge_in_folder:yes", timeout=30) as verifier:
        assert verify(verifier, ("a", "b")) == [True]


# --- the hard limit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "trigger"),
    [
        ("loops", "loop"),
        ("sleeps", "sleep"),
        ("holds_the_interpreter", "bomb"),
        ("crashes", "crash"),
        ("exhausts", "deep"),
    ],
)
def test_an_interrupted_item_is_wrong_and_the_next_ones_are_verified(name, trigger) -> None:
    with own(name, timeout=1) as verifier:
        answers = ["a", trigger, "b"]
        assert verify(verifier, *((answer, "") for answer in answers)) == [True, False, True]
        assert verifier.pool.interrupted == 1


def test_sympy_bombs_are_interrupted() -> None:
    bombs = [r"\boxed{9^{9^{9^{9}}}}", r"\boxed{\sum_{k=1}^{10^9}\sin(k^2)}"]
    with MathVerifier(timeout=1.5) as verifier:
        pairs = [pair for bomb in bombs for pair in ((bomb, "5"), (r"\boxed{\frac{10}{2}}", "5"))]
        assert verify(verifier, *pairs) == [False, True] * 2
        assert verifier.pool.interrupted == 2
        # For the vote such an answer counts as its text.
        assert verifier.answers(["</think>" + bomb for bomb in (bombs[1], r"\boxed{0.5}")]) == [bombs[1][7:-1], "1/2"]
        assert verifier.pool.interrupted == 2


def test_several_workers_keep_the_order() -> None:
    with own("loops", timeout=1, workers=2) as verifier:
        answers = ["loop" if number % 4 == 0 else "a" for number in range(8)]
        assert verify(verifier, *((answer, "") for answer in answers)) == ["loop" not in a for a in answers]
    with own("same", workers=2) as verifier:
        assert verify(verifier, *((str(n), str(n % 3)) for n in range(20))) == [
            str(n).endswith(str(n % 3)) for n in range(20)
        ]


def test_a_long_text_goes_through_the_pipe() -> None:
    with own("same") as verifier:
        assert verify(verifier, ("x" * 3_000_000 + "\ud800é", "\ud800é")) == [True]


def test_works_in_other_threads() -> None:
    results: list[list[bool]] = []
    with MathVerifier(timeout=30) as verifier:
        threads = [
            threading.Thread(
                target=lambda: results.append(verify(verifier, (r"\boxed{\frac{1}{2}}", "0.5"), ("6", "5")))
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [[True, False]] * 3


# --- processes -------------------------------------------------------------------------------------------------------


def pid_of(verifier) -> int:
    process = verifier.pool._workers[0]._process
    assert process is not None
    return process.pid


def test_worker_imports_neither_torch_nor_the_main_module() -> None:
    import torch  # noqa: F401

    with own("has_torch") as verifier:
        assert verify(verifier, ("a", "b")) == [False]


def test_close_ends_the_worker_and_a_later_call_starts_one() -> None:
    with own("same") as verifier:
        assert verify(verifier, ("a", "a")) == [True]
        first = pid_of(verifier)
        verifier.close()
        assert not is_running(first)
        assert verify(verifier, ("a", "a")) == [True]
        second = pid_of(verifier)
    assert first != second
    assert not is_running(second)


def test_a_forgotten_verifier_leaves_no_process() -> None:
    verifier = own("same")
    verify(verifier, ("a", "a"))
    pid = pid_of(verifier)
    del verifier
    gc.collect()
    assert wait_until(lambda: not is_running(pid))


def test_an_interrupted_function_takes_its_children_along(tmp_path) -> None:
    note = tmp_path / "pids"
    with own("spawns", timeout=2) as verifier:
        assert verify(verifier, ("a", str(note))) == [False]
    for pid in map(int, note.read_text().split()):
        assert wait_until(functools.partial(lambda pid: not is_running(pid), pid))


PARENT = """
import sys
from attnpo.verification import build_verifier
if __name__ != "__main__":
    raise SystemExit("the main module was imported again")
verifier = build_verifier("own_judges:ends_with_parent", timeout=600)
verifier.verify(["</think>idle"], ["b"])
print(verifier.pool._workers[0]._process.pid, flush=True)
if sys.argv[1] in ("sleep", "stuck"):
    verifier.verify(["</think>" + sys.argv[1]], [sys.argv[2]])
elif sys.argv[1] == "wait":
    sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["exit", "wait", "sleep", "stuck"])
def test_no_worker_outlives_its_parent(tmp_path, mode) -> None:
    """At its end; when it is killed while the worker idles; when it is killed while the worker is at work.

    What the worker started ends too. Its own limit, 10 minutes here, is not waited for.
    """
    if mode == "stuck" and sys.platform != "linux":
        pytest.skip("without the kernel's help, code that never lets go of the interpreter ends at its limit")
    script, named = tmp_path / "parent.py", tmp_path / "pids"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, str(script), mode, str(named)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline())]
    if mode in ("sleep", "stuck"):
        assert wait_until(lambda: named.exists() and named.read_text().endswith("\n"))
        worker, child = map(int, named.read_text().split())
        assert [worker] == pids
        pids.append(child)
    if mode == "exit":
        assert parent.wait(timeout=30) == 0
    else:
        parent.kill()
        parent.wait(timeout=30)
    assert wait_until(lambda: not any(map(is_running, pids)))
    parent.communicate()


def test_a_fork_does_not_use_or_end_its_parents_worker() -> None:
    pool = WorkerPool("own_judges:same", timeout=30)
    assert pool.judge([("a", "a")]) == [True]
    process = pool._workers[0]._process
    assert process is not None
    child = os.fork()
    if child == 0:
        verdicts = pool.judge([("b", "b"), ("b", "c")])
        own_process = pool._workers[0]._process
        is_own = own_process is not None and own_process.pid != process.pid
        pool.close()
        os._exit(0 if verdicts == [True, False] and is_own else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.judge([("a", "b")]) == [False]
    assert pool._workers[0]._process is process
    pool.close()


def test_equal_answers_are_compared_once_however_they_are_batched(monkeypatch):
    with MathVerifier() as verifier:
        asked: list[tuple[str, str]] = []

        def judge(pairs):
            asked.extend(pairs)
            return [left == right for left, right in pairs]

        monkeypatch.setattr(verifier.pool, "judge", judge)
        same, other = r"<think>a</think>\boxed{x+1}", r"<think>b</think>so \boxed{x+1}"
        assert verifier.verify([same], ["x+1"]) == [True]
        assert verifier.verify([other, same], ["x+1", "x-1"]) == [True, False]
        assert asked == [(r"\boxed{x+1}", r"\boxed{x+1}"), (r"\boxed{x+1}", r"\boxed{x-1}")]
        monkeypatch.setattr("attnpo.verification.math_verifier._REMEMBERED", 1)
        assert verifier.verify([same], ["y"]) == [False]  # the only one that is remembered now
        assert verifier.verify([same], ["x+1"]) == [True]
        assert len(asked) == 4
