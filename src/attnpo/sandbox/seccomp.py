"""The system calls that a program in the sandbox may not make."""

from __future__ import annotations

import errno
import struct

from attnpo.sandbox.linux import set_seccomp_filter

# Number on x86_64 and on aarch64, None where it does not exist.
_FORBIDDEN: dict[str, tuple[int, int | None]] = {
    # The network, and talking to other processes.
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "accept4": (288, 242), "bind": (49, 200),
    "listen": (50, 201), "sendmsg": (46, 211), "sendmmsg": (307, 269), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192), "semctl": (66, 191),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # New processes and programs; `clone` with a thread's flags is allowed below.
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    # Signals to, and insight into, other processes.
    "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "kcmp": (312, 272), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    # Namespaces and mounts.
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    # Memory that no limit counts.
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # Parts of the kernel that a solution has no use for.
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "personality": (135, 92), "vhangup": (153, 58), "uselib": (134, None),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "mbind": (237, 235),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "set_mempolicy": (238, 237), "capset": (126, 91),
    "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
}  # fmt: skip
_CLONE = (56, 220)
_CLONE3 = (435, 435)
_SOCKETPAIR = (53, 199)
_TGKILL = (234, 131)
_PRLIMIT = (302, 261)
_PRCTL = (157, 167)
_PR_SET_PDEATHSIG = 1
_NEWEST = 462
_ARCHITECTURE = (0xC000003E, 0xC00000B7)
_CLONE_THREAD = 0x00010000
_CLONE_NEW_NAMESPACES = 0x7E020080
_AF_UNIX = 1
_SOCK_TYPE = 0xF
_SOCK_STREAM = 1

_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _AND, _EQUAL, _ANY_BIT, _GREATER, _RETURN = 0x20, 0x54, 0x15, 0x45, 0x25, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16


def restrict_system_calls(index: int, own_pid: int) -> None:
    """Let the process make no call that reaches other processes, the network or rarely used parts of the kernel.

    Such calls fail with EPERM, calls that are newer than this list with ENOSYS. Threads, and pairs of connected stream
    sockets (event loops need one), are allowed.

    Args:
        index: the machine, as `linux.machine` numbers it.
        own_pid: id of the calling process in its own namespace; signals to itself are allowed.
    """
    set_seccomp_filter(filter_program(index, own_pid))


def filter_program(index: int, own_pid: int) -> bytes:
    """Return the filter as BPF instructions."""
    refuse = [_step(_RETURN, _ERROR | errno.EPERM)]
    unknown = [_step(_RETURN, _ERROR | errno.ENOSYS)]
    allow = [_step(_RETURN, _ALLOW)]
    program = [
        _step(_LOAD, _ARCHITECTURE_AT),
        *_unless_equal(_ARCHITECTURE[index], [_step(_RETURN, _KILL)]),
        _step(_LOAD, _NUMBER_AT),
        # Also refuses the x32 calls, whose numbers have a high bit.
        *_if(_GREATER, _NEWEST, unknown),
        *_if(_EQUAL, _CLONE3[index], unknown),
    ]
    for numbers in _FORBIDDEN.values():
        number = numbers[index]
        if number is not None:
            program += _if(_EQUAL, number, refuse)
    program += _if(
        _EQUAL,
        _CLONE[index],
        [_argument(0), *_if(_ANY_BIT, _CLONE_NEW_NAMESPACES, refuse), *_if(_ANY_BIT, _CLONE_THREAD, allow), *refuse],
    )
    stream = [_argument(1), _step(_AND, _SOCK_TYPE), *_if(_EQUAL, _SOCK_STREAM, allow), *refuse]
    program += _if(_EQUAL, _SOCKETPAIR[index], [_argument(0), *_if(_EQUAL, _AF_UNIX, stream), *refuse])
    program += _if(_EQUAL, _TGKILL[index], [_argument(0), *_if(_EQUAL, own_pid, allow), *refuse])
    program += _if(_EQUAL, _PRCTL[index], [_argument(0), *_if(_EQUAL, _PR_SET_PDEATHSIG, refuse), *allow])
    own = [*_if(_EQUAL, own_pid, allow), *_if(_EQUAL, 0, allow)]
    program += _if(_EQUAL, _PRLIMIT[index], [_argument(0), *own, *refuse])
    return b"".join([*program, *allow])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument(number: int) -> bytes:
    # The low half; both machines are little-endian.
    return _step(_LOAD, _ARGUMENTS_AT + 8 * number)


def _if(test: int, value: int, then: list[bytes]) -> list[bytes]:
    return [_step(test, value, 0, len(then)), *then]


def _unless_equal(value: int, then: list[bytes]) -> list[bytes]:
    return [_step(_EQUAL, value, len(then), 0), *then]
