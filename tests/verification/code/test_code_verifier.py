from __future__ import annotations

import sys

import pytest

from attnpo.errors import ConfigError, DataError
from attnpo.verification import build_verifier
from attnpo.verification.code import CodeTest, CodeTests

if sys.platform != "linux":
    pytest.skip("programs can be contained on Linux only", allow_module_level=True)

from collections.abc import Iterator

from sandboxes import fenced, need_configuration

from attnpo.sandbox.client import Sandbox
from attnpo.sandbox.limits import Limits
from attnpo.verification.code.verifier import CodeVerifier


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    need_configuration("every layer")
    with CodeVerifier(timeout=5) as verifier:
        yield verifier


def stdin(*pairs: tuple[str, str], limit: float | None = None) -> str:
    tests = [CodeTest(input=given, output=expected) for given, expected in pairs]
    return CodeTests(kind="stdin", tests=tests, time_limit=limit).model_dump_json()


def call(function: str, *pairs: tuple[str, str]) -> str:
    tests = [CodeTest(input=given, output=expected) for given, expected in pairs]
    return CodeTests(kind="call", function=function, tests=tests).model_dump_json()


ADD = stdin(("1 2\n", "3\n"), ("-5 5", "0"), ("10 20\n", "30"))


@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("print(sum(map(int, input().split())))", True),
        ("import sys\nprint(sum(map(int, sys.stdin.read().split())))", True),
        ("import sys\nfor line in sys.stdin: print(sum(map(int, line.split())))", True),
        ("print(sum(map(int, open(0).read().split())))", True),
        ("import os\nprint(sum(map(int, os.read(0, 100).split())))", True),
        ("import sys\nsys.stdout.write(str(sum(map(int, sys.stdin.buffer.readline().split()))))", True),
        (
            "def main():\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main()",
            True,
        ),
        ("print(sum(map(int, input().split())))\nexit()", True),
        ("print(sum(map(int, input().split())))\nraise SystemExit(1)", True),
        ("import atexit\natexit.register(lambda: print(sum(map(int, input().split()))))", True),
        ("print(reduce(operator.add, map(int, stdin.readline().split())))", True),
        ("class Solution: pass\nprint(sum(map(int, input().split())))", True),
        ("print(float(sum(map(int, input().split()))))", True),
        ("\ufeffprint(sum(map(int, input().split())))", True),
        ("    a, b = map(int, input().split())\n    print(a + b)", True),
        ("  a, b = map(int, input().split())\nprint(a + b)", False),
        ("a, b = map(int, input().split())\nprint(a - b)", False),
        ("print(3)", False),
        ("print(sum(map(int, input().split())))\nraise ValueError", False),
        ("print(sum(map(int, input().split())), 'is it')", False),
        ("print(sum(map(int, input().split()))", False),
        ("", False),
    ],
)
def test_programs(verifier, code, right) -> None:
    assert verifier.verify([fenced(code)], [ADD]) == [right]


SOLUTION = """
class Solution:
    def largest(self, nums: List[int], k: int) -> List[int]:
        return heapq.nlargest(k, nums)
"""


@pytest.mark.parametrize(
    ("code", "right"),
    [
        (SOLUTION, True),
        ("def largest(nums, k): return sorted(nums)[-k:][::-1]", True),
        ("import numpy\ndef largest(nums, k): return numpy.sort(nums)[-k:][::-1]", True),
        ("def largest(nums, k): return tuple(sorted(nums)[-k:][::-1])", True),
        ("def largest(nums, k):\n    print('noise')\n    return sorted(nums)[-k:][::-1]", True),
        (SOLUTION + "\nif __name__ == '__main__': raise ValueError", True),
        ("def largest(nums, k): return sorted(nums)[:k]", False),
        ("def largest(nums, k): print(sorted(nums)[-k:][::-1])", False),
        ("def largest(nums, k): return set(nums)", False),
        ("def largest(nums): return nums", False),
        ("def other(nums, k): return nums", False),
        ("class Same:\n    def __eq__(self, other): return True\ndef largest(nums, k): return Same()", False),
        ("import os\nos.write(4, b'[3, 2]')\ndef largest(nums, k): os._exit(0)", False),
    ],
)
def test_functions(verifier, code, right) -> None:
    solution = call("largest", ("[1, 3, 2]\n2", "[3, 2]"), ("[5, 4]\n1", "[5]"))
    assert verifier.verify([fenced(code)], [solution]) == [right]


def test_the_last_block_of_the_final_answer_is_run(verifier) -> None:
    right, wrong = "```python\nprint(1)\n```\n", "```python\nprint(2)\n```\n"
    responses = [
        f"</think>{wrong}then\n{right}", f"</think>{right}then\n{wrong}", f"{right}</think>none", f"<think>{right}",
        "</think>print(1)", f"<think>{wrong}</think>{right}", right,
    ]  # fmt: skip
    assert verifier.verify(responses, [stdin(("", "1"))] * 7) == [True, False, False, False, False, True, True]
    assert verifier.answers(responses) == [None] * 7


def test_every_test_must_pass_and_none_runs_after_a_failure(verifier, monkeypatch) -> None:
    seen: list[str] = []
    run = Sandbox.run
    monkeypatch.setattr(
        Sandbox, "run", lambda self, code, text, *rest: seen.append(text) or run(self, code, text, *rest)
    )
    solution = stdin(("1", "1"), ("2", "2"), ("3", "4"), ("5", "5"))
    assert verifier.verify([fenced("print(input())")] * 2, [solution] * 2) == [False, False]
    assert seen == ["1", "2", "3"]


