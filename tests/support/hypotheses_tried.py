"""The credits of `benchmarks/hypotheses`, for properties that hold of every method."""

from __future__ import annotations

ROOM = "benchmarks.hypotheses"
HYPOTHESES = [
    f"{ROOM}.split:SplitCredit",
    f"{ROOM}.split:SplitOracle",
    f"{ROOM}.pressure:RedundantPressure",
    f"{ROOM}.pressure:RedundantPressureOracle",
    f"{ROOM}.step_price:StepPrice",
    f"{ROOM}.step_price:StepPriceOracle",
    f"{ROOM}.kept_sum:KeptSum",
    f"{ROOM}.kept_sum:KeptSumOracle",
    f"{ROOM}.before_error:BeforeError",
    f"{ROOM}.causal:Causal",
    f"{ROOM}.causal:SplitCausal",
]
SETTINGS = {f"{ROOM}.before_error:BeforeError": {"error_finder": "attnpo.tinyworld.oracle:first_error"}}
"""What has to be given."""
JUDGES = [name for name in HYPOTHESES if "pressure:" in name or "step_price:" in name]
"""Those whose rewards read the steps of whole groups."""
