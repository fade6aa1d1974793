from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("programs can be contained on Linux only", allow_module_level=True)

from sandboxes import alive, available, descendants, need, wait_until

from attnpo.errors import ConfigError
from attnpo.sandbox import client, linux, seccomp
from attnpo.sandbox.client import Sandbox, sandbox_layers
from attnpo.sandbox.isolation import LAYERS
from attnpo.sandbox.limits import Limits
from attnpo.verification import build_verifier


def test_every_layer_is_reported() -> None:
    assert tuple(sandbox_layers()) == LAYERS
    assert all(reason is None or reason for reason in sandbox_layers().values())
    assert sandbox_layers(())["seccomp"] == "switched off"


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        ((), "the network"),
        (("pid_namespace", "landlock"), "the network"),
        (("network_namespace", "landlock"), "other processes"),
        (("seccomp",), "other files"),
    ],
)
def test_a_weak_sandbox_is_refused_and_can_be_allowed(layers, what) -> None:
    for layer in layers:
        if layer.endswith("namespace") and available()["user_namespace"] is None:
            layers = ("user_namespace", *layers)
        need(layer)
    with pytest.raises(ConfigError, match=f"cannot be kept from {what} here .*allow_weak_sandbox") as caught:
        Sandbox(layers=layers).run("print(1)", "")
    assert "\n" not in str(caught.value)
    sandbox = Sandbox(allow_weak=True, layers=layers)
    assert sandbox.run("print(1)", "").output == "1\n"
    sandbox.close()


def test_a_verifier_of_code_is_refused_where_it_is_built(monkeypatch) -> None:
    monkeypatch.setattr(client, "_probe", lambda wanted: dict.fromkeys(wanted, "not here"))
    with pytest.raises(ConfigError, match=r"cannot be kept from the network here .*allow_weak_sandbox"):
        build_verifier("code")
    build_verifier("code", allow_weak_sandbox=True).close()


def test_without_any_layer_what_outlives_a_program_is_ended() -> None:
    sandbox = Sandbox(allow_weak=True, layers=())
    code = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: time.sleep(1000)
        os._exit(0)
print(os.getcwd())
"""
    outcome = sandbox.run(code, "")
    assert outcome.status == "finished"
    assert sandbox._process is not None
    assert descendants(sandbox._process.pid) == set()
    assert not os.path.exists(outcome.output.strip())
    sandbox.close()


def test_without_a_private_root_the_folder_is_watched() -> None:
    sandbox = Sandbox(allow_weak=True, layers=("no_new_privileges", "landlock", "seccomp"))
    code = "import time\nfor n in range(99): open(str(n), 'w')\ntime.sleep(1000)"
    assert sandbox.run(code, "", limits=Limits(folder_files=50)).status == "files"
    sandbox.close()


@pytest.mark.parametrize("layers", [LAYERS, ("no_new_privileges", "seccomp", "landlock")])
def test_an_unprivileged_process_can_contain_programs(layers) -> None:
    """Like a user who is not root: no capability at all, so that every right comes from a user namespace."""
    need("seccomp", "landlock")
    code = f"""
import json
from attnpo.sandbox.client import sandbox_layers
from attnpo.sandbox.client import Sandbox
sandbox = Sandbox(layers={layers!r})
print(json.dumps([sandbox.run("print(6 * 7)", "").output, sandbox.run("import os; os.fork()", "").status]))
sandbox.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=linux.drop_capabilities,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert json.loads(done.stdout) == ["42\n", "failed"], done.stderr


PARENT = """
import sys
from attnpo.sandbox.client import Sandbox
sandbox = Sandbox()
sandbox.run("print(1)", "")
print(sandbox._process.pid, flush=True)
if sys.argv[1] == "run":
    sandbox.run("import time; time.sleep(1000)", "")
sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["run", "idle", "exit"])
def test_nothing_outlives_the_parent(mode) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    launcher = int(parent.stdout.readline())
    if mode == "run":
        assert wait_until(lambda: bool(descendants(launcher)))
    started = {launcher, *descendants(launcher)}
    if mode == "exit":
        parent.stdin.close()
    else:
        parent.kill()
    parent.wait(timeout=30)
    assert wait_until(lambda: not any(map(alive, started)))
    parent.stdout.close()


def test_a_fork_does_not_use_or_end_its_parents_launcher() -> None:
    sandbox = Sandbox()
    assert sandbox.run("print(1)", "").output == "1\n"
    process = sandbox._process
    assert process is not None
    child = os.fork()
    if child == 0:
        output = sandbox.run("print(2)", "").output
        own = sandbox._process is not None and sandbox._process.pid != process.pid
        sandbox.close()
        os._exit(0 if output == "2\n" and own else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sandbox.run("print(3)", "").output == "3\n"
    assert sandbox._process is process
    sandbox.close()


def test_the_filter_knows_both_machines() -> None:
    for index in range(2):
        program = seccomp.filter_program(index, 2)
        assert len(program) % 8 == 0
        assert len(program) // 8 < 4096
    for numbers in zip(*seccomp._FORBIDDEN.values(), strict=True):
        known = [number for number in numbers if number is not None]
        assert len(known) == len(set(known))
        assert max(known) <= seccomp._NEWEST
