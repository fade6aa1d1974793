"""Each attack would print the expected output if it succeeded: it must be counted wrong and leave no trace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("programs can be contained on Linux only", allow_module_level=True)

from sandboxes import CONFIGURATIONS, alive, available, descendants, fenced, need_configuration, wait_until

from attnpo.sandbox.client import Sandbox, _counts_tasks
from attnpo.sandbox.limits import Limits
from attnpo.verification.code import CodeTest, CodeTests
from attnpo.verification.code.verifier import CodeVerifier

LIMITS = Limits(memory_bytes=2**28, output_bytes=2**20, folder_bytes=2**22, folder_files=64, tasks=16)


class Attacked:
    """A verifier of one configuration, with its launcher in sight."""

    def __init__(self, layers: tuple[str, ...]):
        self.sandbox = Sandbox(layers=layers)
        self.verifier, self.impatient = (
            CodeVerifier(5, limits=LIMITS),
            CodeVerifier(5, total_timeout=0.3, limits=LIMITS),
        )
        self.verifier._sandboxes = self.impatient._sandboxes = [self.sandbox]
        assert self.run("print(input())", "ready", "ready")
        self.launcher = self.pid

    @property
    def pid(self) -> int:
        assert self.sandbox._process is not None
        return self.sandbox._process.pid

    def run(self, code: str, text: object = "", expected: str = "done") -> bool:
        tests = CodeTests(kind="stdin", tests=[CodeTest(input=str(text), output=expected)])
        return self.verifier.verify([fenced(code)], [tests.model_dump_json()])[0]

    def run_endless(self, code: str) -> bool:
        tests = CodeTests(kind="stdin", tests=[CodeTest(input="", output="done")])
        return self.impatient.verify([fenced(code)], [tests.model_dump_json()])[0]

    def is_unharmed(self) -> bool:
        """The launcher is the same, and nothing runs below it."""
        return self.pid == self.launcher and alive(self.launcher) and descendants(self.launcher) == set()


@pytest.fixture(scope="module", params=list(CONFIGURATIONS))
def attacked(request) -> Iterator[Attacked]:
    attacked = Attacked(need_configuration(request.param))
    yield attacked
    assert attacked.run("print(sum(map(int, input().split())))", "2 3", "5")
    attacked.verifier.close()


@pytest.fixture(autouse=True)
def unharmed(attacked) -> Iterator[None]:
    yield
    assert attacked.is_unharmed()


# --- taking without end ----------------------------------------------------------------------------------------------


def test_infinite_loop(attacked) -> None:
    assert not attacked.run_endless("while True: pass")


def test_loop_that_ignores_signals(attacked) -> None:
    code = """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
"""
    assert not attacked.run_endless(code)


def test_sleep(attacked) -> None:
    assert not attacked.run_endless("import time; time.sleep(1000); print('done')")


def test_fork_bomb(attacked) -> None:
    code = """
import os
for _ in range(200):
    try: os.fork()
    except OSError as error: last = error
while True: os.fork()
print("done")
"""
    assert not attacked.run_endless(code)


def test_a_hundred_processes(attacked) -> None:
    code = """
import os, time
for _ in range(100):
    if os.fork() == 0: time.sleep(1000)
print("done")
"""
    assert not attacked.run_endless(code)


def test_thread_bomb(attacked) -> None:
    code = """
import threading, time
threading.stack_size(32768)
for _ in range(1000): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("done")
"""
    assert not attacked.run_endless(code)


def test_memory_bomb(attacked) -> None:
    assert not attacked.run("x = bytearray(10**9); print('done')")
    assert not attacked.run("x = []\nwhile True: x.append(bytes(10**7))")


def test_memory_that_no_address_space_holds(attacked) -> None:
    code = """
import os
for _ in range(100):
    file = os.memfd_create("x")
    for _ in range(100): os.write(file, bytes(10**6))
print("done")
"""
    assert not attacked.run(code)


def test_output_flood(attacked) -> None:
    assert not attacked.run("while True: print('done' * 10**5)")


def test_output_flood_on_standard_error(attacked) -> None:
    assert not attacked.run_endless("import sys\nwhile True: sys.stderr.write('x' * 10**6)")


def test_deep_recursion(attacked) -> None:
    code = """
class A:
    def __getattr__(self, name): return getattr(self, name + "x")
sys.setrecursionlimit(10**9)
A().x
print("done")
"""
    assert not attacked.run(code)


# --- files -----------------------------------------------------------------------------------------------------------


def test_one_huge_file(attacked) -> None:
    code = """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open("huge", "wb") as file:
    for _ in range(100): file.write(bytes(10**6))
