from __future__ import annotations

import pytest

from attnpo.processor import cpu_computes_in_bfloat16


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_tile\n", True),
        ("flags : fpu avx512f amx_tile amx_bf16\n", True),
        ("flags : fpu avx512f avx512_bf16x\nbugs : avx512_bf16\n", False),
        ("flags : fpu avx2\n", False),
        ("processor : 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        ("Features : fp asimd\n", False),
        ("", False),
    ],
)
def test_what_a_processor_says_of_itself(tmp_path, cpuinfo, has):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert cpu_computes_in_bfloat16(tmp_path / "cpuinfo") is has


def test_a_system_that_does_not_say(tmp_path):
    assert cpu_computes_in_bfloat16(tmp_path / "none") is False
