"""What runs inside a vLLM server's worker on the CPU; importing it keeps the weights as they are loaded."""

from __future__ import annotations

from safetensors.torch import load_file
from vllm.model_executor.layers import utils
from vllm_on_cpu import keep_weights

utils.dispatch_cpu_unquantized_gemm = keep_weights


class TakesWeights:
    """A further base of vLLM's worker (`--worker-extension-cls`)."""

    def load_file(self, file: str) -> None:
        self.model_runner.model.load_weights(load_file(file).items())  # type: ignore[attr-defined]
