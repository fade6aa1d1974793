"""Landlock: which files a program may touch, decided by the kernel for the process itself."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from attnpo.sandbox import linux

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FIRST_VERSION = (1 << 13) - 1
_REFER, _TRUNCATE, _DEVICE_CONTROL = 1 << 13, 1 << 14, 1 << 15
_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


def restrict_files(readable: Sequence[str], devices: Sequence[str], folder: str) -> None:
    """Allow reading some paths and writing one folder, nothing else; no TCP, abstract sockets or signals to others.

    What a kernel's version of Landlock cannot refuse stays to the other layers.

    Args:
        readable: folders and files that may be read and executed.
        devices: device files that may be read and written.
        folder: the folder in which everything but executing is allowed.
    """
    version = linux.landlock_version()
    files = _FIRST_VERSION | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    files |= _DEVICE_CONTROL if version >= 5 else 0
    fields = [files] + ([_TCP] if version >= 4 else []) + ([_ABSTRACT_SOCKETS_AND_SIGNALS] if version >= 6 else [])
    ruleset = linux.landlock_create(struct.pack(f"={len(fields)}Q", *fields))
    for path in readable:
        _allow(ruleset, path, _READ_FILE | _READ_FOLDER | _EXECUTE)
    for path in devices:
        _allow(ruleset, path, _READ_FILE | _WRITE_FILE)
    _allow(ruleset, folder, files & ~_EXECUTE)
    linux.landlock_restrict(ruleset)
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):
        access &= _READ_FILE | _WRITE_FILE | _EXECUTE
    linux.landlock_allow(ruleset, struct.pack("=Qi", access, opened))
    os.close(opened)
