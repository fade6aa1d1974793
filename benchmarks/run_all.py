"""Run every benchmark, one after the other, and print one report (`make bench`).

python benchmarks/run_all.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "segmentation.py",
    "head_reading.py",
    "training_step.py",
    "step_cost.py",
    "step_phases.py",
    "memory_estimate.py",
    "sampling_engines.py",
    "evaluation_memory.py",
    "verification.py",
)


def main() -> None:
    """Run the scripts; stop at the first that fails."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    folder = Path(__file__).parent
    output = Path("runs/bench")
    output.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for name in SCRIPTS:
        print(f"\n=== {name} ===", flush=True)
        json_file = output / name.replace(".py", ".json")
        subprocess.run([sys.executable, str(folder / name), "--json", str(json_file)], check=True, env=environment)
    print(f"\nnumbers as JSON in {output}")


if __name__ == "__main__":
    main()