print("done")
"""
    assert not attacked.run(code)


def test_many_large_files(attacked) -> None:
    code = """
import time
for number in range(50):
    with open(f"large{number}", "wb") as file: file.write(bytes(10**6))
time.sleep(0.2)
print("done")
"""
    assert not attacked.run(code)


def test_many_files(attacked) -> None:
    code = """
import time
for number in range(5000): open(f"file{number}", "w").close()
time.sleep(0.2)
print("done")
"""
    assert not attacked.run(code)


@pytest.mark.parametrize("path", ["canary", "new"])
def test_write_outside(attacked, tmp_path, path) -> None:
    (tmp_path / "canary").write_text("alive")
    os.chmod(tmp_path, 0o777)
    os.chmod(tmp_path / "canary", 0o666)
    assert not attacked.run("open(input(), 'w').write('dead'); print('done')", tmp_path / path)
    assert not attacked.run("import os; os.remove(input()); print('done')", tmp_path / path)
    assert not attacked.run("import os; os.rename(input(), 'mine'); print('done')", tmp_path / path)
    assert not attacked.run("import os; os.mkdir(input() + 'folder'); print('done')", tmp_path / path)
    assert (tmp_path / "canary").read_text() == "alive"
    assert os.listdir(tmp_path) == ["canary"]


def test_read_outside(attacked, tmp_path) -> None:
    os.chmod(tmp_path, 0o777)
    secret = tmp_path / "secret"
    secret.write_text("done")
    os.chmod(secret, 0o666)
    assert not attacked.run("print(open(input()).read())", secret)
    assert not attacked.run("open('/etc/passwd').read(); print('done')")


def test_links_out_of_the_folder(attacked, tmp_path) -> None:
    os.chmod(tmp_path, 0o777)
    canary = tmp_path / "canary"
    canary.write_text("done")
    os.chmod(canary, 0o666)
    assert not attacked.run("import os; os.symlink(input(), 'link'); print(open('link').read())", canary)
    assert not attacked.run("import os; os.symlink(input(), 'link'); open('link', 'w'); print('done')", canary)
    assert not attacked.run("import os; os.link(input(), 'link'); print(open('link').read())", canary)
    assert not attacked.run("import os; os.symlink(input(), 'link'); os.listdir('link'); print('done')", tmp_path)
    assert canary.read_text() == "done"


def test_its_own_runner(attacked) -> None:
    from attnpo.sandbox import launcher, program

    for path in (launcher.__file__, program.__file__, sys.executable, os.__file__):
        assert not attacked.run("import os; os.open(input(), os.O_WRONLY | os.O_APPEND); print('done')", path)
    code = """
import json, os
for path in (json.__file__, os.__file__): os.open(path, os.O_WRONLY | os.O_APPEND)
print("done")
"""
    assert not attacked.run(code)


def test_its_folder_is_gone_afterwards(attacked) -> None:
    assert attacked.run("open('mine', 'w').write('x'); print(open('mine').read())", expected="x")
    assert attacked.run("import os; print(os.listdir('.'))", expected="[]")


# --- other processes -------------------------------------------------------------------------------------------------


@pytest.fixture
def neighbour() -> Iterator[subprocess.Popen]:
    """A process of the parent's user with a secret in its environment."""
    code = "import time; print('ready', flush=True); time.sleep(1000)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "SECRET": "done"}, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_environment_of_others(attacked, neighbour, monkeypatch) -> None:
    code = """
import os, re
for name in [input(), str(os.getppid()), "1", "self", *(os.listdir("/proc") if os.path.isdir("/proc") else [])]:
    try: text = open(f"/proc/{name}/environ").read()
    except OSError: continue
    if "SECRET" in text: print("done")
"""
    assert not attacked.run(code, neighbour.pid)
    monkeypatch.setenv("SECRET", "done")
    assert not attacked.run("import os; print(os.environ['SECRET'])")


def test_memory_of_others(attacked, neighbour) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for pid in (int(input()), os.getppid(), 1):
    if libc.ptrace(16, pid, 0, 0) == 0: print("done"); break
    try: open(f"/proc/{pid}/mem", "rb"); print("done"); break
    except OSError: pass
"""
    assert not attacked.run(code, neighbour.pid)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP", "SIGTERM"])
def test_signals_to_others(attacked, neighbour, name) -> None:
    code = f"""
import os, signal
launcher, neighbour = map(int, input().split())
for target in (os.getppid(), launcher, neighbour, 1, -1):
    try: os.kill(target, signal.{name})
    except OSError: pass
