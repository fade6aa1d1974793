"""Which arithmetic this machine's processor has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Names of bfloat16 arithmetic in /proc/cpuinfo: x86's two, and ARM's."""


def cpu_computes_in_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has bfloat16 arithmetic; without it such a model is several times slower than in float32.

    Where the system does not say (macOS, Windows), it is taken to have none: float32 is never wrong.
    """
    if not cpuinfo.is_file():
        return False
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    words = next((line for line in lines if re.match(r"(flags|Features)\s*:", line)), "")
    return not BF16_FLAGS.isdisjoint(words.split())
