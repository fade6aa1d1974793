"""The `attnpo` command under DeepSpeed on a CPU; run by `torch.distributed.run`."""

from __future__ import annotations

import os
import sys

import torch
from layouts import without_compiled_kernels

from attnpo.cli.main import main

if __name__ == "__main__":
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    torch.set_num_threads(1)
    without_compiled_kernels()
    main(sys.argv[1:])
