"""The layers between a program and the machine, each put up in the process that is to be confined.

Two processes stand between the launcher and the program: the outer one enters the namespaces and the private root; the
first process of the new process namespace gives up all rights and waits for its child, the program (when the first
process ends, the kernel ends everything in the namespace).
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from attnpo.sandbox import linux
from attnpo.sandbox.landlock import restrict_files
from attnpo.sandbox.limits import Limits
from attnpo.sandbox.root import DEVICES, FOLDER, INPUT, enter_private_root
from attnpo.sandbox.seccomp import restrict_system_calls

NAMESPACES = {
    "pid_namespace": linux.CLONE_NEWPID,
    "network_namespace": linux.CLONE_NEWNET,
    "ipc_namespace": linux.CLONE_NEWIPC | linux.CLONE_NEWUTS,
}
LAYERS = (
    "user_namespace",
    "private_root",
    *NAMESPACES,
    "separate_user",
    "no_new_privileges",
    "seccomp",
    "landlock",
)
"""Names of the layers, in the order in which they are put up; resource limits always hold."""

_FIRST_PRIVATE_ID = 0x40000000
_INNER_ID = 65534
_USERS_OWN_COUNT = (5, 14)


@dataclass(frozen=True)
class Plan:
    """What every sandbox of a launcher has in common.

    Attributes:
        layers: the layers that are put up.
        readable: folders and files that programs may read.
        folder: the folder to mount the private root on; without one, programs' own folders lie in it.
        launcher: process id of the launcher, which gives its programs a user id that nothing else has.
    """

    layers: Collection[str]
    readable: Sequence[str]
    folder: str
    launcher: int

    @property
    def user(self) -> int:
        """The programs' user and group id where they have one of their own."""
        return _FIRST_PRIVATE_ID + self.launcher


def enter_namespaces(plan: Plan, limits: Limits, input_fd: int, folder: str) -> None:
    """Put up what must stand before the program's process is made.

    Args:
        plan: the layers.
        limits: of the private root's folder.
        input_fd: the program's input.
        folder: the program's own folder where there is no private root.
    """
    flags = linux.CLONE_NEWNS if "private_root" in plan.layers else 0
    for name, flag in NAMESPACES.items():
        flags |= flag if name in plan.layers else 0
    if "user_namespace" in plan.layers:
        enter_user_namespace(flags)
    elif flags:
        linux.unshare(flags)
    if "private_root" in plan.layers:
        enter_private_root(plan.folder, plan.readable, limits, input_fd)
    else:
        os.chdir(folder)


def enter_user_namespace(flags: int) -> None:
    """Enter new namespaces as an unprivileged user, who is nobody inside and keeps the outer rights on files."""
    user, group = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | flags)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_INNER_ID} {user} 1"),
        ("gid_map", f"{_INNER_ID} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def give_up_rights(plan: Plan) -> None:
    """Become an own user where root started the launcher, lose all capabilities, and never gain any again."""
    if "separate_user" in plan.layers:
        become(plan.user)
    linux.drop_capabilities()
    linux.forbid_new_privileges()


def become(user: int) -> None:
    """Change user and group for good."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def confine(plan: Plan, limits: Limits, folder: str) -> None:
    """Put up the last layers around the calling process, the program's own."""
    set_limits(plan, limits)
    if "landlock" in plan.layers:
        rooted = "private_root" in plan.layers
        restrict_files([*plan.readable, *([INPUT] if rooted else [])], DEVICES, FOLDER if rooted else folder)
    if "seccomp" in plan.layers:
        index = linux.machine()
        assert index is not None
        restrict_system_calls(index, os.getpid())


def set_limits(plan: Plan, limits: Limits) -> None:
    """Set the kernel's limits on the calling process."""
    seconds = math.ceil(limits.cpu_seconds)
    # A signal that the program may ignore, then one that it may not.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.output_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, limits.tasks + _other_tasks(plan)),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 256),
    ):
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))


def _other_tasks(plan: Plan) -> int:
    """Return how many tasks the kernel counts against the limit besides the program's."""
    if "separate_user" in plan.layers or ("user_namespace" in plan.layers and kernel_version() >= _USERS_OWN_COUNT):
        return 2
    user, tasks = os.getuid(), 0
    if not os.path.isdir("/proc/1"):
        return 1024
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == user:
                    tasks += len(os.listdir(f"/proc/{entry.name}/task"))
            except OSError:
                continue  # ended meanwhile
    return tasks


def kernel_version() -> tuple[int, int]:
    """Return the kernel's major and minor version."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(character for character in minor if character.isdigit()) or 0)


def probe(plan: Plan) -> dict[str, str | None]:
    """Try each layer in a child of its own.

    Args:
        plan: with the layers that are wanted.

    Returns:
        For each of `LAYERS` None where it works, else why it does not.
    """
    found: dict[str, str | None] = {}
    as_root = attempt(lambda: linux.unshare(linux.CLONE_NEWNS)) is None
    if as_root:
        found["user_namespace"] = "not used: the launcher may make the other namespaces without"
    else:
        found["user_namespace"] = attempt(lambda: enter_user_namespace(0))

    def namespaces(flags: int) -> None:
        if as_root:
            linux.unshare(flags)
        elif "user_namespace" in plan.layers:
            enter_user_namespace(flags)
        else:
            raise OSError("needs a user namespace")

    def private_root() -> None:
        namespaces(linux.CLONE_NEWNS)
        with open("/dev/null") as nothing:
            enter_private_root(plan.folder, plan.readable, Limits(), nothing.fileno())

    found["private_root"] = attempt(private_root)
    for name, flags in NAMESPACES.items():
        found[name] = attempt(lambda flags=flags: namespaces(flags))  # type: ignore[misc]
    if os.geteuid() != 0:
        found["separate_user"] = "only root can become another user"
    elif not as_root:
        found["separate_user"] = "not used: the user namespace knows only one user"
    else:
        rooted = "private_root" in plan.layers and found["private_root"] is None
        found["separate_user"] = attempt(lambda: _try_user(plan, () if rooted else plan.readable))
    found["no_new_privileges"] = attempt(linux.forbid_new_privileges)
    found["seccomp"] = attempt(_try_seccomp)
    found["landlock"] = attempt(lambda: _try_landlock(plan))
    return {name: found[name] if name in plan.layers else "switched off" for name in LAYERS}


def attempt(action: Callable[[], object]) -> str | None:
    """Run `action` in a child process and return why it failed, None where it did not."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except Exception as error:  # whatever the kernel or ctypes answers is the reason that is reported
            os.write(write, str(error).encode(errors="replace")[:500])
        finally:
            os._exit(1)
    os.close(write)
    reason = os.read(read, 500).decode(errors="replace")
    os.close(read)
    _, status = os.waitpid(child, 0)
    return None if status == 0 else reason or f"ended with status {status}"


def _try_user(plan: Plan, readable: Sequence[str]) -> None:
    become(plan.user)
    for path in readable:
        if not os.access(path, os.R_OK):
            raise OSError(f"another user cannot read {path}")


def _try_seccomp() -> None:
    index = linux.machine()
    if index is None:
        raise OSError("the system call numbers of this machine are not known")
    linux.forbid_new_privileges()
    restrict_system_calls(index, os.getpid())
    if ctypes.CDLL(None).socket(2, 1, 0) != -1:
        raise OSError("the filter did not hold")


def _try_landlock(plan: Plan) -> None:
    if linux.landlock_version() == 0:
        raise OSError("the kernel has no Landlock")
    linux.forbid_new_privileges()
    restrict_files(plan.readable, DEVICES, plan.folder)
