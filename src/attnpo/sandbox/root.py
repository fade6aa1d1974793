"""A root folder of the sandbox's own: Python's files read-only, four devices, a small writable folder, nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence

from attnpo.sandbox import linux
from attnpo.sandbox.limits import Limits

DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
FOLDER = "/sandbox"
"""The writable folder. Not /tmp itself: Python may be installed below that, and would be hidden."""
INPUT = "/dev/stdin"
_ROOM_BYTES = 2**20
_ROOM_FILES = 4096


def enter_private_root(base: str, readable: Sequence[str], limits: Limits, input_fd: int) -> None:
    """Make a new root for this process, which has a mount namespace of its own, and change into its writable folder.

    Args:
        base: an empty folder to mount on.
        readable: folders and files that are shown read-only; none lies inside another.
        limits: size and number of files of the writable folder.
        input_fd: the file that `/dev/stdin` shows.
    """
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    size = os.fstat(input_fd).st_size
    plain = linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("tmpfs", base, "tmpfs", plain, f"size={size + _ROOM_BYTES},nr_inodes={_ROOM_FILES},mode=755")
    for path in readable:
        if os.path.islink(path):
            os.makedirs(base + os.path.dirname(path), exist_ok=True)
            os.symlink(os.path.realpath(path), base + path)
        else:
            _bind(path, base + path)
    for path in DEVICES:
        _bind(path, base + path, devices=True)
    os.makedirs(base + FOLDER, exist_ok=True)
    options = f"size={limits.folder_bytes},nr_inodes={limits.folder_files + 1},mode=777"
    linux.mount("tmpfs", base + FOLDER, "tmpfs", plain | linux.MS_NOEXEC, options)
    if not os.path.lexists(base + "/tmp"):
        os.symlink(FOLDER, base + "/tmp")
    with open(base + INPUT, "wb") as copy:
        os.fchmod(copy.fileno(), 0o444)
        done = 0
        while done < size:
            done += os.sendfile(copy.fileno(), input_fd, done, size - done)
    linux.mount(None, base, None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | plain)
    os.chdir(base)
    linux.pivot_root_here()
    os.chdir(FOLDER)


def _bind(source: str, target: str, devices: bool = False) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    linux.mount(source, target, None, linux.MS_BIND | linux.MS_REC)
    linux.make_read_only(target, devices)
