"""`attnpo` commands one after another in the same processes, where a start takes longer than what is run.

Imported by tests and run by them, several processes through `torch.distributed.run`: `python commands.py LIST.json`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from layouts import run_processes, set_environment, without_compiled_kernels
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from attnpo.cli.main import main


def command(name: str, **flags: Any) -> list[str]:
    """The arguments of one command."""
    return [name, *(part for flag, value in flags.items() for part in (f"--{flag}", str(value)))]


def run_commands(folder: Path, *commands: Sequence[str], processes: int = 1) -> None:
    """Run commands in their order, in one start of so many processes; `folder` takes their list."""
    file = folder / f"commands-{os.urandom(4).hex()}.json"
    file.write_text(json.dumps(commands))
    run_processes(processes, __file__, file)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for argv in json.loads(Path(sys.argv[1]).read_text()):
        # What the command before left behind would be taken for its own.
        AcceleratorState._reset_state(reset_partial_state=True)
        unset_hf_deepspeed_config()
        is_deepspeed = "--deepspeed" in argv
        set_environment("ACCELERATE_USE_DEEPSPEED", "true" if is_deepspeed else None)
        if is_deepspeed:
            without_compiled_kernels()
        main(argv)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
