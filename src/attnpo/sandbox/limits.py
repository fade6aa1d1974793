"""What a program in the sandbox may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one run.

    Attributes:
        cpu_seconds: processor time of all threads together.
        wall_seconds: time on the clock, for programs that sleep or wait.
        memory_bytes: address space.
        output_bytes: standard output, the returned value, and each single file.
        folder_bytes: all files in the program's own folder together.
        folder_files: files and folders in it.
        open_files: file descriptors.
        tasks: threads, and processes where they cannot be forbidden.
    """

    cpu_seconds: float = 6.0
    wall_seconds: float = 13.0
    memory_bytes: int = 2**30
    output_bytes: int = 16 * 2**20
    folder_bytes: int = 64 * 2**20
    folder_files: int = 256
    open_files: int = 64
    tasks: int = 32