try: os.killpg(launcher, signal.{name})
except OSError: pass
import time; time.sleep(0.05)
"""
    attacked.run(code, f"{attacked.launcher} {neighbour.pid}", "nothing")
    assert Path(f"/proc/{neighbour.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
    assert alive(attacked.launcher)
    assert not attacked.run("import os, signal; os.kill(int(input()), 0); print('done')", neighbour.pid)


def test_daemon(attacked) -> None:
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 100)
        time.sleep(1000)
    os._exit(0)
print("done")
"""
    attacked.run(code)
    assert descendants(attacked.launcher) == set()


def test_daemon_that_holds_the_output_open(attacked) -> None:
    code = """
import os, time
if os.fork() == 0:
    while True:
        print("more", flush=True)
        time.sleep(0.01)
while True: time.sleep(1)
"""
    assert not attacked.run_endless(code)


def test_other_programs(attacked) -> None:
    assert not attacked.run("import subprocess; print(subprocess.check_output(['echo', 'done'], text=True))")
    assert not attacked.run("import os; os.execv('/bin/echo', ['echo', 'done'])")
    assert not attacked.run("import os; os.execv('/usr/bin/echo', ['echo', 'done'])")
    assert not attacked.run("import os; os.system('true') == 0 and print('done')")


# --- the network -----------------------------------------------------------------------------------------------------


def test_tcp(attacked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        address = server.getsockname()
        assert not attacked.run(f"import socket; socket.create_connection({address!r}, 1); print('done')")
        with pytest.raises(TimeoutError):
            server.accept()


def test_udp(attacked) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.05)
        code = f"""
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", {server.getsockname()!r})
print("done")
"""
        attacked.run(code)
        with pytest.raises(TimeoutError):
            server.recv(1)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("abstract", [True, False])
def test_unix_socket(attacked, tmp_path, kind, abstract) -> None:
    os.chmod(tmp_path, 0o777)
    address = f"\0attnpo-test-{os.getpid()}" if abstract else str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(address)
        if not abstract:
            os.chmod(address, 0o777)
        if kind == socket.SOCK_STREAM:
            server.listen()
        server.settimeout(0.05)
        connect = f"import socket; socket.socket(socket.AF_UNIX, {int(kind)}).connect({address!r}); print('done')"
        assert not attacked.run(connect)
        pair = f"import socket; socket.socketpair(type={int(kind)})[0].sendto(b'x', {address!r}); print('done')"
        assert not attacked.run(pair)


def test_listening(attacked) -> None:
    code = """
import socket
server = socket.socket()
server.bind(("0.0.0.0", 0))
server.listen()
other = socket.create_connection(("127.0.0.1", server.getsockname()[1]))
print("done")
"""
    assert not attacked.run(code)


def test_shared_memory(attacked) -> None:
    from multiprocessing import shared_memory

    block = shared_memory.SharedMemory(create=True, size=16)
    try:
        code = """
from multiprocessing import shared_memory
shared_memory.SharedMemory(input()).buf[0] = 7
print("done")
"""
        os.chmod(f"/dev/shm/{block.name}", 0o666)
        assert not attacked.run(code, block.name)
        assert block.buf[0] == 0
    finally:
        block.close()
        block.unlink()


# --- the verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", ["exit(0)", "import os; os._exit(0)", "raise SystemExit", "import sys; sys.exit()", "quit()", ""]
)
def test_early_exit(attacked, code) -> None:
    assert not attacked.run(code)


def test_forged_verdict(attacked) -> None:
    code = """
import json, os
reply = (json.dumps({"status": "finished", "cpu_seconds": 0, "wall_seconds": 0}) + "\\n").encode()
for file in range(1, 256):
    try: os.write(file, reply)
    except OSError: pass
print("PASSED", True, "done?")
os._exit(0)
"""
    assert not attacked.run(code)


def test_expected_output_is_out_of_reach(attacked) -> None:
    code = """
import ctypes, gc, os, re, sys
found = set()
def look(text):
    found.update(re.findall(rb"token-[0-9a-f]{8}", text if isinstance(text, bytes) else str(text).encode()))
for thing in gc.get_objects():
    if isinstance(thing, (dict, list, tuple)):
        try: look(repr(thing))
        except Exception: pass
for module in list(sys.modules.values()): look(vars(module) if hasattr(module, "__dict__") else "")
look(dict(os.environ))
for file in range(256):
    try: os.lseek(file, 0, 0); look(os.read(file, 10**7))
    except OSError: pass
try:
    memory = open("/proc/self/mem", "rb")
    for line in open("/proc/self/maps"):
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        try: memory.seek(start); look(memory.read(min(end - start, 10**8)))
        except (OSError, ValueError, OverflowError): pass
except OSError: pass
for text in found: print(text.decode())
"""
    token = "token-" + "0123abcd"
    assert attacked.run("print(input())", token, token)
    assert not attacked.run(code, expected=token)


