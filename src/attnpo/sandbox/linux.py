"""The Linux system calls that Python has no function for."""

from __future__ import annotations

import ctypes
import os
import platform

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_SIGKILL = 9
_CAPABILITY_VERSION_3 = 0x20080522
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000

MACHINES = ("x86_64", "aarch64")
"""Machines whose system call numbers are known here."""
_PIVOT_ROOT = (155, 41)
_CAPSET = (126, 91)
_MOUNT_SETATTR = (442, 442)
_LANDLOCK = (444, 445, 446)

_libc = ctypes.CDLL(None, use_errno=True)


def machine() -> int | None:
    """Return the index of this machine in `MACHINES`, None for another one or a 32-bit interpreter."""
    name = platform.machine()
    return MACHINES.index(name) if name in MACHINES and ctypes.sizeof(ctypes.c_void_p) == 8 else None


def unshare(flags: int) -> None:
    """Move the process into new namespaces."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount, bind or remount."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    result = _libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])
    _check(result, f"mount {target}")


def make_read_only(target: str, devices: bool = False) -> None:
    """Make a mount, with what is mounted below it, read-only and without set-user-id programs.

    Args:
        target: the mount point.
        devices: whether device files in it stay usable.
    """
    flags = MS_RDONLY | MS_NOSUID | (0 if devices else MS_NODEV)
    attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)
    result = _syscall(
        _MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, attributes, ctypes.sizeof(attributes)
    )
    if result != 0:
        # Before Linux 5.12; what is mounted below keeps its flags.
        kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount(None, target, None, MS_REMOUNT | MS_BIND | flags | kept)


def pivot_root_here() -> None:
    """Make the current folder, a mount point, the root, and detach the old one."""
    _check(_syscall(_PIVOT_ROOT, b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "umount")


def drop_capabilities() -> None:
    """Give up all capabilities for good."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_syscall(_CAPSET, header, (ctypes.c_uint32 * 6)()), "capset")


def forbid_new_privileges() -> None:
    """Set-user-id programs and file capabilities give nothing any more."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")


def die_with_parent(parent: int) -> None:
    """Get SIGKILL when the parent thread ends; end at once when it already has.

    Args:
        parent: the parent's process id, 0 where it is outside the process namespace.
    """
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL, "pdeathsig")
    if os.getppid() != parent:
        os._exit(1)


def hide_memory() -> None:
    """Let no process of the same user trace this one or read its memory."""
    _prctl(_PR_SET_DUMPABLE, 0, "dumpable")


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "child_subreaper")


def set_seccomp_filter(program: bytes) -> None:
    """Install a BPF program (8 bytes an instruction) as filter of all further system calls."""
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

    description = Program(len(program) // 8, ctypes.addressof(buffer))
    result = _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(description), 0, 0)
    _check(result, "seccomp")


def landlock_version() -> int:
    """Return the version of Landlock that the kernel has, 0 for none."""
    return max(0, _libc.syscall(_LANDLOCK[0], None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def landlock_create(ruleset: bytes) -> int:
    """Return a descriptor of a new Landlock ruleset."""
    result = _libc.syscall(_LANDLOCK[0], ruleset, ctypes.c_size_t(len(ruleset)), ctypes.c_uint32(0))
    return _check(result, "landlock_create_ruleset")


def landlock_allow(ruleset: int, rule: bytes) -> None:
    """Add a rule for what lies beneath a path."""
    _check(_libc.syscall(_LANDLOCK[1], ruleset, 1, rule, ctypes.c_uint32(0)), "landlock_add_rule")


def landlock_restrict(ruleset: int) -> None:
    """Hold this process and its children to the ruleset."""
    _check(_libc.syscall(_LANDLOCK[2], ruleset, ctypes.c_uint32(0)), "landlock_restrict_self")


def _syscall(numbers: tuple[int, int], *arguments: object) -> int:
    index = machine()
    if index is None:
        raise OSError(f"system call numbers of {platform.machine()} are not known here")
    return _libc.syscall(numbers[index], *arguments)


def _prctl(option: int, value: int, what: str) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), what)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