def test_time_is_that_of_the_processor(verifier) -> None:
    busy, solution = "import time\nwhile time.process_time() < 0.6: pass\nprint(1)", [("", "1")]
    assert verifier.verify([fenced(busy)] * 2, [stdin(*solution), stdin(*solution, limit=0.3)]) == [True, False]
    asleep = "import time\ntime.sleep(0.4)\nprint(1)"
    assert verifier.verify([fenced(asleep)], [stdin(*solution, limit=0.3)]) == [True]


THREADS = """
import threading
together = threading.Barrier({count})
def work(number):
    together.wait()
    found[number] = sum(bytes(5000)) + number
    together.wait()
found = {{}}
threads = [threading.Thread(target=work, args=(number,)) for number in range({count})]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sum(found.values()))
"""
POOL = """
import numpy
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(16) as pool: print(sum(pool.map(lambda n: int(numpy.full(1000, n).sum()), range(100))))
"""
DEEP = """
import threading
sys.setrecursionlimit(10**6)
def deep(n): return 0 if n == 0 else 1 + max(map(deep, [n - 1]))
{run}
"""
DEEP_IN_C = pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 14), reason="Python 3.12 and 3.13 bound recursion through C themselves"
)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((THREADS.format(count=count), str(count * (count - 1) // 2)) for count in (4, 8, 31)),
        (POOL, "4950000"),
        pytest.param(DEEP.format(run="print(deep(100_000))"), "100000", marks=DEEP_IN_C),
        pytest.param(
            DEEP.format(run="threading.Thread(target=lambda: print(deep(10_000))).start()"), "10000", marks=DEEP_IN_C
        ),
        pytest.param(
            DEEP.format(
                run="threading.stack_size(2**28)\nthreading.Thread(target=lambda: print(deep(90_000))).start()"
            ),
            "90000",
            marks=DEEP_IN_C,
        ),
    ],
)
def test_threads_and_deep_recursion(verifier, code, expected) -> None:
    assert verifier.verify([fenced(code)], [stdin(("", expected))]) == [True]


def test_all_tests_together_have_a_limit(verifier) -> None:
    with CodeVerifier(timeout=5, total_timeout=0.8) as hasty:
        hasty._sandboxes = verifier._sandboxes
        code = fenced("import time\ntime.sleep(0.3)\nprint(1)")
        assert hasty.verify([code], [stdin(*[("", "1")] * 9)]) == [False]


def test_limits_are_settings(verifier) -> None:
    code = fenced("x = bytearray(3 * 10**8)\nprint(1)")
    small = CodeVerifier(timeout=5, limits=Limits(memory_bytes=2**28))
    small._sandboxes = verifier._sandboxes
    assert verifier.verify([code], [stdin(("", "1"))]) == [True]
    assert small.verify([code], [stdin(("", "1"))]) == [False]


def test_large_input_and_output_come_through(verifier) -> None:
    text = "\n".join(str(n) for n in range(200_000))
    code = "import sys\nfor line in sys.stdin: print(int(line) + 1)"
    expected = "\n".join(str(n + 1) for n in range(200_000))
    assert verifier.verify([fenced(code)], [stdin((text, expected))]) == [True]
    assert verifier.verify([fenced(code)], [stdin((text, expected + "0"))]) == [False]


def test_text_of_any_script_comes_through(verifier) -> None:
    assert verifier.verify([fenced("print(input() + 'é😀')")], [stdin(("naïve", "naïveé😀"))]) == [True]


def test_dev_stdin(verifier) -> None:
    need_configuration("namespaces alone")
    assert verifier.verify([fenced("print(open('/dev/stdin').read())")], [stdin(("a b", "a b"))]) == [True]


def test_verdicts_do_not_depend_on_chance(verifier) -> None:
    code = fenced("import random\nprint(random.random(), hash('a'))")
    sandbox = verifier._sandboxes[0]
    outputs = {sandbox.run(code[code.index("import") : code.index("\n```\n")], "").output for _ in range(3)}
    assert len(outputs) == 1


def test_workers_keep_the_order() -> None:
    need_configuration("every layer")
    with build_verifier("code", timeout=5, workers=2) as verifier:
        solutions = [stdin((str(n), str(n if n % 3 else -1))) for n in range(9)]
        assert verifier.verify([fenced("print(input())")] * 9, solutions) == [n % 3 != 0 for n in range(9)]


def test_packed_tests_are_read(verifier) -> None:
    packed = CodeTests(kind="stdin", tests=[CodeTest(input="7", output="7")]).pack()
    assert verifier.verify([fenced("print(input())")], [packed]) == [True]


def test_settings_and_references_are_checked() -> None:
    for settings in ({"timeout": 0}, {"workers": 0}, {"total_timeout": -1}, {"timeout": float("nan")}):
        with pytest.raises(
            ConfigError,
            match=r"timeout: .* is not allowed; use a number above 0|workers: 0 is not allowed; use an integer",
        ):
            CodeVerifier(**settings)
    with pytest.raises(DataError, match="is no CodeTests"):
        CodeVerifier().verify([fenced("print(1)")], ["42"])
    assert CodeVerifier().verify([], []) == []


def test_other_systems_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError, match="on Linux only, this is darwin"):
        build_verifier("code")