def test_closed_streams(attacked) -> None:
    assert not attacked.run("import os; os.closerange(0, 1000)")
    assert not attacked.run_endless("import os, time; os.closerange(0, 1000); time.sleep(1000)")
    assert not attacked.run("import sys; sys.stdout.close(); sys.stdin.close()")


def test_crash(attacked) -> None:
    assert not attacked.run("print('done', flush=True); import ctypes; ctypes.string_at(0)")
    assert not attacked.run("print('done', flush=True); import os; os.abort()")
    assert not attacked.run("print('done', flush=True); 1 / 0")


# --- out of the box --------------------------------------------------------------------------------------------------

ESCAPES = {
    "groups": "os.setgroups([0])",
    "chroot": "os.chroot('.')",
    "mount": "assert libc.mount(b'tmpfs', b'.', b'tmpfs', 0, None) == 0",
    "mount proc": "assert libc.mount(b'proc', b'.', b'proc', 0, None) == 0",
    "user namespace": "assert libc.unshare(0x10020000) == 0 and libc.mount(b'x', b'.', b'tmpfs', 0, None) == 0",
    "device": "os.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(8, 0)); open('disk', 'rb')",
    "raised limits": "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (10**6, 10**6))",
    "open by handle": "assert libc.open_by_handle_at(-100, None, 0) == 0",
    "kernel log": "assert libc.klogctl(10, None, 0) > 0",
    "keyring": "assert libc.syscall(250, 0, -3, 1) >= 0",
}


@pytest.mark.parametrize("name", ESCAPES)
def test_escapes(attacked, name) -> None:
    code = f"import ctypes, os, stat\nlibc = ctypes.CDLL(None)\n{ESCAPES[name]}\nprint('done')"
    if name in ("kernel log", "keyring", "user namespace") and "seccomp" not in attacked.sandbox._wanted:
        pytest.skip("only seccomp forbids it; it reaches nothing outside the namespaces")
    assert not attacked.run(code)


def test_the_program_is_nobody(attacked) -> None:
    if os.getuid() != 0 or "separate_user" not in attacked.sandbox._wanted or available()["separate_user"] is not None:
        pytest.skip("only root can give programs a user of their own")
    assert attacked.run("import os; print(os.getuid() > 2**30, os.getgroups())", expected="True []")


def test_threads_and_event_loops_work(attacked) -> None:
    code = """
import asyncio, threading
async def add(a, b): return a + b
print(asyncio.run(add(2, 3)))
sys.setrecursionlimit(10**6)
threading.stack_size(64 * 2**20)
def deep(n): return 0 if n == 0 else 1 + deep(n - 1)
thread = threading.Thread(target=lambda: print(deep(20000)))
thread.start()
"""
    assert attacked.run(code, expected="5\n20000")


def test_threads_share_the_memory_limit(attacked) -> None:
    code = """
import threading
together = threading.Barrier(13)
threads = [threading.Thread(target=together.wait) for _ in range(12)]
for thread in threads: thread.start()
together.wait()
print("done")
"""
    # The kernel does not count root's own threads: there a heap for each bounds their number, and few fit.
    assert attacked.run(code) == _counts_tasks(attacked.sandbox._wanted)
    assert not attacked.run(f"import threading\nthreading.stack_size(2**26)\n{code}")


def test_workers_may_run_at_once(attacked) -> None:
    others = [Attacked(attacked.sandbox._wanted) for _ in range(2)]
    results: dict[int, bool] = {}
    threads = [
        threading.Thread(target=lambda n=n, other=other: results.update({n: other.run("print(input())", n, str(n))}))
        for n, other in enumerate(others)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.verifier.close()
    assert results == {0: True, 1: True}


def test_closing_ends_the_launcher(attacked) -> None:
    other = Attacked(attacked.sandbox._wanted)
    running = threading.Thread(target=other.sandbox.run, args=("while True: pass", ""))
    running.start()
    assert wait_until(lambda: bool(descendants(other.launcher)))
    below = descendants(other.launcher)
    os.kill(other.launcher, signal.SIGKILL)
    running.join()
    assert wait_until(lambda: not any(map(alive, below)))
    other.verifier.close()
